"""open_clip, and the torchvision that it needs for images: in a folder of their own beside the reference environment,
which importing this adds to the path. Import it before transformers.

PyPI's torchvision is built for CUDA. Beside a torch for CPUs its library of operators does not load; torchvision then
does not import, as it describes two of them, and transformers, which imports a torchvision that is there, does not
either. So it lies apart from what the other scripts see, and where its library does not load this declares the two
operators. Nothing in the parity runs calls one.
"""
import importlib.util
import pathlib
import sys

import torch

FOLDER = pathlib.Path(sys.prefix) / "apart"
DECLARED = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

if FOLDER.is_dir():
    sys.path.insert(1, str(FOLDER))
_found = importlib.util.find_spec("torchvision")
if _found is None:
    raise SystemExit("open_clip and torchvision are not installed; tests/parity/environment.sh installs them")
try:
    torch.ops.load_library(str(pathlib.Path(_found.submodule_search_locations[0]) / "_C.so"))
except OSError:
    _library = torch.library.Library("torchvision", "DEF")
    for _schema in DECLARED:
        _library.define(_schema)
