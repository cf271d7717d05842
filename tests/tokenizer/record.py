#!/usr/bin/env python3
"""Records golden.txt: what transformers' CLIPTokenizer makes of texts, with the vocabulary of samples/model.

    python3 tests/tokenizer/record.py

Needs transformers and tokenizers in the versions below. Record again when the shipped vocabulary changes; the file
knows which one it was made with. A line is one of

    reference NAME VERSION NAME VERSION
    vocabulary HASH                  FNV-1a of vocab.json, then merges.txt
    section NAME KIND                KIND: "json" opens the shipped tokenizer.json, "pair" vocab.json and merges.txt
    file NAME TEXT                   a file beside them, TEXT as JSON without line breaks
    ids START END PAD
    text HEX IDS                     UTF-8 bytes of the text ("-" for none), ids of its body
    frame HEX IDS                    the same, framed in 12 ids
    block INDEX HASH                 FNV-1a of the ids (4 bytes each, little-endian) of "a" + c + "b" for the 4096 code
                                     points from INDEX * 4096 on, surrogates left out
"""

import json
import pathlib
import shutil
import sys
import tempfile

import tokenizers
import transformers
from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent.parent / "samples" / "model"
VERSIONS = {"transformers": "5.23.0", "tokenizers": "0.23.3"}
START, END = "<|startoftext|>", "<|endoftext|>"

sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import corpus  # noqa: E402


def token(content, **flags):
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False, **flags}


def typed(content, **flags):
    return {"__type": "AddedToken", **token(content, **flags)}


def sections(first_free):
    """name, kind, files beside the vocabulary, makers of texts, how many texts."""
    plain = [corpus.prompt, corpus.contractions, corpus.specials, corpus.spaces, corpus.stack, corpus.mixture]
    strict = [corpus.specials, corpus.spaces, strange]
    start, end = first_free - 2, first_free - 1
    beside = {path.name: json.loads(path.read_text()) for path in sorted(MODEL.glob("*.json"))
              if path.name in ("tokenizer_config.json", "special_tokens_map.json")}
    yield "as shipped", "json", beside, None, 1500
    yield "tokenizer.json alone", "json", {}, strict, 50  # "!" is still cut out, but does not pad any more
    yield "bare", "pair", {}, plain, 300
    # the first tokenizer of SDXL, written by transformers 4: its pad_token takes <|endoftext|> out of clean text
    yield "sdxl tokenizer", "pair", {
        "special_tokens_map.json": {"bos_token": token(START), "eos_token": token(END), "pad_token": END,
                                    "unk_token": token(END)},
        "tokenizer_config.json": {"add_prefix_space": False, "bos_token": typed(START), "do_lower_case": True,
                                  "eos_token": typed(END), "errors": "replace", "model_max_length": 77,
                                  "pad_token": END,
                                  "tokenizer_class": "CLIPTokenizer", "unk_token": typed(END)}}, strict, 200
    yield "sdxl tokenizer_2", "pair", {
        "special_tokens_map.json": {"bos_token": token(START), "eos_token": token(END), "pad_token": "!",
                                    "unk_token": token(END)},
        "tokenizer_config.json": {"added_tokens_decoder": {"0": token("!", normalized=False, special=True),
                                                           str(start): token(START, special=True),
                                                           str(end): token(END, special=True)},
                                  "bos_token": START, "eos_token": END, "model_max_length": 77, "pad_token": "!",
                                  "tokenizer_class": "CLIPTokenizer", "unk_token": END}}, strict, 200
    # every flag of an added token; start and end spelt otherwise, so that the pattern meets the usual spelling
    yield "flags", "pair", {
        "special_tokens_map.json": {"bos_token": "$", "eos_token": "~", "pad_token": "<pad>", "unk_token": END},
        "added_tokens.json": {"New York": first_free, "\u00c9a": first_free + 1, "zz": first_free + 2},
        "tokenizer_config.json": {"extra_special_tokens": [typed("Q", single_word=True, normalized=False),
                                                           typed(";", lstrip=True, normalized=False),
                                                           typed(":", rstrip=True, normalized=False),
                                                           typed("w", single_word=True, lstrip=True, rstrip=True)]}
    }, [strange, strange, corpus.specials, corpus.spaces], 500
    yield "listed", "json", {
        "tokenizer_config.json": {
            "added_tokens_decoder": {str(end): token(END, lstrip=True, rstrip=True, special=True)},
            "pad_token": "!", "additional_special_tokens": ["<pad>"]}}, strict, 100


def strange(source):
    """What flags of added tokens make a difference for."""
    pool = ["New York", "new  york", "NEW\nYORK", "\u00c9A", "E\u0301a", "zz", "ZZ", "Q", ";", ":", "w", "W", "<pad>",
            "$", "~", "!", START, END, END.upper(), END + "!!", "'s", " ", "  ", "\t", "\u00a0", "\u3000", "_", "1",
            "\u0301", "\u200d", "a", "\u00e9", "\u4e00", "\U0001d400", "."]
    return "".join(source.several(1, 7, lambda: source.among(pool)))


def fnv(data, value=0xCBF29CE484222325):
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def blocks(encode):
    for index in range(0x110000 // 4096):
        points = [c for c in range(index * 4096, index * 4096 + 4096) if not 0xD800 <= c < 0xE000]
        value = 0xCBF29CE484222325
        for ids in encode([f"a{chr(c)}b" for c in points]) if points else []:
            value = fnv(b"".join(i.to_bytes(4, "little") for i in ids), value)
        yield f"block {index} {value:016x}"


def texts_of(makers, count):
    if makers is None:
        return [t for t in corpus.texts(count * 2, seed=1) if len(t.encode()) <= 200][:count]
    source = corpus.Source(count)
    return [t for t in (source.among(makers)(source) for _ in range(count * 2)) if len(t.encode()) <= 120][:count]


def hexed(text):
    return text.encode().hex() or "-"


def main():
    found = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    if found != VERSIONS:
        sys.exit(f"record: found {found}, expected {VERSIONS}")
    lines = ["reference " + " ".join(f"{name} {version}" for name, version in VERSIONS.items())]
    pair = [(MODEL / name).read_bytes() for name in ("vocab.json", "merges.txt")]
    lines.append(f"vocabulary {fnv(pair[1], fnv(pair[0])):016x}")
    for name, kind, files, makers, count in sections(len(json.loads(pair[0]))):
        with tempfile.TemporaryDirectory() as directory:
            there = pathlib.Path(directory)
            for file in ("tokenizer.json",) if kind == "json" else ("vocab.json", "merges.txt"):
                shutil.copy(MODEL / file, there)
            lines.append(f"section {name.replace(' ', '_')} {kind}")
            for file, contents in files.items():
                (there / file).write_text(json.dumps(contents))
                lines.append(f"file {file} {json.dumps(contents)}")
            tokenizer = CLIPTokenizer.from_pretrained(directory)
        lines.append(f"ids {tokenizer.bos_token_id} {tokenizer.eos_token_id} {tokenizer.pad_token_id}")
        texts = texts_of(makers, count)
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False).input_ids
            lines.append(" ".join(["text", hexed(text), *map(str, ids)]))
        for text in texts[::17]:
            ids = tokenizer(text, padding="max_length", truncation=True, max_length=12).input_ids
            lines.append(" ".join(["frame", hexed(text), *map(str, ids)]))
        if makers is None:
            lines += blocks(lambda texts: tokenizer(texts, add_special_tokens=False).input_ids)
    (HERE / "golden.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
