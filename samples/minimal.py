#!/usr/bin/env python3
"""minimal.py - the smallest host in Python. Needs NumPy.

    python3 samples/minimal.py samples/model "a photo of a cat"
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "api"))
import penult


def main() -> int:
    if len(sys.argv) < 3:
        print("usage: minimal.py MODEL PROMPT...", file=sys.stderr)
        return 2
    prompts = sys.argv[2:]
    try:
        with penult.Model(sys.argv[1]) as model, penult.Session(model, max_prompts=len(prompts)) as session:
            encoded = session.encode(prompts)
    except penult.PenultError as error:
        print(error, file=sys.stderr)
        return 1
    for name, array in [("hidden state -2", encoded.hidden[-2]), *encoded.pooled.items()]:
        print(f"{name}: {' x '.join(map(str, array.shape))}")
        print(*(f"{value:g}" for value in array.ravel()[:4]), "...")
    return 0


sys.exit(main())
