/* block.c - x + attention(norm(x)), then x + mlp(norm(x)).
 *
 * Work is cut into units that depend on the geometry alone (a panel of weights, a head, a group of rows), never on how many
 * workers there are or how many prompts: that, and one order of operations inside each unit, is why the bits do not. */
#include "block.h"

#include <math.h>

#include "kept.h"
#include "rows.h"

/* The rows that a part of a block works on: all of them, or the ends. */
struct stream {
    struct text_pass *pass;
    float *x, *low, *h;
    size_t groups, run;
};

struct norm {
    const struct stream *stream;
    const float *gain, *bias;
};

static void norm_group(struct worker *worker, size_t group, void *context) {
    const struct norm *op = context;
    const struct stream *s = op->stream;
    const struct geometry *g = &s->pass->weights->geometry;
    size_t at = group * LANES * g->width;
    (void)worker;
    s->pass->kernels->layer_norm(s->x + at, s->h + at, op->gain, op->bias, g->width, g->norm_epsilon);
}

static void norm(struct worker *worker, const struct stream *stream, const float *gain, const float *bias) {
    struct norm op = {stream, gain, bias};
    worker_each(worker, stream->groups, norm_group, &op);
}

struct preparation {
    struct text_pass *pass;
    const float *x;
    size_t depth;
};

static void prepare_group(struct worker *worker, size_t group, void *context) {
    const struct preparation *op = context;
    const struct kernels *kernels = op->pass->kernels;
    (void)worker;
    kernels->prepare(kernels, op->x + group * op->depth * LANES, op->depth,
                     (char *)op->pass->prepared + group * kernels->prepared_bytes(kernels, op->depth));
}

void block_prepare(struct worker *worker, struct text_pass *pass, const float *x, size_t groups, size_t depth) {
    struct preparation op = {pass, x, depth};
    if (pass->kernels->prepare)
        worker_each(worker, groups, prepare_group, &op);
}

/* y = epilogue(W x + bias) for up to three matrices of one shape, whose features of y follow each other. */
struct product {
    const struct stream *stream;
    const struct matrix *matrix[3];
    const float *bias[3];
    const float *x;
    float *y, *low; /* low: of the residual stream, else NULL */
    size_t y_width;
    size_t depth, columns; /* of each matrix */
    size_t units;          /* panels of all matrices */
    enum epilogue epilogue;
};

static size_t panels(size_t columns) {
    return (columns + KERNEL_PANEL - 1) / KERNEL_PANEL;
}

/* A whole panel of the same type, or NULL. Workers take turns, mostly. */
static const unsigned char *panel_after(const struct worker *worker, const struct product *op, size_t unit,
                                        const struct matrix *matrix) {
    size_t after = unit + worker->count, column = after % panels(op->columns) * KERNEL_PANEL;
    if (after >= op->units || op->columns - column < KERNEL_PANEL)
        return NULL;
    const struct matrix *next = op->matrix[after / panels(op->columns)];
    return next->dtype == matrix->dtype && next->pitch == matrix->pitch ? next->data + column * next->pitch : NULL;
}

static void product_panel(struct worker *worker, size_t unit, void *context) {
    const struct product *op = context;
    const struct kernels *kernels = op->stream->pass->kernels;
    size_t which = unit / panels(op->columns);
    size_t column = unit % panels(op->columns) * KERNEL_PANEL;
    const struct matrix *matrix = op->matrix[which];
    struct linear linear = {
        .x = op->x,
        .prepared = block_prepared(op->stream->pass),
        .groups = op->stream->groups,
        .run = op->stream->run,
        .weight = matrix->data + column * matrix->pitch,
        .weight_pitch = matrix->pitch,
        .next_weight = panel_after(worker, op, unit, matrix),
        .dtype = matrix->dtype,
        .scale = matrix->scale,
        .bias = op->bias[which] + column,
        .y = op->y + (which * op->columns + column) * LANES,
        .low = op->low ? op->low + column * LANES : NULL,
        .y_width = op->y_width,
        .depth = op->depth,
        .columns = op->columns - column < KERNEL_PANEL ? op->columns - column : KERNEL_PANEL,
        .epilogue = op->epilogue,
    };
    kernels->linear(kernels, &linear, worker->scratch);
}

static void multiply(struct worker *worker, struct product *op, size_t matrices) {
    op->units = matrices * panels(op->columns);
    block_prepare(worker, op->stream->pass, op->x, op->stream->groups, op->depth);
    worker_each(worker, op->units, product_panel, op);
}

static void attend_head(struct worker *worker, size_t unit, void *context) {
    struct text_pass *pass = context;
    const struct geometry *g = &pass->weights->geometry;
    size_t prompt = unit / g->heads, head = unit % g->heads;
    size_t head_width = g->width / g->heads;
    struct attend op = {
        .in = pass->wide,
        .in_width = 3 * (size_t)g->width,
        .q = head * head_width,
        .k = g->width + head * head_width,
        .v = 2 * (size_t)g->width + head * head_width,
        .out = pass->h,
        .out_width = g->width,
        .out_at = head * head_width,
        .mask = pass->key_mask[prompt],
        .row = pass->row + prompt * pass->tokens,
        .own = pass->rows[prompt].own,
        .tokens = pass->rows[prompt].count,
        .head_width = head_width,
        .scale = 1.0f / sqrtf((float)head_width),
    };
    pass->kernels->attend(&op, worker->scratch);
}

static void attention(struct worker *worker, const struct stream *s, const struct block *block) {
    const struct geometry *g = &s->pass->weights->geometry;
    size_t D = g->width;
    struct product qkv = {
        .stream = s, .matrix = {&block->q, &block->k, &block->v}, .bias = {block->q_bias, block->k_bias, block->v_bias},
        .x = s->h, .y = s->pass->wide, .y_width = 3 * D, .depth = D, .columns = D, .epilogue = EPILOGUE_STORE,
    };
    norm(worker, s, block->norm1_gain, block->norm1_bias);
    multiply(worker, &qkv, 3);
    kept_attended(worker, s->pass, (uint32_t)(block - s->pass->weights->blocks));
    worker_each(worker, s->pass->batch * g->heads, attend_head, s->pass);
}

/* From the heads' output in h on: none of it mixes rows. */
static void rest(struct worker *worker, const struct stream *s, const struct block *block) {
    const struct geometry *g = &s->pass->weights->geometry;
    size_t D = g->width, M = g->mlp_width;
    struct product out = {
        .stream = s, .matrix = {&block->out}, .bias = {block->out_bias},
        .x = s->h, .y = s->x, .low = s->low, .y_width = D, .depth = D, .columns = D, .epilogue = EPILOGUE_ADD,
    };
    struct product fc1 = {
        .stream = s, .matrix = {&block->fc1}, .bias = {block->fc1_bias},
        .x = s->h, .y = s->pass->wide, .y_width = M, .depth = D, .columns = M,
        .epilogue = g->activation == ACTIVATION_GELU ? EPILOGUE_GELU : EPILOGUE_QUICK_GELU,
    };
    struct product fc2 = {
        .stream = s, .matrix = {&block->fc2}, .bias = {block->fc2_bias},
        .x = s->pass->wide, .y = s->x, .low = s->low, .y_width = D, .depth = M, .columns = D, .epilogue = EPILOGUE_ADD,
    };
    multiply(worker, &out, 1);
    norm(worker, s, block->norm2_gain, block->norm2_bias);
    multiply(worker, &fc1, 1);
    multiply(worker, &fc2, 1);
}

void block_run(struct worker *worker, struct text_pass *pass, const struct block *block, int ends_only) {
    struct stream all = {pass, pass->x, pass->low, pass->h, pass->groups, pass->run};
    struct stream ends = {pass, pass->ends_x, pass->ends_low, pass->ends_h, pass->end_groups, 1};
    attention(worker, &all, block);
    if (ends_only)
        rows_take_ends(worker, pass, 1);
    rest(worker, ends_only ? &ends : &all, block);
}
