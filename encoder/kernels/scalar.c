/* scalar.c - the specification of every kernel: plain loops, one order of operations.
 * Loops are written so that the innermost one runs over independent results: a compiler vectorises it for whatever the
 * baseline of the platform has without changing one bit. Built with -ffp-contract=off. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "epilogue.h"
#include "kernels.h"
#include "rows.h"

#define STRIP 16      /* columns that a strip of the widened panel holds side by side */
#define CHAIN 32
#define DEPTH_BLOCK 320

static void widen(const unsigned char *from, enum dtype dtype, float *to, size_t count) {
    if (dtype == DTYPE_F32) {
        memcpy(to, from, count * sizeof *to);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        double whole;
        switch (dtype) {
        case DTYPE_F64:
            memcpy(&whole, from + 8 * i, sizeof whole);
            to[i] = (float)whole;
            break;
        case DTYPE_F8_E4M3:
            to[i] = f8_e4m3_to_f32(from[i]);
            break;
        case DTYPE_F8_E5M2:
            to[i] = f8_e5m2_to_f32(from[i]);
            break;
        default:
            memcpy(&half, from + 2 * i, sizeof half);
            to[i] = dtype == DTYPE_F16 ? f16_to_f32(half) : bf16_to_f32(half);
        }
    }
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
                strip[(k + i) * STRIP] = op->scale != 0 ? piece[i] * op->scale : piece[i];
        }
    }
}

/* Three levels of sums, as gemm.h explains: chains, blocks, depth. */
static void dot_strip(const float *x, const float *strip, size_t depth, float *sum) {
    double total[STRIP] = {0};
    for (size_t block = 0; block < depth; block += DEPTH_BLOCK) {
        size_t block_end = depth - block < DEPTH_BLOCK ? depth : block + DEPTH_BLOCK;
        float middle[STRIP] = {0};
        for (size_t k = block; k < block_end; k += CHAIN) {
            size_t end = block_end - k < CHAIN ? block_end : k + CHAIN;
            float part[STRIP] = {0};
            for (size_t i = k; i < end; i++)
                for (size_t c = 0; c < STRIP; c++)
                    part[c] += x[i] * strip[i * STRIP + c];
            for (size_t c = 0; c < STRIP; c++)
                middle[c] += part[c];
        }
        for (size_t c = 0; c < STRIP; c++)
            total[c] += (double)middle[c];
    }
    for (size_t c = 0; c < STRIP; c++)
        sum[c] = (float)total[c];
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

static size_t linear_scratch(size_t rows, size_t depth) {
    (void)rows;
    return depth * KERNEL_PANEL * sizeof(float);
}

size_t kernels_attend_scratch(size_t tokens, size_t head_width) {
    return (head_width + 1) * tokens * sizeof(float);
}

void kernels_scalar(struct kernels *kernels) {
    *kernels = (struct kernels){
        .name = "scalar",
        .linear = linear,
        .linear_scratch = linear_scratch,
        .attend = rows_attend,
        .layer_norm = rows_layer_norm,
        .widen = widen,
        .narrow = rows_narrow,
    };
}
