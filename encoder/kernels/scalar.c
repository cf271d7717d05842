/* scalar.c - the specification of every kernel: plain loops, one order of operations.
 * Loops are written so that the innermost one runs over independent results: a compiler vectorises it for whatever the
 * baseline of the platform has without changing one bit. Built with -ffp-contract=off. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "epilogue.h"
#include "kernels.h"
#include "scalar_math.h"

#define STRIP 16      /* columns that a strip of the widened panel holds side by side */
#define DEPTH_BLOCK 256 /* products are summed in blocks, so that the rounding error grows with the block and not the depth */

static void widen(const unsigned char *from, enum dtype dtype, float *to, size_t count) {
    if (dtype == DTYPE_F32) {
        memcpy(to, from, count * sizeof *to);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, sizeof half);
        to[i] = dtype == DTYPE_F16 ? f16_to_f32(half) : bf16_to_f32(half);
    }
}

static int narrow(const float *from, enum dtype dtype, unsigned char *to, size_t count) {
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

static void layer_norm(const float *x, float *y, const float *gain, const float *bias, size_t width, double epsilon) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < width; i++)
        sum += (double)x[i];
    double mean = sum / (double)width;
    for (size_t i = 0; i < width; i++) {
        double d = (double)x[i] - mean;
        squares += d * d;
    }
    double scale = 1.0 / sqrt(squares / (double)width + epsilon);
    for (size_t i = 0; i < width; i++)
        y[i] = (float)(((double)x[i] - mean) * scale) * gain[i] + bias[i];
}

/* panel[strip][depth][STRIP]; columns beyond op->columns are zero */
static void widen_panel(const struct linear *op, float *panel) {
    float piece[DEPTH_BLOCK];
    memset(panel, 0, KERNEL_PANEL * op->depth * sizeof *panel);
    for (size_t column = 0; column < op->columns; column++) {
        float *strip = panel + column / STRIP * STRIP * op->depth + column % STRIP;
        const unsigned char *row = op->weight + column * op->weight_pitch;
        size_t element = dtype_bits(op->dtype) / 8;
        for (size_t k = 0; k < op->depth; k += DEPTH_BLOCK) {
            size_t count = op->depth - k < DEPTH_BLOCK ? op->depth - k : DEPTH_BLOCK;
            widen(row + k * element, op->dtype, piece, count);
            for (size_t i = 0; i < count; i++)
                strip[(k + i) * STRIP] = piece[i];
        }
    }
}

static void dot_strip(const float *x, const float *strip, size_t depth, float *sum) {
    for (size_t c = 0; c < STRIP; c++)
        sum[c] = 0;
    for (size_t k = 0; k < depth; k += DEPTH_BLOCK) {
        size_t end = depth - k < DEPTH_BLOCK ? depth : k + DEPTH_BLOCK;
        float part[STRIP] = {0};
        for (size_t i = k; i < end; i++)
            for (size_t c = 0; c < STRIP; c++)
                part[c] += x[i] * strip[i * STRIP + c];
        for (size_t c = 0; c < STRIP; c++)
            sum[c] += part[c];
    }
}

static void linear(const struct kernels *kernels, const struct linear *op, void *scratch) {
    (void)kernels;
    float *panel = scratch;
    widen_panel(op, panel);
    for (size_t b = 0; b < op->batch; b++) {
        for (size_t row = 0; row < op->rows; row++) {
            const float *x = op->x + b * op->x_batch_pitch + row * op->x_pitch;
            float *y = op->y + b * op->y_batch_pitch + row * op->y_pitch;
            for (size_t column = 0; column < op->columns; column += STRIP) {
                size_t count = op->columns - column < STRIP ? op->columns - column : STRIP;
                float sum[STRIP];
                dot_strip(x, panel + column * op->depth, op->depth, sum);
                epilogue(op, sum, column, y + column, count);
            }
        }
    }
}

/* softmax of score[0..count) in place; its largest term is exp(0) */
static void softmax(float *score, size_t count) {
    float largest = score[0], sum = 0;
    for (size_t j = 1; j < count; j++)
        largest = score[j] > largest ? score[j] : largest;
    for (size_t j = 0; j < count; j++)
        score[j] = scalar_exp(score[j] - largest);
    for (size_t j = 0; j < count; j++)
        sum += score[j];
    for (size_t j = 0; j < count; j++)
        score[j] /= sum;
}

static void attend(const struct attend *op, void *scratch) {
    float *score = scratch;
    float *keys = score + op->tokens; /* [head_width, tokens]: the inner loop runs over tokens */
    for (size_t j = 0; j < op->tokens; j++)
        for (size_t d = 0; d < op->head_width; d++)
            keys[d * op->tokens + j] = op->k[j * op->pitch + d];
    for (size_t i = 0; i < op->tokens; i++) {
        const float *q = op->q + i * op->pitch;
        float *out = op->out + i * op->out_pitch;
        for (size_t j = 0; j <= i; j++)
            score[j] = 0;
        for (size_t d = 0; d < op->head_width; d++)
            for (size_t j = 0; j <= i; j++)
                score[j] += q[d] * keys[d * op->tokens + j];
        for (size_t j = 0; j <= i; j++)
            score[j] *= op->scale;
        softmax(score, i + 1);
        for (size_t d = 0; d < op->head_width; d++)
            out[d] = 0;
        for (size_t j = 0; j <= i; j++)
            for (size_t d = 0; d < op->head_width; d++)
                out[d] += score[j] * op->v[j * op->pitch + d];
    }
}

size_t kernels_linear_scratch(size_t rows, size_t depth) {
    return (depth + rows) * KERNEL_PANEL * sizeof(float);
}

size_t kernels_attend_scratch(size_t tokens, size_t head_width) {
    return (head_width + 1) * tokens * sizeof(float);
}

void kernels_scalar(struct kernels *kernels) {
    *kernels = (struct kernels){
        .name = "scalar",
        .linear = linear,
        .attend = attend,
        .layer_norm = layer_norm,
        .widen = widen,
        .narrow = narrow,
    };
}
