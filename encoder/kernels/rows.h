/* rows.h - the kernels that work on rows, written once: norm, attention, rounding to the types of an output. Each
 * instruction set's file includes this and is built with its own flags; it defines v, V, v_zero, v_set, v_load, v_store, v_add,
 * v_mul and v_and (gemm.h says what they are). The bits are the same in all, because a lane is a row and every one has its own
 * sums, and because nothing is contracted (-ffp-contract=off) or fused here. */
#ifndef ENCODER_KERNELS_ROWS_H
#define ENCODER_KERNELS_ROWS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"
#include "scalar_math.h"

#define ROW_VECTORS (LANES / V)
#define ABREAST 4 /* keys, or features, whose sums are in registers at once */

/* Sums over features, four at a time: a sum of sixteen rows lies in memory, and to wait for it at each feature would be most of
 * the time. */
static void rows_mean(const float *x, size_t width, double *mean) {
    double sum[LANES] = {0};
    size_t k = 0;
    for (; k + 4 <= width; k += 4)
        for (size_t i = 0; i < LANES; i++)
            sum[i] += ((double)x[k * LANES + i] + (double)x[(k + 1) * LANES + i]) +
                      ((double)x[(k + 2) * LANES + i] + (double)x[(k + 3) * LANES + i]);
    for (; k < width; k++)
        for (size_t i = 0; i < LANES; i++)
            sum[i] += (double)x[k * LANES + i];
    for (size_t i = 0; i < LANES; i++)
        mean[i] = sum[i] / (double)width;
}

static inline double squared(float x, double mean) {
    double d = (double)x - mean;
    return d * d;
}

static void rows_variance(const float *x, size_t width, const double *mean, double *variance) {
    double sum[LANES] = {0};
    size_t k = 0;
    for (; k + 4 <= width; k += 4)
        for (size_t i = 0; i < LANES; i++)
            sum[i] += (squared(x[k * LANES + i], mean[i]) + squared(x[(k + 1) * LANES + i], mean[i])) +
                      (squared(x[(k + 2) * LANES + i], mean[i]) + squared(x[(k + 3) * LANES + i], mean[i]));
    for (; k < width; k++)
        for (size_t i = 0; i < LANES; i++)
            sum[i] += squared(x[k * LANES + i], mean[i]);
    for (size_t i = 0; i < LANES; i++)
        variance[i] = sum[i] / (double)width;
}

static void rows_layer_norm(const float *x, float *y, const float *gain, const float *bias, size_t width, double epsilon) {
    double mean[LANES], variance[LANES], scale[LANES];
    rows_mean(x, width, mean);
    rows_variance(x, width, mean, variance);
    for (size_t i = 0; i < LANES; i++)
        scale[i] = 1.0 / sqrt(variance[i] + epsilon);
    /* rounded once: one bit here, in the start token's row, decides how far off its massive channels are */
    for (size_t k = 0; k < width; k++)
        for (size_t i = 0; i < LANES; i++)
            y[k * LANES + i] = (float)(((double)x[k * LANES + i] - mean[i]) * scale[i] * (double)gain[k] + (double)bias[k]);
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

/* ---- attention: sixteen queries at a time, each a lane ------------------------------------------------------------------ */

/* One head's q, k and v as [head_width][pitch], pitch being tokens rounded up to whole groups, and the scores or weights of a
 * block of queries, [tokens][LANES]. */
struct head {
    const struct attend *op;
    const float *q, *k, *v;
    float *score;
    size_t pitch;
};

static void gather(const struct attend *op, size_t feature, float *to, size_t pitch) {
    for (size_t i = 0; i < op->tokens; i += LANES)
        packed_gather(op->in + feature * LANES, op->in_width, op->row + i, op->tokens - i < LANES ? op->tokens - i : LANES,
                      to + i, pitch, op->head_width);
}

/* Keys that queries begin .. begin + LANES - 1 can see at most. */
static size_t keys_of(const struct attend *op, size_t begin) {
    return begin + LANES < op->tokens ? begin + LANES : op->tokens;
}

/* score[j][query] = q . k[j] * scale, or -infinity where the query does not see the key */
static void scores(const struct head *h, size_t begin) {
    size_t keys = keys_of(h->op, begin);
    for (size_t j = 0; j < keys; j += ABREAST) {
        v sum[ABREAST][ROW_VECTORS];
        for (size_t a = 0; a < ABREAST; a++)
            for (size_t c = 0; c < ROW_VECTORS; c++)
                sum[a][c] = v_zero();
        for (size_t d = 0; d < h->op->head_width; d++) {
            const float *q = h->q + d * h->pitch + begin, *k = h->k + d * h->pitch + j;
            for (size_t a = 0; a < ABREAST; a++)
                for (size_t c = 0; c < ROW_VECTORS; c++)
                    sum[a][c] = v_add(sum[a][c], v_mul(v_set(k[a]), v_load(q + c * V)));
        }
        for (size_t a = 0; a < ABREAST; a++)
            for (size_t c = 0; c < ROW_VECTORS; c++)
                v_store(h->score + (j + a) * LANES + c * V, v_mul(sum[a][c], v_set(h->op->scale)));
    }
    for (size_t j = begin; j < keys; j++)
        for (size_t i = 0; i < j - begin; i++)
            h->score[j * LANES + i] = -INFINITY;
    for (size_t j = 0; h->op->mask && j < keys; j++)
        for (size_t i = 0; !h->op->mask[j] && i < LANES; i++)
            h->score[j * LANES + i] = -INFINITY;
}

/* Its largest term is exp(0), and a score of -infinity comes to 0. The first score of every query is finite. */
static void softmax(const struct head *h, size_t begin) {
    size_t keys = keys_of(h->op, begin);
    float largest[LANES], sum[LANES] = {0}, *score = h->score;
    memcpy(largest, score, sizeof largest);
    for (size_t j = 1; j < keys; j++)
        for (size_t i = 0; i < LANES; i++)
            largest[i] = score[j * LANES + i] > largest[i] ? score[j * LANES + i] : largest[i];
    for (size_t j = 0; j < keys; j++) {
        for (size_t i = 0; i < LANES; i++)
            score[j * LANES + i] = scalar_exp(score[j * LANES + i] - largest[i]);
        for (size_t i = 0; i < LANES; i++)
            sum[i] += score[j * LANES + i];
    }
    for (size_t j = 0; j < keys; j++)
        for (size_t i = 0; i < LANES; i++)
            score[j * LANES + i] /= sum[i];
}

/* Adds weight[j] v[j] for four features. What a query does not see is no number to it, not even times zero. */
static void add_values(const struct head *h, size_t begin, size_t feature, size_t features, float out[ABREAST][LANES]) {
    static const uint32_t ALL = 0xFFFFFFFFu;
    size_t keys = keys_of(h->op, begin);
    const float *value[ABREAST];
    v sum[ABREAST][ROW_VECTORS];
    for (size_t a = 0; a < ABREAST; a++) {
        value[a] = h->v + (feature + (a < features ? a : 0)) * h->pitch;
        for (size_t c = 0; c < ROW_VECTORS; c++)
            sum[a][c] = v_zero();
    }
    for (size_t j = 0; j < keys; j++) {
        const float *weight = h->score + j * LANES;
        if (h->op->mask && !h->op->mask[j])
            continue;
        if (j <= begin) {
            for (size_t a = 0; a < ABREAST; a++)
                for (size_t c = 0; c < ROW_VECTORS; c++)
                    sum[a][c] = v_add(sum[a][c], v_mul(v_set(value[a][j]), v_load(weight + c * V)));
            continue;
        }
        float seen[LANES];
        for (size_t i = 0; i < LANES; i++)
            seen[i] = float_from_bits(i < j - begin ? 0 : ALL);
        for (size_t a = 0; a < ABREAST; a++)
            for (size_t c = 0; c < ROW_VECTORS; c++)
                sum[a][c] = v_add(sum[a][c], v_mul(v_and(v_set(value[a][j]), v_load(seen + c * V)), v_load(weight + c * V)));
    }
    for (size_t a = 0; a < ABREAST; a++)
        for (size_t c = 0; c < ROW_VECTORS; c++)
            v_store(out[a] + c * V, sum[a][c]);
}

static void rows_attend(const struct attend *op, void *scratch) {
    size_t pitch = packed_groups(op->tokens) * LANES, plane = op->head_width * pitch;
    float *q = scratch, *k = q + plane, *values = k + plane;
    struct head head = {.op = op, .q = q, .k = k, .v = values, .score = values + plane, .pitch = pitch};
    if (op->own == op->tokens)
        return;
    gather(op, op->q, q, pitch);
    gather(op, op->k, k, pitch);
    gather(op, op->v, values, pitch);
    for (size_t begin = op->own / LANES * LANES; begin < op->tokens; begin += LANES) {
        size_t skip = op->own > begin ? op->own - begin : 0;
        size_t rows = (op->tokens - begin < LANES ? op->tokens - begin : LANES) - skip;
        scores(&head, begin);
        softmax(&head, begin);
        for (size_t d = 0; d < op->head_width; d += ABREAST) {
            size_t features = op->head_width - d < ABREAST ? op->head_width - d : ABREAST;
            float out[ABREAST][LANES];
            add_values(&head, begin, d, features, out);
            for (size_t a = 0; a < ABREAST && d + a < op->head_width; a++)
                packed_put(op->out + (op->out_at + d + a) * LANES, op->out_width, op->row[begin + skip], rows, out[a] + skip);
        }
    }
}

#endif
