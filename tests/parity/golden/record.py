#!/usr/bin/env python3
"""Records golden.npz beside this file: what `make test`, which has no torch, holds the plugin to.

    python3 tests/parity/golden/record.py

in the environment of `make parity`, whenever samples/model changes. For eight prompts it keeps the ids, and from
float64 and from float32 transformers: four rows of two hidden states, a signed sum of every row of them, and the
pooled vectors. The float32 values are what the bounds are made of (compare.py).
"""
import hashlib
import importlib.metadata
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import CLIPTokenizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import golden_parts  # noqa: E402
import reference  # noqa: E402
import towers  # noqa: E402
from prompts import PROMPTS  # noqa: E402

MODEL = towers.ROOT / "samples" / "model"
CHOSEN = (0, 3, 4, 6, 9, 14, 19, 23)


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    texts = [PROMPTS[index] for index in CHOSEN]
    tokenizer = CLIPTokenizer.from_pretrained(MODEL)
    ids = np.array(tokenizer(texts, padding="max_length", truncation=True, max_length=77).input_ids, np.int32)
    ends = (ids == towers.SHIPPED.end_id).argmax(-1)
    kept = {"ids": ids, "ends": ends, "prompts": np.array(texts),
            "model": np.array(hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()),
            "versions": np.array(", ".join(f"{name} {importlib.metadata.version(name)}" for name in (
                "torch", "transformers", "tokenizers", "safetensors", "numpy")))}
    for kind, dtype in (("exact", torch.float64), ("torch", torch.float32)):
        results = reference.outputs(reference.load(MODEL, dtype), ids)
        for name, value in golden_parts.parts(results, ends).items():
            kept[f"{kind}/{name}"] = value
    path = pathlib.Path(__file__).with_name("golden.npz")
    np.savez_compressed(path, **kept)
    print(f"{path}: {path.stat().st_size} bytes, {kept['versions']}")


if __name__ == "__main__":
    main()
