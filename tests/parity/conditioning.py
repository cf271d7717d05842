"""conditioning.py - protects the conditioning file's promise that the safetensors package reads it: in the reference environment,
samples/read_conditioning.py opens what `penult condition` wrote, and what the package writes of that again is, to
`penult condition --check`, the same file. TAP on stdout.

    conditioning.py PENULT WORK
"""
import pathlib
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "samples"))
import read_conditioning  # noqa: E402

MODEL = ROOT / "samples" / "model"
TOWERS = ["-m", f"clip_l={MODEL}", "-m", f"clip_g={MODEL}"]
PROMPT = "a (caf\u00e9:1.25), \"\u732b\" and \\ " + "horse " * 80
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def run(penult, *words):
    return subprocess.run([penult, "condition", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def trouble(penult, dtype, work):
    """What is wrong, or None."""
    path, again = work / f"{dtype}.safetensors", work / f"{dtype}.again.safetensors"
    made = run(penult, "sdxl@a1111", *TOWERS, PROMPT, "--negative", "ugly", "--dtype", dtype, "--quiet", "--out", path)
    if made.returncode != 0:
        return made.stdout
    tensors, manifest = read_conditioning.read(path, framework="pt")
    if {name: list(tensor.shape) for name, tensor in tensors.items()} != manifest["tensors"] or len(tensors) != 8:
        return f"{ {name: tensor.shape for name, tensor in tensors.items()} }, and the manifest {manifest['tensors']}"
    if any(tensor.dtype != DTYPES[dtype] or not torch.isfinite(tensor).all() for tensor in tensors.values()):
        return "another type, or a value that is not finite"
    shown = list(read_conditioning.tokens(manifest))
    if manifest["prompt"] != PROMPT or {weight for *_, weight, _, _ in shown} != {1, 1.25} or {chunk for *_, chunk, _ in shown} != {0, 1}:
        return f"{manifest['prompt']!r}, {shown}"
    with read_conditioning.safe_open(path, framework="pt") as file:
        save_file(load_file(path), again, metadata=file.metadata())
    for one in (path, again):
        checked = run(penult, "--check", one, *TOWERS)
        if checked.returncode != 0 or "the same bits" not in checked.stdout:
            return checked.stdout
    return None


def main(penult, work):
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    failed = 0
    for number, dtype in enumerate(DTYPES, 1):
        problem = trouble(penult, dtype, work)
        failed += problem is not None
        print(f"{'ok' if problem is None else 'not ok'} {number} - a conditioning file in {dtype}, through the safetensors package and back")
        if problem is not None:
            print("# " + problem.replace("\n", "\n# "))
    print(f"1..{len(DTYPES)}")
    print(f"{len(DTYPES) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
