/* panel.h - `linear` over a register tile: a run's groups and a panel's columns in tiles of three shapes, block after block of depth;
 * sums of blocks in double; then the epilogue. A file that has a tile defines, before it includes this:
 *
 *     TILE_COLUMNS, TILE_GROUPS   the tile: columns of weights by groups of rows
 *     X_BYTES, WEIGHT_BYTES       bytes of a value of x, and of a weight that was made ready in scratch
 *     group_bytes(kernels, depth) from a group of x to the next
 *     weights_of(kernels, op, from, depth, scratch, &pitch)   a panel's block of weights, made ready or where it lies
 *     tile(columns, groups, x, group_pitch, weight, pitch, depth, total)   total[group][column][LANES] += the block's products;
 *                                 `columns` and `groups` are constants where it is inlined; pitches are bytes */
#ifndef ENCODER_KERNELS_PANEL_H
#define ENCODER_KERNELS_PANEL_H

#include "blocks.h"
#include "epilogue.h"

#define TILE_REST (KERNEL_PANEL % TILE_COLUMNS)

/* How many of the columns that are left the next tile takes: as many as a tile has, what is left of a whole panel then, or one. Three
 * shapes, each built for itself. */
static size_t tile_columns(size_t left) {
    return left >= TILE_COLUMNS ? TILE_COLUMNS : left >= TILE_REST ? TILE_REST : 1;
}

/* Each shape is a function of its own, so that no frame holds the sums of all. */
#define TILE_SHAPE(name, columns, groups)                                                                                 \
    static __attribute__((noinline)) void name(const unsigned char *x, size_t group_pitch, const unsigned char *weight,   \
                                               size_t pitch, size_t depth, double *total) {                               \
        tile(columns, groups, x, group_pitch, weight, pitch, depth, total);                                               \
    }
TILE_SHAPE(tile_whole, TILE_COLUMNS, TILE_GROUPS)
TILE_SHAPE(tile_whole_of_one, TILE_COLUMNS, 1)
TILE_SHAPE(tile_rest, TILE_REST, TILE_GROUPS)
TILE_SHAPE(tile_rest_of_one, TILE_REST, 1)
TILE_SHAPE(tile_column, 1, TILE_GROUPS)
TILE_SHAPE(tile_column_of_one, 1, 1)

/* `columns` is what tile_columns said, `groups` 1 or TILE_GROUPS */
static void tile_of(size_t columns, size_t groups, const unsigned char *x, size_t group_pitch, const unsigned char *weight,
                    size_t pitch, size_t depth, double *total) {
    void (*const shapes[3][2])(const unsigned char *, size_t, const unsigned char *, size_t, size_t, double *) = {
        {tile_column_of_one, tile_column}, {tile_rest_of_one, tile_rest}, {tile_whole_of_one, tile_whole}};
    size_t shape = columns == TILE_COLUMNS ? 2 : columns == TILE_REST ? 1 : 0;
    shapes[shape][groups == TILE_GROUPS](x, group_pitch, weight, pitch, depth, total);
}

static void multiply(const struct kernels *kernels, const struct linear *op, size_t first, size_t count, void *scratch) {
    const unsigned char *rows = op->prepared ? op->prepared : (const void *)op->x;
    size_t group_pitch = group_bytes(kernels, op->depth);
    double *total = (double *)(void *)((unsigned char *)scratch + (size_t)KERNEL_PANEL * DEPTH_BLOCK * WEIGHT_BYTES);
    memset(total, 0, count * KERNEL_PANEL * LANES * sizeof *total);
    for (size_t from = 0; from < op->depth; from += DEPTH_BLOCK) {
        size_t pitch, depth = least(DEPTH_BLOCK, op->depth - from);
        const unsigned char *weight = weights_of(kernels, op, from, depth, scratch, &pitch);
        struct ahead next = {0};
        if (pitch != op->weight_pitch) /* not read in place */
            next = block_ahead(op, from + depth);
        /* a group's lines for each column: tiles wait for a division */
        size_t lines = op->groups * group_pitch > ROWS_FAR ? depth * LANES * X_BYTES / LINE / KERNEL_PANEL : 0;
        for (size_t g = 0; g < count;) {
            size_t groups = count - g < TILE_GROUPS ? 1 : TILE_GROUPS;
            size_t begin = lines_before(&next, g, count), end = lines_before(&next, g + groups, count);
            const unsigned char *x = rows + (first + g) * group_pitch + from * LANES * X_BYTES;
            size_t next_groups = least(groups, count - g - groups);
            for (size_t column = 0, columns; column < op->columns; column += columns) {
                columns = tile_columns(op->columns - column);
                if (end > begin)
                    fetch(&next, column, columns, begin, end);
                if (lines)
                    fetch_rows(x + groups * group_pitch, group_pitch, next_groups, lines * column, lines * (column + columns));
                tile_of(columns, groups, x, group_pitch, weight + column * pitch, pitch, depth,
                        total + (g * KERNEL_PANEL + column) * LANES);
            }
            g += groups;
        }
    }
    for (size_t g = 0; g < count; g++)
        for (size_t column = 0; column < op->columns; column++)
            epilogue(op, total + (g * KERNEL_PANEL + column) * LANES, first + g, column);
}

static void linear(const struct kernels *kernels, const struct linear *op, void *scratch) {
    for (size_t g = 0; g < op->groups; g += RUN_GROUPS)
        multiply(kernels, op, g, least(RUN_GROUPS, op->groups - g), scratch);
}

static size_t linear_scratch(size_t groups, size_t depth) {
    (void)depth;
    return KERNEL_PANEL * (DEPTH_BLOCK * WEIGHT_BYTES + least(groups, RUN_GROUPS) * LANES * sizeof(double));
}

#endif
