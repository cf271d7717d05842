"""harness.py - runs build/penult and reads what it writes. Owns the list of cases and the readers of the three formats,
written from the formats' descriptions (NumPy reads .npy and .npz, so that we agree with it and not with ourselves)."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / os.environ.get("B", "build")
PENULT = BUILD / "penult"
MODEL = ROOT / "samples" / "model"
PROMPT = "a photo of an astronaut riding a horse"
CASES = []


class Run:
    """A finished run: status (negative: the signal), out and err as bytes."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def json(self):
        return json.loads(self.out.decode("utf-8"))


def penult(*arguments, stdin=b"", command=PENULT, **options):
    done = subprocess.run([os.fspath(command), *map(as_argument, arguments)], input=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=300, **options)
    return Run(done.returncode, done.stdout, done.stderr)


def as_argument(value):
    return value if isinstance(value, bytes) else os.fspath(value) if isinstance(value, Path) else str(value)


def encode(*arguments, **options):
    """A run of encode that must succeed."""
    run = penult("encode", MODEL, *arguments, **options)
    equal(run.status, 0, run.err)
    return run


def case(function):
    """A test: its docstring is its name and says what it protects. It gets an empty directory."""
    CASES.append(function)
    return function


def equal(found, expected, note=""):
    if found != expected:
        raise AssertionError(f"found {found!r}, expected {expected!r} {note!r}")


def true(condition, note=""):
    if not condition:
        raise AssertionError(f"not true: {note!r}")


def same(found, expected):
    """Bits, shape and dtype."""
    equal((found.shape, found.dtype), (expected.shape, expected.dtype))
    true(found.tobytes() == expected.tobytes(), "the bits differ")


def fails(run, status, *words):
    """Nothing on stdout; stderr begins with one sentence that holds these words."""
    equal((run.status, run.out), (status, b""), run.err)
    first = run.err.decode("utf-8", "replace").split("\n")[0]
    true(first.startswith("penult: "), run.err)
    for word in words:
        true(word in first, f"{word} in {first}")


def read_safetensors(path):
    """name -> array, and the metadata. bf16 comes as uint16. Checks what the format promises of the layout."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    equal(length % 8, 0)
    header = json.loads(data[8:8 + length].decode("utf-8"))
    metadata, tensors, end = header.pop("__metadata__", {}), {}, 0
    kinds = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I32": "<i4"}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        equal(begin, end, "a gap or an overlap")
        end, kind = stop, np.dtype(kinds[entry["dtype"]])
        equal(begin % kind.itemsize, 0, "out of alignment")
        equal(stop - begin, int(np.prod(entry["shape"])) * kind.itemsize)
        tensors[name] = np.frombuffer(data[8 + length + begin:8 + length + stop], kind).reshape(entry["shape"])
    equal(8 + length + end, len(data), "bytes after the end")
    return tensors, metadata


def bf16(array):
    """float32 to bfloat16 as uint16, to nearest, ties to even."""
    bits = array.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def main():
    failed = 0
    only = sys.argv[1:]
    chosen = [each for each in CASES if not only or each.__name__ in only]
    for number, each in enumerate(chosen, 1):
        name = " ".join(each.__doc__.split())
        try:
            with tempfile.TemporaryDirectory() as folder:
                each(Path(folder))
            print(f"ok {number} - {name}", flush=True)
        except Exception as error:  # noqa: BLE001 - a broken case is a failed one
            failed += 1
            print(f"not ok {number} - {name}")
            story = f"{each.__name__}: {error}"[:2000] + "\n" + "\n".join(traceback.format_exc(-3).splitlines()[:8])
            print("# " + story.replace("\n", "\n# "), flush=True)
    print(f"1..{len(chosen)}")
    return 1 if failed or not chosen else 0
