"""CLIP's own vocabulary, which is not in the repository: fetched from PyPI's open_clip_torch, checked, and written as
transformers writes it.

Owns where the vocabulary comes from and how ids follow from its merges (as OpenAI's clip/simple_tokenizer.py has it).
The package is downloaded and never installed or run.
"""
import gzip
import hashlib
import json
import pathlib
import subprocess
import sys
import zipfile

from transformers import CLIPTokenizer

import towers  # noqa: F401 - puts samples/model on the path
import vocabulary

PACKAGE = "open_clip_torch==3.3.0"
MEMBER = "open_clip/bpe_simple_vocab_16e6.txt.gz"
SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES = 49152 - 256 - 2  # of the 262,144 in the file


def fetch(directory):
    """The unpacked text of the merges file; kept in `directory`."""
    kept = pathlib.Path(directory) / pathlib.Path(MEMBER).name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        if subprocess.run([*pip, "--dest", str(directory), PACKAGE], check=False).returncode != 0:
            raise SystemExit(f"pip could not download {PACKAGE}, which holds CLIP's vocabulary")
        [wheel] = pathlib.Path(directory).glob("open_clip_torch-*.whl")
        kept.write_bytes(zipfile.ZipFile(wheel).read(MEMBER))
        wheel.unlink()
    found = hashlib.sha256(kept.read_bytes()).hexdigest()
    if found != SHA256:
        kept.unlink()
        raise SystemExit(f"{MEMBER} of {PACKAGE} has the SHA-256 {found}, expected {SHA256}")
    return gzip.decompress(kept.read_bytes()).decode("utf-8")


def build(text):
    """({token: id}, [(left, right), ...])"""
    merges = [tuple(line.split()) for line in text.split("\n")[1:MERGES + 1]]
    symbols = vocabulary.byte_symbols()
    tokens = symbols + [symbol + vocabulary.SUFFIX for symbol in symbols]
    tokens += [left + right for left, right in merges] + [vocabulary.START, vocabulary.END]
    return {token: index for index, token in enumerate(tokens)}, merges


def write_compact(directory):
    """Writes clip.vocab and returns its path."""
    directory = pathlib.Path(directory)
    fetch(directory)
    out = directory / "clip.vocab"
    maker = towers.ROOT / "encoder" / "format" / "make_vocabulary.py"
    subprocess.run([sys.executable, str(maker), str(out), str(directory / pathlib.Path(MEMBER).name)], check=True,
                   stdout=subprocess.DEVNULL)
    return out


def write(directory, pad_token=vocabulary.END):
    """Writes two directories and returns them: `transformers 5`, holding tokenizer.json, and `transformers 4`, holding
    vocab.json and merges.txt."""
    directory = pathlib.Path(directory)
    name = "pad-end" if pad_token == vocabulary.END else "pad-bang"
    tokens, merges = build(fetch(directory))
    new, old = directory / name / "5", directory / name / "4"
    special = dict(bos_token=vocabulary.START, eos_token=vocabulary.END, unk_token=vocabulary.END, pad_token=pad_token)
    CLIPTokenizer(vocab=tokens, merges=merges, model_max_length=77, **special).save_pretrained(new)
    old.mkdir(parents=True, exist_ok=True)
    (old / "vocab.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
    (old / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8")
    (old / "tokenizer_config.json").write_text((new / "tokenizer_config.json").read_text())
    return new, old
