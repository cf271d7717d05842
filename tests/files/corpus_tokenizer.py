"""corpus_tokenizer.py - classes T1, T2, T5, T8, T9, T10 and T11: vocabularies and merges that contradict themselves or each
other, and texts that no prompt should be. Knows the small tokenizer and penult.h's statuses.
"""
import small
from cases import Case, Sparse

PLAIN = small.vocabulary()
VOCAB, MERGES = "vocab.json", "merges.txt"


def vocab(group, name, tokens, status="FORMAT", *words, bits="same"):
    """In both forms: vocab.json, and tokenizer.json, which counts before it."""
    text = small.vocab_json(tokens) if isinstance(tokens, dict) else tokens.encode()
    yield Case(group, name, status, (VOCAB, *words) if status != "OK" else (), {VOCAB: text}, bits=bits)
    if isinstance(tokens, dict):
        yield Case(group, f"{name}-whole", status, words if status != "OK" else (),
                   {"tokenizer.json": small.tokenizer_json(tokens)}, bits=bits)


def edited(**changes):
    tokens = dict(PLAIN)
    for key, value in changes.items():
        tokens[key] = value
    return tokens


def without(*names):
    """Those tokens left out, and the ids above moved down."""
    return {token: index for index, token in enumerate(token for token in PLAIN if token not in names)}


def t1():
    yield from vocab("T1", "hole", {**PLAIN, small.END: 518}, "FORMAT", "found 518", "expected 0 to 517")
    yield from vocab("T1", "id-twice", edited(he=513), "FORMAT", "found the id 513", "expected it once")
    yield from vocab("T1", "id-minus-1", edited(he=-1), "FORMAT", '"he"', "found -1")
    yield from vocab("T1", "id-2p31", edited(he=2**31), "FORMAT", '"he"', f"found {2**31}")
    yield from vocab("T1", "id-2p32", edited(he=2**32 + 512), "FORMAT", '"he"', f"found {2**32 + 512}")
    yield from vocab("T1", "id-2p63", edited(he=2**63), "FORMAT", '"he"', str(2**63))
    yield from vocab("T1", "id-fraction", edited(he=512.0), "FORMAT", '"he"', "512.0")
    yield from vocab("T1", "id-text", edited(he="512"), "FORMAT", '"he"', "an integer")
    yield from vocab("T1", "id-null", edited(he=None), "FORMAT", '"he"', "an integer")
    yield from vocab("T1", "id-list", edited(he=[512]), "FORMAT", '"he"', "an integer")
    yield from vocab("T1", "empty-token", {**without("he"), "": 517}, "FORMAT", "empty token")
    yield from vocab("T1", "nothing", {}, "FORMAT", "empty vocabulary")
    text = small.vocab_json().decode()
    yield from vocab("T1", "token-twice", text.replace('"ll":', '"he":'), "FORMAT", '"he" twice')
    yield from vocab("T1", "token-twice-escaped", text.replace('"ll":', '"h\\u0065":'), "FORMAT", '"he" twice')
    # The reference adds the end token behind the vocabulary, at the id that it has anyway.
    yield Case("T1", "no-end-token", "OK", (), {VOCAB: small.vocab_json(without(small.END))}, bits="same")
    more = {**PLAIN, **{f"more{i}": 518 + i for i in range(small.ROWS - 518)}}
    yield Case("T1", "as-many-as-rows", "OK", (), {VOCAB: small.vocab_json(more)}, bits="same")
    for name, file, text in (("one-above-the-rows", VOCAB, small.vocab_json({**more, "last": small.ROWS})),
                             ("one-above-whole", "tokenizer.json", small.tokenizer_json({**more, "last": small.ROWS}))):
        yield Case("T1", name, "MISMATCH", ("tokenizer", "ids up to 600", "vocab_size is 600"), {file: text})
    huge = {**PLAIN, **{f"more{i}": 518 + i for i in range(49_409 - 518)}}
    yield Case("T1", "49409", "MISMATCH", ("ids up to 49408", "vocab_size is 600"), {VOCAB: small.vocab_json(huge)})
    million = "{" + ",".join(f'"{i}":{i}' for i in range((1 << 20) + 1)) + "}"
    yield from vocab("T1", "above-the-limit", million, "LIMIT", "more than 1048576 tokens")
    yield Case("T1", "added-id-wrong", "MISMATCH", ("added token", "found the id 7"),
               {"added_tokens.json": b'{"extra": 7}'})
    yield Case("T1", "no-vocab", "OK", (), {VOCAB: None}, bits="any")  # a model without a tokenizer takes ids


def t2():
    def merges(name, text, status="OK", *words, bits="same"):
        text = text if isinstance(text, bytes) else text.encode()
        return Case("T2", name, status, (MERGES, *words) if status != "OK" else (), {MERGES: text}, bits=bits)
    plain = small.merges_txt().decode()
    yield merges("cr-lf", plain.replace("\n", "\r\n"))
    yield merges("no-header", plain.split("\n", 1)[1])
    yield merges("two-headers", "#version: 0.1\n" + plain)
    yield merges("no-line-feed-at-the-end", plain[:-1])
    yield merges("empty", "", bits="any")
    yield merges("header-alone", "#version: 0.2\n", bits="any")
    yield merges("only-cr", plain.replace("\n", "\r"), "OK", bits="any")  # one long header line
    yield merges("not-in-vocab", plain + "h x\n", "MISMATCH", 'merge 4, "h" + "x"', "not in the vocabulary")
    yield merges("left-not-in-vocab", plain + "zz e\n", "MISMATCH", "the first is not")
    yield merges("right-not-in-vocab", plain + "h zz\n", "MISMATCH", "the second is not")
    yield Case("T2", "twice", "FORMAT", ("merge 4", "a second time"), {MERGES: (plain + "h e\n").encode()})
    yield merges("cycle", plain + "hello</w> h\n", "MISMATCH", "not in the vocabulary")
    yield merges("three", plain + "h e l\n", "FORMAT", "line 6", "two tokens")
    yield merges("one", plain + "hell\n", "FORMAT", "line 6", "two tokens")
    yield merges("blank-line", plain + "\n", "FORMAT", "line 6")
    yield merges("tab", plain + "h\te\n", "FORMAT", "line 6", "h\\x09e")
    yield merges("nul", plain + "h e\0\n", "MISMATCH", "e\\x00")
    yield merges("not-utf-8", plain.encode() + b"h \xff\n", "MISMATCH", "\\xff")
    yield merges("bom", b"\xef\xbb\xbf" + plain.encode(), "MISMATCH", "\\xef\\xbb\\xbf#version:")
    yield merges("a-line-of-a-megabyte", plain + "h " + "e" * (1 << 20) + "\n", "MISMATCH", "eee...")
    yield merges("binary", bytes(range(256)), "FORMAT", "line 1")
    yield Case("T2", "1000000", "FORMAT", ("merge 1,", "a second time"), {MERGES: b"h e\n" * 1_000_000})
    yield merges("1048577", "h e\n" * ((1 << 20) + 1), "LIMIT", "more than 1048576 merges")
    yield merges("no-space", "#version: 0.2\nhe\n", "FORMAT", "line 2")
    yield Case("T2", "above-64-MiB", "FORMAT", (MERGES, "expected at most 67108864"), {MERGES: Sparse(b"", (64 << 20) + 1)})
    for name, value, word in (("whole-string-of-three", ["h e l"], "two tokens"), ("whole-one", [["h"]], "two tokens"),
                              ("whole-three", [["h", "e", "l"]], "two tokens"), ("whole-number", [7], "two tokens"),
                              ("whole-nested", [[["h", "e"]]], "two tokens"), ("whole-object", {}, "a list")):
        model = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": PLAIN, "merges": value}
        yield Case("T2", name, "FORMAT", ("tokenizer.json", word), {"tokenizer.json": small.tokenizer_json(model=model)})


def t5():
    """Tokens that other tokenizers take for bytes are tokens like any other here."""
    for name, tokens in (("minus-1", ["<0x-1>"]), ("GG", ["<0xGG>"]), ("41", ["<0x41>"]), ("100", ["<0x100>"]),
                         ("all", [f"<0x{byte:02X}>" for byte in range(82)]), ("open", ["<0x"]),
                         ("huge", ["<0x" + "F" * 1000 + ">"])):
        more = {**PLAIN, **{token: 518 + index for index, token in enumerate(tokens)}}
        yield Case("T5", name, "OK", (), {VOCAB: small.vocab_json(more)}, bits="same")
    model = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": PLAIN, "merges": [], "byte_fallback": True}
    yield Case("T5", "byte-fallback", "UNSUPPORTED", ("tokenizer.json", "model.byte_fallback", "expected false"),
               {"tokenizer.json": small.tokenizer_json(model=model)})


def t11():
    """clip.vocab, in the place of vocab.json and merges.txt."""
    hello = ((71, 68), (75, 75), (512, 513), (514, 334))  # small.MERGES as ids

    def compact(name, contents, status="OK", *words, bits="same"):
        return Case("T11", name, status, ("clip.vocab", *words) if status != "OK" else (),
                    {VOCAB: None, MERGES: None, "clip.vocab": contents}, bits=bits)
    plain = small.clip_vocab(hello)
    yield compact("plain", plain)
    yield Case("T11", "beside-the-pair", "OK", (), {"clip.vocab": b"nobody reads this"}, bits="same")
    yield Case("T11", "vocab-json-alone", "NOT_FOUND", (MERGES,), {MERGES: None, "clip.vocab": plain})
    yield compact("empty", b"", "FORMAT", "at its beginning", "PENVOCAB")
    yield compact("json", b"{}", "FORMAT", "found \"{}\" at its beginning")
    yield compact("magic-alone", plain[:8], "TRUNCATED", "found 8 bytes", "at least 24")
    yield compact("cut", plain[:-1], "TRUNCATED", "expected 40 for its 4 merges")
    yield compact("longer", plain + b"\0", "TRAILING", "found 41 bytes")
    yield compact("damaged", plain[:20] + b"\xff" + plain[21:], "FORMAT", "checksum")
    yield compact("version-2", small.clip_vocab(hello, version=2), "UNSUPPORTED", "version 2", "make vocab")
    for count in (65_023, 2**31 - 1, 2**31, 2**32 - 1):
        yield compact(f"claims-{count}", small.clip_vocab(hello, count=count), "FORMAT", f"{count} merges")
    yield compact("claims-5", small.clip_vocab(hello, count=5), "TRUNCATED", "expected 44")
    yield compact("claims-3", small.clip_vocab(hello, count=3), "TRAILING", "expected 36")
    yield compact("forward", small.clip_vocab(((512, 0),)), "FORMAT", "merge 0", "found the id 512")
    yield compact("id-65535", small.clip_vocab((*hello, (0, 65535))), "FORMAT", "merge 4", "65535")
    yield compact("end-before", small.clip_vocab(((320, 0),)), "FORMAT", "ends a word")
    yield compact("twice", small.clip_vocab((*hello, (71, 68))), "FORMAT", "(ids 512 and 516)")
    yield compact("doubling", small.clip_vocab(((0, 0), *((512 + k, 512 + k) for k in range(40)))), "LIMIT", "128 bytes")
    more = [(left, right) for left in range(256) for right in range(512)]
    yield Case("T11", "one-above-the-rows", "MISMATCH", ("ids up to 600", "vocab_size is 600"),
               {VOCAB: None, MERGES: None, "clip.vocab": small.clip_vocab(more[:87])})
    yield compact("above-64-MiB", Sparse(plain, (64 << 20) + 1), "FORMAT", "expected at most 67108864")
    yield Case("T11", "given", "OK", (), {".": plain}, kind="tokenizer", bits="same")


def text(group, name, contents, status="OK", *words, **more):
    contents = contents.encode() if isinstance(contents, str) else contents
    return Case(group, name, status, words, {"text": contents}, kind="text",
                **{key: str(value) for key, value in more.items()})


def t8():
    for count in (0, 1, 74, 75, 76, 77, 78, 1000):
        yield text("T8", f"{count}-tokens", " ".join(["h"] * count), body=min(count, 75), cut=max(count - 75, 0))
    yield text("T8", "2p20", "h " * (1 << 19), body=75, cut=(1 << 19) - 75)
    yield text("T8", "65536", "h " * (1 << 15), body=75, cut=(1 << 15) - 75)
    yield text("T8", "65537", "h " * (1 << 15) + "h", body=75, cut=(1 << 15) - 74)
    for name, claimed in (("2p28-more", 2**28 + 1), ("INT_MAX", 2**31 - 1), ("2p31", 2**31), ("2p32", 2**32),
                          ("2p63", 2**63), ("2p64-1", 2**64 - 1)):
        yield text("T8", name, "h", "LIMIT", f"text_bytes is {claimed}", "expected at most 268435456", claimed=claimed)


def t9():
    million = 1_000_000
    for name, letter in (("a", "a"), ("l", "l"), ("digit", "7"), ("bracket", "("), ("quote", "'"), ("acute", "\u00e9"),
                         ("han", "\u4e00"), ("emoji", "\U0001f600"), ("nul", "\0"), ("exclamation", "!")):
        yield text("T9", f"million-{name}", letter * million, body=75)
    yield text("T9", "million-blanks", " " * million, body=0, cut=0)
    yield text("T9", "million-line-feeds", "\n" * million, body=0, cut=0)
    yield text("T9", "brackets", "(" * 100_000, body=75)
    yield text("T9", "weights", "(a:1e999)" * 100_000, body=75)
    yield text("T9", "nan-weights", "(a:nan)" * 100_000, body=75)
    yield text("T9", "ends", small.END * 100_000, body=75, cut=100_000 - 75)
    yield text("T9", "half-ends", "<|endoftext|" * 100_000, body=75)
    yield text("T9", "contractions", "'ll" * 100_000, body=75)
    yield text("T9", "hello", "hello" * 200_000, body=75)


MALFORMED = {
    "continuation-alone": b"\x80", "continuation-bf": b"\xbf", "overlong-2": b"\xc0\x80", "overlong-2-c1": b"\xc1\xbf",
    "overlong-3": b"\xe0\x9f\xbf", "overlong-4": b"\xf0\x8f\xbf\xbf", "surrogate": b"\xed\xa0\x80",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80", "above": b"\xf4\x90\x80\x80", "f5": b"\xf5\x80\x80\x80",
    "fe": b"\xfe", "ff": b"\xff", "cut-2": b"\xc3", "cut-3": b"\xe2\x82", "cut-4": b"\xf0\x9f\x98", "five": b"\xf8\x88\x80\x80\x80",
}


def t10():
    for name, bad in MALFORMED.items():
        yield text("T10", name, b"cat " + bad, "TEXT", "byte 4", "expected UTF-8")
        yield text("T10", f"{name}-inside", b"a photo " + bad + b"(", "TEXT", "byte 8", "expected UTF-8")
    yield text("T10", "first", b"\xffcat", "TEXT", "byte 0")
    yield text("T10", "after-a-megabyte", b"h " * (1 << 19) + b"\xff", "TEXT", f"byte {1 << 20}")
    for name, good in (("nul", "a\0b"), ("u10ffff", "\U0010ffff"), ("noncharacter", "\ufffe\uffff"),
                       ("combining", "a" + "\u0301" * 10_000), ("combining-mixed", "e" + "\u0323\u0301" * 5_000),
                       ("bidi", "\u202eevil\u202c\u2067\u05d0\u2069"), ("dotless", "\u0131\u0130I\u0307i\u0307"),
                       ("sigma", "\u039f\u03a3 \u03a3\u03c2"), ("sharp-s", "\u1e9e\u00df\ufb03"), ("zero-width", "\u200b\u200d\ufeff"),
                       ("hangul", "\u1100\u1161\u11a8" * 100), ("tags", "\U000e0041\U000e007f"), ("private", "\ue000\U000f0000"),
                       ("controls", "".join(map(chr, range(1, 32)))), ("line-separators", "\u2028\u2029\u0085\u00a0")):
        yield text("T10", name, good)


def cases():
    for group in (t1, t2, t5, t8, t9, t10, t11):
        yield from group()
