#!/usr/bin/env python3
"""Writes what check-memory measures: CLIP ViT-bigG/14's text tower at its full geometry as f16 and as bf16, and CLIP's own
tokenizer, which is a good part of an open model's memory.

    full_models.py DIRECTORY      makes DIRECTORY/{f16,bf16} and DIRECTORY/pad-bang/5: 2.8 GB; no time when they are there

The weights are tests/parity's, though memory does not depend on them. Needs the reference environment.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "parity"))
DTYPES = ("f16", "bf16")
RECIPE = "bigG text tower of towers.py, seed 1\n"


def main(directory):
    stamp = directory / "complete"
    if stamp.exists() and stamp.read_text() == RECIPE:
        return
    import clip_vocabulary
    import towers
    import vocabulary

    tower = towers.Tower(towers.BIG_G)
    for dtype in DTYPES:
        tower.write(directory / dtype, dtype)
    clip_vocabulary.write(directory, vocabulary.PAD)
    stamp.write_text(RECIPE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: full_models.py DIRECTORY")
    main(pathlib.Path(sys.argv[1]))
