/* avx2.c - kernels for AVX2, FMA and F16C: 8 floats wide. Built with those flags; reached only where cpu.c found them. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "../base/half.h"
#include "kernels.h"

#define V 8
#define TILE_ROWS 6 /* 6 x 2 sums, 2 weights and 1 x fill 15 of 16 registers */
#define TILE_VECTORS 2

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

/* `count` elements from any alignment, the rest zero; nothing beyond them is read */
static inline v load_widened(const unsigned char *from, enum dtype dtype, size_t count) {
    unsigned char tail[V * sizeof(float)] = {0};
    if (count < V) {
        memcpy(tail, from, count * (dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t)));
        from = tail;
    }
    if (dtype == DTYPE_F32) {
        v whole;
        memcpy(&whole, from, sizeof whole);
        return whole;
    }
    __m128i half;
    memcpy(&half, from, sizeof half);
    if (dtype == DTYPE_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

static inline void transpose(v r[8]) {
    v t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; j++) {
            __m256d a = _mm256_castps_pd(t[i + j]), b = _mm256_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}

static inline __attribute__((always_inline)) void widen_typed(const unsigned char *from, size_t pitch, enum dtype dtype,
                                                              size_t rows, size_t depth, float *to, size_t to_pitch) {
    v r[V];
    for (size_t i = 0; i < V; i++)
        r[i] = i < rows ? load_widened(from + i * pitch, dtype, depth) : v_zero();
    transpose(r);
    for (size_t k = 0; k < depth; k++)
        v_store(to + k * to_pitch, r[k]);
}

static void widen_block(const unsigned char *from, size_t pitch, enum dtype dtype, size_t rows, size_t depth, float *to,
                        size_t to_pitch) {
    if (dtype == DTYPE_F16)
        widen_typed(from, pitch, DTYPE_F16, rows, depth, to, to_pitch);
    else if (dtype == DTYPE_BF16)
        widen_typed(from, pitch, DTYPE_BF16, rows, depth, to, to_pitch);
    else
        widen_typed(from, pitch, DTYPE_F32, rows, depth, to, to_pitch);
}

static void widen(const unsigned char *from, enum dtype dtype, float *to, size_t count) {
    size_t element = dtype_bits(dtype) / 8;
    for (size_t i = 0; i < count; i += V) {
        size_t left = count - i < V ? count - i : V;
        v whole = load_widened(from + i * element, dtype, left);
        memcpy(to + i, &whole, left * sizeof *to);
    }
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
