"""corpus_json.py - classes J1 to J5 and C1 to C3: JSON that is broken, odd or of another type, in config.json first of
all and in the tokenizer's files where the reader around the JSON differs. Knows the small model and penult.h's statuses.
"""
import json

import small
from cases import Case

FILE = "config.json"
PLAIN = small.config()
COUNTS = {"hidden_size": 16384, "num_hidden_layers": 256, "num_attention_heads": 1024, "intermediate_size": 131072,
          "max_position_embeddings": 4096, "vocab_size": 4194304, "projection_dim": 16384}


def case(group, name, text, status="FORMAT", *words, **more):
    text = text if isinstance(text, bytes) else text.encode()
    return Case(group, name, status, (FILE, *words) if status != "OK" else (), {FILE: text}, **more)


def tokenizer(group, name, file, text, status="FORMAT", *words):
    """The same as the tokenizer's `file`; a tokenizer.json counts before the other two."""
    return Case(group, name, status, (file, *words) if status != "OK" else (), {file: text})


def with_key(key, text):
    """config.json with this key's value replaced by, or joined by, raw text."""
    values = {name: json.dumps(value) for name, value in small.CONFIG.items()}
    values[key] = text
    return "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"


def j1():
    for at in (0, 1, 2, 20, 47, 90, 130, len(PLAIN) // 2, len(PLAIN) - 30, len(PLAIN) - 3, len(PLAIN) - 2, len(PLAIN) - 1):
        yield case("J1", f"config-{at}", PLAIN[:at], "FORMAT", f"JSON ends at byte {at}")
    for file, text in (("vocab.json", small.vocab_json()), ("tokenizer.json", small.tokenizer_json()),
                       ("tokenizer_config.json", b'{"tokenizer_class": "CLIPTokenizer"}'),
                       ("special_tokens_map.json", b'{"eos_token": "<|endoftext|>"}'),
                       ("added_tokens.json", b'{"<|endoftext|>": 517}')):
        for at in (0, 1, len(text) // 2, len(text) - 1):
            yield tokenizer("J1", f"{file}-{at}", file, text[:at], "FORMAT", "JSON ends at byte")


def j2():
    def deep(levels, left="[", right="]"):
        return with_key("x", left * levels + ("" if left == "[" else "1") + right * levels)
    for depth in (30, 31):  # the object around them is one more
        yield case("J2", f"{depth + 1}-levels", deep(depth), "OK")
    for depth in (32, 999, 99_999):
        yield case("J2", f"{depth + 1}-levels", deep(depth), "FORMAT", "nested deeper than 32 levels")
    yield case("J2", "32-objects", deep(31, '{"a":', "}"), "OK")
    yield case("J2", "33-objects", deep(32, '{"a":', "}"), "FORMAT", "nested deeper than 32 levels")
    yield case("J2", "100000-objects", deep(99_999, '{"a":', "}"), "FORMAT", "nested deeper than 32 levels")
    yield case("J2", "never-closed", "[" * 500_000, "FORMAT", "the file: found an array")
    yield case("J2", "mixed", with_key("x", '[{"a":' * 20 + "1" + "}]" * 20), "FORMAT", "nested deeper")
    yield case("J2", "wrong-closing", with_key("x", "[[1}]"), "FORMAT", "a comma or ]")
    text = b'{"x": ' + b"[" * 100_000
    for file in ("vocab.json", "tokenizer.json", "tokenizer_config.json"):
        yield tokenizer("J2", f"{file}-100000", file, text)


def j3():
    for name, text, *words in (
            ("leading-zero", "01", "without leading zeros"), ("minus-leading-zero", "-01", "without leading zeros"),
            ("1e999", "1e999", "layer_norm_eps", "a double"), ("400-digits", "9" * 400, "layer_norm_eps", "a double"),
            ("NaN", "NaN", "a value"), ("Infinity", "Infinity", "a value"), ("minus-Infinity", "-Infinity", "a digit"),
            ("hexadecimal", "0x10", "a comma"), ("plus", "+1", "a value"), ("no-digit", "-", "a digit"),
            ("point-first", ".5", "a value"), ("point-last", "1.", "a digit"), ("exponent-empty", "1e", "a digit"),
            ("exponent-sign", "1e+", "a digit"), ("two-points", "1.5.5", "a comma"), ("underscore", "1_0", "a comma"),
            ("comma", "0,00001", "a key in quotes"), ("full-width", "\uff11", "a value"), ("capital", "TRUE", "a value")):
        yield case("J3", name, with_key("layer_norm_eps", text), "FORMAT", *words)
    for name, text in (("minus-zero", "-0"), ("minus-zero-point", "-0.0"), ("1e-999", "1e-999"), ("one", "1"),
                       ("zeros", "0." + "0" * 400 + "1"), ("minus", "-1e-5"), ("1e308", "1e308")):
        yield case("J3", name, with_key("layer_norm_eps", text), "UNSUPPORTED", "layer_norm_eps", "(0, 1)")
    for name, text in (("digits", "0.0000100000000000000000000000000"), ("400-zeros", "0.00001" + "0" * 400),
                       ("shifted", "1" + "0" * 300 + "e-305"), ("E", "1E-05"), ("long-exponent", "1e-" + "0" * 50 + "5")):
        yield case("J3", name, with_key("layer_norm_eps", text), "OK")
    for name, text in (("count-fraction", "4.0"), ("count-exponent", "4e0"), ("count-400-digits", "4" * 400)):
        yield case("J3", name, with_key("hidden_size", text), "FORMAT", "hidden_size", "an integer")
    for name, text in (("ignored-1e999", "1e999"), ("ignored-400-digits", "9" * 400), ("ignored-minus-zero", "-0")):
        yield case("J3", name, with_key("x", text), "OK")
    yield case("J3", "ignored-NaN", with_key("x", "NaN"), "FORMAT", "a value")


def j4():
    for name, text in (("lone-high", rb"\ud800"), ("lone-low", rb"\udc00"), ("swapped", rb"\udc00\ud800"),
                       ("high-and-letter", rb"\ud800x"), ("high-and-high", rb"\ud800\ud800"), ("half-escape", rb"\u12"),
                       ("no-hex", rb"\u00zz"), ("unknown-escape", rb"\x41"), ("octal", rb"\0")):
        yield case("J4", name, with_key("x", '"@"').encode().replace(b"@", text), "FORMAT", "JSON at byte",
                   "an escape of JSON")
    for name, text in (("overlong-2", b"\xc1\xbf"), ("overlong-3", b"\xe0\x80\xaf"), ("overlong-4", b"\xf0\x80\x80\x80"),
                       ("surrogate", b"\xed\xbf\xbf"), ("above", b"\xf4\x90\x80\x80"), ("ff", b"\xff"), ("fe", b"\xfe"),
                       ("continuation", b"\x80"), ("cut", b"\xe2\x82"), ("latin-1", b"caf\xe9")):
        yield case("J4", name, with_key("x", '"@"').encode().replace(b"@", text), "FORMAT", "JSON at byte", "valid UTF-8")
    for name, text in (("tab", b"\t"), ("line-feed", b"\n"), ("nul", b"\0"), ("escape", b"\x1b[2J"), ("1f", b"\x1f")):
        yield case("J4", name, with_key("x", '"@"').encode().replace(b"@", text), "FORMAT", "JSON at byte",
                   "no control character")
    yield case("J4", "in-a-key", b'{"\xff": 1}', "FORMAT", "valid UTF-8")
    yield case("J4", "outside", b'{\xff"a": 1}', "FORMAT", "\\xff", "a key in quotes")
    yield case("J4", "bom", b"\xef\xbb\xbf" + PLAIN, "FORMAT", "JSON at byte 0")
    yield case("J4", "legal", with_key("x", '"\\ud83d\\ude00\\u0000\x7f\u2028\U0010ffff"'), "OK")
    yield case("J4", "key-in-escapes", PLAIN.replace(b"hidden_act", rb"\u0068idden_act"), "OK")
    yield tokenizer("J4", "vocab-ff", "vocab.json", small.vocab_json().replace(b'"he"', b'"h\xff"'), "FORMAT", "valid UTF-8")
    yield tokenizer("J4", "config-ff", "tokenizer_config.json", b'{"\xff": 1}', "FORMAT", "valid UTF-8")


def j5():
    """Another type for each key in turn; what the sentence names is the key."""
    for key in small.CONFIG:
        for name, text in (("object", "{}"), ("list", "[]"), ("string", '"x"'), ("true", "true"), ("null", "null"),
                           ("fraction", "1.5")):
            status = "FORMAT"
            if (key, name) == ("eos_token_id", "null"):
                status = "OK"
            elif key == "model_type" or (key, name) in (("architectures", "list"), ("hidden_act", "string"),
                                                        ("layer_norm_eps", "fraction")):
                status = "UNSUPPORTED"
            yield case("J5", f"{key}-{name}", with_key(key, text), status, key)
    for name, text in (("list", "[1]"), ("number", "1"), ("string", '"x"'), ("null", "null"), ("true", "true")):
        yield case("J5", f"the-file-{name}", text, "FORMAT", "the file", "an object")
        yield tokenizer("J5", f"vocab-{name}", "vocab.json", text.encode(), "FORMAT", "an object")
        yield tokenizer("J5", f"tokenizer-config-{name}", "tokenizer_config.json", text.encode(), "FORMAT", "an object")
    yield case("J5", "two-values", PLAIN + b"{}", "FORMAT", "nothing after the value")
    yield case("J5", "above-a-megabyte", PLAIN + b" " * (1 << 20), "FORMAT", "expected at most 1048576")


def c1():
    for key in small.CONFIG:
        if key in ("model_type", "layer_norm_eps", "eos_token_id"):
            yield case("C1", key, small.config(**{key: None}), "OK")
        else:
            yield case("C1", key, small.config(**{key: None}), "FORMAT", key)
    yield case("C1", "all", "{}", "FORMAT", "hidden_size", "missing")


def c2():
    for key, value in small.CONFIG.items():
        other = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "quick_gelu",
                 "layer_norm_eps": 1e-6}.get(key, 8)
        text = json.dumps(small.CONFIG)
        yield case("C2", f"{key}-before", f'{{"{key}": {json.dumps(other)}, {text[1:]}', "FORMAT", key, "twice")
        yield case("C2", f"{key}-behind", f'{text[:-1]}, "{key}": {json.dumps(value)}}}', "FORMAT", key, "twice")
    yield case("C2", "unknown", with_key("x", '1,"x":2'), "OK")


def c3():
    for key, most in COUNTS.items():
        values = {-1: "FORMAT", 0: "UNSUPPORTED", 1: "MISMATCH", most: "MISMATCH", most + 1: "UNSUPPORTED",
                  2**31 - 1: "UNSUPPORTED", 2**31: "FORMAT", 2**32 + 4: "FORMAT", 2**63: "FORMAT", 2**64 + 4: "FORMAT"}
        values |= {("max_position_embeddings", 1): {1: "UNSUPPORTED"}, ("num_hidden_layers", 1): {1: "OK"},
                   ("num_attention_heads", 1): {1: "OK"}}.get((key, 1), {})
        values |= {0: "FORMAT"} if key == "projection_dim" else {}
        for value, status in values.items():
            bits = "any" if key == "num_attention_heads" else "same"
            # a count that is only wrong beside the tensors: the sentence names the tensor and config.json
            words = () if status == "MISMATCH" and key != "num_attention_heads" and value > 0 else (key,)
            words = words if key != "hidden_size" or value != 1 else ("num_attention_heads", "hidden_size")
            yield case("C3", f"{key}-{value}", small.config(**{key: value}), status, *words, bits=bits)
    yield case("C3", "heads-3", small.config(num_attention_heads=3), "MISMATCH", "num_attention_heads 3", "hidden_size 4")
    yield case("C3", "eos-minus-1", small.config(eos_token_id=-1), "FORMAT", "eos_token_id", "31 bits")
    yield case("C3", "eos-2p31", small.config(eos_token_id=2**31), "FORMAT", "eos_token_id", "31 bits")
    yield case("C3", "eos-2", small.config(eos_token_id=2), "OK")
    yield case("C3", "eos-beyond-the-table", small.config(eos_token_id=2**31 - 1), "OK")  # the tokenizer's counts


def cases():
    for group in (j1, j2, j3, j4, j5, c1, c2, c3):
        yield from group()
