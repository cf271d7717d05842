/* packed.h - how activations lie: LANES rows (tokens) side by side, feature by feature. Element (row, k) of `width` features is
 * at [row / LANES][k][row % LANES]: a weight meets sixteen rows with one load, and whatever is done to rows alone is done to
 * sixteen of them in a register. Rows of several prompts follow each other without a gap; nothing needs to know where one
 * ends but attention. */
#ifndef ENCODER_KERNELS_PACKED_H
#define ENCODER_KERNELS_PACKED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LANES 16

static inline size_t packed_groups(size_t rows) {
    return (rows + LANES - 1) / LANES;
}

/* Where feature 0 of a row is; the next feature is LANES further. */
static inline size_t packed_at(size_t row, size_t width) {
    return row / LANES * LANES * width + row % LANES;
}

/* `count` features of up to LANES rows from `row` on, to[feature][to_pitch]; the lanes beyond them become zero. Copies are of
 * one size, because a call of memcpy costs as much as three of them. */
static inline void packed_take(const float *from, size_t width, size_t row, size_t rows, float *to, size_t to_pitch,
                               size_t count) {
    size_t lane = row % LANES, crosses = lane + rows > LANES;
    from += row / LANES * LANES * width;
    for (size_t k = 0; k < count; k++) {
        float *lanes = to + k * to_pitch, two[2 * LANES];
        memcpy(two, from + k * LANES, LANES * sizeof *two);
        if (crosses)
            memcpy(two + LANES, from + (width + k) * LANES, LANES * sizeof *two);
        for (size_t i = lane + rows; i < lane + LANES; i++)
            two[i] = 0;
        memcpy(lanes, two + lane, LANES * sizeof *two);
    }
}

/* The same of up to LANES rows wherever they lie; those of one prompt mostly follow each other. */
static inline void packed_gather(const float *from, size_t width, const uint32_t *row, size_t rows, float *to, size_t to_pitch,
                                 size_t count) {
    const float *lane[LANES];
    size_t follow = 0;
    while (follow < rows && row[follow] == row[0] + follow)
        follow++;
    if (follow == rows) {
        packed_take(from, width, row[0], rows, to, to_pitch, count);
        return;
    }
    for (size_t i = 0; i < rows; i++)
        lane[i] = from + packed_at(row[i], width);
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < LANES; i++)
            to[k * to_pitch + i] = i < rows ? lane[i][k * LANES] : 0;
}

/* The way back, for one feature: `rows` values to rows from `row` on. `to` is where the feature is in the first group. */
static inline void packed_put(float *to, size_t width, size_t row, size_t rows, const float *lanes) {
    size_t lane = row % LANES, near = LANES - lane < rows ? LANES - lane : rows;
    to += row / LANES * LANES * width;
    memcpy(to + lane, lanes, near * sizeof *to);
    if (near < rows)
        memcpy(to + width * LANES, lanes + near, (rows - near) * sizeof *to);
}

#endif
