/* bf16_avx512.h - what AMX and AVX-512's products of bfloat16 share: both take activations as pairs of depth,
 *
 *     prepared[part][pair][LANES], 32 bits each: x[2 pair] below, x[2 pair + 1] above
 *
 * and weights as rows of bfloat16, with which a file of that type is read in place. For files that include the AVX-512 flags. */
#ifndef ENCODER_KERNELS_BF16_AVX512_H
#define ENCODER_KERNELS_BF16_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "bf16.h"
#include "blocks.h"
#include "epilogue.h"

#define PARTS 3
#define STEP 32  /* depth of one tile of AMX: what is prepared is zero up to a whole one */

static inline size_t steps_of(size_t depth) {
    return (depth + STEP - 1) / STEP;
}

/* Rounded to nearest, the low half zero; a NaN stays one. */
static inline __m512i upper_half(__m512 x) {
    __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7FC00000));
    return _mm512_and_si512(rounded, _mm512_set1_epi32((int)0xFFFF0000u));
}

/* `parts` parts of a group. */
static inline void prepare_parts(const float *x, size_t depth, size_t parts, unsigned char *to) {
    size_t pairs = steps_of(depth) * STEP / 2;
    for (size_t pair = 0; pair < pairs; pair++) {
        size_t k = 2 * pair;
        __m512 low = k < depth ? _mm512_loadu_ps(x + k * LANES) : _mm512_setzero_ps();
        __m512 high = k + 1 < depth ? _mm512_loadu_ps(x + (k + 1) * LANES) : _mm512_setzero_ps();
        for (size_t part = 0; part < parts; part++) {
            __m512i a = upper_half(low), b = upper_half(high);
            _mm512_storeu_si512(to + (part * pairs + pair) * LANES * sizeof(uint32_t), _mm512_or_si512(_mm512_srli_epi32(a, 16), b));
            low = _mm512_sub_ps(low, _mm512_castsi512_ps(a));
            high = _mm512_sub_ps(high, _mm512_castsi512_ps(b));
        }
    }
}

/* A row's block of weights as `parts` rows of bfloat16, `pitch` elements apart; zero up to a whole step. */
static inline void split_row(const struct kernels *kernels, const struct linear *op, size_t column, size_t from, size_t depth,
                             size_t parts, uint16_t *to, size_t pitch) {
    float row[DEPTH_BLOCK];
    memset(row, 0, sizeof row);
    kernels->widen(op->weight + column * op->weight_pitch + from * (dtype_bits(op->dtype) / 8), op->dtype, row, depth);
    for (size_t k = 0; k < steps_of(depth) * STEP; k += LANES) {
        __m512 x = _mm512_loadu_ps(row + k);
        if (op->scale != 0)
            x = _mm512_mul_ps(x, _mm512_set1_ps(op->scale));
        for (size_t part = 0; part < parts; part++) {
            __m512i a = upper_half(x);
            _mm256_storeu_si256((__m256i *)(void *)(to + part * pitch + k), _mm512_cvtepi32_epi16(_mm512_srli_epi32(a, 16)));
            x = _mm512_sub_ps(x, _mm512_castsi512_ps(a));
        }
    }
}

#endif
