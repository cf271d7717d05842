/* text_tower.c - embeddings, blocks, taps and pooling, in the order of the data. */
#include "text_tower.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "block.h"
#include "kept.h"
#include "rows.h"

static int wants(const struct text_pass *pass, enum tap_kind kind) {
    for (size_t i = 0; i < pass->tap_count; i++)
        if (pass->taps[i].kind == kind)
            return 1;
    return 0;
}

static void write_pooled(struct text_pass *pass, enum tap_kind kind, size_t prompt, const float *row, size_t width) {
    for (size_t i = 0; i < pass->tap_count; i++)
        if (pass->taps[i].kind == kind)
            rows_write(pass, &pass->taps[i], prompt, 0, row, width);
}

static void norm_ends(struct worker *worker, size_t group, void *context) {
    struct text_pass *pass = context;
    const struct text_weights *w = pass->weights;
    float *ends = pass->ends_x + group * LANES * w->geometry.width;
    (void)worker;
    pass->kernels->layer_norm(ends, ends, w->final_gain, w->final_bias, w->geometry.width, w->geometry.norm_epsilon);
}

static void write_raw(struct worker *worker, size_t prompt, void *context) {
    struct text_pass *pass = context;
    size_t width = pass->weights->geometry.width;
    rows_copy(pass->ends_x, width, rows_end(pass, prompt), worker->scratch);
    write_pooled(pass, TAP_POOLED_RAW, prompt, worker->scratch, width);
}

static void project_panel(struct worker *worker, size_t unit, void *context) {
    struct text_pass *pass = context;
    const struct text_weights *w = pass->weights;
    size_t P = w->geometry.projection, D = w->geometry.width, column = unit * KERNEL_PANEL;
    size_t columns = P - column < KERNEL_PANEL ? P - column : KERNEL_PANEL;
    if (w->geometry.identity) {
        for (size_t g = 0; g < pass->end_groups; g++)
            memcpy(pass->pooled + (g * P + column) * LANES, pass->ends_x + (g * D + column) * LANES,
                   columns * LANES * sizeof *pass->pooled);
        return;
    }
    struct linear linear = {
        .x = pass->ends_x,
        .prepared = block_prepared(pass),
        .groups = pass->end_groups,
        .run = 1,
        .weight = w->projection.data + column * w->projection.pitch,
        .weight_pitch = w->projection.pitch,
        .dtype = w->projection.dtype,
        .scale = w->projection.scale,
        .y = pass->pooled + column * LANES,
        .y_width = P,
        .depth = D,
        .columns = columns,
        .epilogue = EPILOGUE_STORE,
    };
    pass->kernels->linear(pass->kernels, &linear, worker->scratch);
}

/* Division by the norm, which is at least 1e-12 as in torch.nn.functional.normalize. */
static void write_projected(struct worker *worker, size_t prompt, void *context) {
    struct text_pass *pass = context;
    size_t P = pass->weights->geometry.projection;
    float *row = worker->scratch;
    double squares = 0;
    rows_copy(pass->pooled, P, rows_end(pass, prompt), row);
    write_pooled(pass, TAP_POOLED_PROJECTED, prompt, row, P);
    if (!wants(pass, TAP_POOLED_NORMALISED))
        return;
    for (size_t i = 0; i < P; i++)
        squares += (double)row[i] * (double)row[i];
    double length = sqrt(squares);
    length = length < 1e-12 ? 1e-12 : length;
    for (size_t i = 0; i < P; i++)
        row[i] = (float)((double)row[i] / length);
    write_pooled(pass, TAP_POOLED_NORMALISED, prompt, row, P);
}

static void begin_job(struct worker *worker, void *context) {
    struct text_pass *pass = context;
    rows_embed(worker, pass);
    kept_hidden(worker, pass, 0);
    rows_deliver(worker, pass, 0);
}

struct block_job {
    struct text_pass *pass;
    uint32_t layer;
    int ends_only;
};

static void block_job(struct worker *worker, void *context) {
    const struct block_job *job = context;
    block_run(worker, job->pass, &job->pass->weights->blocks[job->layer], job->ends_only);
    if (!job->ends_only)
        kept_hidden(worker, job->pass, job->layer + 1);
    rows_deliver(worker, job->pass, job->layer + 1);
}

static void pool_job(struct worker *worker, void *context) {
    struct text_pass *pass = context;
    size_t P = pass->weights->geometry.projection;
    worker_each(worker, pass->end_groups, norm_ends, pass);
    if (wants(pass, TAP_POOLED_RAW))
        worker_each(worker, pass->batch, write_raw, pass);
    if (wants(pass, TAP_POOLED_PROJECTED) || wants(pass, TAP_POOLED_NORMALISED)) {
        block_prepare(worker, pass, pass->ends_x, pass->end_groups, pass->weights->geometry.width);
        worker_each(worker, (P + KERNEL_PANEL - 1) / KERNEL_PANEL, project_panel, pass);
        worker_each(worker, pass->batch, write_projected, pass);
    }
}

static void ends_job(struct worker *worker, void *context) {
    rows_take_ends(worker, context, 0);
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

/* The last block is pooled and nothing else. */
static int ends_only(const struct text_pass *pass, uint32_t depth) {
    if (pass->kernels->whole_prompts || !pools(pass->taps, pass->tap_count))
        return 0;
    for (size_t i = 0; i < pass->tap_count; i++)
        if (pass->taps[i].kind == TAP_HIDDEN && pass->taps[i].layer == depth)
            return 0;
    return 1;
}

int tower_run(struct workers *pool, struct text_pass *pass, struct fault *fault) {
    uint32_t depth = tower_depth(&pass->weights->geometry, pass->taps, pass->tap_count);
    int ends = ends_only(pass, depth);
    atomic_store_explicit(&pass->not_finite, 0, memory_order_relaxed);
    kept_begin(pass, depth);
    rows_settle(pass);
    workers_run(pool, begin_job, pass);
    for (uint32_t layer = 0; layer < depth; layer++) {
        struct block_job job = {pass, layer, ends && layer + 1 == depth};
        workers_run(pool, block_job, &job);
        if (pass->checkpoint(pass->user, layer + 1, depth))
            return fault_set(fault, FAULT_CANCELLED, "cancelled after block %u of %u", layer + 1, depth);
    }
    if (pools(pass->taps, pass->tap_count)) {
        if (!ends || depth == 0)
            workers_run(pool, ends_job, pass);
        workers_run(pool, pool_job, pass);
    }
    uint32_t bad = atomic_load_explicit(&pass->not_finite, memory_order_relaxed);
    if (bad) {
        const char *type = dtype_name(pass->taps[bad - 1].dtype);
        return fault_set(fault, FAULT_NON_FINITE, "output %u: found an infinity or a NaN as %s, expected finite numbers: the "
                         "weights are broken, or their values are too large for %s", bad - 1, type, type);
    }
    kept_end(pass, ends ? depth : depth + 1);
    return 0;
}

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

int tower_measure(const struct geometry *g, const struct kernels *kernels, size_t batch, size_t kept,
                  struct tower_buffers *out) {
    size_t rows, all, context = g->context, wide = largest(3 * (size_t)g->width, g->mlp_width);
    size_t prompt_rows = kernels->whole_prompts ? packed_groups(context) * LANES : context;
    out->kept = kernels->whole_prompts ? 0 : kept;
    if (__builtin_mul_overflow(batch, prompt_rows, &rows) || __builtin_add_overflow(rows, LANES - 1, &rows) ||
        __builtin_mul_overflow(out->kept, packed_groups(context) * LANES, &all) || __builtin_add_overflow(rows, all, &all))
        return 0;
    if (all >= NO_ROW)
        return 0;
    size_t groups = rows / LANES, all_groups = all / LANES, ends = kernels->whole_prompts ? batch : packed_groups(batch);
    size_t wide_of_all, slot_features = packed_groups(context) * LANES * (size_t)g->width;
    out->rows = batch * context;
    out->kept_from = groups * LANES;
    out->nodes = out->kept ? all : out->rows;
    out->buckets = 1;
    while (out->buckets < out->rows)
        out->buckets *= 2;
    if (__builtin_mul_overflow(groups * LANES, (size_t)g->width, &out->stream) ||
        __builtin_mul_overflow(all_groups * LANES, (size_t)g->width, &out->x) ||
        __builtin_mul_overflow(all_groups * LANES, 3 * (size_t)g->width, &wide_of_all) ||
        __builtin_mul_overflow(groups * LANES, wide, &out->wide) ||
        __builtin_mul_overflow((size_t)g->layers * 2, slot_features, &out->kept_attended) ||
        __builtin_mul_overflow((size_t)g->layers + 1, slot_features, &out->kept_hidden) ||
        __builtin_mul_overflow(ends, LANES * (size_t)largest(g->width, g->projection), &out->ends))
        return 0;
    out->wide = largest(out->wide, wide_of_all);
    out->pooled = ends * LANES * g->projection;
    out->ends = ends * LANES * g->width;
    size_t depth = largest(g->width, g->mlp_width);
    out->prepared_bytes = 0;
    if (kernels->prepare &&
        __builtin_mul_overflow(groups > ends ? groups : ends, kernels->prepared_bytes(kernels, depth), &out->prepared_bytes))
        return 0;
    size_t row_bytes = ((size_t)g->width * (LANES + 1) + g->projection) * sizeof(float);
    size_t run = kernels->whole_prompts ? packed_groups(context) : groups;
    out->worker_bytes = largest(largest(kernels->linear_scratch(run, depth), row_bytes),
                                kernels_attend_scratch(context, g->width / g->heads));
    return 1;
}
