/* gemm.h - our own float32 GEMM over mapped weights, written once for any vector width. A file of an instruction set defines
 * the names below over its registers and includes this:
 *
 *     v, V (floats in one), v_zero() v_set(x) v_load(p) v_store(p, a) v_add(a, b) v_fma(a, b, c) = a b + c
 *     TILE_ROWS, TILE_VECTORS     the register tile: rows of x by vectors of columns
 *     widen_block(from, pitch, dtype, rows, depth, to, to_pitch)
 *         V rows of weights by V of depth, widened and transposed: to[k * to_pitch + row]; missing ones zero
 *
 * How it goes: a strip of columns and a block of depth of the weights is widened to float32 and transposed into scratch that
 * stays in cache; then tiles of x rows run over it with one fused multiply-add per product. Each result is summed in three
 * levels, chains of CHAIN products, blocks of DEPTH_BLOCK, the depth (in double): one order whatever the batch, rows or threads, and few
 * additions behind any one product. That matters where one product is a hundred times the rest, as in the massive channels
 * of CLIP's start token: each addition behind it rounds at its size. Chains of 128 straight into the total erred there up to
 * 3.7 times as much as torch (CLIP-L, bf16). */
#ifndef ENCODER_KERNELS_GEMM_H
#define ENCODER_KERNELS_GEMM_H

#include "epilogue.h"
#include "kernels.h"

#define STRIP (TILE_VECTORS * V) /* columns of a strip */
#define CHAIN 32
#define DEPTH_BLOCK 320 /* x rows of a tile and a strip of this depth stay in the first two caches */
#define GROUP_ROWS 640  /* rows of x, of several prompts, that one widened block serves */

_Static_assert(KERNEL_PANEL % STRIP == 0, "a panel is whole strips");
_Static_assert(DEPTH_BLOCK % CHAIN == 0 && CHAIN % V == 0, "a block is whole chains, a chain whole vectors");

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* total[rows][KERNEL_PANEL] += x[rows][depth] strip[depth][STRIP]; rows is a constant where this is inlined */
static inline __attribute__((always_inline)) void tile(const size_t rows, const float *x, size_t x_pitch,
                                                       const float *strip, size_t depth, double *total) {
    float block[TILE_ROWS][STRIP]; /* stays in the first cache, where sums of this many in memory would not */
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < TILE_VECTORS; c++)
            v_store(block[r] + c * V, v_zero());
    for (size_t begin = 0; begin < depth; begin += CHAIN) {
        size_t end = least(begin + CHAIN, depth);
        v sum[TILE_ROWS][TILE_VECTORS];
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < TILE_VECTORS; c++)
                sum[r][c] = v_zero();
        for (size_t k = begin; k < end; k++) {
            v w[TILE_VECTORS];
            for (size_t c = 0; c < TILE_VECTORS; c++)
                w[c] = v_load(strip + k * STRIP + c * V);
            for (size_t r = 0; r < rows; r++) {
                v a = v_set(x[r * x_pitch + k]);
                for (size_t c = 0; c < TILE_VECTORS; c++)
                    sum[r][c] = v_fma(a, w[c], sum[r][c]);
            }
        }
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < TILE_VECTORS; c++)
                v_store(block[r] + c * V, v_add(v_load(block[r] + c * V), sum[r][c]));
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < STRIP; c++)
            total[r * KERNEL_PANEL + c] += (double)block[r][c];
}

static void tile_of(size_t rows, const float *x, size_t x_pitch, const float *strip, size_t depth, double *total) {
    switch (rows) {
#define CASE(n)                                                                                                       \
    case (n):                                                                                                         \
        if ((n) <= TILE_ROWS)                                                                                         \
            tile((n) <= TILE_ROWS ? (n) : 1, x, x_pitch, strip, depth, total);                                        \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
#undef CASE
    default:
        break;
    }
}

/* strips[panel / STRIP][depth][STRIP] of columns 0.. and depth `from`.. of the weights */
static void widen_strips(const struct linear *op, size_t from, size_t depth, float *strips) {
    size_t element = dtype_bits(op->dtype) / 8;
    size_t whole = (op->columns + STRIP - 1) / STRIP * STRIP;
    for (size_t column = 0; column < whole; column += V) {
        float *strip = strips + column / STRIP * STRIP * DEPTH_BLOCK + column % STRIP;
        size_t rows = column < op->columns ? least(V, op->columns - column) : 0;
        const unsigned char *weight = op->weight + (rows ? column : 0) * op->weight_pitch + from * element;
        for (size_t k = 0; k < depth; k += V)
            widen_block(weight + k * element, op->weight_pitch, op->dtype, rows, least(V, depth - k), strip + k * STRIP,
                        STRIP);
    }
    for (size_t strip = 0; op->scale != 0 && strip < whole / STRIP; strip++)
        for (size_t i = 0; i < depth * STRIP; i++)
            strips[strip * STRIP * DEPTH_BLOCK + i] *= op->scale;
}

static void multiply(const struct linear *op, size_t first, size_t count, float *scratch) {
    size_t strip_count = (op->columns + STRIP - 1) / STRIP;
    float *strips = scratch;
    double *totals = (double *)(void *)(scratch + KERNEL_PANEL * DEPTH_BLOCK);
    memset(totals, 0, count * op->rows * KERNEL_PANEL * sizeof *totals);
    for (size_t from = 0; from < op->depth; from += DEPTH_BLOCK) {
        size_t depth = least(DEPTH_BLOCK, op->depth - from);
        widen_strips(op, from, depth, strips);
        for (size_t b = 0; b < count; b++) {
            for (size_t row = 0; row < op->rows; row += TILE_ROWS) {
                const float *x = op->x + (first + b) * op->x_batch_pitch + row * op->x_pitch + from;
                double *total = totals + (b * op->rows + row) * KERNEL_PANEL;
                for (size_t s = 0; s < strip_count; s++)
                    tile_of(least(TILE_ROWS, op->rows - row), x, op->x_pitch, strips + s * STRIP * DEPTH_BLOCK, depth,
                            total + s * STRIP);
            }
        }
    }
    for (size_t b = 0; b < count; b++) {
        for (size_t row = 0; row < op->rows; row++) {
            const double *total = totals + (b * op->rows + row) * KERNEL_PANEL;
            float sum[KERNEL_PANEL];
            for (size_t c = 0; c < KERNEL_PANEL; c++)
                sum[c] = (float)total[c];
            epilogue(op, sum, 0, op->y + (first + b) * op->y_batch_pitch + row * op->y_pitch, op->columns);
        }
    }
}

/* Prompts that one pass over the panel serves. */
static size_t group_of(size_t rows) {
    return rows && rows < GROUP_ROWS ? GROUP_ROWS / rows : 1;
}

static void linear(const struct kernels *kernels, const struct linear *op, void *scratch) {
    size_t group = group_of(op->rows);
    (void)kernels;
    for (size_t b = 0; b < op->batch; b += group)
        multiply(op, b, least(group, op->batch - b), scratch);
}

static size_t linear_scratch(size_t rows, size_t depth) {
    (void)depth;
    /* a call may bring fewer rows than the most that were announced: a group of them is up to GROUP_ROWS all the same */
    size_t most = rows > GROUP_ROWS ? rows : GROUP_ROWS;
    return KERNEL_PANEL * (DEPTH_BLOCK * sizeof(float) + most * sizeof(double));
}

#endif
