/* scalar.c - the specification of every kernel: plain loops, one order of operations.
 * Loops are written so that the innermost one runs over independent results: a compiler vectorises it for whatever the
 * baseline of the platform has without changing one bit. Built with -ffp-contract=off. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "bf16.h"
#include "epilogue.h"
#include "kernels.h"

#define CHAIN 32
#define DEPTH_BLOCK 320

/* what rows.h wants of a vector: the baseline of every platform has four floats in one */
#define V 4

typedef float v __attribute__((vector_size(V * sizeof(float))));
typedef int32_t v_bits __attribute__((vector_size(V * sizeof(float))));

static inline v v_set(float x) {
    return (v){x, x, x, x};
}

static inline v v_zero(void) {
    return v_set(0);
}

static inline v v_load(const float *p) {
    v a;
    memcpy(&a, p, sizeof a);
    return a;
}

static inline void v_store(float *p, v a) {
    memcpy(p, &a, sizeof a);
}

static inline v v_add(v a, v b) {
    return a + b;
}

static inline v v_mul(v a, v b) {
    return a * b;
}

static inline v v_and(v a, v b) {
    return (v)((v_bits)a & (v_bits)b);
}

#include "rows.h"

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

/* Three levels of sums, as gemm.h explains: chains, blocks, depth. x is one group. */
static void dot(const float *x, const float *weight, size_t depth, double *total) {
    for (size_t i = 0; i < LANES; i++)
        total[i] = 0;
    for (size_t block = 0; block < depth; block += DEPTH_BLOCK) {
        size_t block_end = depth - block < DEPTH_BLOCK ? depth : block + DEPTH_BLOCK;
        float middle[LANES] = {0};
        for (size_t k = block; k < block_end; k += CHAIN) {
            size_t end = block_end - k < CHAIN ? block_end : k + CHAIN;
            float part[LANES] = {0};
            for (size_t j = k; j < end; j++)
                for (size_t i = 0; i < LANES; i++)
                    part[i] += x[j * LANES + i] * weight[j];
            for (size_t i = 0; i < LANES; i++)
                middle[i] += part[i];
        }
        for (size_t i = 0; i < LANES; i++)
            total[i] += (double)middle[i];
    }
}

static void linear(const struct kernels *kernels, const struct linear *op, void *scratch) {
    const float *rows = op->prepared ? op->prepared : op->x;
    const float scale = op->scale;
    float *weight = scratch;
    for (size_t column = 0; column < op->columns; column++) {
        widen(op->weight + column * op->weight_pitch, op->dtype, weight, op->depth);
        for (size_t k = 0; scale != 0 && k < op->depth; k++)
            weight[k] *= scale;
        bf16_round_row(kernels, op, weight, op->depth);
        for (size_t group = 0; group < op->groups; group++) {
            double total[LANES];
            dot(rows + group * op->depth * LANES, weight, op->depth, total);
            epilogue(op, total, group, column);
        }
    }
}

static size_t linear_scratch(size_t groups, size_t depth) {
    (void)groups;
    return depth * sizeof(float);
}

size_t kernels_attend_scratch(size_t tokens, size_t head_width) {
    return (3 * head_width + LANES) * packed_groups(tokens) * LANES * sizeof(float);
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
