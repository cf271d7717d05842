"""folders.py - model folders made from the one that ships, each with one thing changed. Knows safetensors' layout (its own
writer, so that the file is not written by the code under test) and nothing of the tower."""
import json
import pathlib
import shutil
import struct

import numpy as np

TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64, "F64": np.float64,
         "F8_E4M3": np.uint8, "F8_E5M2": np.uint8}


def read(path):
    """Tensors of a safetensors file: name -> (dtype name, array; BF16 as uint16)."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    out = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[8 + size + begin:8 + size + end], TYPES[entry["dtype"]]).reshape(entry["shape"])
        out[name] = (entry["dtype"], array)
    return out


def write(path, tensors, odd=False):
    """odd: the data begins at an odd offset, as in files of writers that do not pad the header."""
    header, at = {}, 0
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    if odd and len(text) % 2 == 0:
        text += b" "
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _dtype, array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def widen(dtype, array):
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def to_bf16(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


class Folder:
    """A copy of `source` under `root`. config: keys to set, None to remove. tensors: a function dict -> dict."""

    def __init__(self, source, root, name, config=None, tensors=None, odd=False, tokenizer=True):
        self.path = pathlib.Path(root) / name
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        for file in pathlib.Path(source).glob("*.json"):
            if tokenizer or file.name == "config.json":
                shutil.copy(file, self.path)
        if tokenizer:
            shutil.copy(pathlib.Path(source) / "merges.txt", self.path)
        shutil.copy(pathlib.Path(source) / "model.safetensors", self.path)
        for file in self.path.iterdir():
            file.chmod(0o644)  # the source tree may be read-only
        if config:
            values = json.loads((self.path / "config.json").read_text())
            for key, value in config.items():
                values.pop(key, None)
                if value is not None:
                    values[key] = value
            (self.path / "config.json").write_text(json.dumps(values))
        if tensors or odd:
            loaded = read(self.path / "model.safetensors")
            write(self.path / "model.safetensors", tensors(loaded) if tensors else loaded, odd)

    def __str__(self):
        return str(self.path)
