/* canvas.c - see canvas.h. */
#include "canvas.h"

#include <stddef.h>
#include <stdlib.h>

static int clamp(int64_t value, int limit) {
    return value < 0 ? 0 : value > limit ? limit : (int)value;
}

bool canvas_make(struct canvas *canvas, int width, int height, struct colour background) {
    canvas->pixels = NULL;
    if (width < 1 || height < 1 || width > CANVAS_LONGEST_SIDE || height > CANVAS_LONGEST_SIDE) {
        return false;
    }
    canvas->width = width;
    canvas->height = height;
    canvas->pixels = malloc((size_t)width * (size_t)height * 3);
    if (canvas->pixels == NULL) {
        return false;
    }
    canvas_fill(canvas, 0, 0, width, height, background);
    return true;
}

void canvas_free(struct canvas *canvas) {
    free(canvas->pixels);
    canvas->pixels = NULL;
}

void canvas_fill(struct canvas *canvas, int x, int y, int width, int height, struct colour colour) {
    int left = clamp(x, canvas->width);
    int right = clamp((int64_t)x + width, canvas->width);
    int top = clamp(y, canvas->height);
    int bottom = clamp((int64_t)y + height, canvas->height);
    for (int row = top; row < bottom; row++) {
        uint8_t *pixel = canvas->pixels + ((size_t)row * (size_t)canvas->width + (size_t)left) * 3;
        for (int column = left; column < right; column++) {
            *pixel++ = colour.red;
            *pixel++ = colour.green;
            *pixel++ = colour.blue;
        }
    }
}

void canvas_frame(struct canvas *canvas, int x, int y, int width, int height, struct colour colour) {
    canvas_fill(canvas, x - 1, y - 1, width + 2, 1, colour);
    canvas_fill(canvas, x - 1, y + height, width + 2, 1, colour);
    canvas_fill(canvas, x - 1, y, 1, height, colour);
    canvas_fill(canvas, x + width, y, 1, height, colour);
}
