#!/usr/bin/env python3
"""test_corpus_command.py - protects the command line from malformed files: of every class of the corpus a few cases go
through `penult info`, `penult encode` and `penult tokenize`. A case that must fail ends with status 1 and one sentence that
has the manifest's words; none ends with a signal; nothing is written beside what was asked for.

    test_corpus_command.py PENULT MANIFEST EVERY      every EVERY-th case of each class
"""
import collections
import pathlib
import subprocess
import sys
import tempfile


def run(*words, stdin=None):
    return subprocess.run([str(word) for word in words], stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)


def trouble(done, status, words):
    """What is wrong with a run, or None."""
    wanted = 0 if status == "OK" else 1
    first = done.stderr.decode("utf-8", "replace").split("\n")[0]
    if done.returncode != wanted:
        return f"exit status {done.returncode}, expected {wanted}: {first}"
    if wanted and (done.stdout or not first.startswith("penult: ")):
        return f"stdout {done.stdout[:80]!r}, stderr {first!r}"
    missing = [word for word in words if word not in first] if wanted else []
    return f"{missing} not in {first!r}" if missing else None


def commands(penult, root, fields, folder):
    """(command, words that its sentence must have) for a case."""
    _group, _name, kind, path, status, _bits, claimed, _body, _cut, *words = fields
    if kind == "model":
        yield "info", run(penult, "info", root / path), words
        # a model that opened without a tokenizer cannot take text
        if status != "OK" or (root / path / "vocab.json").exists():
            yield "encode", run(penult, "encode", root / path, "hello", "--out", folder / "o.npy"), words
    # the command takes a prompt a line, so a text that is not one line is another matter
    elif kind == "text" and claimed == "-" and (root / path).stat().st_size and b"\n" not in (root / path).read_bytes():
        with open(root / path, "rb") as text:
            yield "tokenize", run(penult, "tokenize", root / "base", "-", stdin=text), words


def main(penult, manifest, every):
    manifest, groups, failed = pathlib.Path(manifest), collections.OrderedDict(), 0
    for line in manifest.read_text(encoding="utf-8").splitlines():
        groups.setdefault(line.split("\t")[0], []).append(line.split("\t"))
    for number, (group, cases) in enumerate(groups.items(), 1):
        wrong, ran = [], 0
        for fields in cases[::int(every)]:
            with tempfile.TemporaryDirectory(prefix="penult-corpus-") as folder:
                for command, done, words in commands(penult, manifest.parent, fields, pathlib.Path(folder)):
                    ran += 1
                    problem = trouble(done, fields[4], words)
                    if problem:
                        wrong.append(f"{command} {fields[0]}-{fields[1]}: {problem}")
                left = [path.name for path in pathlib.Path(folder).iterdir()]
                if fields[4] != "OK" and left:
                    wrong.append(f"{fields[0]}-{fields[1]}: {left} stays after a failure")
        failed += bool(wrong)
        for text in wrong[:10]:
            print("# " + text[:1000])
        print(f"{'not ' if wrong else ''}ok {number} - {group}: {ran} runs of the command", flush=True)
    print(f"1..{len(groups)}")
    return failed > 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
