/* scalar_math.h - exp and the activations in float32, without branches and without libm, so that loops over them vectorise
 * and give the same bits with every libc. Accuracy is measured in tests/kernels; constants of erf come from
 * tests/kernels/fit_erf.py, those of exp are 1/n!. */
#ifndef ENCODER_KERNELS_SCALAR_MATH_H
#define ENCODER_KERNELS_SCALAR_MATH_H

#include <stdint.h>

#include "../base/half.h"

/* exp(x) = 2^n exp(r), n = round(x / ln 2); ln 2 in two parts so that r is exact (Cody and Waite 1980). Within 2 units in
 * the last place for -87 <= x <= 88; below -87 it is 0, above 88 infinity. */
static inline float scalar_exp(float x) {
    const float shift = 0x1.8p23f; /* adding and taking it away rounds to an integer */
    float held = x >= -88.0f ? (x > 89.0f ? 89.0f : x) : -88.0f; /* a NaN too becomes convertible */
    float n = (held * 0x1.715476p0f + shift) - shift;
    float r = (held - n * 0x1.63p-1f) - n * -0x1.bd0106p-13f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    /* two factors: 2^128 alone is no float */
    int32_t whole = (int32_t)n, half = whole >> 1;
    float low = float_from_bits((uint32_t)(half + 127) << 23);
    float high = float_from_bits((uint32_t)(whole - half + 127) << 23);
    float result = p * low * high;
    result = x < -87.0f ? 0.0f : result;
    return x != x ? x : result;
}

/* 1 + erf(x), within 2 units of 2^-23. */
static inline float scalar_one_plus_erf(float x) {
    float z = x < 0 ? -x : x;
    float w = z * z;
    float q = 0x1.49234ep-14f;
    q = q * w + -0x1.a3dc1ap-11f;
    q = q * w + 0x1.5401dcp-8f;
    q = q * w + -0x1.b7f88cp-6f;
    q = q * w + 0x1.ce2cf0p-4f;
    q = q * w + -0x1.81273ep-2f;
    q = q * w + 0x1.20dd74p+0f;
    float near = 1.0f + x * q;
    float t = 1.0f / (1.0f + 0.5f * z);
    float c = t - 0.4f;
    float p = -0x1.3504eep-5f;
    p = p * c + 0x1.8e73eep-4f;
    p = p * c + 0x1.48d308p-5f;
    p = p * c + -0x1.2c9c16p-3f;
    p = p * c + -0x1.b9d1fap-4f;
    p = p * c + 0x1.9eaf34p-3f;
    p = p * c + 0x1.031a4ap-1f;
    p = p * c + 0x1.29270ap-1f;
    p = p * c + 0x1.ca3e32p-2f;
    float tail = scalar_exp(-w) * t * p;
    float far = x < 0 ? tail : 2.0f - tail;
    return z < 1.0f ? near : far;
}

static inline float scalar_gelu(float x) {
    return 0.5f * x * scalar_one_plus_erf(x * 0x1.6a09e6p-1f);
}

static inline float scalar_quick_gelu(float x) {
    return x / (1.0f + scalar_exp(-1.702f * x));
}

#endif
