/* avx512_bf16.c - the named arithmetic with AVX-512's dot products of bfloat16 pairs. Built with that flag; reached only where
 * cpu.c found it. For exact products there is nothing to gain: three of these do the work of one fused multiply-add. */
#include "bf16_avx512.h"

#include <stdio.h>

#define TILE_COLUMNS 13 /* a panel of 64 is 5 tiles; 13 x 2 sums, 2 of x and 1 weight fill 29 of 32 registers */
#define TILE_GROUPS 2
#define X_BYTES sizeof(uint16_t)
#define WEIGHT_BYTES sizeof(uint16_t)

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
                                                       size_t depth, double *total) {
    const size_t pairs = (depth + 1) / 2;
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

#define group_bytes prepared_bytes
#include "panel.h"

void kernels_avx512_bf16(struct kernels *kernels) {
    size_t used = strlen(kernels->name);
    snprintf(kernels->name + used, sizeof kernels->name - used, ", bf16");
    kernels->arithmetic = ARITHMETIC_BF16;
    kernels->linear = linear;
    kernels->linear_scratch = linear_scratch;
    kernels->prepare = prepare;
    kernels->prepared_bytes = prepared_bytes;
}
