/* bf16.h - float32 as sums of bfloat16 parts. A float32 has 24 significant bits and a bfloat16 8, so that three parts hold it
 * whole: x = x0 + x1 + x2, each the rest rounded to nearest. Products of parts are exact in float32, and those of which the
 * indices add up to more than 2 are below its last bit: six of nine remain, five where the weights are float16 (11 bits:
 * two parts), three where they are bfloat16 (Henry, Tang, Heinecke 2019, arXiv 1904.06376).
 * Parts below 2^-126 are lost to units that take denormals as zero; they are below the last bit of any sum that matters. */
#ifndef ENCODER_KERNELS_BF16_H
#define ENCODER_KERNELS_BF16_H

#include "../base/half.h"
#include "kernels.h"

static inline float bf16_rounded(float x) {
    return bf16_to_f32(bf16_from_f32(x));
}

/* Whether weights of this type, multiplied with that scale, may have more than bfloat16's eight bits. */
static inline int bf16_loses(const struct linear *op) {
    return op->scale != 0 || op->dtype == DTYPE_F32 || op->dtype == DTYPE_F64 || op->dtype == DTYPE_F16;
}

/* For kernels that multiply float32: rounded weights of ARITHMETIC_BF16. */
static inline void bf16_round_row(const struct kernels *kernels, const struct linear *op, float *row, size_t count) {
    if (kernels->arithmetic == ARITHMETIC_BF16 && bf16_loses(op))
        for (size_t k = 0; k < count; k++)
            row[k] = bf16_rounded(row[k]);
}

#endif
