/* avx2.c - kernels for AVX2, FMA and F16C: 8 floats wide. Built with those flags; reached only where cpu.c found them. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "../base/half.h"
#include "kernels.h"

#define V 8
#define TILE_COLUMNS 6 /* 6 x 2 sums, 2 vectors of x and 1 weight fill 15 of 16 registers */
#define TILE_GROUPS 1

typedef __m256 v;

static inline v v_zero(void) {
    return _mm256_setzero_ps();
}

static inline v v_set(float x) {
    return _mm256_set1_ps(x);
}

static inline v v_load(const float *p) {
    return _mm256_loadu_ps(p);
}

static inline void v_store(float *p, v a) {
    _mm256_storeu_ps(p, a);
}

static inline v v_add(v a, v b) {
    return _mm256_add_ps(a, b);
}

static inline v v_fma(v a, v b, v c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline v v_mul(v a, v b) {
    return _mm256_mul_ps(a, b);
}

static inline v v_and(v a, v b) {
    return _mm256_and_ps(a, b);
}

/* Bytes of E4M3 as binary16 of a 256th of their value: the exponents' biases are 7 and 15, and a conversion from binary16
 * heeds no flush mode. The bytes are extended with their sign, which a shift leaves at its place and a mask takes off its other.
 * A file of weights has no NaN, and is not made to pay for one. */
static inline v widen_e4m3(__m128i bytes) {
    __m128i half = _mm_and_si128(_mm_slli_epi16(_mm_cvtepi8_epi16(bytes), 7), _mm_set1_epi16((short)0xBF80));
    __m128i nans = _mm_cmpeq_epi16(_mm_slli_epi16(half, 1), _mm_set1_epi16(0x7F00));
    v value = _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256));
    if (__builtin_expect(_mm_testz_si128(nans, nans), 1))
        return value;
    __m256i is_nan = _mm256_cvtepi16_epi32(nans);
    v nan = _mm256_castsi256_ps(_mm256_or_si256(_mm256_set1_epi32(0x7FC00000),
                                                _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16)));
    return _mm256_blendv_ps(value, nan, _mm256_castsi256_ps(is_nan));
}

/* `count` elements from any alignment, the rest zero; nothing beyond them is read */
static inline v load_widened(const unsigned char *from, enum dtype dtype, size_t count) {
    unsigned char tail[V * sizeof(double)] = {0};
    if (count < V) {
        memcpy(tail, from, count * (dtype_bits(dtype) / 8));
        from = tail;
    }
    if (dtype == DTYPE_F32) {
        v whole;
        memcpy(&whole, from, sizeof whole);
        return whole;
    }
    if (dtype == DTYPE_F64) {
        __m256d low, high;
        memcpy(&low, from, sizeof low);
        memcpy(&high, from + sizeof low, sizeof high);
        return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
    }
    if (dtype == DTYPE_F8_E4M3 || dtype == DTYPE_F8_E5M2) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)from);
        return dtype == DTYPE_F8_E4M3 ? widen_e4m3(bytes)
                                      : _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(bytes), 8));
    }
    __m128i half;
    memcpy(&half, from, sizeof half);
    if (dtype == DTYPE_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* Times `scale` in the register, if `scaled`: a loop of its own over what was widened cost 2 % of a panel of eight bits. */
static inline __attribute__((always_inline)) void widen_typed(const unsigned char *from, enum dtype dtype, const int scaled,
                                                              float scale, float *to, size_t count) {
    size_t element = dtype_bits(dtype) / 8, i = 0;
    for (; i + V <= count; i += V) {
        v whole = load_widened(from + i * element, dtype, V);
        v_store(to + i, scaled ? v_mul(whole, v_set(scale)) : whole);
    }
    if (i < count) {
        v rest = load_widened(from + i * element, dtype, count - i);
        rest = scaled ? v_mul(rest, v_set(scale)) : rest;
        memcpy(to + i, &rest, (count - i) * sizeof *to);
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

void kernels_avx2(struct kernels *kernels) {
    *kernels = (struct kernels){
        .name = "avx2",
        .linear = linear,
        .linear_scratch = linear_scratch,
        .attend = rows_attend,
        .layer_norm = rows_layer_norm,
        .widen = widen,
        .narrow = rows_narrow,
    };
}
