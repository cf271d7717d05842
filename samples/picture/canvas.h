/* canvas.h - a rectangle of RGB pixels in memory. Everything drawn is clipped to it. Knows no file format. */
#ifndef SAMPLES_PICTURE_CANVAS_H
#define SAMPLES_PICTURE_CANVAS_H

#include <stdbool.h>
#include <stdint.h>

/* Neither side may be longer: a picture larger than this is a mistake of the caller, not a picture. */
#define CANVAS_LONGEST_SIDE 16384

struct colour {
    uint8_t red, green, blue;
};

/* pixels: height rows of width times red, green, blue. */
struct canvas {
    int width, height;
    uint8_t *pixels;
};

/* False if a side is below 1 or above the limit, or if there is no memory; nothing to free then. */
bool canvas_make(struct canvas *canvas, int width, int height, struct colour background);
void canvas_free(struct canvas *canvas);

void canvas_fill(struct canvas *canvas, int x, int y, int width, int height, struct colour colour);

/* One pixel wide, just outside the rectangle. */
void canvas_frame(struct canvas *canvas, int x, int y, int width, int height, struct colour colour);

#endif
