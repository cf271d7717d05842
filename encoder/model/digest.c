/* digest.c - walks a tower's values in one order. */
#include "digest.h"

#include <string.h>

#include "../base/fpu.h"

#define PIECE 256 /* floats on the caller's stack */
#define PROGRESS_STEP ((uint64_t)16 << 20)

struct walk {
    struct sha256 hash;
    const struct kernels *kernels;
    int (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;
    uint64_t done, shown, total;
    int cancelled;
};

static void put_size(struct walk *w, uint64_t rows, uint64_t columns) {
    unsigned char bytes[8];
    for (size_t i = 0; i < 4; i++) {
        bytes[i] = (unsigned char)(rows >> 8 * i);
        bytes[4 + i] = (unsigned char)(columns >> 8 * i);
    }
    sha256_add(&w->hash, bytes, sizeof bytes);
}

static void put_values(struct walk *w, const float *values, size_t count) {
    sha256_add(&w->hash, values, count * sizeof *values);
    w->done += count * sizeof *values;
    if (w->progress && w->done - w->shown >= PROGRESS_STEP) {
        w->shown = w->done;
        w->cancelled |= w->progress(w->user, w->done, w->total) != 0;
    }
}

static void put_vector(struct walk *w, const float *values, size_t rows, size_t columns) {
    if (w->cancelled)
        return;
    put_size(w, rows, columns);
    put_values(w, values, rows * columns);
}

/* One row's piece as what the kernels compute with. */
static void read_piece(const struct kernels *kernels, const struct matrix *matrix, size_t row, size_t column, size_t count, float *to) {
    uint64_t kept = fpu_hold();
    kernels->widen(matrix->data + row * matrix->pitch + column * (dtype_bits(matrix->dtype) / 8), matrix->dtype, to, count);
    for (size_t i = 0; matrix->scale != 0 && i < count; i++)
        to[i] *= matrix->scale;
    fpu_restore(kept);
}

static size_t piece_size(size_t columns, size_t column) {
    return columns - column < PIECE ? columns - column : PIECE;
}

static void put_matrix(struct walk *w, const struct matrix *matrix, size_t rows, size_t columns) {
    float piece[PIECE];
    put_size(w, rows, columns);
    for (size_t row = 0; row < rows && !w->cancelled; row++) {
        for (size_t column = 0; column < columns; column += PIECE) {
            size_t count = piece_size(columns, column);
            read_piece(w->kernels, matrix, row, column, count, piece);
            put_values(w, piece, count);
        }
    }
}

static int is_identity(const struct kernels *kernels, const struct matrix *matrix, size_t rows, size_t columns) {
    float piece[PIECE];
    if (rows != columns)
        return 0;
    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < columns; column += PIECE) {
            size_t count = piece_size(columns, column);
            read_piece(kernels, matrix, row, column, count, piece);
            for (size_t i = 0; i < count; i++)
                if (piece[i] != (row == column + i ? 1.0f : 0.0f))
                    return 0;
        }
    }
    return 1;
}

static void put_block(struct walk *w, const struct block *block, size_t D, size_t M) {
    const struct {
        const struct matrix *weight;
        const float *bias;
        size_t rows, columns;
    } linears[] = {{&block->q, block->q_bias, D, D},     {&block->k, block->k_bias, D, D},     {&block->v, block->v_bias, D, D},
                   {&block->out, block->out_bias, D, D}, {&block->fc1, block->fc1_bias, M, D}, {&block->fc2, block->fc2_bias, D, M}};
    put_vector(w, block->norm1_gain, D, 1);
    put_vector(w, block->norm1_bias, D, 1);
    for (size_t i = 0; i < 6; i++) {
        if (i == 4) {
            put_vector(w, block->norm2_gain, D, 1);
            put_vector(w, block->norm2_bias, D, 1);
        }
        put_matrix(w, linears[i].weight, linears[i].rows, linears[i].columns);
        put_vector(w, linears[i].bias, linears[i].rows, 1);
    }
}

int weights_digest(const struct text_weights *weights, const struct kernels *kernels,
                   int (*progress)(void *user, uint64_t done, uint64_t total), void *user, unsigned char digest[SHA256_BYTES],
                   struct fault *fault) {
    static const char rule[] = "penult weights 1\n";
    const struct geometry *g = &weights->geometry;
    size_t D = g->width;
    struct walk w = {.kernels = kernels, .progress = progress, .user = user, .total = weights->parameters * sizeof(float)};
    sha256_start(&w.hash);
    sha256_add(&w.hash, rule, sizeof rule - 1);
    put_matrix(&w, &weights->token_embedding, g->vocabulary, D);
    put_vector(&w, weights->positions, g->context, D);
    put_vector(&w, weights->final_gain, D, 1);
    put_vector(&w, weights->final_bias, D, 1);
    if (g->projection && !g->identity && !is_identity(kernels, &weights->projection, g->projection, D))
        put_matrix(&w, &weights->projection, g->projection, D);
    for (uint32_t i = 0; i < g->layers && !w.cancelled; i++)
        put_block(&w, &weights->blocks[i], D, g->mlp_width);
    if (w.cancelled)
        return fault_set(fault, FAULT_CANCELLED, "the hash was cancelled after %llu of %llu bytes", (unsigned long long)w.done,
                         (unsigned long long)w.total);
    sha256_finish(&w.hash, digest);
    return 0;
}
