/* blocks.h - how a product is cut, the same for every kind of registers: the depth into blocks, groups of rows into runs; and how
 * the panel's next block of weights is fetched while the tiles work on this one. Knows no registers.
 *
 * A row's block is a few hundred bytes and the next row's a page away: the CPU does not see it coming. Fetched all at once most
 * lines are not fetched at all, so each tile asks for a few lines of its own columns: 4 % of the time of a panel of 16-bit weights,
 * on AVX2. Rows of float32, which its tiles read in place, are long enough for the CPU to see (tests/bench/LOG.md, 12). */
#ifndef ENCODER_KERNELS_BLOCKS_H
#define ENCODER_KERNELS_BLOCKS_H

#include "kernels.h"

#define DEPTH_BLOCK 320 /* a group of this depth stays in the first cache, a panel's weights in the second */
#define RUN_GROUPS 40   /* groups, of several prompts, that one widened block serves */
#define LINE 64
#define FETCH_GROUPS 5 /* among whose tiles a block is shared out: those of one prompt */

static inline size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* A block of weights to come; no lines: none. */
struct ahead {
    const unsigned char *weight;
    size_t pitch, lines; /* bytes from row to row; cache lines of each */
};

static inline struct ahead block_ahead(const struct linear *op, size_t from) {
    size_t element = dtype_bits(op->dtype) / 8;
    if (from >= op->depth)
        return (struct ahead){0};
    return (struct ahead){op->weight + from * element, op->weight_pitch,
                          (least(DEPTH_BLOCK, op->depth - from) * element + LINE - 1) / LINE};
}

/* How many lines of a row are asked for before group `first` of `groups`. */
static inline size_t lines_before(const struct ahead *block, size_t first, size_t groups) {
    size_t shares = least(groups, FETCH_GROUPS);
    return least(first, shares) * block->lines / shares;
}

static inline void fetch(const struct ahead *block, size_t column, size_t columns, size_t begin, size_t end) {
    for (size_t c = column; c < column + columns; c++)
        for (size_t line = begin; line < end; line++)
            __builtin_prefetch(block->weight + c * block->pitch + line * LINE);
}

#endif
