"""A safetensors file in which some tensors are only claimed: their bytes are a hole, which reads as zeros and takes no
disk. For the parts of a checkpoint that a text encoder must not touch: 5 GB of UNet.

Owns the bytes of the file; the order is safetensors' own (large types first, then by name), the header's padding too.
"""
import dataclasses
import json

import numpy as np
import torch

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
         torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.uint8: "U8"}


@dataclasses.dataclass(frozen=True)
class Hole:
    shape: tuple
    dtype: torch.dtype = torch.float16

    @property
    def nbytes(self):
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def write(path, tensors, metadata=None):
    """tensors: {name: torch.Tensor or Hole}"""
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header, end = {"__metadata__": metadata} if metadata else {}, 0
    for name in order:
        begin, end = end, end + tensors[name].nbytes
        header[name] = {"dtype": NAMES[tensors[name].dtype], "shape": list(tensors[name].shape),
                        "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = 8 + len(text)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            if not isinstance(tensors[name], Hole):
                file.seek(data + header[name]["data_offsets"][0])
                file.write(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy())
        file.truncate(data + end)
    return path


def bytes_by_name(path):
    """{name: bytes} from the header."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in header.items()
            if name != "__metadata__"}
