#!/usr/bin/env python3
"""test_headers.py - protects the reading of safetensors headers from what its author believed: a second reader, written
from the format's description alone (oracle.py), must agree with the engine's on every generated header, which it accepts
and what it then says of each tensor.

    test_headers.py READ_HEADERS COUNT [REFERENCE_PYTHON]

With an interpreter that has the safetensors package, that reads a tenth of them as well; where it differs, the difference
must be one that oracle.py names.
"""
import collections
import concurrent.futures
import os
import pathlib
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import headers  # noqa: E402
import oracle  # noqa: E402

BATCH = 2000
STATUS = {0: "OK", 5: "FORMAT", 6: "TRUNCATED", 7: "TRAILING"}
READABLE = 1 << 20  # the reference wants the data too

# Why the engine refuses what the reference takes: the words of oracle.py's refusal -> what is different, and why.
STRICTER = {
    "a key twice": "a name or __metadata__ twice: the format's README disallows it, the reference keeps one",
    "has not each of its fields once": "a field of an entry twice",
    "more than 8": "more than 8 numbers in a shape",
    "2^63": "a number of 2^63 or more in a shape that a zero makes empty",
    "nested deeper": "nested deeper than 32",
    "__metadata__": "__metadata__ is null",
}
# Why the reference refuses what the engine takes: what is seen in the header -> the difference.
LOOSER = {
    b"1e999": "a number beyond a double in a field that nobody reads", b"1E400": "the same", b"9" * 309: "the same",
    b"[" * 28: "nested deeper than its reader goes", b'{"a":' * 28: "the same",
}


def answers(program, cases):
    """What the C program says of each: (status, bytes)."""
    sent = b"".join(struct.pack("<IQ", len(text), data) + text for text, data in cases)
    done = subprocess.run([program], input=sent, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{program} ended with status {done.returncode}")
    at, out = 0, done.stdout
    for _case in cases:
        status, size = struct.unpack_from("<BI", out, at)
        yield STATUS.get(status, str(status)), out[at + 5:at + 5 + size]
        at += 5 + size
    if at != len(out):
        raise SystemExit(f"{program} gave {len(out)} bytes, expected {at}")


def spell(tensors):
    """The tensors in the C program's bytes."""
    out = b""
    for name, dtype, shape, offsets in tensors:
        name = name.encode()
        out += struct.pack("<I", len(name)) + name + dtype.encode() + b"\0" + bytes([len(shape)])
        out += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<2Q", *offsets)
    return out


def compare(program, seed):
    """(counts of verdicts, disagreements as text, the oracle's verdicts and reasons)."""
    cases = list(headers.batch(seed, BATCH))
    counts, wrong, verdicts = collections.Counter(), [], []
    for (text, data), (status, said) in zip(cases, answers(program, cases)):
        verdict, tensors, why = oracle.read(text, data)
        counts[verdict] += 1
        verdicts.append((verdict, why))
        same = status != "OK" if verdict == "FORMAT" else status == verdict
        if not same or (verdict == "OK" and said != spell(tensors)) or (status != "OK" and not said):
            wrong.append(f"seed {seed}: {text!r} and {data} bytes: {status} {said!r}, expected {verdict}: {why}")
    return counts, wrong, verdicts


def reference_says(seed):
    """Run by the reference's interpreter: a byte a header, A accepted, R refused, - not asked."""
    from safetensors import SafetensorError, deserialize

    out = b""
    for text, data in headers.batch(seed, BATCH):
        if data > READABLE:
            out += b"-"
            continue
        try:
            deserialize(struct.pack("<Q", len(text)) + text + bytes(data))
            out += b"A"
        except SafetensorError:
            out += b"R"
    return out


def compare_with_reference(python, seed, verdicts):
    """(counts of named differences, differences without a name)."""
    said = subprocess.run([python, __file__, "--reference", str(seed)], stdout=subprocess.PIPE, check=True).stdout
    named, unnamed = collections.Counter(), []
    for answer, (verdict, why), (text, data) in zip(said.decode(), verdicts, headers.batch(seed, BATCH)):
        named["asked"] += answer != "-"
        if answer == "-" or (answer == "A") == (verdict == "OK"):
            continue
        table = {words: text for words, text in STRICTER.items() if words in why} if answer == "A" else \
            {words: LOOSER[words] for words in LOOSER if words in text}
        if table:
            named[next(iter(table.values()))] += 1
        else:
            unnamed.append(f"seed {seed}: {text!r} and {data} bytes: the reference {answer}, here {verdict}: {why}")
    return named, unnamed


def run(arguments):
    program, seed, python = arguments
    counts, wrong, verdicts = compare(program, seed)
    named, unnamed = compare_with_reference(python, seed, verdicts) if python and seed % 10 == 0 else ({}, [])
    return counts, wrong, named, unnamed


def main(program, count, python=None):
    batches = max(1, int(count) // BATCH)
    totals, named, wrong, unnamed = collections.Counter(), collections.Counter(), [], []
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for one in pool.map(run, ((program, seed, python) for seed in range(batches))):
            totals += one[0]
            wrong += one[1]
            named += collections.Counter(one[2])
            unnamed += one[3]
    for line in (wrong + unnamed)[:20]:
        print("# " + line[:2000])
    total = sum(totals.values())
    print(f"{'not ' if wrong else ''}ok 1 - {total} headers read twice: {len(wrong)} disagreements; "
          + ", ".join(f"{verdict} {totals[verdict]}" for verdict in sorted(totals)))
    # a generator whose headers are all refused, or all accepted, compares nothing
    poor = [verdict for verdict in STATUS.values() if totals[verdict] < total // 400]
    print(f"{'not ' if poor else ''}ok 2 - each verdict is met {poor or ''}")
    if python:
        print(f"{'not ' if unnamed else ''}ok 3 - safetensors read {named.pop('asked', 0)} of them: {len(unnamed)} differences "
              f"without a name, {sum(named.values())} with one")
        for name, seen in named.most_common():
            print(f"#   {seen:6} {name}")
    else:
        print("ok 3 - the safetensors package # SKIP no REFERENCE_PYTHON was given")
    print("1..3")
    return 1 if wrong or unnamed or poor else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reference"]:
        sys.stdout.buffer.write(reference_says(int(sys.argv[2])))
    elif len(sys.argv) in (3, 4):
        sys.exit(main(*sys.argv[1:]))
    else:
        sys.exit(__doc__)
