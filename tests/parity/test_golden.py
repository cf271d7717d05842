#!/usr/bin/env python3
"""Holds the plugin to golden/golden.npz, in TAP. Needs NumPy and no torch.

    test_golden.py [PLUGIN [MODEL]]

Protects: that the shipped model still gives transformers' ids, hidden states and pooled vectors, within the bounds of
the parity run (compare.py), on any machine that can build the plugin.
"""
import hashlib
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import compare  # noqa: E402
import golden_parts  # noqa: E402
from plugin import encode, penult  # noqa: E402

ROOT = HERE.parents[1]


def main():
    plugin = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build" / "penult.so")
    model_path = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "samples" / "model")
    golden = np.load(HERE / "golden" / "golden.npz")
    texts = [str(text) for text in golden["prompts"]]
    results = [recorded_for(golden, model_path)]
    with penult.Model(model_path, library=penult.Library(plugin)) as model, \
            penult.Session(model, max_prompts=len(texts)) as session:
        found = np.stack([model.tokenize(text).ids for text in texts])
        results.append(("ids of the prompts", np.array_equal(found, golden["ids"]),
                        f"row {np.argmax((found != golden['ids']).any(-1))} differs"))
        names = [*golden_parts.HIDDEN, *golden_parts.POOLED]
        together = encode(session, texts, names)
        results += judge(golden, together, "in a batch")
        alone = [encode(session, [text], names) for text in texts]
        alone = {name: np.concatenate([each[name] for each in alone]) for name in names}
        results += judge(golden, alone, "one by one")
        # The bounds must be able to fail: rounding every value to float16 is an error they have to see.
        halves = {name: value.astype(np.float16).astype(np.float32) for name, value in together.items()}
        seen = [not passed for _, passed, _ in judge(golden, halves, "")]
        results.append(("the bounds notice half precision", all(seen), f"{seen.count(False)} of {len(seen)} do not"))

    print(f"1..{len(results)}")
    for number, (name, passed, detail) in enumerate(results, 1):
        print(f"{'ok' if passed else 'not ok'} {number} - golden: {name}")
        if not passed:
            print(f"# {detail}")
    return 0 if all(passed for _, passed, _ in results) else 1


def recorded_for(golden, model_path):
    found = hashlib.sha256((model_path / "model.safetensors").read_bytes()).hexdigest()
    return ("recorded for this model", found == str(golden["model"]),
            f"{model_path} has the SHA-256 {found}, golden.npz is of {golden['model']}: run golden/record.py")


def judge(golden, outputs, how):
    ours = golden_parts.parts(outputs, golden["ends"])
    exact, torch = ({name: golden[f"{kind}/{name}"] for name in ours} for kind in ("exact", "torch"))
    labels = [str(index) for index in range(len(golden["ends"]))]
    return [(f"{line.output} {how}".strip(), line.passed,
             f"rms error {line.rms_ours:.2e}, torch {line.rms_torch:.2e}, bound {compare.RMS_BOUND} times; largest "
             f"{line.max_ours:.2e}, torch {line.max_torch:.2e}, bound {compare.MAX_BOUND} times; worst in prompt "
             f"{line.worst}")
            for line in compare.lines("shipped", "f16", exact, torch, ours, labels)]


if __name__ == "__main__":
    sys.exit(main())
