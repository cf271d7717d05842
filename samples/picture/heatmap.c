/* heatmap.c - see heatmap.h. Layout, from left to right: index and label of each row, the cells, the colour bar and its
 * numbers; from top to bottom: title, subtitle, the cells, the channel axis, two lines that say how to read it. */
#include "heatmap.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "colour_map.h"
#include "font.h"
#include "scale.h"
#include "text.h"

#define MARGIN 18
#define CELLS_WIDTH 1280  /* pixels for the channels: bigG has 1280 of them */
#define CELLS_HEIGHT 1100 /* pixels for the tokens: 77 rows of 14, so that every row takes a line of text */
#define CELL_HEIGHT_MAX 24
#define LABEL_CELLS 18
#define INDEX_CELLS 5
#define BAR_GAP 26
#define BAR_WIDTH 20
#define BAR_HEIGHT_MIN 260
#define TICK 5
#define NUMBER_CELLS 9
#define TITLE_SCALE 2
#define HEADER (TITLE_SCALE * FONT_HEIGHT + 6 + FONT_HEIGHT + 16)
#define FOOTER (TICK + 3 + 2 * FONT_HEIGHT + 14 + 2 * (FONT_HEIGHT + 3))

static const struct colour white = {255, 255, 255};
static const struct colour ink = {24, 24, 24};
static const struct colour grey = {150, 150, 150};

/* The value of the largest magnitude among those that share a cell: a mean would hide a lone large channel. A NaN is
 * larger than anything. */
static float signed_extreme(const float *values, size_t count) {
    float extreme = values[0];
    for (size_t i = 1; i < count; i++) {
        if (isnan(values[i]) || fabsf(values[i]) > fabsf(extreme)) {
            extreme = values[i];
        }
    }
    return extreme;
}

static void draw_cells(struct canvas *canvas, const struct heatmap *heatmap, const struct heatmap_layout *at,
                       const struct scale *scale) {
    for (size_t row = 0; row < heatmap->rows; row++) {
        const float *values = heatmap->values + row * heatmap->columns;
        for (size_t bin = 0; bin < at->bins; bin++) {
            size_t first = bin * at->per_bin;
            size_t count = first + at->per_bin > heatmap->columns ? heatmap->columns - first : at->per_bin;
            double position = scale_position(scale, (double)signed_extreme(values + first, count));
            canvas_fill(canvas, at->left + (int)bin * at->cell_width, at->top + (int)row * at->cell_height,
                        at->cell_width, at->cell_height, colour_map(position));
        }
    }
    canvas_frame(canvas, at->left, at->top, (int)at->bins * at->cell_width, (int)heatmap->rows * at->cell_height, ink);
}

static void draw_labels(struct canvas *canvas, const struct heatmap *heatmap, const struct heatmap_layout *at) {
    size_t every = (size_t)((FONT_HEIGHT + at->cell_height - 1) / at->cell_height);
    int right = at->left - 8;
    for (size_t row = 0; row < heatmap->rows; row += every) {
        const struct heatmap_label *label = &heatmap->labels[row];
        struct colour colour = label->muted ? grey : ink;
        char index[24];
        int y = at->top + (int)row * at->cell_height + (at->cell_height - FONT_HEIGHT) / 2;
        int length = snprintf(index, sizeof index, "%zu", row);
        text_draw_string(canvas, right - length * FONT_WIDTH, y, 1, grey, index);
        uint8_t cells[LABEL_CELLS];
        size_t drawn = text_cells(label->text, label->bytes, cells, LABEL_CELLS);
        text_draw(canvas, right - (INDEX_CELLS + (int)drawn) * FONT_WIDTH, y, 1, colour, LABEL_CELLS, label->text,
                  label->bytes);
    }
}

static void draw_axis(struct canvas *canvas, const struct heatmap *heatmap, const struct heatmap_layout *at) {
    int below = at->top + (int)heatmap->rows * at->cell_height;
    double pixels = (double)at->cell_width / (double)at->per_bin;
    size_t step = (size_t)fmax(1, scale_round_step(64 / pixels));
    for (size_t channel = 0; channel < heatmap->columns; channel += step) {
        char number[24];
        int length = snprintf(number, sizeof number, "%zu", channel);
        int x = at->left + (int)(channel / at->per_bin) * at->cell_width + at->cell_width / 2;
        canvas_fill(canvas, x, below + 1, 1, TICK, ink);
        text_draw_string(canvas, x - length * FONT_WIDTH / 2 + 1, below + TICK + 3, 1, ink, number);
    }
    text_draw_string(canvas, at->left, below + TICK + 3 + FONT_HEIGHT, 1, grey, "channel");
}

static void draw_bar(struct canvas *canvas, const struct scale *scale, int x, int y, int height) {
    double ticks[SCALE_TICKS_MAX];
    for (int row = 0; row < height; row++) {
        canvas_fill(canvas, x, y + row, BAR_WIDTH, 1, colour_map(1 - 2 * (double)row / (height - 1)));
    }
    canvas_frame(canvas, x, y, BAR_WIDTH, height, ink);
    size_t count = scale_ticks(scale, 2.0 * 22 / height, ticks);
    for (size_t i = 0; i < count; i++) {
        char number[32];
        int row = y + (int)((1 - scale_position(scale, ticks[i])) / 2 * (height - 1) + 0.5);
        snprintf(number, sizeof number, "%s%.3g", ticks[i] > 0 ? "+" : "", ticks[i]);
        canvas_fill(canvas, x + BAR_WIDTH + 1, row, TICK, 1, ink);
        text_draw_string(canvas, x + BAR_WIDTH + TICK + 4, row - FONT_HEIGHT / 2, 1, ink, number);
    }
}

static void draw_legend(struct canvas *canvas, const struct heatmap *heatmap, const struct heatmap_layout *at,
                        const struct scale *scale, int x, int y) {
    char line[256];
    size_t largest = 0;
    for (size_t i = 1; i < heatmap->rows * heatmap->columns; i++) {
        if (isfinite(heatmap->values[i]) && (!isfinite(heatmap->values[largest]) ||
                                             fabsf(heatmap->values[i]) > fabsf(heatmap->values[largest]))) {
            largest = i;
        }
    }
    int length = scale->bend > 0 ? snprintf(line, sizeof line, "Colour: asinh(x / %.3g)", scale->bend)
                                 : snprintf(line, sizeof line, "Colour: linear");
    snprintf(line + length, sizeof line - (size_t)length, ", symmetric about 0 (white). Half of the values lie within "
             "+-%.3g, 99 %% within +-%.3g; the largest is %.4g, at token %zu, channel %zu.", scale->median,
             scale->percentile, (double)heatmap->values[largest], largest / heatmap->columns,
             largest % heatmap->columns);
    text_draw_string(canvas, x, y, 1, ink, line);
    if (at->per_bin == 1) {
        length = snprintf(line, sizeof line, "One cell is one value: %zu tokens down, %zu channels across.",
                          heatmap->rows, heatmap->columns);
    } else {
        length = snprintf(line, sizeof line, "One cell is %zu neighbouring channels of one token: the value of the "
                          "largest magnitude among them, with its sign.", at->per_bin);
    }
    if (scale->not_finite > 0) {
        snprintf(line + length, sizeof line - (size_t)length, " %zu values are not finite (NaN: yellow).",
                 scale->not_finite);
    }
    text_draw_string(canvas, x, y + FONT_HEIGHT + 3, 1, ink, line);
}

/* The title is large where it fits, small where it would be cut. */
static void draw_title(struct canvas *canvas, const struct heatmap *heatmap) {
    size_t fit = (size_t)((canvas->width - 2 * MARGIN) / FONT_WIDTH);
    size_t large = fit / TITLE_SCALE;
    uint8_t cells[CANVAS_LONGEST_SIDE / FONT_WIDTH];
    bool fits = text_cells(heatmap->title, heatmap->title_bytes, cells, fit) <= large;
    int scale = fits ? TITLE_SCALE : 1;
    int y = MARGIN + (TITLE_SCALE - scale) * FONT_HEIGHT;
    text_draw(canvas, MARGIN, y, scale, ink, fits ? large : fit, heatmap->title, heatmap->title_bytes);
    text_draw(canvas, MARGIN, MARGIN + TITLE_SCALE * FONT_HEIGHT + 6, 1, ink, fit, heatmap->subtitle,
              strlen(heatmap->subtitle));
}

static void lay_out(const struct heatmap *heatmap, struct heatmap_layout *at) {
    size_t fit = CELLS_HEIGHT / heatmap->rows;
    at->per_bin = (heatmap->columns + CELLS_WIDTH - 1) / CELLS_WIDTH;
    at->bins = (heatmap->columns + at->per_bin - 1) / at->per_bin;
    at->cell_width = (int)(CELLS_WIDTH / at->bins);
    at->cell_height = fit < 1 ? 1 : fit > CELL_HEIGHT_MAX ? CELL_HEIGHT_MAX : (int)fit;
    at->left = MARGIN + (LABEL_CELLS + INDEX_CELLS) * FONT_WIDTH + 8;
    at->top = MARGIN + HEADER;
}

bool heatmap_draw(const struct heatmap *heatmap, struct canvas *canvas, struct heatmap_layout *layout, char *why,
                  size_t why_size) {
    struct heatmap_layout at;
    struct scale scale;
    if (heatmap->rows < 1 || heatmap->columns < 1 || heatmap->rows > CANVAS_LONGEST_SIDE / 2 ||
        heatmap->columns > (size_t)1 << 24) {
        snprintf(why, why_size, "a matrix of %zu x %zu cannot be drawn", heatmap->rows, heatmap->columns);
        return false;
    }
    lay_out(heatmap, &at);
    int cells_width = (int)at.bins * at.cell_width, cells_height = (int)heatmap->rows * at.cell_height;
    int bar_height = cells_height < BAR_HEIGHT_MIN ? BAR_HEIGHT_MIN : cells_height;
    int bar_x = at.left + cells_width + BAR_GAP;
    int width = bar_x + BAR_WIDTH + TICK + 4 + NUMBER_CELLS * FONT_WIDTH + MARGIN;
    int height = at.top + bar_height + FOOTER + MARGIN;
    if (!scale_of(&scale, heatmap->values, heatmap->rows * heatmap->columns) ||
        !canvas_make(canvas, width, height, white)) {
        snprintf(why, why_size, "no memory for a picture of %d x %d pixels", width, height);
        return false;
    }
    draw_title(canvas, heatmap);
    draw_labels(canvas, heatmap, &at);
    draw_cells(canvas, heatmap, &at, &scale);
    draw_axis(canvas, heatmap, &at);
    draw_bar(canvas, &scale, bar_x, at.top, bar_height);
    draw_legend(canvas, heatmap, &at, &scale, MARGIN, height - MARGIN - 2 * (FONT_HEIGHT + 3));
    if (layout != NULL) {
        *layout = at;
    }
    return true;
}
