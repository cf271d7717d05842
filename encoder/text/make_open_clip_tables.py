#!/usr/bin/env python3
"""Writes open_clip_unicode_table.c and html_entities.c: what open_clip's tokenizer does with each code point and each HTML entity, asked of the
libraries that it uses.

    python3 encoder/text/make_open_clip_tables.py [--check]

Needs Python's Unicode (NFC, lower case), `regex` (the classes of the pattern) and `ftfy` in the versions that PINNED names:
an interpreter with another Unicode has other code points. --check compares with the files and writes nothing.
"""
import html
import pathlib
import re
import sys
import unicodedata
from html.entities import html5

import ftfy
import regex
from ftfy import chardata, fixes

import make_unicode_table as unicode_table

PINNED = {"Unicode of Python": "14.0.0", "regex": "2026.11.19", "ftfy": "6.3.1"}
HERE = pathlib.Path(__file__).resolve().parent
POINTS = unicode_table.POINTS


def found():
    return {"Unicode of Python": unicodedata.unidata_version, "regex": regex.__version__, "ftfy": ftfy.__version__}


def nfc(text):
    return unicodedata.normalize("NFC", text)


def nfd(text):
    return unicodedata.normalize("NFD", text)


def fixed(text):
    """ftfy's fixes of single characters, but for what is removed."""
    for fix in (fixes.fix_c1_controls, fixes.fix_latin_ligatures, fixes.fix_character_width, fixes.uncurl_quotes,
                fixes.fix_line_breaks):
        text = fix(text)
    return text


def is_removed(c):
    return fixes.remove_control_chars(chr(c)) == ""


# ---- code points ----------------------------------------------------------------------------------------------------

def records(roles):
    classes = {name: regex.compile(pattern, regex.IGNORECASE) for name, pattern in (
        ("UNICODE_LETTER", r"[\p{L}]+"), ("UNICODE_NUMBER", r"[\p{N}]"), ("UNICODE_OTHER", r"[^\s\p{L}\p{N}]+"))}
    digit = re.compile(r"\d")
    out = {}
    for c in POINTS:
        text = chr(c)
        small = text.lower()
        is_cased = (text + "\u03a3").lower()[-1] == "\u03c2"
        flags = [next((name for name, pattern in classes.items() if pattern.fullmatch(text)), "UNICODE_SPACE"), roles[c]]
        # str.split() and strip() know four more spaces, which are removed before them; and U+0345, whose upper case is a
        # letter, is in none of the pattern's sets
        assert (flags[0] == "UNICODE_SPACE") == text.isspace() or (0x1C <= c < 0x20 and is_removed(c)) or c == 0x345, hex(c)
        if is_cased:
            flags.append("UNICODE_CASED")
        elif ("A" + text + "\u03a3").lower()[-1] == "\u03c2":
            flags.append("UNICODE_CASE_IGNORABLE")
        if digit.fullmatch(text):
            flags.append("UNICODE_DECIMAL")
        if len(small) != 1:
            assert c == 0x130 and small == "i\u0307"
            flags.append("UNICODE_LOWER_TWO")
        out[c] = (" | ".join(flags), ord(small[0]) - c if len(small) == 1 else 0)
    return out


def replacements():
    """What ftfy makes of a character, where that is another: up to three code points."""
    out = {c: fixed(chr(c)) for c in POINTS if fixed(chr(c)) != chr(c)}
    assert all(1 <= len(text) <= 3 and fixed(text) == text for text in out.values())
    return out


def removed():
    """Ranges of what remove_control_chars takes out."""
    ranges = []
    for c in filter(is_removed, POINTS):
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return ranges


def check_passes(entities, replaced):
    """What open_clip_fix.c relies on, so that one pass and a stack do what ftfy's loop does."""
    # NFC makes ASCII of these alone, and of what is ASCII nothing that is
    into = {c: nfc(chr(c)) for c in POINTS if c > 0x7F and any(ord(x) < 0x80 for x in nfc(chr(c)))}
    assert into == {0x37E: ";", 0x1FEF: "`", 0x212A: "K"}
    assert not any(is_removed(ord(x)) for text in replaced.values() for x in text)
    assert fixes.remove_control_chars("\x1b") == ""  # an escape is over after the first pass
    for name, (text, _) in entities.items():
        made = fixed(nfc(text))
        assert ";" not in made or made == ";", name
        assert "&" not in made or made == "&", name
        assert "\x1b" not in made and not any(is_removed(ord(x)) for x in made), name


def check_bounds(entities, replaced):
    """UNICODE_GROWTH, UNICODE_PARTS, and one code point per byte after the fixes and after NFC."""
    def most(part):
        return max(len(part.encode()), len(part.lower().encode()))

    def check(text, size, what):
        parts = nfd(text)
        assert sum(map(most, parts)) <= unicode_table.GROWTH * size and len(parts) <= unicode_table.PARTS * size, what
        assert sum(map(most, nfc(text))) <= unicode_table.GROWTH * size and len(text) <= size and len(nfc(text)) <= size, what
        # a mark that stands behind and keeps it from composing again has at least two bytes and is one code point
        assert len(parts) <= size + 1, what

    for c in POINTS:
        check(replaced.get(c, chr(c)), len(chr(c).encode()), hex(c))
    for name, (text, _) in entities.items():
        check(text, len(name) + 1, name)
        check(fixed(text), len(name) + 1, name)


# ---- entities -------------------------------------------------------------------------------------------------------

def all_entities():
    """name without its ampersand -> text, flags"""
    out = {name: (text, "ENTITY_HTML5") for name, text in html5.items()}
    for name, text in chardata.HTML_ENTITIES.items():
        assert name[0] == "&" and name[-1] == ";"
        if name[1:] in out:
            assert out[name[1:]][0] == text
            out[name[1:]] = (text, "ENTITY_HTML5 | ENTITY_FTFY")
        else:
            out[name[1:]] = (text, "ENTITY_FTFY")
    assert all(name.isascii() and 1 <= len(text) <= 3 and 2 <= len(name) <= 32 for name, (text, _) in out.items())
    return out


def charrefs():
    """html.unescape's answers where they are not the code point itself; -1: nothing. The numbers that never are characters
    follow a rule, which is checked."""
    def answer(c):
        text = html.unescape(f"&#{c};")
        return ord(text) if text else -1

    def is_never(c):
        return 0xFDD0 <= c <= 0xFDEF or c & 0xFFFE == 0xFFFE

    low = {c: answer(c) for c in range(0xA0)}
    for c in range(0xA0, 0x110000):
        assert answer(c) == (0xFFFD if 0xD800 <= c < 0xE000 else -1 if is_never(c) else c), hex(c)
    assert answer(0x110000) == 0xFFFD
    return [low[c] for c in range(0xA0)]


def pool(entities):
    at, offsets, text = 0, {}, ""
    for name in sorted(entities):
        offsets[name] = at
        text += name
        at += len(name)
    return text, offsets


def points(text):
    return "{" + ", ".join(hex(ord(x)) for x in text) + "}"


def entity_table(entities, libraries):
    names, offsets = pool(entities)
    rows = "\n".join(f"    {{{offsets[name]}, {len(name)}, {flags}, {points(text)}}},"
                     for name, (text, flags) in sorted(entities.items()))
    return f"""/* html_entities.c - HTML's character references. Generated, do not edit: encoder/text/make_open_clip_tables.py
 * asked {libraries}.
 */
#include "html_entities.h"

const int32_t html_low_references[HTML_LOW] = {{
{unicode_table.numbers_in_rows(charrefs())}
}};

const char html_entity_names[] = {{
{unicode_table.numbers_in_rows(map(ord, names))}
}};

const struct html_entity html_entities[] = {{
{rows}
}};
const size_t html_entity_count = {len(entities)};
"""


def point_table(entities, libraries):
    replaced, ranges = replacements(), removed()
    check_passes(entities, replaced)
    check_bounds(entities, replaced)
    roles, _ = unicode_table.compositions(nfc, nfd)
    changed = "\n".join(f"    {{{c:#x}, {points(text)}}}," for c, text in sorted(replaced.items()))
    gone = "\n".join(f"    {{{first:#x}, {last:#x}}}," for first, last in ranges)
    return f"""/* open_clip_unicode_table.c - what each code point is to open_clip's tokenizer. Generated, do not edit:
 * encoder/text/make_open_clip_tables.py asked {libraries}.
 */
#include "open_clip_table.h"

const char *const open_clip_reference = "{libraries}";

{unicode_table.arrays("open_clip", records(roles))}
const struct open_clip_fix open_clip_fixes[] = {{
{changed}
}};
const size_t open_clip_fix_count = {len(replaced)};

const struct open_clip_range open_clip_removed[] = {{
{gone}
}};
const size_t open_clip_removed_count = {len(ranges)};
"""


def main():
    if found() != PINNED:
        sys.exit(f"make_open_clip_tables: found {found()}, expected {PINNED}")
    entities, libraries = all_entities(), ", ".join(f"{name} {version}" for name, version in PINNED.items())
    for name, text in (("open_clip_unicode_table.c", point_table(entities, libraries)),
                       ("html_entities.c", entity_table(entities, libraries))):
        if sys.argv[1:] != ["--check"]:
            (HERE / name).write_text(text)
        elif (HERE / name).read_text() != text:
            sys.exit(f"make_open_clip_tables: {name} differs from the reference")


if __name__ == "__main__":
    main()
