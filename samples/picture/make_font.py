#!/usr/bin/env python3
"""make_font.py - turns X11's misc-fixed 6x13 into font_6x13.c.

    python3 make_font.py /usr/share/fonts/X11/misc/6x13-ISO8859-1.pcf.gz > font_6x13.c

The input is of Debian's package xfonts-base (1:1.0.5+nmu1 when this was last run). Its COPYRIGHT property says "Public
domain font.  Share and enjoy."; the script stops if it says anything else. Needs only the standard library. It knows
the PCF format (properties, metrics, bitmaps, encodings) and nothing of how the table is drawn.
"""
import gzip
import struct
import sys

PROPERTIES, METRICS, BITMAPS, ENCODINGS = 1 << 0, 1 << 2, 1 << 3, 1 << 5
COMPRESSED_METRICS = 0x100
WIDTH, HEIGHT, ASCENT = 6, 13, 11
LICENCE = "Public domain font.  Share and enjoy."


class Table:
    """One table of the file: its format word, and its fields in the byte order that the word asks for."""

    def __init__(self, data, offset, size):
        self.data = data[offset:offset + size]
        self.format = struct.unpack_from("<I", self.data)[0]
        self.order = ">" if self.format & 4 else "<"

    def read(self, layout, at):
        return struct.unpack_from(self.order + layout, self.data, at)


def tables(data):
    magic, count = struct.unpack_from("<4sI", data)
    if magic != b"\1fcp":
        sys.exit("make_font.py: not a PCF file")
    found = {}
    for index in range(count):
        kind, _format, size, offset = struct.unpack_from("<4I", data, 8 + 16 * index)
        found[kind] = Table(data, offset, size)
    return found


def properties(table):
    (count,) = table.read("i", 4)
    strings_at = 8 + 9 * count
    strings_at += -strings_at % 4 + 4
    text = lambda at: table.data[strings_at + at:table.data.index(b"\0", strings_at + at)].decode("ascii")
    values = {}
    for index in range(count):
        name, is_string, value = table.read("ibi", 8 + 9 * index)
        values[text(name)] = text(value) if is_string else value
    return values


def metrics(table):
    """(left bearing, right bearing, advance, ascent, descent) of each glyph."""
    if table.format & COMPRESSED_METRICS:
        (count,) = table.read("h", 4)
        return [tuple(value - 0x80 for value in table.read("5B", 6 + 5 * i)) for i in range(count)]
    (count,) = table.read("i", 4)
    return [table.read("5h", 8 + 12 * i) for i in range(count)]


def glyph_rows(table, index, metric):
    """The HEIGHT rows of a glyph, each an int whose bit 7 is the leftmost pixel of the cell."""
    left, right, _advance, ascent, descent = metric
    (count,) = table.read("i", 4)
    (offset,) = table.read("i", 8 + 4 * index)
    bitmaps_at = 8 + 4 * count + 16
    pad = 1 << (table.format & 3)
    unit = 1 << (table.format >> 4 & 3)
    stride = ((right - left + 7) // 8 + pad - 1) // pad * pad
    rows = [0] * HEIGHT
    for y in range(ascent + descent):
        for x in range(right - left):
            at = x // 8
            if bool(table.format & 4) != bool(table.format & 8):
                at ^= unit - 1
            byte = table.data[bitmaps_at + offset + y * stride + at]
            bit = byte >> (7 - x % 8) & 1 if table.format & 8 else byte >> (x % 8) & 1
            if bit:
                rows[ASCENT - ascent + y] |= 0x80 >> (left + x)
    return rows


def main():
    with gzip.open(sys.argv[1]) as file:
        found = tables(file.read())
    licence = properties(found[PROPERTIES])["COPYRIGHT"]
    if licence != LICENCE:
        sys.exit(f"make_font.py: the font's COPYRIGHT is {licence!r}, expected {LICENCE!r}")
    metric_of = metrics(found[METRICS])
    first, last, _row_first, _row_last, _default = found[ENCODINGS].read("5h", 4)
    print("/* font_6x13.c - the glyphs of X11's misc-fixed 6x13, ASCII and Latin-1. Made by make_font.py;\n"
          " * do not edit. Font: -Misc-Fixed-Medium-R-SemiCondensed--13-120-75-75-C-60-ISO8859-1 of Debian's\n"
          f' * xfonts-base, whose COPYRIGHT property says "{LICENCE}" */\n'
          '#include "font.h"\n\n'
          "/* One row per glyph, one byte per line of pixels from the top, the leftmost pixel in bit 7. */\n"
          "const uint8_t font_glyphs[FONT_GLYPHS][FONT_HEIGHT] = {")
    for code in list(range(0x20, 0x7F)) + list(range(0xA0, 0x100)):
        if not first <= code <= last:
            sys.exit(f"make_font.py: the font does not reach U+{code:04X}")
        (index,) = found[ENCODINGS].read("H", 14 + 2 * (code - first))
        if index == 0xFFFF or metric_of[index][2] != WIDTH:
            sys.exit(f"make_font.py: no glyph {WIDTH} pixels wide for U+{code:04X}")
        rows = ", ".join(f"0x{row:02X}" for row in glyph_rows(found[BITMAPS], index, metric_of[index]))
        print(f"    {{{rows}}}, /* U+{code:04X} */")
    print("};")


main()
