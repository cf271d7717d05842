/* gemm.h - our own float32 GEMM over mapped weights, written once for any vector width. A file of an instruction set defines
 * the names below over its registers and includes this:
 *
 *     v, V (floats in one), v_zero() v_set(x) v_load(p) v_store(p, a) v_add(a, b) v_fma(a, b, c) = a b + c
 *     TILE_COLUMNS, TILE_GROUPS   the register tile: columns of weights by groups of rows
 *     widen(from, dtype, to, count), widen_scaled(from, dtype, scale, to, count)
 *
 * How it goes: a block of depth of a panel's weights is widened to float32 where it is not that already (then it is used where
 * it lies, in the mapping), row by row as in the file; a tile multiplies each of a few weight rows' values, broadcast, with
 * the lanes of a group. Each result is summed in three levels, chains of CHAIN products, blocks of DEPTH_BLOCK, the depth (in
 * double): one order whatever the batch, rows or threads, and few additions behind any one product. That matters where one
 * product is a hundred times the rest, as in the massive channels of CLIP's start token: each addition behind it rounds at its
 * size. Chains of 128 straight into the total erred there up to 3.7 times as much as torch (CLIP-L, bf16). */
#ifndef ENCODER_KERNELS_GEMM_H
#define ENCODER_KERNELS_GEMM_H

#include "bf16.h"
#include "blocks.h"

#define CHAIN 32
#define GROUP_VECTORS (LANES / V)
#define TILE_VECTORS (TILE_GROUPS * GROUP_VECTORS)
#define X_BYTES sizeof(float)
#define WEIGHT_BYTES sizeof(float)

_Static_assert(LANES % V == 0, "a group is whole vectors");
_Static_assert(DEPTH_BLOCK % CHAIN == 0, "a block is whole chains");

static inline float load_float(const unsigned char *from) {
    float value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* The products of one feature: what `sum` begins with, or is added to it. */
static inline __attribute__((always_inline)) void multiply_feature(const size_t columns, const size_t groups, const float *x,
                                                                   size_t group_pitch, const unsigned char *weight, size_t pitch,
                                                                   const int first, v sum[TILE_COLUMNS][TILE_VECTORS]) {
    const size_t vectors = groups * GROUP_VECTORS;
    v a[TILE_VECTORS];
    for (size_t c = 0; c < vectors; c++)
        a[c] = v_load(x + c / GROUP_VECTORS * (group_pitch / X_BYTES) + (c - c / GROUP_VECTORS * GROUP_VECTORS) * V);
    for (size_t r = 0; r < columns; r++) {
        v w = v_set(load_float(weight + r * pitch));
        for (size_t c = 0; c < vectors; c++)
            sum[r][c] = first ? v_mul(w, a[c]) : v_fma(w, a[c], sum[r][c]);
    }
}

/* total[group][column][LANES] += weight[columns][depth] x[groups][depth][LANES]; columns and groups are constants where this
 * is inlined. Sums of a block are kept in the first cache, where as many of them as a panel has would not stay. A chain's end costs
 * as much as its begin: eight features for one turn of the loop, and no sums set to zero, are 2 % (tests/bench/LOG.md, 16). */
static inline __attribute__((always_inline)) void tile(const size_t columns, const size_t groups, const unsigned char *from,
                                                       size_t group_pitch, const unsigned char *weight, size_t pitch,
                                                       size_t depth, double *total) {
    const float *x = (const float *)(const void *)from;
    const size_t vectors = groups * GROUP_VECTORS;
    float block[TILE_COLUMNS][TILE_VECTORS * V];
    for (size_t r = 0; r < columns; r++)
        for (size_t c = 0; c < vectors; c++)
            v_store(block[r] + c * V, v_zero());
    for (size_t begin = 0; begin < depth; begin += CHAIN) {
        size_t end = least(begin + CHAIN, depth);
        v sum[TILE_COLUMNS][TILE_VECTORS];
        multiply_feature(columns, groups, x + begin * LANES, group_pitch, weight + begin * sizeof(float), pitch, 1, sum);
        if (end == begin + CHAIN) {
#pragma GCC unroll 8
            for (size_t k = begin + 1; k < begin + CHAIN; k++)
                multiply_feature(columns, groups, x + k * LANES, group_pitch, weight + k * sizeof(float), pitch, 0, sum);
        } else {
            for (size_t k = begin + 1; k < end; k++)
                multiply_feature(columns, groups, x + k * LANES, group_pitch, weight + k * sizeof(float), pitch, 0, sum);
        }
        for (size_t r = 0; r < columns; r++)
            for (size_t c = 0; c < vectors; c++)
                v_store(block[r] + c * V, v_add(v_load(block[r] + c * V), sum[r][c]));
    }
    for (size_t r = 0; r < columns; r++)
        for (size_t g = 0; g < groups; g++)
            for (size_t i = 0; i < LANES; i++)
                total[(g * KERNEL_PANEL + r) * LANES + i] += (double)block[r][g * LANES + i];
}

/* A row's block is fetched while the fourth before it is widened: from where it was fetched to before, or, of a product's first
 * panel, before which there were no tiles, from memory. */
#define ROWS_AHEAD 4

/* A panel's block of weights as float32, and how far apart its rows are. */
static const unsigned char *weights_of(const struct kernels *kernels, const struct linear *op, size_t from, size_t depth,
                                       float *scratch, size_t *pitch) {
    const unsigned char *weight = op->weight + from * (dtype_bits(op->dtype) / 8);
    if (op->dtype == DTYPE_F32 && op->scale == 0 && kernels->arithmetic == ARITHMETIC_EXACT) {
        *pitch = op->weight_pitch;
        return weight;
    }
    const struct ahead here = block_ahead(op, from);
    for (size_t column = 0; column < op->columns; column++) {
        float *row = scratch + column * DEPTH_BLOCK;
        if (column + ROWS_AHEAD < op->columns)
            fetch(&here, column + ROWS_AHEAD, 1, 0, here.lines);
        if (op->scale != 0)
            widen_scaled(weight + column * op->weight_pitch, op->dtype, op->scale, row, depth);
        else
            widen(weight + column * op->weight_pitch, op->dtype, row, depth);
        bf16_round_row(kernels, op, row, depth);
    }
    *pitch = DEPTH_BLOCK * sizeof *scratch;
    return (const unsigned char *)(const void *)scratch;
}

static size_t group_bytes(const struct kernels *kernels, size_t depth) {
    (void)kernels;
    return depth * LANES * X_BYTES;
}

#include "panel.h"

#endif
