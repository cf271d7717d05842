/* heatmap.h - a matrix as a picture: one row per token, labelled; channels to the right; a colour bar with numbers.
 * Draws on a canvas. Knows nothing of models, of tokenizers or of files. */
#ifndef SAMPLES_PICTURE_HEATMAP_H
#define SAMPLES_PICTURE_HEATMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "canvas.h"

/* The label of a row: any bytes, see text.h. A muted one (start, end, padding: not text of the prompt) is drawn grey.
 * */
struct heatmap_label {
    const char *text;
    size_t bytes;
    bool muted;
};

/* values [rows, columns], row-major. title is large, may hold any bytes and is cut to fit; subtitle is a string. */
struct heatmap {
    const float *values;
    size_t rows, columns;
    const struct heatmap_label *labels;
    const char *title;
    size_t title_bytes;
    const char *subtitle;
};

/* Where the cells came to lie: cell (row, bin) covers cell_width by cell_height pixels from (left + bin * cell_width,
 * top + row * cell_height); it stands for columns bin * per_bin and on. */
struct heatmap_layout {
    int left, top;
    int cell_width, cell_height;
    size_t bins, per_bin;
};

/* Makes the canvas; layout may be NULL. False, and nothing to free, if there is no memory or the matrix has no values
 * or is too large for a picture; `why` has the reason. */
bool heatmap_draw(const struct heatmap *heatmap, struct canvas *canvas, struct heatmap_layout *layout, char *why,
                  size_t why_size);

#endif
