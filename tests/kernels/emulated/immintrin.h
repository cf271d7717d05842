/* immintrin.h - the instructions of AVX-512, AVX-512 BF16 and AMX that our kernels use, in plain C, by the operation sections
 * of Intel's SDM volume 2. It stands before the compiler's own header when encoder/kernels/{avx512,avx512_bf16,amx}.c are built
 * for tests/kernels/emulated: what those kernels do is then tested on every machine. That their instructions do the same is
 * for a CPU that has them, and for the check that choose.c makes there before it trusts a table. */
#ifndef TESTS_KERNELS_EMULATED_IMMINTRIN_H
#define TESTS_KERNELS_EMULATED_IMMINTRIN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../../../encoder/base/half.h"

typedef float __m512 __attribute__((vector_size(64)));
typedef double __m512d __attribute__((vector_size(64)));
typedef int64_t __m512i __attribute__((vector_size(64)));
typedef int16_t __m512bh __attribute__((vector_size(64)));
typedef float __m256 __attribute__((vector_size(32)));
typedef int64_t __m256i __attribute__((vector_size(32)));
typedef int64_t __m128i __attribute__((vector_size(16)));
typedef uint16_t __mmask16;
typedef uint8_t __mmask8;

/* lanes by type */
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));

#define EACH(count) for (int i = 0; i < (count); i++)

static inline __m512 _mm512_set1_ps(float x) {
    return (__m512){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

static inline __m512 _mm512_setzero_ps(void) {
    return _mm512_set1_ps(0);
}

static inline __m512 _mm512_loadu_ps(const void *from) {
    __m512 r;
    memcpy(&r, from, sizeof r);
    return r;
}

static inline void _mm512_storeu_ps(void *to, __m512 a) {
    memcpy(to, &a, sizeof a);
}

static inline __m512i _mm512_loadu_si512(const void *from) {
    __m512i r;
    memcpy(&r, from, sizeof r);
    return r;
}

static inline void _mm512_storeu_si512(void *to, __m512i a) {
    memcpy(to, &a, sizeof a);
}

static inline void _mm256_storeu_si256(__m256i *to, __m256i a) {
    memcpy(to, &a, sizeof a);
}

static inline __m512 _mm512_add_ps(__m512 a, __m512 b) {
    return a + b;
}

static inline __m512 _mm512_sub_ps(__m512 a, __m512 b) {
    return a - b;
}

static inline __m512 _mm512_mul_ps(__m512 a, __m512 b) {
    return a * b;
}

static inline __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
    EACH(16)
        c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}

static inline __m512i _mm512_castps_si512(__m512 a) {
    return (__m512i)a;
}

static inline __m512 _mm512_castsi512_ps(__m512i a) {
    return (__m512)a;
}

static inline __m512 _mm512_and_ps(__m512 a, __m512 b) {
    return (__m512)((__m512i)a & (__m512i)b);
}

static inline __m512i _mm512_and_si512(__m512i a, __m512i b) {
    return a & b;
}

static inline __m512i _mm512_or_si512(__m512i a, __m512i b) {
    return a | b;
}

static inline __m512i _mm512_set1_epi32(int x) {
    u32x16 r = {0};
    return (__m512i)(r + (uint32_t)x);
}

static inline __m512i _mm512_add_epi32(__m512i a, __m512i b) {
    return (__m512i)((u32x16)a + (u32x16)b);
}

static inline __m512i _mm512_srli_epi32(__m512i a, int count) {
    return (__m512i)((u32x16)a >> (uint32_t)count);
}

static inline __m512i _mm512_slli_epi32(__m512i a, int count) {
    return (__m512i)((u32x16)a << (uint32_t)count);
}

static inline __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int unordered) {
    unsigned mask = 0;
    (void)unordered; /* the one comparison that is used */
    EACH(16)
        mask |= (unsigned)(isnan(a[i]) || isnan(b[i])) << i;
    return (__mmask16)mask;
}
#define _CMP_UNORD_Q 3

static inline __m512i _mm512_mask_mov_epi32(__m512i a, __mmask16 mask, __m512i b) {
    u32x16 r = (u32x16)a, other = (u32x16)b;
    EACH(16)
        r[i] = mask >> i & 1 ? other[i] : r[i];
    return (__m512i)r;
}

static inline __m512 _mm512_mask_mov_ps(__m512 a, __mmask16 mask, __m512 b) {
    return (__m512)_mm512_mask_mov_epi32((__m512i)a, mask, (__m512i)b);
}

static inline __m256i _mm512_cvtepi32_epi16(__m512i a) {
    u16x16 r = {0};
    EACH(16)
        r[i] = (uint16_t)((u32x16)a)[i];
    return (__m256i)r;
}

static inline __m512i _mm512_cvtepu16_epi32(__m256i a) {
    u32x16 r = {0};
    EACH(16)
        r[i] = ((u16x16)a)[i];
    return (__m512i)r;
}

static inline __m512 _mm512_cvtph_ps(__m256i a) {
    __m512 r = {0};
    EACH(16)
        r[i] = f16_to_f32(((u16x16)a)[i]);
    return r;
}

static inline __m256i _mm256_set1_epi16(short x) {
    u16x16 r = {0};
    return (__m256i)(r + (uint16_t)x);
}

static inline __m256i _mm256_and_si256(__m256i a, __m256i b) {
    return a & b;
}

static inline __m256i _mm256_or_si256(__m256i a, __m256i b) {
    return a | b;
}

static inline __m256i _mm256_slli_epi16(__m256i a, int count) {
    return (__m256i)((u16x16)a << (uint16_t)count);
}

static inline __m256i _mm256_cvtepu8_epi16(__m128i a) {
    u16x16 r = {0};
    EACH(16)
        r[i] = ((u8x16)a)[i];
    return (__m256i)r;
}

static inline __m256i _mm256_cvtepi8_epi16(__m128i a) {
    u16x16 r = {0};
    EACH(16) {
        unsigned byte = ((u8x16)a)[i];
        r[i] = (uint16_t)(byte & 0x80 ? byte | 0xFF00 : byte);
    }
    return (__m256i)r;
}

static inline __mmask16 _mm256_cmpeq_epi16_mask(__m256i a, __m256i b) {
    unsigned mask = 0;
    EACH(16)
        mask |= (unsigned)(((u16x16)a)[i] == ((u16x16)b)[i]) << i;
    return (__mmask16)mask;
}

/* a masked load touches no byte of an element that is masked out */
#define MASKED_LOAD(name, type, mask_type, count, element)                                                            \
    static inline type name(mask_type mask, const void *from) {                                                       \
        element lanes[count] = {0};                                                                                   \
        type r;                                                                                                       \
        EACH(count)                                                                                                   \
            if (mask >> i & 1)                                                                                        \
                memcpy(&lanes[i], (const char *)from + (size_t)i * sizeof(element), sizeof(element));                 \
        memcpy(&r, lanes, sizeof r);                                                                                  \
        return r;                                                                                                     \
    }
MASKED_LOAD(_mm512_maskz_loadu_ps, __m512, __mmask16, 16, float)
MASKED_LOAD(_mm512_maskz_loadu_pd, __m512d, __mmask8, 8, double)
MASKED_LOAD(_mm_maskz_loadu_epi8, __m128i, __mmask16, 16, uint8_t)
MASKED_LOAD(_mm256_maskz_loadu_epi16, __m256i, __mmask16, 16, uint16_t)

static inline void _mm512_mask_storeu_ps(void *to, __mmask16 mask, __m512 a) {
    EACH(16)
        if (mask >> i & 1) {
            float lane = a[i];
            memcpy((char *)to + (size_t)i * sizeof lane, &lane, sizeof lane);
        }
}

static inline __m256 _mm512_cvtpd_ps(__m512d a) {
    __m256 r = {0};
    EACH(8)
        r[i] = (float)a[i];
    return r;
}

static inline __m512 _mm512_castps256_ps512(__m256 a) {
    __m512 r = {0};
    memcpy(&r, &a, sizeof a);
    return r;
}

static inline __m512 _mm512_insertf32x8(__m512 a, __m256 b, int half) {
    memcpy((char *)&a + (size_t)half * sizeof b, &b, sizeof b);
    return a;
}

/* ---- products of bfloat16: denormals are zero on the way in and out, each addition rounds to nearest ---- */

static inline float flushed(float x) {
    return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

static inline float bf16_fma(uint16_t a, uint16_t b, float sum) {
    return flushed(fmaf(flushed(bf16_to_f32(a)), flushed(bf16_to_f32(b)), flushed(sum)));
}

static inline __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
    EACH(16) {
        sum[i] = bf16_fma((uint16_t)a[2 * i + 1], (uint16_t)b[2 * i + 1], sum[i]);
        sum[i] = bf16_fma((uint16_t)a[2 * i], (uint16_t)b[2 * i], sum[i]);
    }
    return sum;
}

/* Eight tiles, a set for each thread. A use of them without a configuration ends the test. */
static _Thread_local struct {
    int configured;
    uint8_t rows[8][16][64];
} tiles_;

static inline void _tile_loadconfig(const void *config) {
    const uint8_t *bytes = config;
    uint16_t row_bytes;
    if (bytes[0] != 1)
        __builtin_trap();
    for (int tile = 0; tile < 8; tile++) {
        memcpy(&row_bytes, bytes + 16 + 2 * tile, sizeof row_bytes);
        if (row_bytes != 64 || bytes[48 + tile] != 16)
            __builtin_trap(); /* the only shape that is emulated */
    }
    memset(&tiles_, 0, sizeof tiles_);
    tiles_.configured = 1;
}

static inline void _tile_release(void) {
    tiles_.configured = 0;
}

static inline void _tile_zero(int tile) {
    if (!tiles_.configured)
        __builtin_trap();
    memset(tiles_.rows[tile], 0, sizeof tiles_.rows[tile]);
}

static inline void _tile_loadd(int tile, const void *from, size_t pitch) {
    if (!tiles_.configured)
        __builtin_trap();
    for (size_t row = 0; row < 16; row++)
        memcpy(tiles_.rows[tile][row], (const char *)from + row * pitch, 64);
}

static inline void _tile_stored(int tile, void *to, size_t pitch) {
    if (!tiles_.configured)
        __builtin_trap();
    for (size_t row = 0; row < 16; row++)
        memcpy((char *)to + row * pitch, tiles_.rows[tile][row], 64);
}

static inline void _tile_dpbf16ps(int sum, int a, int b) {
    for (int row = 0; row < 16; row++) {
        float total[16], part[32] = {0};
        uint16_t left[32], right[32];
        memcpy(total, tiles_.rows[sum][row], sizeof total);
        memcpy(left, tiles_.rows[a][row], sizeof left);
        for (int k = 0; k < 16; k++) {
            memcpy(right, tiles_.rows[b][k], sizeof right);
            for (int n = 0; n < 32; n++)
                part[n] = bf16_fma(left[2 * k + n % 2], right[n], part[n]);
        }
        EACH(16)
            total[i] = flushed(total[i] + flushed(part[2 * i] + part[2 * i + 1]));
        memcpy(tiles_.rows[sum][row], total, sizeof total);
    }
}

#endif
