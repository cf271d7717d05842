"""oracle.py - a second reader of safetensors headers: strict, short and slow.

Written from the format's public description (huggingface/safetensors, README) and the rules gathered in the project's
specification, on Python's json module, without a look at encoder/format. Where the description leaves a choice, what this
project chose, and so what a difference to the reference may come from:

    - no name, no __metadata__ and no field of an entry stands twice (README: duplicate keys are disallowed)
    - numbers are integers from 0 to 2^63 - 1, at most 8 of them in a shape
    - arrays and objects are nested at most 32 deep
    - __metadata__ is an object of strings, not null; a key of it may stand twice, since nothing is read from it

Knows nothing of C.
"""
import json
import re

BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
        "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
        "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64}
FIELDS = {"dtype", "shape", "data_offsets"}
DEPTH, RANK, NUMBER, BYTES = 32, 8, 2**63, 2**64
SURROGATE = re.compile("[\ud800-\udfff]")


class Refused(Exception):
    """Why the header is none."""


class Object(list):
    """A JSON object as its pairs, in order and with repetitions."""


class Integer(str):
    """A number's own text."""


class Real(str):
    """The same with a fraction or an exponent."""


def _constant(text):
    raise Refused(f"{text} is not JSON")


def _parse(header):
    try:
        # strict=True, the default, refuses control characters in strings
        return json.loads(header.decode("utf-8"), object_pairs_hook=Object, parse_int=Integer, parse_float=Real,
                          parse_constant=_constant)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Refused(f"not JSON: {error}") from None


def _check_tree(value, depth):
    """Depth, and lone surrogates, which Python lets pass, in every key and string."""
    if isinstance(value, str):
        if SURROGATE.search(value):
            raise Refused("a lone surrogate")
    elif isinstance(value, list):
        if depth == DEPTH:
            raise Refused(f"nested deeper than {DEPTH}")
        for item in value:
            if isinstance(value, Object):
                _check_tree(item[0], depth)
                _check_tree(item[1], depth + 1)
            else:
                _check_tree(item, depth + 1)


def _integers(value, what, most):
    if isinstance(value, Object) or not isinstance(value, list):
        raise Refused(f"{what} is not a list")
    if len(value) > most:
        raise Refused(f"{what} has more than {most} numbers")
    for item in value:
        if not isinstance(item, Integer) or item.startswith("-") or len(item) > 19 or int(item) >= NUMBER:
            raise Refused(f"{what} holds what is not an integer from 0 to 2^63 - 1")
    return [int(item) for item in value]


def _is_string(value):
    return isinstance(value, str) and not isinstance(value, (Integer, Real))


def _tensor(name, value):
    if not isinstance(value, Object):
        raise Refused(f"{name!r} is not an object")
    fields = [pair for pair in value if pair[0] in FIELDS]
    if len(fields) != len(FIELDS) or {key for key, _value in fields} != FIELDS:
        raise Refused(f"{name!r} has not each of its fields once")
    fields = dict(fields)
    dtype = fields["dtype"]
    if not _is_string(dtype) or dtype not in BITS:
        raise Refused(f"{name!r} has no known dtype")
    shape = _integers(fields["shape"], "shape", RANK)
    offsets = _integers(fields["data_offsets"], "data_offsets", 2)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Refused(f"{name!r} has no range")
    bits = 1
    for factor in [*shape, BITS[dtype]]:
        bits *= factor
        if bits >= BYTES:
            raise Refused(f"{name!r} overflows")
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise Refused(f"{name!r} does not fill its range")
    return name, dtype, shape, offsets


def read(header, data_bytes):
    """(verdict, tensors, why): "OK" with [(name, dtype, shape, [begin, end])] sorted by the names' bytes; "FORMAT"; or, where
    nothing but the length of the file is wrong, "TRUNCATED" or "TRAILING"."""
    try:
        top = _parse(header)
        if not isinstance(top, Object):
            raise Refused("not an object")
        _check_tree(top, 0)
        if len({key for key, _value in top}) != len(top):
            raise Refused("a key twice")
        tensors = []
        for name, value in top:
            if name != "__metadata__":
                tensors.append(_tensor(name, value))
            elif not isinstance(value, Object) or not all(_is_string(item) for _key, item in value):
                raise Refused("__metadata__ is not an object of strings")
        end = 0
        for _name, _dtype, _shape, offsets in sorted(tensors, key=lambda tensor: tensor[3]):
            if offsets[0] != end:
                raise Refused("a hole or an overlap")
            end = offsets[1]
    except Refused as refused:
        return "FORMAT", None, str(refused)
    if end != data_bytes:
        return ("TRUNCATED" if end > data_bytes else "TRAILING"), None, "the file's length"
    return "OK", sorted(tensors, key=lambda tensor: tensor[0].encode("utf-8")), ""
