/* text_tower.c - embeddings, blocks, taps and pooling, in the order of the data. */
#include "text_tower.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "block.h"

static size_t row_units(const struct text_pass *pass) {
    return (pass->batch * pass->tokens + ROW_UNIT - 1) / ROW_UNIT;
}

static void embed_rows(struct worker *worker, size_t unit, void *context) {
    struct text_pass *pass = context;
    const struct text_weights *w = pass->weights;
    size_t width = w->geometry.width, rows = pass->batch * pass->tokens;
    (void)worker;
    for (size_t row = unit * ROW_UNIT; row < rows && row < (unit + 1) * ROW_UNIT; row++) {
        float *x = pass->x + row * width;
        const float *position = w->positions + row % pass->tokens * width;
        pass->kernels->widen(w->token_embedding.data + (size_t)pass->ids[row] * w->token_embedding.pitch,
                             w->token_embedding.dtype, x, width);
        for (size_t i = 0; i < width; i++)
            x[i] += position[i];
    }
}

/* Where a prompt's first row goes; NULL: nowhere. */
static unsigned char *place(const struct tap *tap, size_t prompt) {
    return tap->at ? tap->at[prompt] : tap->data + prompt * tap->batch_pitch;
}

/* One row into the caller's buffer, in the caller's type. */
static void deliver(struct text_pass *pass, const struct tap *tap, size_t prompt, size_t token, const float *row,
                    size_t width) {
    unsigned char *to = place(tap, prompt);
    if (to && pass->kernels->narrow(row, tap->dtype, to + token * tap->row_pitch, width))
        atomic_store_explicit(&pass->not_finite, (uint32_t)(tap - pass->taps) + 1, memory_order_relaxed);
}

struct hidden {
    struct text_pass *pass;
    const struct tap *tap;
};

static void deliver_rows(struct worker *worker, size_t unit, void *context) {
    const struct hidden *op = context;
    struct text_pass *pass = op->pass;
    const struct text_weights *w = pass->weights;
    size_t width = w->geometry.width, rows = pass->batch * pass->tokens;
    for (size_t row = unit * ROW_UNIT; row < rows && row < (unit + 1) * ROW_UNIT; row++) {
        const float *x = pass->x + row * width;
        if (!place(op->tap, row / pass->tokens))
            continue;
        if (op->tap->final_norm) {
            pass->kernels->layer_norm(x, worker->scratch, w->final_gain, w->final_bias, width, w->geometry.norm_epsilon);
            x = worker->scratch;
        }
        deliver(pass, op->tap, row / pass->tokens, row % pass->tokens, x, width);
    }
}

static void deliver_layer(struct worker *worker, struct text_pass *pass, uint32_t layer) {
    for (size_t i = 0; i < pass->tap_count; i++) {
        struct hidden op = {pass, &pass->taps[i]};
        if (op.tap->kind == TAP_HIDDEN && op.tap->layer == layer)
            worker_each(worker, row_units(pass), deliver_rows, &op);
    }
}

static int wants(const struct text_pass *pass, enum tap_kind kind) {
    for (size_t i = 0; i < pass->tap_count; i++)
        if (pass->taps[i].kind == kind)
            return 1;
    return 0;
}

static void deliver_pooled(struct text_pass *pass, enum tap_kind kind, size_t prompt, const float *row, size_t width) {
    for (size_t i = 0; i < pass->tap_count; i++)
        if (pass->taps[i].kind == kind)
            deliver(pass, &pass->taps[i], prompt, 0, row, width);
}

static void pool_prompt(struct worker *worker, size_t prompt, void *context) {
    struct text_pass *pass = context;
    const struct text_weights *w = pass->weights;
    size_t width = w->geometry.width;
    float *raw = pass->raw + prompt * width;
    (void)worker;
    pass->kernels->layer_norm(pass->x + (prompt * pass->tokens + pass->end[prompt]) * width, raw, w->final_gain,
                              w->final_bias, width, w->geometry.norm_epsilon);
    deliver_pooled(pass, TAP_POOLED_RAW, prompt, raw, width);
}

static void project_panel(struct worker *worker, size_t unit, void *context) {
    struct text_pass *pass = context;
    const struct text_weights *w = pass->weights;
    size_t P = w->geometry.projection, D = w->geometry.width, column = unit * KERNEL_PANEL;
    size_t columns = P - column < KERNEL_PANEL ? P - column : KERNEL_PANEL;
    for (size_t b = 0; w->geometry.identity && b < pass->batch; b++)
        memcpy(pass->pooled + b * P + column, pass->raw + b * D + column, columns * sizeof *pass->raw);
    if (w->geometry.identity)
        return;
    struct linear linear = {
        .x = pass->raw,
        .x_pitch = D,
        .x_batch_pitch = D,
        .weight = w->projection.data + column * w->projection.pitch,
        .weight_pitch = w->projection.pitch,
        .dtype = w->projection.dtype,
        .scale = w->projection.scale,
        .y = pass->pooled + column,
        .y_pitch = P,
        .y_batch_pitch = P,
        .batch = pass->batch,
        .rows = 1, /* and not B: OpenBLAS's bits may change with the rows of a call */
        .depth = D,
        .columns = columns,
        .epilogue = EPILOGUE_STORE,
    };
    pass->kernels->linear(pass->kernels, &linear, worker->scratch);
}

/* Division by the norm, which is at least 1e-12 as in torch.nn.functional.normalize. */
static void normalise_prompt(struct worker *worker, size_t prompt, void *context) {
    struct text_pass *pass = context;
    size_t P = pass->weights->geometry.projection;
    const float *pooled = pass->pooled + prompt * P;
    float *unit_length = worker->scratch;
    double squares = 0;
    deliver_pooled(pass, TAP_POOLED_PROJECTED, prompt, pooled, P);
    if (!wants(pass, TAP_POOLED_NORMALISED))
        return;
    for (size_t i = 0; i < P; i++)
        squares += (double)pooled[i] * (double)pooled[i];
    double length = sqrt(squares);
    length = length < 1e-12 ? 1e-12 : length;
    for (size_t i = 0; i < P; i++)
        unit_length[i] = (float)((double)pooled[i] / length);
    deliver_pooled(pass, TAP_POOLED_NORMALISED, prompt, unit_length, P);
}

static void begin_job(struct worker *worker, void *context) {
    struct text_pass *pass = context;
    worker_each(worker, row_units(pass), embed_rows, pass);
    deliver_layer(worker, pass, 0);
}

struct block_job {
    struct text_pass *pass;
    uint32_t layer;
};

static void block_job(struct worker *worker, void *context) {
    const struct block_job *job = context;
    block_run(worker, job->pass, &job->pass->weights->blocks[job->layer]);
    deliver_layer(worker, job->pass, job->layer + 1);
}

static void pool_job(struct worker *worker, void *context) {
    struct text_pass *pass = context;
    size_t P = pass->weights->geometry.projection;
    worker_each(worker, pass->batch, pool_prompt, pass);
    if (wants(pass, TAP_POOLED_PROJECTED) || wants(pass, TAP_POOLED_NORMALISED)) {
        worker_each(worker, (P + KERNEL_PANEL - 1) / KERNEL_PANEL, project_panel, pass);
        worker_each(worker, pass->batch, normalise_prompt, pass);
    }
}

static int pools(const struct tap *taps, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (taps[i].kind != TAP_HIDDEN)
            return 1;
    return 0;
}

uint32_t tower_depth(const struct geometry *geometry, const struct tap *taps, size_t count) {
    uint32_t depth = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t needed = taps[i].kind == TAP_HIDDEN ? taps[i].layer : geometry->layers;
        depth = needed > depth ? needed : depth;
    }
    return depth;
}

int tower_run(struct workers *pool, struct text_pass *pass, struct fault *fault) {
    uint32_t depth = tower_depth(&pass->weights->geometry, pass->taps, pass->tap_count);
    atomic_store_explicit(&pass->not_finite, 0, memory_order_relaxed);
    workers_run(pool, begin_job, pass);
    for (uint32_t layer = 0; layer < depth; layer++) {
        struct block_job job = {pass, layer};
        workers_run(pool, block_job, &job);
        if (pass->checkpoint(pass->user, layer + 1, depth))
            return fault_set(fault, FAULT_CANCELLED, "cancelled after block %u of %u", layer + 1, depth);
    }
    if (pools(pass->taps, pass->tap_count))
        workers_run(pool, pool_job, pass);
    uint32_t bad = atomic_load_explicit(&pass->not_finite, memory_order_relaxed);
    if (bad) {
        const char *type = dtype_name(pass->taps[bad - 1].dtype);
        return fault_set(fault, FAULT_NON_FINITE, "output %u: found an infinity or a NaN as %s, expected finite numbers: the "
                         "weights are broken, or their values are too large for %s", bad - 1, type, type);
    }
    return 0;
}

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

int tower_measure(const struct geometry *g, const struct kernels *kernels, size_t batch, struct tower_buffers *out) {
    size_t rows, wide = largest(3 * (size_t)g->width, g->mlp_width);
    if (__builtin_mul_overflow(batch, (size_t)g->context, &rows) ||
        __builtin_mul_overflow(rows, (size_t)g->width, &out->stream) || __builtin_mul_overflow(rows, wide, &out->wide))
        return 0;
    out->raw = batch * g->width;
    out->pooled = batch * g->projection;
    size_t depth = largest(g->width, g->mlp_width);
    size_t row_bytes = largest(g->width, g->projection) * sizeof(float);
    out->worker_bytes = largest(largest(kernels->linear_scratch(g->context, depth), row_bytes),
                                kernels_attend_scratch(g->context, g->width / g->heads));
    return 1;
}
