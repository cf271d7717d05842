/* avx512_bf16.c - the named arithmetic with AVX-512's dot products of bfloat16 pairs. Built with that flag; reached only where
 * cpu.c found it. For exact products there is nothing to gain: three of these do the work of one fused multiply-add. */
#include "bf16_avx512.h"

#include <stdio.h>

#define TILE_COLUMNS 13 /* a panel of 64 is 5 tiles; 13 x 2 sums, 2 of x and 1 weight fill 29 of 32 registers */
#define TILE_GROUPS 2
#define TILE_REST (KERNEL_PANEL % TILE_COLUMNS)

static void prepare(const struct kernels *kernels, const float *x, size_t depth, void *to) {
    (void)kernels;
    prepare_parts(x, depth, 1, to);
}

static size_t prepared_bytes(const struct kernels *kernels, size_t depth) {
    (void)kernels;
    return steps_of(depth) * STEP * LANES * sizeof(uint16_t);
}

static inline __m512bh pairs_of(const unsigned char *from) {
    return (__m512bh)_mm512_loadu_si512(from);
}

static inline __m512bh weight_pair(const unsigned char *from) {
    int32_t pair;
    memcpy(&pair, from, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* total[group][column][LANES] += the block's products, summed in float32 */
static inline __attribute__((always_inline)) void tile(const size_t columns, const size_t groups, const unsigned char *x,
                                                       size_t group_pitch, const unsigned char *weight, size_t pitch,
                                                       size_t pairs, double *total) {
    __m512 sum[TILE_COLUMNS][TILE_GROUPS];
    for (size_t r = 0; r < columns; r++)
        for (size_t g = 0; g < groups; g++)
            sum[r][g] = _mm512_setzero_ps();
    for (size_t pair = 0; pair < pairs; pair++) {
        __m512bh a[TILE_GROUPS];
        for (size_t g = 0; g < groups; g++)
            a[g] = pairs_of(x + g * group_pitch + pair * LANES * sizeof(uint32_t));
        for (size_t r = 0; r < columns; r++) {
            __m512bh w = weight_pair(weight + r * pitch + pair * sizeof(uint32_t));
            for (size_t g = 0; g < groups; g++)
                sum[r][g] = _mm512_dpbf16_ps(sum[r][g], w, a[g]);
        }
    }
    for (size_t r = 0; r < columns; r++)
        for (size_t g = 0; g < groups; g++) {
            float block[LANES];
            _mm512_storeu_ps(block, sum[r][g]);
            for (size_t i = 0; i < LANES; i++)
                total[(g * KERNEL_PANEL + r) * LANES + i] += (double)block[i];
        }
}

static size_t tile_columns(size_t left) {
    return left >= TILE_COLUMNS ? TILE_COLUMNS : left >= TILE_REST ? TILE_REST : 1;
}

/* `columns` is what tile_columns said, `groups` 1 or TILE_GROUPS: gemm.h */
static void tile_of(size_t columns, size_t groups, const unsigned char *x, size_t group_pitch, const unsigned char *weight,
                    size_t pitch, size_t pairs, double *total) {
    if (columns == TILE_COLUMNS && groups == TILE_GROUPS)
        tile(TILE_COLUMNS, TILE_GROUPS, x, group_pitch, weight, pitch, pairs, total);
    else if (columns == TILE_COLUMNS)
        tile(TILE_COLUMNS, 1, x, group_pitch, weight, pitch, pairs, total);
    else if (columns == TILE_REST && groups == TILE_GROUPS)
        tile(TILE_REST, TILE_GROUPS, x, group_pitch, weight, pitch, pairs, total);
    else if (columns == TILE_REST)
        tile(TILE_REST, 1, x, group_pitch, weight, pitch, pairs, total);
    else if (groups == TILE_GROUPS)
        tile(1, TILE_GROUPS, x, group_pitch, weight, pitch, pairs, total);
    else
        tile(1, 1, x, group_pitch, weight, pitch, pairs, total);
}

/* A file's bfloat16 is used where it lies, if a row's block is whole pairs. */
static const unsigned char *weights_of(const struct kernels *kernels, const struct linear *op, size_t from, size_t depth,
                                       uint16_t *scratch, size_t *pitch) {
    if (op->dtype == DTYPE_BF16 && op->scale == 0 && depth % 2 == 0) {
        *pitch = op->weight_pitch;
        return op->weight + from * sizeof(uint16_t);
    }
    for (size_t column = 0; column < op->columns; column++)
        split_row(kernels, op, column, from, depth, 1, scratch + column * DEPTH_BLOCK, DEPTH_BLOCK);
    *pitch = DEPTH_BLOCK * sizeof *scratch;
    return (const unsigned char *)scratch;
}

static void multiply(const struct kernels *kernels, const struct linear *op, size_t first, size_t count, void *scratch) {
    size_t group_pitch = prepared_bytes(kernels, op->depth);
    uint16_t *rows = scratch;
    double *total = (double *)(void *)(rows + KERNEL_PANEL * DEPTH_BLOCK);
    memset(total, 0, count * KERNEL_PANEL * LANES * sizeof *total);
    for (size_t from = 0; from < op->depth; from += DEPTH_BLOCK) {
        size_t pitch, depth = least(DEPTH_BLOCK, op->depth - from);
        const unsigned char *weight = weights_of(kernels, op, from, depth, rows, &pitch);
        const struct ahead next = block_ahead(op, from + depth);
        for (size_t g = 0; g < count;) {
            size_t groups = count - g < TILE_GROUPS ? 1 : TILE_GROUPS;
            size_t begin = lines_before(&next, g, count), end = lines_before(&next, g + groups, count);
            const unsigned char *x = (const unsigned char *)op->prepared + (first + g) * group_pitch + from * LANES * sizeof(uint16_t);
            for (size_t column = 0, columns; column < op->columns; column += columns) {
                columns = tile_columns(op->columns - column);
                if (end > begin)
                    fetch(&next, column, columns, begin, end);
                tile_of(columns, groups, x, group_pitch, weight + column * pitch, pitch, (depth + 1) / 2,
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
    return KERNEL_PANEL * (DEPTH_BLOCK * sizeof(uint16_t) + least(groups, RUN_GROUPS) * LANES * sizeof(double));
}

void kernels_avx512_bf16(struct kernels *kernels) {
    size_t used = strlen(kernels->name);
    snprintf(kernels->name + used, sizeof kernels->name - used, ", bf16");
    kernels->arithmetic = ARITHMETIC_BF16;
    kernels->linear = linear;
    kernels->linear_scratch = linear_scratch;
    kernels->prepare = prepare;
    kernels->prepared_bytes = prepared_bytes;
}
