"""corpus_safetensors.py - classes S1 to S14: model.safetensors, wrong in one way each, or odd and legal.

Each case is the small tower's file with something done to it, so that a reader that overlooked the fault would open a
model. Knows the format's rules (huggingface/safetensors, README and tensor.rs) and the statuses of penult.h.
"""
import json
import struct

from cases import Case, Sparse
from small import Weights, container, entry

FILE = "model.safetensors"
LIMIT = 100_000_000
# bits of each dtype of the format
DTYPES = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
          "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
          "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64}
W = Weights()
END = len(W.data)
WHOLE = W.file()


def case(group, name, contents, status="FORMAT", *words, **more):
    return Case(group, name, status, (FILE, *words) if status != "OK" else (), {FILE: contents}, **more)


def extra(group, name, value, data=b"", status="FORMAT", *words, key='"x"'):
    """The tower with one more tensor, whose entry is the text `value`."""
    return case(group, name, W.file(f"{key}:{value}", data=data), status, *words)


def raw(dtype='"U8"', shape="[4]", offsets=None):
    offsets = f"[{END},{END + 4}]" if offsets is None else offsets
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


def s1():
    for size in range(8):
        yield case("S1", f"{size}-bytes", WHOLE[:size], "TRUNCATED", f"has {size} bytes", "expected at least the 8")


def s2():
    yield case("S2", "0", container(b""), "FORMAT", "JSON ends at byte 0", "expected")
    yield case("S2", "0-data", container(b"", W.data), "FORMAT", "JSON ends at byte 0")
    yield case("S2", "1-brace", container(b"{"), "FORMAT", "JSON ends at byte 1", "a key")
    yield case("S2", "1-blank", container(b" "), "FORMAT", "JSON ends at byte 1", "a value")
    yield case("S2", "1-digit", container(b"1"), "FORMAT", "the header: found the number", "expected an object")
    yield case("S2", "1-ff", container(b"\xff"), "FORMAT", "\\xff", "expected a value")
    yield case("S2", "2-array", container(b"[]"), "FORMAT", "found an array", "expected an object")
    yield case("S2", "2-empty", container(b"{}"), "MISMATCH", "holds no CLIP text tower")
    yield case("S2", "2-empty-data", container(b"{}", b"1234"), "TRAILING", "take 0 bytes", "the file has 4")


def s3():
    header = len(WHOLE) - 8 - END
    for name, length in (("size-7", len(WHOLE) - 7), ("size", len(WHOLE)), ("1000000", 10**6), ("2p24", 2**24)):
        yield case("S3", name, struct.pack("<Q", length) + WHOLE[8:], "TRUNCATED", f"says its header has {length} bytes",
                   f"the file has {len(WHOLE) - 8}")
    for name, length in (("2p31", 2**31), ("2p32", 2**32), ("2p32-more", 2**32 + header), ("2p63", 2**63),
                         ("2p64-1", 2**64 - 1), ("2p64-8", 2**64 - 8), ("swapped", struct.unpack(">Q", WHOLE[:8])[0])):
        yield case("S3", name, struct.pack("<Q", length) + WHOLE[8:], "FORMAT", f"says its header has {length} bytes",
                   f"expected at most {LIMIT}")
    yield case("S3", "all", struct.pack("<Q", len(WHOLE) - 8) + WHOLE[8:], "FORMAT", "nothing after the value")
    yield case("S3", "one-less", struct.pack("<Q", header - 1) + WHOLE[8:], "FORMAT", "JSON ends at byte")


def s4():
    limit = struct.pack("<Q", LIMIT)
    yield case("S4", "zeros", Sparse(limit, 8 + LIMIT), "FORMAT", "JSON at byte 0", "expected a value")
    yield case("S4", "no-header", limit, "TRUNCATED", f"says its header has {LIMIT} bytes", "the file has 0")
    yield case("S4", "one-short", Sparse(limit, 7 + LIMIT), "TRUNCATED", f"says its header has {LIMIT} bytes")
    yield case("S4", "above", Sparse(struct.pack("<Q", LIMIT + 1), 9 + LIMIT), "FORMAT", f"{LIMIT + 1} bytes", "at most")
    yield case("S4", "above-in-a-small-file", struct.pack("<Q", LIMIT + 1) + WHOLE[8:], "FORMAT", f"{LIMIT + 1} bytes")
    yield case("S4", "a-terabyte-of-data", Sparse(struct.pack("<Q", 2) + b"{}", 2**40), "TRAILING", f"has {2**40 - 10} behind")


def s5():
    four = b"1234"
    yield extra("S5", "end-before-begin", raw(offsets=f"[{END + 4},{END}]"), four, "FORMAT", '"x"', "end at or after begin")
    yield extra("S5", "one-number", raw(offsets=f"[{END}]"), four, "FORMAT", '"x"', "[begin, end]")
    yield extra("S5", "three-numbers", raw(offsets=f"[{END},{END + 4},0]"), four, "FORMAT", "data_offsets", "more than 2")
    yield extra("S5", "an-object", raw(offsets="{}"), four, "FORMAT", "data_offsets", "expected an array")
    for name, end in (("one-behind", END + 5), ("2p31", 2**31), ("2p31-more", 2**31 + END), ("2p32-more", 2**32 + END + 4),
                      ("2p53-more", 2**53 + 1), ("2p60", 2**60)):
        yield extra("S5", name, raw(shape=f"[{end - END}]", offsets=f"[{END},{end}]"), four, "TRUNCATED",
                    f"its tensors take {end} bytes", "the file has")
    for name, end in (("end-2p53", 2**53 + 1), ("end-2p31", 2**31 + END + 4), ("end-2p63-1", 2**63 - 1)):
        yield extra("S5", name, raw(offsets=f"[{END},{end}]"), four, "FORMAT", '"x"', f"span {end - END}")
    yield extra("S5", "end-2p63", raw(offsets=f"[{END},{2**63}]"), four, "FORMAT", "data_offsets", str(2**63), "64 bits")
    yield extra("S5", "end-2p64", raw(offsets=f"[{END},{2**64 + END + 4}]"), four, "FORMAT", "data_offsets", "64 bits")
    yield extra("S5", "negative", raw(offsets=f"[-4,{END}]"), four, "FORMAT", "data_offsets", "negative")


def s6():
    def two(name, first, second, status, *words):
        a, b = (f'"{key}":' + raw(shape=f"[{end - begin}]", offsets=f"[{END + begin},{END + end}]")
                for key, (begin, end) in (("a", first), ("b", second)))
        return case("S6", name, W.file(a, b, data=b"12345678"), status, *words)
    yield two("swapped", (4, 8), (0, 4), "OK")
    yield two("overlap", (0, 5), (4, 8), "FORMAT", '"b"', f"begins at byte {END + 4}", f"expected {END + 5}")
    yield two("inside", (0, 8), (2, 4), "FORMAT", '"b"', "begins at byte")
    yield two("same-range", (0, 8), (0, 8), "FORMAT", "begins at byte", f"expected {END + 8}")
    yield two("gap", (0, 3), (4, 8), "FORMAT", '"b"', f"begins at byte {END + 4}", f"expected {END + 3}")
    yield two("hole-at-the-end", (0, 4), (4, 7), "TRAILING", f"take {END + 7} bytes", f"has {END + 8}")
    yield two("gap-at-the-start", (1, 4), (4, 8), "FORMAT", '"a"', f"begins at byte {END + 1}", f"expected {END}")
    moved = Weights()
    moved.entries = [(name, json.dumps({**json.loads(text), "data_offsets": [at + 8 for at in
                                                                           json.loads(text)["data_offsets"]]}))
                     for name, text in W.entries]
    yield case("S6", "first-not-at-0", container(moved.header(), b"12345678" + W.data), "FORMAT", "begins at byte 8",
               "expected 0")
    turned = Weights()
    turned.entries = W.entries[::-1]
    yield case("S6", "all-in-reverse", turned.file(), "OK")
    ten = [f'"{i}":' + raw(offsets=f"[{END},{END + 4}]") for i in range(10)]
    yield case("S6", "ten-names-one-range", W.file(*ten, data=b"1234"), "FORMAT", "begins at byte")
    first = W.entries[0][1]
    yield case("S6", "alias-of-a-weight", W.file(f'"x":{first}'), "FORMAT", "begins at byte 0")


def s7():
    for name, shape in (("2p32-2p32", "4294967296,4294967296"), ("2p63-2", "9223372036854775807,2"),
                        ("wraps-to-4", "4611686018427387905,4"), ("wraps-to-0-then-0", "4294967296,4294967296,0"),
                        ("times-bits", "2305843009213693952"), ("eight", "256,256,256,256,256,256,256,256"),
                        ("wraps-to-1", "6700417,641,2753074036095")):
        yield extra("S7", name, raw(shape=f"[{shape}]"), b"1234", "FORMAT", '"x"', "overflows 64 bits")
    yield extra("S7", "2p64-2", raw(shape="[2,18446744073709551614]"), b"1234", "FORMAT", "shape", "18446744073709551614",
                "64 bits")
    yield extra("S7", "zero-first", raw(shape="[0,4294967296,4294967296]", offsets=f"[{END},{END}]"), b"", "OK")


def s8():
    for name, shape, word in (
            ("negative", "[-1]", "negative"), ("minus-zero", "[-0]", "negative"), ("fraction", "[4.0]", "4.0"),
            ("fraction-1.5", "[1.5]", "1.5"), ("exponent", "[4e0]", "4e0"), ("exponent-1e3", "[1e3]", "1e3"),
            ("string", '["4"]', "an integer"), ("nested", "[[4]]", "an integer"), ("object", "[{}]", "an integer"),
            ("null", "[null]", "an integer"), ("true", "[true]", "an integer"), ("not-a-list", "4", "an array"),
            ("text", '"[4]"', "an array"), ("nine", "[4,1,1,1,1,1,1,1,1]", "more than 8")):
        yield extra("S8", name, raw(shape=shape), b"1234", "FORMAT", 'tensor "x": shape', word)
    yield extra("S8", "eight", raw(shape="[4,1,1,1,1,1,1,1]"), b"1234", "OK")
    yield extra("S8", "missing", f'{{"dtype":"U8","data_offsets":[{END},{END + 4}]}}', b"1234", "FORMAT", '"x"', "lacks")
    yield extra("S8", "twice", f'{{"dtype":"U8","shape":[4],"shape":[4],"data_offsets":[{END},{END + 4}]}}', b"1234",
                "FORMAT", '"x"', "twice")


def s9():
    for dtype, bits in DTYPES.items():
        size = 3 * bits  # of 24 elements
        data = b"\0" * (size + 1)
        yield extra("S9", f"{dtype}-right", entry(dtype, [24], END, END + size), data[:-1], "OK")
        yield extra("S9", f"{dtype}-one-more", entry(dtype, [24], END, END + size + 1), data, "FORMAT", '"x"',
                    f"{dtype} [24] takes {size} bytes", f"span {size + 1}")
    yield extra("S9", "F4-half-a-byte", entry("F4", [3], END, END + 2), b"12", "FORMAT", '"x"', "whole bytes")
    yield extra("S9", "F6-quarter-bytes", entry("F6_E2M3", [3], END, END + 3), b"123", "FORMAT", '"x"', "whole bytes")


def s10():
    for name, dtype, word in (
            ("F128", '"F128"', '"F128"'), ("small", '"u8"', '"u8"'), ("blank", '"U8 "', '"U8 "'), ("empty", '""', '""'),
            ("torch", '"torch.uint8"', '"torch.uint8"'), ("nul", '"U8\\u0000"', "expected one that safetensors has"),
            ("long", '"' + "U" * 70000 + '"', "expected one that safetensors has")):
        yield extra("S10", name, raw(dtype=dtype), b"1234", "FORMAT", '"x"', "dtype", word)
    for name, dtype in (("number", "7"), ("null", "null"), ("list", '["U8"]'), ("object", "{}")):
        yield extra("S10", name, raw(dtype=dtype), b"1234", "FORMAT", 'tensor "x": dtype', "expected a string")
    yield extra("S10", "escaped", raw(dtype='"\\u0055\\u0038"'), b"1234", "OK")
    for dtype in ("I16", "U16"):
        other = Weights()
        other.entries[2] = (other.entries[2][0], other.entries[2][1].replace("F16", dtype))
        yield case("S10", f"a-weight-in-{dtype}", other.file(), "MISMATCH", "q_proj.weight", dtype, "F32, F16, BF16, F64, F8_E4M3 or F8_E5M2")


def s11():
    name, value = W.entries[-1]
    one, two = raw(shape="[2]", offsets=f"[{END},{END + 2}]"), raw(shape="[2]", offsets=f"[{END + 2},{END + 4}]")

    def pair(label, first, second, status, *words):
        return case("S11", label, W.file(f"{first}:{one}", f"{second}:{two}", data=b"1234"), status, *words)
    yield pair("twice", '"x"', '"x"', "FORMAT", '"x"', "twice")
    yield pair("twice-escaped", '"x"', '"\\u0078"', "FORMAT", '"x"', "twice")
    yield pair("twice-empty", '""', '""', "FORMAT", '""', "twice")
    yield pair("case", '"x"', '"X"', "OK")
    yield pair("nul-behind", '"x\\u0000y"', '"x"', "OK")
    yield pair("empty", '""', '"x"', "OK")
    yield pair("not-normalised", '"\\u00e9"', '"e\\u0301"', "OK")
    yield case("S11", "a-weight-twice", W.file(f"{name}:" + raw(), data=b"1234"), "FORMAT", "text_projection.weight", "twice")
    yield case("S11", "a-weight-twice-same-range", W.file(f"{name}:{value}"), "FORMAT", "begins at byte")
    yield extra("S11", "64-KiB", raw(), b"1234", "OK", key='"' + "n" * 65536 + '"')
    yield extra("S11", "64-KiB-of-a-wrong-one", raw(shape="[5]"), b"1234", "FORMAT", "nnn...", key='"' + "n" * 65536 + '"')
    yield extra("S11", "quotes", raw(shape="[5]"), b"1234", "FORMAT", "\\x22x\\x0a", key='"\\"x\\n"')
    yield extra("S11", "lone-surrogate", raw(), b"1234", "FORMAT", "an escape of JSON", key='"\\ud800"')
    for label, byte in (("ff", b"\xff"), ("overlong", b"\xc0\x80"), ("surrogate", b"\xed\xa0\x80"), ("raw-nul", b"\0")):
        header = W.header('"@":' + raw()).replace(b"@", byte)
        yield case("S11", label, container(header, W.data + b"1234"), "FORMAT", "JSON at byte", "expected")


def s12():
    def metadata(label, value, status, *words, also=""):
        return case("S12", label, W.file(before=f'"__metadata__":{value}' + also), status, *words)
    yield metadata("strings", '{"format":"pt"}', "OK")
    yield metadata("empty", "{}", "OK")
    yield metadata("10-MB", '{"a":"' + "m" * 10_000_000 + '"}', "OK")
    yield metadata("100000-keys", "{" + ",".join(f'"{i}":""' for i in range(100_000)) + "}", "OK")
    yield metadata("number", '{"a":1}', "FORMAT", "__metadata__", "expected a string")
    yield metadata("null-in-it", '{"a":null}', "FORMAT", "__metadata__", "expected a string")
    yield metadata("nested", '{"a":{"b":"c"}}', "FORMAT", "__metadata__", "expected a string")
    yield metadata("list", "[]", "FORMAT", "__metadata__", "expected an object")
    yield metadata("string", '"pt"', "FORMAT", "__metadata__", "expected an object")
    yield metadata("null", "null", "FORMAT", "__metadata__", "expected an object")
    yield metadata("twice", "{}", "FORMAT", "__metadata__", "twice", also=',"__metadata__":{}')
    yield metadata("twice-escaped", "{}", "FORMAT", "__metadata__", "twice", also=',"\\u005f_metadata__":{}')
    yield metadata("a-tensor", raw(), "FORMAT", "__metadata__", "expected a string")
    yield case("S12", "another-case", W.file(before='"__Metadata__":{}'), "FORMAT", "__Metadata__", "lacks")


def s13():
    plain = W.header()
    for label, header in (("blanks-behind", plain + b"       "), ("all-blanks-behind", plain + b" \t\r\n"),
                          ("blank-before", b" " + plain), ("blanks-inside", plain.replace(b":", b" : ").replace(b",", b"\n,"))):
        yield case("S13", label, container(header, W.data), "OK")
    for label, header, *words in (
            ("bom", b"\xef\xbb\xbf" + plain, "JSON at byte 0", "expected a value"),
            ("nul-before", b"\0" + plain, "JSON at byte 0"), ("nul-behind", plain + b"\0", "nothing after the value"),
            ("brace-behind", plain + b"}", "nothing after the value"), ("twice", plain + plain, "nothing after the value"),
            ("comment", b"/**/" + plain, "JSON at byte 0"), ("hash", plain + b"#", "nothing after the value"),
            ("comma-behind", plain[:-1] + b",}", "a key in quotes"), ("comma-before", b"{," + plain[1:], "a key in quotes"),
            ("single-quotes", plain.replace(b'"', b"'"), "a key in quotes"), ("no-brace", plain[1:], "expected"),
            ("vertical-tab", b"\v" + plain, "JSON at byte 0"), ("no-break-space", b"\xc2\xa0" + plain, "JSON at byte 0"),
            ("utf-16", plain.decode().encode("utf-16"), "JSON at byte 0"), ("gzip", b"\x1f\x8b" + plain, "JSON at byte 0")):
        yield case("S13", label, container(header, W.data), "FORMAT", *words)


def s14():
    yield case("S14", "one-more", WHOLE + b"\0", "TRAILING", f"take {END} bytes", f"has {END + 1} behind")
    yield case("S14", "4096-more", WHOLE + b"\0" * 4096, "TRAILING", f"has {END + 4096}")
    yield case("S14", "one-less", WHOLE[:-1], "TRUNCATED", f"take {END} bytes", f"has {END - 1} behind")
    yield case("S14", "no-data", WHOLE[:-END], "TRUNCATED", f"take {END} bytes", "has 0 behind")
    yield case("S14", "twice", WHOLE + WHOLE, "TRAILING", "has")
    yield extra("S14", "zero-size", raw(shape="[2,0]", offsets=f"[{END},{END}]"), b"", "OK")
    yield extra("S14", "zero-size-at-0", raw(shape="[0]", offsets="[0,0]"), b"", "OK")
    yield extra("S14", "zero-size-inside", raw(shape="[0]", offsets="[1,1]"), b"", "FORMAT", '"x"', "begins at byte 1")
    yield extra("S14", "zero-size-behind", raw(shape="[0]", offsets=f"[{END + 1},{END + 1}]"), b"", "FORMAT", '"x"')
    yield extra("S14", "rank-0", raw(shape="[]", offsets=f"[{END},{END + 1}]"), b"1", "OK")
    yield extra("S14", "rank-0-of-nothing", raw(shape="[]", offsets=f"[{END},{END}]"), b"", "FORMAT", '"x"', "takes 1 bytes")
    many = [f'"{i}":' + raw(shape="[1]", offsets=f"[{END + i},{END + i + 1}]") for i in range(20_000)]
    yield case("S14", "20000-tensors", W.file(*many, data=b"\0" * len(many)), "OK")


def large():
    """What takes a hundred megabytes of disk: not in `make test`."""
    many = ",".join(f'"t{i}":' + raw(shape="[1]", offsets=f"[{END + i},{END + i + 1}]") for i in range(1_000_000))
    yield case("S14", "1000000-tensors", W.file(many, data=b"\0" * 1_000_000), "OK")
    limit, plain = struct.pack("<Q", LIMIT), W.header()
    yield case("S4", "then-zeros", Sparse(limit + b"{}", 8 + LIMIT), "FORMAT", "JSON at byte 2", "nothing after the value")
    yield case("S4", "open-string", Sparse(limit + b'{"', 8 + LIMIT), "FORMAT", "JSON at byte 2", "no control character")
    yield case("S4", "more-data", Sparse(limit + b"[", 2 * LIMIT), "FORMAT", "found an array", "expected an object")
    yield case("S4", "blanks", container(plain + b" " * (LIMIT - len(plain)), W.data), "OK")


def cases():
    for group in (s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14):
        yield from group()
