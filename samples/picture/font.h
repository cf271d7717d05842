/* font.h - the embedded bitmap font: X11's misc-fixed 6x13, public domain, ASCII and Latin-1. font_6x13.c is made by
 * make_font.py. Knows nothing of strings: text.h does. */
#ifndef SAMPLES_PICTURE_FONT_H
#define SAMPLES_PICTURE_FONT_H

#include <stdint.h>

#define FONT_WIDTH 6
#define FONT_HEIGHT 13
#define FONT_GLYPHS (95 + 96) /* U+0020 to U+007E, U+00A0 to U+00FF */

extern const uint8_t font_glyphs[FONT_GLYPHS][FONT_HEIGHT];

/* The row of font_glyphs for a code point, or -1 if the font does not have it. */
static inline int font_index(uint32_t code) {
    if (code >= 0x20 && code <= 0x7E) {
        return (int)code - 0x20;
    }
    return code >= 0xA0 && code <= 0xFF ? (int)code - 0xA0 + 95 : -1;
}

#endif
