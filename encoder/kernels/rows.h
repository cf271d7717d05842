/* rows.h - the kernels that work on rows, written once: norm, attention, rounding to the types of an output. Each
 * instruction set's file includes this and is built with its own flags, so that the compiler makes the loops as wide as the
 * registers are; their bits are the same in all, because every innermost loop runs over independent results and nothing is
 * contracted (-ffp-contract=off). */
#ifndef ENCODER_KERNELS_ROWS_H
#define ENCODER_KERNELS_ROWS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"
#include "scalar_math.h"

#define LANES 16 /* partial sums of a reduction: fixed, so that every width adds in the same order */

static double sum_of(const double *lanes) {
    double sum = 0;
    for (size_t i = 0; i < LANES; i++)
        sum += lanes[i];
    return sum;
}

static void rows_layer_norm(const float *x, float *y, const float *gain, const float *bias, size_t width, double epsilon) {
    double sums[LANES] = {0}, squares[LANES] = {0};
    size_t whole = width - width % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            sums[j] += (double)x[i + j];
    for (size_t i = whole; i < width; i++)
        sums[i - whole] += (double)x[i];
    double mean = sum_of(sums) / (double)width;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            double d = (double)x[i + j] - mean;
            squares[j] += d * d;
        }
    }
    for (size_t i = whole; i < width; i++) {
        double d = (double)x[i] - mean;
        squares[i - whole] += d * d;
    }
    double scale = 1.0 / sqrt(sum_of(squares) / (double)width + epsilon);
    /* rounded once: one bit here, in the start token's row, decides how far off its massive channels are */
    for (size_t i = 0; i < width; i++)
        y[i] = (float)(((double)x[i] - mean) * scale * (double)gain[i] + (double)bias[i]);
}

static int rows_narrow(const float *from, enum dtype dtype, unsigned char *to, size_t count) {
    uint32_t worst = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t magnitude = float_to_bits(from[i]) & 0x7FFFFFFFu;
        worst = magnitude > worst ? magnitude : worst;
    }
    if (dtype == DTYPE_F32) {
        memcpy(to, from, count * sizeof *from);
        return worst >= 0x7F800000u;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half = dtype == DTYPE_F16 ? f16_from_f32(from[i]) : bf16_from_f32(from[i]);
        memcpy(to + 2 * i, &half, sizeof half);
    }
    /* the largest finite float that still rounds to a finite f16 is below 65520, to a finite bf16 below 2^128 - 2^119 */
    return worst >= (dtype == DTYPE_F16 ? 0x477FF000u : 0x7F7F8000u);
}

/* softmax of score[0..count) in place; its largest term is exp(0), and a score of -infinity comes to 0. The first is finite. */
static void rows_softmax(float *score, size_t count) {
    float largest = score[0], sums[LANES] = {0}, sum = 0;
    size_t whole = count - count % LANES;
    for (size_t j = 1; j < count; j++)
        largest = score[j] > largest ? score[j] : largest;
    for (size_t j = 0; j < count; j++)
        score[j] = scalar_exp(score[j] - largest);
    for (size_t j = 0; j < whole; j += LANES)
        for (size_t i = 0; i < LANES; i++)
            sums[i] += score[j + i];
    for (size_t j = whole; j < count; j++)
        sums[j - whole] += score[j];
    for (size_t i = 0; i < LANES; i++)
        sum += sums[i];
    for (size_t j = 0; j < count; j++)
        score[j] /= sum;
}

static void rows_attend(const struct attend *op, void *scratch) {
    float *restrict score = scratch;
    float *restrict keys = score + op->tokens; /* [head_width, tokens]: the inner loop runs over tokens */
    for (size_t j = 0; j < op->tokens; j++)
        for (size_t d = 0; d < op->head_width; d++)
            keys[d * op->tokens + j] = op->k[j * op->pitch + d];
    for (size_t i = 0; i < op->tokens; i++) {
        const float *q = op->q + i * op->pitch;
        float *restrict out = op->out + i * op->out_pitch;
        for (size_t j = 0; j <= i; j++)
            score[j] = 0;
        for (size_t d = 0; d < op->head_width; d++)
            for (size_t j = 0; j <= i; j++)
                score[j] += q[d] * keys[d * op->tokens + j];
        for (size_t j = 0; j <= i; j++)
            score[j] *= op->scale;
        if (op->mask)
            for (size_t j = 0; j <= i; j++)
                score[j] = op->mask[j] ? score[j] : -INFINITY;
        rows_softmax(score, i + 1);
        for (size_t d = 0; d < op->head_width; d++)
            out[d] = 0;
        for (size_t j = 0; j <= i; j++)
            for (size_t d = 0; d < op->head_width; d++)
                out[d] += score[j] * op->v[j * op->pitch + d];
    }
}

#endif
