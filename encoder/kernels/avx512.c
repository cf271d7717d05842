/* avx512.c - kernels for AVX-512 F, BW, DQ and VL: 16 floats wide. Built with those flags; reached only where cpu.c found
 * them. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

#define V 16
#define TILE_COLUMNS 13 /* a panel of 64 is 5 tiles; 13 x 2 sums, 2 vectors of x and 1 weight fill 29 of 32 registers */
#define TILE_GROUPS 2

typedef __m512 v;

static inline v v_zero(void) {
    return _mm512_setzero_ps();
}

static inline v v_set(float x) {
    return _mm512_set1_ps(x);
}

static inline v v_load(const float *p) {
    return _mm512_loadu_ps(p);
}

static inline void v_store(float *p, v a) {
    _mm512_storeu_ps(p, a);
}

static inline v v_add(v a, v b) {
    return _mm512_add_ps(a, b);
}

static inline v v_fma(v a, v b, v c) {
    return _mm512_fmadd_ps(a, b, c);
}

static inline v v_mul(v a, v b) {
    return _mm512_mul_ps(a, b);
}

static inline v v_and(v a, v b) {
    return _mm512_and_ps(a, b);
}

/* Bytes of E4M3 as binary16 of a 256th of their value: the exponents' biases are 7 and 15, and a conversion from binary16
 * heeds no flush mode. The bytes are extended with their sign, which a shift leaves at its place and a mask takes off its other. */
static inline v widen_e4m3(__m128i bytes) {
    __m256i half = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7), _mm256_set1_epi16((short)0xBF80));
    __mmask16 is_nan = _mm256_cmpeq_epi16_mask(_mm256_slli_epi16(half, 1), _mm256_set1_epi16(0x7F00));
    v value = _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256));
    if (__builtin_expect(!is_nan, 1)) /* a file of weights has none, and is not made to pay for one */
        return value;
    __m512i nan = _mm512_or_si512(_mm512_set1_epi32(0x7FC00000), _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    return _mm512_mask_mov_ps(value, is_nan, _mm512_castsi512_ps(nan));
}

/* The masked elements from any alignment, the rest zero; nothing beyond them is read */
static inline v load_widened(const unsigned char *from, enum dtype dtype, __mmask16 mask) {
    if (dtype == DTYPE_F32)
        return _mm512_maskz_loadu_ps(mask, from);
    if (dtype == DTYPE_F64) {
        __m512d low = _mm512_maskz_loadu_pd((__mmask8)(mask & 0xFF), from);
        __m512d high = _mm512_maskz_loadu_pd((__mmask8)(mask >> 8), from + 8 * sizeof(double));
        return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
    }
    if (dtype == DTYPE_F8_E4M3 || dtype == DTYPE_F8_E5M2) {
        __m128i bytes = _mm_maskz_loadu_epi8(mask, from);
        return dtype == DTYPE_F8_E4M3 ? widen_e4m3(bytes)
                                      : _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), 8));
    }
    __m256i half = _mm256_maskz_loadu_epi16(mask, from);
    if (dtype == DTYPE_F16)
        return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* Times `scale` in the register, if `scaled`: see avx2.c. */
static inline __attribute__((always_inline)) void widen_typed(const unsigned char *from, enum dtype dtype, const int scaled,
                                                              float scale, float *to, size_t count) {
    size_t element = dtype_bits(dtype) / 8, i = 0;
    for (; i + V <= count; i += V) {
        v whole = load_widened(from + i * element, dtype, 0xFFFF);
        v_store(to + i, scaled ? v_mul(whole, v_set(scale)) : whole);
    }
    if (i < count) {
        __mmask16 mask = (__mmask16)((1u << (count - i)) - 1u);
        v rest = load_widened(from + i * element, dtype, mask);
        _mm512_mask_storeu_ps(to + i, mask, scaled ? v_mul(rest, v_set(scale)) : rest);
    }
}

static inline __attribute__((always_inline)) void widen_any(const unsigned char *from, enum dtype dtype, const int scaled,
                                                            float scale, float *to, size_t count) {
    switch (dtype) {
    case DTYPE_F16:
        widen_typed(from, DTYPE_F16, scaled, scale, to, count);
        break;
    case DTYPE_BF16:
        widen_typed(from, DTYPE_BF16, scaled, scale, to, count);
        break;
    case DTYPE_F64:
        widen_typed(from, DTYPE_F64, scaled, scale, to, count);
        break;
    case DTYPE_F8_E4M3:
        widen_typed(from, DTYPE_F8_E4M3, scaled, scale, to, count);
        break;
    case DTYPE_F8_E5M2:
        widen_typed(from, DTYPE_F8_E5M2, scaled, scale, to, count);
        break;
    default:
        widen_typed(from, DTYPE_F32, scaled, scale, to, count);
    }
}

static void widen(const unsigned char *from, enum dtype dtype, float *to, size_t count) {
    widen_any(from, dtype, 0, 0, to, count);
}

static void widen_scaled(const unsigned char *from, enum dtype dtype, float scale, float *to, size_t count) {
    widen_any(from, dtype, 1, scale, to, count);
}

#include "gemm.h"
#include "rows.h"

void kernels_avx512(struct kernels *kernels) {
    *kernels = (struct kernels){
        .name = "avx512",
        .linear = linear,
        .linear_scratch = linear_scratch,
        .attend = rows_attend,
        .layer_norm = rows_layer_norm,
        .widen = widen,
        .narrow = rows_narrow,
    };
}
