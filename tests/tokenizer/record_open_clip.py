#!/usr/bin/env python3
"""Records golden_open_clip.txt: what open_clip's SimpleTokenizer makes of texts, with the merges of samples/model and with
ftfy's repair of mojibake left out.

    python3 tests/tokenizer/record_open_clip.py

Needs the packages of VERSIONS and a Python whose Unicode is the one there. Lines as in record.py: reference, vocabulary, ids,
text, frame, block.
"""
import pathlib
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent.parent / "samples" / "model"
sys.path.insert(0, str(HERE))
import corpus  # noqa: E402
import open_clip_reference  # noqa: E402

VERSIONS = open_clip_reference.VERSIONS


def fnv(data, value=0xCBF29CE484222325):
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def hexed(text):
    return text.encode().hex() or "-"


def blocks(encode):
    for index in range(0x110000 // 4096):
        value = 0xCBF29CE484222325
        for c in range(index * 4096, index * 4096 + 4096):
            if not 0xD800 <= c < 0xE000:
                value = fnv(b"".join(i.to_bytes(4, "little") for i in encode(f"a{chr(c)}b")), value)
        yield f"block {index} {value:016x}"


def texts():
    yield from (t for t in corpus.texts(1200, seed=3) if len(t.encode()) <= 200)
    source = corpus.Source(11)
    for _ in range(2500):
        text = corpus.entities(source)
        if len(text.encode()) <= 240:
            yield text


def main():
    if open_clip_reference.found() != VERSIONS:
        sys.exit(f"record_open_clip: found {open_clip_reference.found()}, expected {VERSIONS}")
    pair = [(MODEL / name).read_bytes() for name in ("vocab.json", "merges.txt")]
    tokenizer = open_clip_reference.tokenizer(pair[1].decode("utf-8"))
    lines = ["reference " + " ".join(f"{name} {version}" for name, version in VERSIONS.items()),
             f"vocabulary {fnv(pair[1], fnv(pair[0])):016x}", "section open_clip pair",
             f"ids {tokenizer.sot_token_id} {tokenizer.eot_token_id} 0"]
    for index, text in enumerate(texts()):
        lines.append(" ".join(["text", hexed(text), *map(str, tokenizer.encode(text))]))
        if index % 17 == 0:
            lines.append(" ".join(["frame", hexed(text), *map(str, tokenizer(text, 12)[0].tolist())]))
    lines += blocks(tokenizer.encode)
    (HERE / "golden_open_clip.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
