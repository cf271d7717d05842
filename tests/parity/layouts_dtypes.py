"""Every stored type, and Long-CLIP's positions, on CLIP-L: one file in each form, its values decoded by torch.

Owns the forms of the file. What the values stand for is torch's word: a float8 code is what torch makes of it, and a
scaled matrix is the product.
"""
import dataclasses
import importlib.metadata

import numpy as np
import torch
from safetensors.torch import save_file

import compare
import layouts_names as names
import layouts_readers as readers
import towers
from layouts_files import FORMAT, Drawn
from layouts_references import compute
from plugin import encode, penult

F8 = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}


def more_versions():
    return ", ".join(f"{name} {importlib.metadata.version(name).split('+')[0]}"
                     for name in ("diffusers", "open_clip_torch", "torchvision", "timm"))


def plain(dtype):
    return lambda tensors: {name: value.to(dtype) for name, value in tensors.items()}


def scaled(dtype, suffix, marker=True):
    """ComfyUI's form: each matrix of a block as float8 codes over its own range, its scale beside it; all else f16."""
    def change(tensors):
        changed = {}
        for name, value in tensors.items():
            if ".encoder.layers." in name and value.ndim == 2:
                scale = value.abs().amax().float() / torch.finfo(dtype).max
                changed[name] = (value.float() / scale).to(dtype)
                changed[name.removesuffix(".weight") + suffix] = scale
            else:
                changed[name] = value.half()
        return changed | ({"scaled_fp8": torch.empty(0, dtype=dtype)} if marker else {})
    return change


def mixed(tensors):
    """OpenAI's own habit: matrices f16, norms, embeddings and biases f32."""
    return {name: value.half() if value.ndim == 2 and "embedding" not in name else value.float()
            for name, value in tensors.items()}


FORMS = {
    "F64": plain(torch.float64), "F32": plain(torch.float32), "F16": plain(torch.float16),
    "BF16": plain(torch.bfloat16), "F8_E4M3": plain(F8["F8_E4M3"]), "F8_E5M2": plain(F8["F8_E5M2"]),
    "F8_E4M3, scale_weight": scaled(F8["F8_E4M3"], ".scale_weight"),
    "F8_E5M2, scale_weight": scaled(F8["F8_E5M2"], ".scale_weight"),
    "F8_E4M3, weight_scale": scaled(F8["F8_E4M3"], ".weight_scale", marker=False),
    "F16 and F32": mixed,
}


def judge(run, form):
    tower = run.tower("l")
    geometry = tower.geometry
    noise = torch.Generator().manual_seed(7)  # the drawn values are f16's; these are not
    tensors = {name: value.double() * (1 + 2**-20 * torch.rand(value.shape, generator=noise, dtype=torch.float64))
               for name, value in names.transformers(tower.tensors).items()}
    path = run.work / f"dtype-{''.join(filter(str.isalnum, form))}.safetensors"
    save_file(FORMS[form](tensors), path, FORMAT)
    try:
        _compare(run, f"CLIP-L, {form}", path, geometry)
    finally:
        run.remove(path)


def _compare(run, label, path, geometry):
    rows = run.rows(geometry)
    [reading] = readers.of(path)
    exact, single = compute(reading.load(torch.float64), rows)
    with penult.Model(path, library=run.library) as model, penult.Session(model, max_prompts=len(rows)) as session:
        print(f"    {model.info.dtype}, {model.info.layout}")
        ours = encode(session, rows)
    run.report.add(compare.lines(label, reading.library, exact, single, ours, [str(row) for row in range(len(rows))]))


def long_clip(run):
    """CLIP-L with 248 positions."""
    short = run.tower("l").geometry
    geometry = dataclasses.replace(short, name="Long-CLIP", context=248)
    if run.options.full:
        geometry = dataclasses.replace(geometry, layers=4)  # what is new is the length
    tensors = {name: value.half() for name, value in towers.Tower(geometry).tensors.items()}
    path = run.work / "long-clip.safetensors"
    drawn = Drawn("l", geometry, tensors, run.options.full)
    save_file(names.transformers(tensors) | drawn.ids(""), path, FORMAT)
    try:
        _compare(run, "Long-CLIP, 248 positions", path, geometry)
    finally:
        run.remove(path)
    assert np.shape(run.rows(geometry))[1] == 248
