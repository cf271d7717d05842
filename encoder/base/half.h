/* half.h - the small float formats, one value at a time. Formulas: IEEE 754-2008 binary16; bfloat16 is the upper half of a
 * binary32; E4M3 (the "fn" form: no infinity, one NaN a sign) and E5M2 of Micikevicius et al. 2022 (arXiv 2209.05433), table 1.
 * Vector kernels are tested against these over all codes. */
#ifndef ENCODER_BASE_HALF_H
#define ENCODER_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float bf16_to_f32(uint16_t half) {
    return float_from_bits((uint32_t)half << 16);
}

static inline float f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (uint32_t)half >> 10 & 31u;
    uint32_t fraction = half & 0x3FFu;
    if (exponent == 31)
        return float_from_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent)
        return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    /* subnormal: fraction * 2^-24, exact in binary32 */
    float magnitude = (float)fraction * 0x1p-24f;
    return float_from_bits(sign | float_to_bits(magnitude));
}

/* The upper half of a binary16. */
static inline float f8_e5m2_to_f32(uint8_t code) {
    return f16_to_f32((uint16_t)(code << 8));
}

static inline float f8_e4m3_to_f32(uint8_t code) {
    uint32_t sign = (uint32_t)(code & 0x80u) << 24;
    uint32_t magnitude = code & 0x7Fu;
    if (magnitude == 0x7F)
        return float_from_bits(sign | 0x7FC00000u);
    if (magnitude >= 8)
        return float_from_bits(sign | (magnitude + (120u << 3)) << 20);
    /* subnormal: magnitude * 2^-9 */
    return float_from_bits(sign | float_to_bits((float)magnitude * 0x1p-9f));
}

/* Rounds to nearest, ties to even; NaN stays NaN. */
static inline uint16_t bf16_from_f32(float value) {
    uint32_t bits = float_to_bits(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

static inline uint16_t f16_from_f32(float value) {
    uint32_t bits = float_to_bits(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
    if (magnitude >= 0x477FF000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7C00u);
    if (magnitude < 0x38800000u) {
        /* below 2^-14: count units of 2^-24; the sum below rounds to nearest even in the same step */
        uint32_t shift = 126u - (magnitude >> 23);
        if (shift > 25)
            return (uint16_t)sign;
        uint32_t fraction = (magnitude & 0x7FFFFFu) | 0x800000u;
        uint32_t kept = fraction >> shift;
        uint32_t rest = fraction & ((1u << shift) - 1u);
        uint32_t middle = 1u << (shift - 1);
        kept += rest > middle || (rest == middle && (kept & 1u));
        return (uint16_t)(sign | kept);
    }
    magnitude += 0xFFFu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (magnitude - 0x38000000u) >> 13);
}

#endif
