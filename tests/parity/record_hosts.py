#!/usr/bin/env python3
"""Records what sgm, ComfyUI and AUTOMATIC1111 make of the prompts of condition_cases.py: golden/condition-full.npz and -small.npz.

    record_hosts.py --sgm generative-models --comfyui ComfyUI --a1111 stable-diffusion-webui [--full] [--work build/parity/condition]

Run it with the reference environment and einops, on checkouts of the hosts. Their code is run over the towers of the parity run,
and none of it is here: record_comfyui.py and record_webui.py say which of their files run and what stands in for the rest. Each
case is run over float64 and over float32 towers; the first is what is recorded, and how far the second is from it is the unit.
One host has its towers in memory at a time, in a process of its own: 10 GB at full geometry. What a host gave is kept under --work, so
that a run that was cut off goes on where it was.
"""
import argparse
import importlib.metadata
import multiprocessing
import pathlib
import pickle
import time
import zlib

import apart  # noqa: F401 - before transformers, which imports torchvision
import numpy as np
import torch
import transformers

import condition_cases as cases
import condition_golden
import condition_measure as measure
import towers
from compare import rms
from condition_towers import Files
from record_comfyui import ComfyUI
from record_webui import A1111, Sgm

KEYS = ("clip_l", "clip_h", "clip_g")
DTYPES = (torch.float64, torch.float32)
FILES = {
    "sgm": ("sgm/modules/encoders/modules.py", "configs/inference/sd_xl_base.yaml", "configs/inference/sd_xl_refiner.yaml"),
    "comfyui": ("comfy/sd1_clip.py", "comfy/sdxl_clip.py", "comfy/text_encoders/sd2_clip.py", "comfy/clip_model.py", "comfy/conds.py",
                "comfy/model_base.py", "comfy_extras/nodes_clip_sdxl.py"),
    "a1111": ("modules/sd_hijack_clip.py", "modules/sd_hijack_open_clip.py", "modules/sd_emphasis.py", "modules/sd_models_xl.py",
              "modules/prompt_parser.py", "modules/sd_samplers_cfg_denoiser.py"),
}


def arrays(found):
    return {name: value.numpy() for name, value in found.items()}


def run(host, chosen, emphases=(None,)):
    """{case key: [tensors for each way of emphasis]}"""
    found = {}
    for case in chosen:
        ways = emphases if case.restores else emphases[:1]
        found[case.key] = [arrays(host.tensors(case, way) if way or len(emphases) > 1 else host.tensors(case)) for way in ways]
    return found


def comfyui(options, dtype):
    return run(ComfyUI(options.comfyui, Files(options.work, options.full), dtype), cases.every({"comfyui": cases.comfyui}))


def webui(options, dtype):
    sgm = Sgm(options.sgm, Files(options.work, options.full), dtype)
    found = run(sgm, cases.every({"sgm": cases.sgm}))
    # as asked, without restoration, without weights
    return found | run(A1111(options.a1111, sgm), cases.every({"a1111": cases.a1111}), (None, "no_norm", "ignore"))


STEPS = (comfyui, webui)


def keep(step, options, dtype, path):
    transformers.logging.disable_progress_bar()
    found = step(options, dtype)
    path.with_suffix(".partial").write_bytes(pickle.dumps(found))
    path.with_suffix(".partial").rename(path)


def in_own_process(step, options, dtype):
    """What a step gives, which is kept for as long as cases and towers stay as they are."""
    began, kind = time.monotonic(), str(dtype).removeprefix("torch.")
    files = Files(options.work, options.full)
    of = repr((cases.every(cases.RECORDED), [files.digest(key) for key in KEYS], step.__name__, kind))
    path = files.work / f"recorded-{step.__name__}-{kind}-{zlib.crc32(of.encode()):08x}.pickle"
    if not path.exists():
        process = multiprocessing.get_context("spawn").Process(target=keep, args=(step, options, dtype, path))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"{step.__name__} in {kind} ended with {process.exitcode}")
    print(f"{step.__name__}, {kind}: {time.monotonic() - began:.0f} s", flush=True)
    return pickle.loads(path.read_bytes())


def factor_units(exact, host, name, widths):
    """For each block that A1111 restores, the relative error that the elements' errors can give the factor at most: of the
    mean before, which is the unweighted states', and of the mean after, which is that of the states without restoration."""
    units = {}
    for label, at in measure.blocks(name, exact[0][name].shape, widths):
        units[label] = sum(rms(host[way][name][at] - exact[way][name][at]) / abs(float(np.mean(exact[way][name][at])))
                           for way in (1, 2))
    return units


def main():
    arguments = argparse.ArgumentParser()
    for name in FILES:
        arguments.add_argument(f"--{name}", type=pathlib.Path, required=True)
    arguments.add_argument("--full", action="store_true")
    arguments.add_argument("--work", default=str(towers.ROOT / "build" / "parity" / "condition"))
    options = arguments.parse_args()
    transformers.logging.set_verbosity_error()
    files, size = Files(options.work, options.full), "full" if options.full else "small"
    writer = condition_golden.Writer(size)

    exact, host = ({}, {})
    for dtype, kept in zip(DTYPES, (exact, host)):
        for step in STEPS:
            kept |= in_own_process(step, options, dtype)

    pooled_width = files.geometries["clip_g"].projection
    for case in cases.every(cases.RECORDED):
        widths = [files.geometries[key].width for key in tower_keys(case.recipe)]
        for name, value in exact[case.key][0].items():
            if case.tensors and name not in case.tensors:
                continue
            if name.endswith("vector"):
                writer.sizes(case, name, host[case.key][0][name], pooled_width)
                continue
            restored = case.restores and "pooled" not in name
            units = factor_units(exact[case.key], host[case.key], name, widths) if restored else None
            writer.tensor(case, name, value, host[case.key][0][name], widths, units)

    about = {
        "towers": {key: files.digest(key) for key in KEYS},
        "files": {f"{name}/{path}": condition_golden.sha256(getattr(options, name) / path)
                  for name, paths in FILES.items() for path in paths},
        "versions": {name: importlib.metadata.version(name).split("+")[0]
                     for name in ("torch", "transformers", "open_clip_torch", "einops")},
    }
    path = condition_golden.path_of(size)
    writer.write(path, about)
    print(f"{path}: {path.stat().st_size} bytes")


def tower_keys(recipe):
    if recipe.startswith("sdxl@"):
        return ("clip_l", "clip_g")
    return ("clip_l",) if recipe.startswith("sd1@") else ("clip_h",) if recipe.startswith("sd2@") else ("clip_g",)


if __name__ == "__main__":
    main()
