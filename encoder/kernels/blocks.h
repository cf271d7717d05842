/* blocks.h - how a product is cut, the same for every kind of registers: the depth into blocks, groups of rows into runs; and how
 * what comes next, of the weights and of the rows, is fetched while the tiles work. Knows no registers.
 *
 * A weight row's block is a few hundred bytes and the next row's a page away: the CPU does not see it coming. Fetched all at once most
 * lines are not fetched at all, so each tile asks for a few lines of its own columns: 4 % of the time of a panel of 16-bit weights,
 * on AVX2, and 2 % where the next panel's first block is fetched as well. Rows of float32, which its tiles read in place, are long
 * enough for the CPU to see. A group of rows is 20 KB in one piece, but begins anew in each block: where all of them do not
 * stay near, the first tile would wait for them, 10 % of the time (tests/bench/LOG.md, 12 and 16). */
#ifndef ENCODER_KERNELS_BLOCKS_H
#define ENCODER_KERNELS_BLOCKS_H

#include "kernels.h"

#define DEPTH_BLOCK 320 /* a group of this depth stays in the first cache, a panel's weights in the second */
#define RUN_GROUPS 40   /* groups, of several prompts, that one widened block serves */
#define LINE 64
#define FETCH_GROUPS 5 /* among whose tiles a block is shared out: those of one prompt */
#define ROWS_FAR ((size_t)3 << 20) /* more bytes of rows than this are not near; fetching fewer costs 2 % and gains nothing */

static inline size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* A block of weights to come; no lines: none. */
struct ahead {
    const unsigned char *weight;
    size_t pitch, lines; /* bytes from row to row; cache lines of each */
};

/* From feature `from` on; behind the last one, the first block of the worker's next panel, of the same shape. */
static inline struct ahead block_ahead(const struct linear *op, size_t from) {
    size_t element = dtype_bits(op->dtype) / 8, left = from < op->depth ? op->depth - from : op->depth;
    const unsigned char *weight = from < op->depth ? op->weight + from * element : op->next_weight;
    if (!weight)
        return (struct ahead){0};
    return (struct ahead){weight, op->weight_pitch, (least(DEPTH_BLOCK, left) * element + LINE - 1) / LINE};
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

/* Lines begin .. end - 1 of each of the groups' blocks. */
static inline void fetch_rows(const unsigned char *rows, size_t group_pitch, size_t groups, size_t begin, size_t end) {
    for (size_t g = 0; g < groups; g++)
        for (size_t line = begin; line < end; line++)
            __builtin_prefetch(rows + g * group_pitch + line * LINE);
}

#endif
