#!/usr/bin/env python3
"""Writes unicode_table.c: what the reference tokenizer does with each code point, asked of the reference itself.

    python3 encoder/text/make_unicode_table.py [--check]

Needs the `tokenizers` package in the version that PINNED names. --check compares with the file and writes nothing.
"""

import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from tokenizers.models import BPE

PINNED = "0.23.3"
BLOCK = 128
GROWTH = 3  # UNICODE_GROWTH
PARTS = 2  # UNICODE_PARTS
HERE = pathlib.Path(__file__).resolve().parent

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def matching(pattern):
    """The code points that the reference's regular expressions count as `pattern`."""
    remove = normalizers.Replace(Regex(pattern), "")
    return {c for c in POINTS if remove.normalize_str(chr(c)) == ""}


def cut_out(**flags):
    """A tokenizer that knows nothing but one added token, "Q"; everything else is id 0."""
    tokenizer = Tokenizer(BPE(vocab={"?": 0}, merges=[], unk_token="?"))
    tokenizer.add_tokens([AddedToken("Q", normalized=False, **flags)])
    return tokenizer


def words():
    """The code points that forbid a single_word token beside them."""
    before = cut_out(single_word=True)
    sides = [{c for c in POINTS if c != ord("Q") and 1 not in before.encode(text(chr(c))).ids}
             for text in (lambda c: c + "Q", lambda c: "Q" + c)]
    assert sides[0] == sides[1]
    return sides[0] | {ord("Q")}


def check_strip_spaces(spaces):
    """lstrip and rstrip of added tokens use another regular expression library; it must mean the same by a space."""
    strip = cut_out(rstrip=True)
    assert {c for c in POINTS if strip.encode("Q" + chr(c)).offsets[0][1] == 2} == spaces


def compositions(nfc, nfd):
    """The part that each code point plays in the reference's NFC."""
    whole = {c: nfd(chr(c)) for c in POINTS}
    composites = [c for c in POINTS if len(whole[c]) > 1 and nfc(chr(c)) == chr(c)]
    # Combining class 1 sorts before every mark of a higher class, 240 behind every mark of a lower one.
    low, high = "\u0334", "\u0345"
    marks = {c for c in POINTS if len(whole[c]) == 1 and
             (nfd(chr(c) + low) == low + chr(c) and c != ord(low) or nfd(high + chr(c)) == chr(c) + high)}
    marks |= {ord(low), ord(high)}
    seconds = {ord(part) for c in composites for part in whole[c][1:]}
    firsts = {ord(whole[c][0]) for c in composites} | set(composites)
    roles = {}
    for c in POINTS:
        lead = ord(whole[c][0])
        if lead in marks or lead in seconds:
            roles[c] = "UNICODE_JOIN"
        elif nfc(chr(c)) != chr(c):
            roles[c] = "UNICODE_CHANGES"
        elif c in firsts:
            roles[c] = "UNICODE_FIRST"
        else:
            roles[c] = "UNICODE_PLAIN"
    return roles, whole


def check_bounds(whole, lower):
    """UNICODE_GROWTH and UNICODE_PARTS. Whatever a text is, its NFC in lower case consists of parts of its NFD, some of
    them composed. So it is enough that the parts of each code point stay below the bound, in either case of letter, and
    that composing them adds nothing."""
    def most(part):
        return max(len(part.encode()), len(lower(part).encode()))

    for c in POINTS:
        size, parts = len(chr(c).encode()), whole[c]
        bytes_of_parts = sum(most(part) for part in parts)
        assert bytes_of_parts <= GROWTH * size and len(parts) <= PARTS * size, hex(c)
        assert len(parts) == 1 or most(chr(c)) <= bytes_of_parts, hex(c)


def records():
    letters, numbers, spaces = matching(r"\p{L}"), matching(r"\p{N}"), matching(r"\s")
    assert not (letters & numbers or letters & spaces or numbers & spaces)
    check_strip_spaces(spaces)
    word = words()
    roles, whole = compositions(normalizers.NFC().normalize_str, normalizers.NFD().normalize_str)
    lower = normalizers.Lowercase().normalize_str
    out = {}
    for c in POINTS:
        small = lower(chr(c))
        flags = ["UNICODE_LETTER" if c in letters else "UNICODE_NUMBER" if c in numbers
                 else "UNICODE_SPACE" if c in spaces else "UNICODE_OTHER", roles[c]]
        if c in word:
            flags.append("UNICODE_WORD")
        if len(small) != 1:
            assert c == 0x130 and small == "i\u0307"
            flags.append("UNICODE_LOWER_TWO")
        out[c] = (" | ".join(flags), ord(small[0]) - c if len(small) == 1 else 0)
    check_bounds(whole, lower)
    return out


def numbers_in_rows(values):
    rows, row = [], ""
    for value in values:
        item = f"{value},"
        if len(row) + len(item) > 115:
            rows.append(row)
            row = ""
        row += item
    return "\n".join("    " + r for r in rows + [row])


def stages(of):
    """A two-stage table of each code point's (flags, lower): the records, the blocks, and which blocks there are."""
    surrogate = ("UNICODE_OTHER | UNICODE_PLAIN", 0)
    kinds = {surrogate: 0}
    blocks, first_stage = {}, []
    for start in range(0, 0x110000, BLOCK):
        block = tuple(kinds.setdefault(of.get(c, surrogate), len(kinds)) for c in range(start, start + BLOCK))
        first_stage.append(blocks.setdefault(block, len(blocks)))
    assert len(kinds) <= 256 and len(blocks) <= 65536
    lines = "\n".join(f"    {{{lower}, {flags}}}," for flags, lower in kinds)
    return kinds, first_stage, blocks, lines


def arrays(name, of):
    """The three arrays that hold `of`."""
    kinds, first_stage, blocks, lines = stages(of)
    return f"""const struct unicode_record {name}_records[{len(kinds)}] = {{
{lines}
}};

const uint16_t {name}_blocks[{len(first_stage)}] = {{
{numbers_in_rows(first_stage)}
}};

const uint8_t {name}_kinds[{len(blocks)}][{BLOCK}] = {{
{chr(10).join("    {" + chr(10) + numbers_in_rows(block) + chr(10) + "    }," for block in blocks)}
}};
"""


def table():
    of = records()
    kinds, first_stage, blocks, _ = stages(of)
    library = f"tokenizers {tokenizers.__version__}"
    return f"""/* unicode_table.c - what each code point is to the reference tokenizer. Generated, do not edit:
 * encoder/text/make_unicode_table.py asked {library} (its regular expressions, NFC, Lowercase and added
 * tokens) about every code point. Two stages: {len(first_stage)} blocks of {BLOCK} code points; the
 * {len(blocks)} different ones hold bytes that index {len(kinds)} records.
 */
#include "unicode_table.h"

const char *const unicode_reference = "{library}";

{arrays("unicode", of)}"""


def main():
    if tokenizers.__version__ != PINNED:
        sys.exit(f"make_unicode_table: found tokenizers {tokenizers.__version__}, expected {PINNED}")
    target = HERE / "unicode_table.c"
    text = table()
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if target.read_text() == text else f"make_unicode_table: {target.name} differs from the reference")
    target.write_text(text)


if __name__ == "__main__":
    main()
