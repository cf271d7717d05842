"""headers.py - draws safetensors headers: right ones, right ones with one thing wrong, and ones with a few bytes changed.

The same seed gives the same headers with any Python. Knows how headers are spelt and nothing of who reads them.
"""
import json
import random

DTYPES = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
          "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
          "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64}
NAMES = ["a", "b", "w", "weight", "text_model.encoder.layers.0.mlp.fc1.weight", "", "A", "a\0b", "a\0", "__metadata",
         "__metadata__ ", "\u00e9", "e\u0301", "\U0001f600", "\ud7ff\ue000", "\uffff", '"', "\\", "/", "\x7f", "\u2028", "{",
         "dtype", "shape", "x" * 300, "a.b", "\u4e00\u4e8c", "\t\n\r\b\f"]
NUMBERS = ["-0", "-1", "01", "00", "1.0", "1.5", "1e0", "1E2", "1e-2", "+1", "0x1", "NaN", "Infinity", "-Infinity", "1_0", '"1"',
           "null", "true", "false", "[1]", "{}", "1.", ".5", "-", "", " 1 ", "\t2\n", "4294967296", "2147483648", "4294967295",
           "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
           "340282366920938463463374607431768211456", "1" * 40, "0" * 3, "2305843009213693952", "1152921504606846976"]
KINDS = ['"F32 "', '"f32"', '"F128"', '""', "null", "7", '["F32"]', "{}", '"F\\u00332"', '"\\u0055\\u0038"', '"U8\\u0000"',
         '"F8"', '"BFLOAT16"', '"F32\n"', "F32", "'F32'", '"F8_e4m3"', '"' + "U8" * 60 + '"']
VALUES = ["null", "true", "1e999", "-0", "1.5e-3", '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\x1f"', '"\\x41"', "[]",
          "{}", '{"a":1,"a":2}', "[1,]", "[,1]", '{"a":1,}', "nul", "tru", "[1 2]", '{"a" 1}', '{"a":}', "01", "[[[[]]]]", '"\x7f"',
          '"\\/"', "1E400", "-1e-400", "9" * 400, '{"dtype":"F32"}', "NaN"]
BYTES = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b" ", b"\t", b"\n", b"\r", b"\0", b"\x0b", b"\x1f", b"\x7f", b"\x80",
         b"\xff", b"\xc3\xa9", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\\u0061",
         b"\\ud800", b"0", b"1", b"9", b"-", b".", b"e", b"/**/", b"a", b"__metadata__"]
BLANKS = ["", "", "", "", "", " ", "\n", "\t", "\r\n", "  "]


def spell(draw, text):
    """A JSON string for `text`, in one of its spellings."""
    way = draw.random()
    if way < 0.6:
        return json.dumps(text, ensure_ascii=False)
    if way < 0.9:
        return json.dumps(text)
    return '"' + "".join(f"\\u{ord(letter):04{draw.choice('xX')}}" if ord(letter) < 0x10000 and draw.random() < 0.5
                         else json.dumps(letter)[1:-1] for letter in text) + '"'


class Tensor:
    """One entry as texts, so that each can be replaced by nonsense."""

    def __init__(self, name, dtype, shape, begin, end):
        self.name, self.dtype = name, json.dumps(dtype)
        self.shape, self.offsets = [str(size) for size in shape], [str(begin), str(end)]
        self.more = []  # further fields, as pairs of texts

    def text(self, draw, blank):
        def numbers(values):
            return "[" + f"{blank()},{blank()}".join(values) + blank() + "]"
        fields = [('"dtype"', self.dtype), ('"shape"', numbers(self.shape)), ('"data_offsets"', numbers(self.offsets)),
                  *self.more]
        if draw.random() < 0.3:
            draw.shuffle(fields)
        if draw.random() < 0.03:
            fields = [(spell(draw, key[1:-1]) if key in ('"dtype"', '"shape"', '"data_offsets"') else key, value)
                      for key, value in fields]
        return "{" + ",".join(f"{blank()}{key}{blank()}:{blank()}{value}{blank()}" for key, value in fields if key) + "}"


class Header:
    def __init__(self, draw):
        self.draw, self.tensors, self.metadata = draw, [], []
        self.blanks = BLANKS if draw.random() < 0.25 else [""]
        at = 0
        names = draw.sample(NAMES, draw.choice((0, 1, 1, 2, 2, 3, 3, 4, 5)))
        for name in names:
            dtype = draw.choice(list(DTYPES))
            shape = [draw.choice((0, 1, 1, 2, 3, 4, 5, 8)) for _ in range(draw.choice((0, 1, 1, 2, 2, 3, 4, 8)))]
            bits = DTYPES[dtype]
            for size in shape:
                bits *= size
            if bits % 8:
                shape.append(4)
                bits *= 4
            self.tensors.append(Tensor(spell(draw, name), dtype, shape, at, at + bits // 8))
            at += bits // 8
        self.data = at
        if draw.random() < 0.3:
            draw.shuffle(self.tensors)
        if draw.random() < 0.4:
            self.metadata.append(draw.choice(('{"format":"pt"}', "{}", '{"a":"b","c":"\\u00e9"}', '{"":""}')))
        self.before, self.behind = "", " " * draw.choice((0, 0, 0, 1, 7))

    def text(self):
        draw = self.draw

        def blank():
            return draw.choice(self.blanks) if len(self.blanks) > 1 else ""
        entries = [f"{tensor.name}{blank()}:{blank()}{tensor.text(draw, blank)}" for tensor in self.tensors]
        for value in self.metadata:
            entries.insert(draw.randrange(len(entries) + 1), f'"__metadata__":{value}')
        inside = ",".join(f"{blank()}{entry}{blank()}" for entry in entries)
        return self.before + "{" + inside + "}" + self.behind

    # ---- one thing wrong, or odd

    def bad_number(self):
        tensor = self.draw.choice(self.tensors)
        values = self.draw.choice((tensor.shape, tensor.offsets))
        if values:  # a scalar has no shape to spoil
            values[self.draw.randrange(len(values))] = self.draw.choice(NUMBERS)

    def shifted(self):
        offsets = self.draw.choice(self.tensors).offsets
        by = self.draw.choice((-8, -1, 1, 8, 2**31, 2**32, 2**53, 2**63))
        which = self.draw.choice(((0,), (1,), (0, 1)))
        offsets[:] = [str(int(text) + by) if at in which and text.isdecimal() else text for at, text in enumerate(offsets)]

    def other_shape(self):
        tensor, draw = self.draw.choice(self.tensors), self.draw
        draw.choice((lambda: tensor.shape.append(draw.choice(("1", "0", "2", "4294967296", "9223372036854775807"))),
                     lambda: tensor.shape.extend(["1"] * (9 - len(tensor.shape))),
                     lambda: tensor.shape.extend(["1"] * (8 - len(tensor.shape))),
                     lambda: tensor.shape.insert(0, draw.choice(("0", "1", "18446744073709551615", "2305843009213693952"))),
                     lambda: tensor.shape.extend(["4294967296", "4294967296"]), tensor.shape.reverse,
                     tensor.shape.clear, lambda: tensor.offsets.append("0"), lambda: tensor.offsets.__delitem__(slice(1, None)),
                     lambda: tensor.offsets.reverse()))()

    def other_dtype(self):
        self.draw.choice(self.tensors).dtype = self.draw.choice((*KINDS, *map(json.dumps, DTYPES)))

    def name_twice(self):
        first, second = self.draw.choice(self.tensors), self.draw.choice(self.tensors)
        second.name = spell(self.draw, json.loads(first.name, strict=False)) if self.draw.random() < 0.5 else first.name

    def field_twice(self):
        tensor = self.draw.choice(self.tensors)
        tensor.more.append(self.draw.choice((('"dtype"', tensor.dtype), ('"shape"', "[1]"), ('"data_offsets"', "[0,1]"),
                                             ('"d\\u0074ype"', tensor.dtype))))

    def field_more(self):
        key = self.draw.choice(('"x"', '""', '"Dtype"', '"dtype "', '"\\u0064type\\u0000"', '"\\ud800"', "x", "1", '"x\x01"'))
        self.draw.choice(self.tensors).more.append((key, self.draw.choice(VALUES)))

    def field_deep(self):
        depth = self.draw.choice((1, 5, 28, 29, 30, 31, 32, 100, 127, 128, 2000))
        left, right = self.draw.choice((("[", "]"), ('{"a":', "}")))
        self.draw.choice(self.tensors).more.append(('"x"', left * depth + ("1" if left != "[" else "") + right * depth))

    def field_gone(self):
        tensor = self.draw.choice(self.tensors)
        text = tensor.text(self.draw, lambda: "")
        gone = self.draw.choice((f'"dtype":{tensor.dtype}', '"shape":[' + ",".join(tensor.shape) + "]",
                                 '"data_offsets":[' + ",".join(tensor.offsets) + "]"))
        tensor.text = lambda draw, blank: text.replace(gone + ",", "", 1).replace("," + gone, "", 1)

    def entry_odd(self):
        value = self.draw.choice((*VALUES, "[]", '"F32"', "1"))
        self.draw.choice(self.tensors).text = lambda draw, blank: value

    def metadata_odd(self):
        self.metadata.append(self.draw.choice(('{"a":1}', '{"a":null}', '{"a":{}}', '{"a":["b"]}', "[]", '"pt"', "null", "1", "{}",
                                               '{"a":"b","a":"c"}', '{"a":"\\ud800"}', '{"a":"b",}', "{a:1}", '{"a":true}')))

    def around(self):
        extra = self.draw.choice((" ", "\n\t\r", "\0", "\x0b", "\ufeff", "\u00a0", "}", "{}", ",", "x", "//", "null", "\x0c"))
        if self.draw.random() < 0.5:
            self.before = extra
        else:
            self.behind = extra

    def length(self):
        self.data = max(0, self.data + self.draw.choice((-1, -1, -2, -8, 1, 8, 4096)))


FOR_TENSORS = [Header.bad_number, Header.bad_number, Header.shifted, Header.other_shape, Header.other_shape, Header.other_dtype,
               Header.name_twice, Header.field_twice, Header.field_more, Header.field_deep, Header.field_gone, Header.entry_odd]
FOR_ALL = [Header.metadata_odd, Header.around, Header.length]


def change_bytes(draw, text):
    text = bytearray(text)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        at, way = draw.randrange(len(text) + 1), draw.random()
        if way < 0.4:
            text[at:at + 1] = draw.choice(BYTES)
        elif way < 0.6:
            text[at:at] = draw.choice(BYTES)
        elif way < 0.8:
            del text[at:at + draw.choice((1, 1, 2, 8))]
        elif way < 0.9 and text:
            text[at % len(text)] ^= 1 << draw.randrange(8)
        else:
            end = at + draw.randrange(40)
            text[at:at] = text[at:end]
    return bytes(text)


def batch(seed, count):
    """`count` pairs (header, bytes behind it)."""
    draw = random.Random(seed)
    for _ in range(count):
        header, way = Header(draw), draw.random()
        if way > 0.35:
            for _ in range(draw.choice((1, 1, 1, 2))):
                draw.choice(FOR_TENSORS * 2 + FOR_ALL if header.tensors else FOR_ALL)(header)
        text = header.text().encode("utf-8", "surrogatepass")
        yield (change_bytes(draw, text) if way > 0.85 else text), header.data
