/* text.c - see text.h. */
#include "text.h"

#include <stdio.h>
#include <string.h>

#include "font.h"

#define CELLS_MAX 1024
#define ESCAPE_MAX 9 /* U+10FFFF and a NUL */

size_t text_decode(const char *bytes, size_t count, uint32_t *code) {
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = (uint8_t)bytes[0];
    size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    *code = first;
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xC2 || first > 0xF4 || length > count) {
        return 0;
    }
    uint32_t value = first & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        uint8_t next = (uint8_t)bytes[i];
        if ((next & 0xC0) != 0x80) {
            return 0;
        }
        value = value << 6 | (next & 0x3Fu);
    }
    if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
        return 0;
    }
    *code = value;
    return length;
}

size_t text_cells(const char *bytes, size_t count, uint8_t *cells, size_t capacity) {
    size_t used = 0;
    while (count > 0) {
        char drawn[ESCAPE_MAX];
        uint32_t code;
        size_t taken = text_decode(bytes, count, &code);
        size_t length = 1;
        if (taken == 0) {
            length = (size_t)snprintf(drawn, sizeof drawn, "\\x%02X", (unsigned)(code & 0xFFu));
        } else if (font_index(code) < 0) {
            length = (size_t)snprintf(drawn, sizeof drawn, "U+%04X", (unsigned)(code & 0x1FFFFFu));
        } else {
            drawn[0] = (char)code;
        }
        if (length > capacity - used) {
            size_t dots = capacity < 3 ? capacity : 3;
            size_t from = used < capacity - dots ? used : capacity - dots;
            memset(cells + from, '.', dots);
            return from + dots;
        }
        memcpy(cells + used, drawn, length);
        used += length;
        bytes += taken == 0 ? 1 : taken;
        count -= taken == 0 ? 1 : taken;
    }
    return used;
}

static void draw_cell(struct canvas *canvas, int x, int y, int scale, struct colour colour, uint8_t cell) {
    int index = font_index(cell);
    if (index < 0) {
        return;
    }
    for (int row = 0; row < FONT_HEIGHT; row++) {
        for (int column = 0; column < FONT_WIDTH; column++) {
            if (font_glyphs[index][row] & 0x80 >> column) {
                canvas_fill(canvas, x + column * scale, y + row * scale, scale, scale, colour);
            }
        }
    }
}

int text_draw(struct canvas *canvas, int x, int y, int scale, struct colour colour, size_t max_cells, const char *bytes,
              size_t count) {
    uint8_t cells[CELLS_MAX];
    size_t drawn = text_cells(bytes, count, cells, max_cells < CELLS_MAX ? max_cells : CELLS_MAX);
    for (size_t i = 0; i < drawn; i++) {
        draw_cell(canvas, x + (int)i * FONT_WIDTH * scale, y, scale, colour, cells[i]);
    }
    return (int)drawn * FONT_WIDTH * scale;
}

int text_draw_string(struct canvas *canvas, int x, int y, int scale, struct colour colour, const char *string) {
    return text_draw(canvas, x, y, scale, colour, CELLS_MAX, string, strlen(string));
}
