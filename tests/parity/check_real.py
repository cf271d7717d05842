#!/usr/bin/env python3
"""Penult beside a reference library on a checkpoint that you have. `make check-real MODEL=path` runs it in the
reference environment; nothing is fetched, only your file is read.

    check_real.py MODEL [--tower NAME] [--activation gelu|quick_gelu] [--plugin build/penult.so]

MODEL is what Penult opens: a safetensors file, an index of shards, a directory of transformers or of a diffusers
pipeline. Which library reads it beside Penult follows from its names (layouts_readers.py). Prints a table and a
sentence that begins with PASS or FAIL; the exit status is 0, 1, or 2 where there was nothing to compare. bigG takes
about 8 GB of memory and some minutes.
"""
import argparse
import gc
import pathlib
import sys

import apart  # noqa: F401 - before transformers, which imports torchvision
import numpy as np
import transformers

import compare
import layouts_readers as readers
import towers
from layouts_references import OpenClip, compute, shortened, tower
from plugin import encode, penult
from report import max_ratio, rms_ratio

START, END = 49406, 49407  # of CLIP's vocabulary, and some words of it
PHOTO_OF_A_CAT = (320, 1125, 539, 320, 2368)
PROMPTS = ("a photo of a cat", "nothing", "as many ids as fit")

# The projection of CLIP ViT-bigG/14 as SDXL's single file holds it (x P), in four decimals, from issue 111 of
# Stability-AI/generative-models, where both orientations were printed: {(row, column): value}.
PUBLISHED = {(0, 0): -0.0348, (0, 1): 0.0218, (0, 2): -0.0025, (0, -3): -0.0034, (0, -2): -0.0138, (0, -1): -0.0075,
             (1, 0): -0.0037, (1, 1): 0.0202, (1, 2): -0.0014, (2, 0): 0.0261, (2, 1): -0.0221}
DIAGONAL = ((0, 0), (1, 1))  # the same in either orientation: by these the checkpoint is known
ROUNDED = 0.5e-4 + 0.035 / 256  # to four decimals, of values that may be stored in bfloat16


def rows_of(config_vocabulary, context):
    """Three rows of ids; those of a vocabulary that is not CLIP's are words like any other."""
    end = config_vocabulary - 1
    start = end - 1
    words = PHOTO_OF_A_CAT if config_vocabulary == END + 1 else range(1, 6)
    draw = np.random.default_rng(5)
    rows = np.full((3, context), end)
    for row, body in zip(rows, (words, (), draw.integers(0, start, context - 2))):
        row[:len(body) + 2] = [start, *body, end]
    return rows


def projection(model):
    """The matrix P of x P as the library read it, or None."""
    if isinstance(model, OpenClip):
        return model.text.text_projection.detach().float().numpy()
    found = getattr(model, "text_projection", None)
    return None if found is None else found.weight.detach().float().numpy().T


def published(matrix):
    """(verdict, sentence) about the public numbers; verdict None: they say nothing about this checkpoint."""
    if matrix is None or matrix.shape != (1280, 1280):
        return None, "there are none for a tower of this size"

    def agree(values, places):
        return all(abs(float(values[place]) - PUBLISHED[place]) <= ROUNDED for place in places)

    if not agree(matrix, DIAGONAL):
        return None, "this is not the bigG of SDXL's release; there are none for it"
    if agree(matrix, PUBLISHED):
        return True, f"the projection is the published one, in all {len(PUBLISHED)} numbers that are public"
    if agree(matrix.T, PUBLISHED):
        return False, ("the projection in this file is the transpose of the published one: what wrote it did not "
                       "transpose it with the names, and pooled vectors from it are wrong in every program")
    return False, "the projection's diagonal is the published one, its other numbers are not"


def planted(weight):
    """A Linear's weight with the published numbers in it, for tests."""
    weight = weight.clone()
    for (row, column), value in PUBLISHED.items():
        weight[column, row] = value
    return weight


def group(name):
    name = name.removesuffix(" text").removesuffix(" start")
    return "hidden states" if name.startswith("hidden ") else name


def summary(lines):
    """Per kind of output the line that came nearest to its bound."""
    groups = {}
    for line in lines:
        groups.setdefault(group(line.output), []).append(line)
    for name, members in groups.items():
        worst = max(members, key=lambda line: (not line.passed, max(rms_ratio(line) / compare.RMS_BOUND,
                                                                    max_ratio(line) / compare.MAX_BOUND)))
        yield (name, len(members), worst.output, f"{worst.rms_ours:.2e}", f"{worst.rms_torch:.2e}",
               f"{rms_ratio(worst):.2f}", f"{max_ratio(worst):.2f}",
               "ok" if all(line.passed for line in members) else "FAILED")


HEADER = ("output", "compared", "nearest to its bound", "rms error of Penult", "of the library", "ratio",
          "ratio of the largest", "verdict")


def choose(found, name):
    """The readings of the tower that Penult takes under this name, or of the widest."""
    widest = max(reading.width for reading in found)
    return [reading for reading in found
            if (reading.width == widest if name is None
                else name in (reading.tower, readers.BY_WIDTH.get(reading.width, "text")))]


def check(options, reading, library):
    """Prints what one library and Penult make of the tower; returns the sentences of what failed."""
    print(f"{reading.tower}: {reading.library}", flush=True)
    with penult.Model(options.model, tower=options.tower or reading.tower, activation=options.activation,
                      library=library) as model, penult.Session(model, max_prompts=3) as session:
        info = model.info
        print(f"  Penult reads it as {info.layout!r}: {info.layers} blocks of {info.width}, {info.heads} heads, "
              f"{info.activation}, {info.dtype}, {info.parameters:,} parameters, {info.bytes_used:,} bytes of "
              f"{info.bytes_file:,}; kernels {info.kernels}")
        for finding in model.findings:
            print(f"  {finding.severity}: {finding.subject}: {finding.message}")
        rows = rows_of(info.vocabulary, info.context)
        ours = encode(session, rows)
    reference = reading.load()
    tower(reference)
    matrix = projection(reference)
    exact, single = compute(reference, rows)
    del reference
    gc.collect()
    if reading.shortened:
        exact, single = (shortened(result, info.layers) for result in (exact, single))
    lines = list(compare.lines(info.tower, info.dtype, exact, single, ours, PROMPTS))
    print(compare.table(summary(lines), HEADER))
    verdict, sentence = published(matrix)
    print(f"  public numbers: {sentence}\n")
    wrong = dict.fromkeys(group(line.output) for line in lines if not line.passed)
    faults = [f"Penult differs from {reading.library} in {', '.join(wrong)}"] if wrong else []
    return faults + ([sentence] if verdict is False else [])


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Compares Penult with a reference library on your checkpoint.")
    parser.add_argument("model")
    parser.add_argument("--tower", help="clip_l, clip_g, text_encoder_2, ...; the widest if none is named")
    parser.add_argument("--activation", choices=("gelu", "quick_gelu"), help="what the file does not say")
    parser.add_argument("--plugin", default=str(towers.ROOT / "build" / "penult.so"))
    options = parser.parse_args(arguments)
    if not pathlib.Path(options.model).exists():
        print(f"there is no {options.model}", file=sys.stderr)
        return 2
    found = readers.of(options.model, options.activation)
    chosen = choose(found, options.tower) if found else []
    if not chosen:
        names = ", ".join(sorted({reading.tower for reading in found})) or "none"
        print(f"no tower to compare: {options.model} holds, by its names, {names}", file=sys.stderr)
        return 2
    library, faults = penult.Library(options.plugin), []
    for reading in chosen:
        try:
            faults += check(options, reading, library)
        except penult.PenultError as error:
            faults.append(f"{reading.library} opens it and Penult refuses: {error}")
    if faults:
        print("FAIL: " + "; ".join(faults))
        return 1
    print(f"PASS: every output of {options.model} is within {compare.RMS_BOUND} times the library's own float32 error "
          f"in rms, {compare.MAX_BOUND:g} times in the largest")
    return 0


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(main())
