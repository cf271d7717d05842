/* text.h - text on a canvas. Takes any bytes: what the font has is drawn, another code point becomes U+XXXX, and a byte
 * that is not part of UTF-8 becomes \xXX. So nothing that a token can hold is invisible. One text is one line. */
#ifndef SAMPLES_PICTURE_TEXT_H
#define SAMPLES_PICTURE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "canvas.h"

/* Decodes one code point of the `count` (at least 1) bytes. Returns how many bytes it took, or 0 if the first byte does
 * not begin one: then *code is that byte, and the caller goes on after it. */
size_t text_decode(const char *bytes, size_t count, uint32_t *code);

/* Writes what is drawn for these bytes: one byte of Latin-1 per cell, at most `capacity` of them; where more is needed
 * the last three are "...". Returns the number of cells. */
size_t text_cells(const char *bytes, size_t count, uint8_t *cells, size_t capacity);

/* Draws at most max_cells cells with the top left corner at x, y, each pixel of the font as scale by scale pixels.
 * Returns the width in pixels. */
int text_draw(struct canvas *canvas, int x, int y, int scale, struct colour colour, size_t max_cells, const char *bytes,
              size_t count);

/* The same for a string without a limit. */
int text_draw_string(struct canvas *canvas, int x, int y, int scale, struct colour colour, const char *string);

#endif
