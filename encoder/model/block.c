/* block.c - x + attention(norm(x)), then x + mlp(norm(x)).
 *
 * Work is cut into units that depend on the geometry alone (a panel of weights, a head, a few rows), never on how many
 * workers there are or how many prompts: that, and one order of operations inside each unit, is why the bits do not. */
#include "block.h"

#include <math.h>

struct norm {
    struct text_pass *pass;
    const float *gain, *bias;
};

static void norm_rows(struct worker *worker, size_t unit, void *context) {
    const struct norm *op = context;
    struct text_pass *pass = op->pass;
    size_t width = pass->weights->geometry.width;
    size_t rows = pass->batch * pass->tokens;
    (void)worker;
    for (size_t row = unit * ROW_UNIT; row < rows && row < (unit + 1) * ROW_UNIT; row++)
        pass->kernels->layer_norm(pass->x + row * width, pass->h + row * width, op->gain, op->bias, width,
                                  pass->weights->geometry.norm_epsilon);
}

static void norm(struct worker *worker, struct text_pass *pass, const float *gain, const float *bias) {
    struct norm op = {pass, gain, bias};
    worker_each(worker, (pass->batch * pass->tokens + ROW_UNIT - 1) / ROW_UNIT, norm_rows, &op);
}

/* y[:, first..] = epilogue(x W^T + bias) for up to three matrices of one shape, whose columns of y lie side by side. */
struct product {
    struct text_pass *pass;
    const struct matrix *matrix[3];
    const float *bias[3];
    const float *x;
    float *y;
    size_t x_width, y_width; /* floats from row to row */
    size_t depth, columns;   /* of each matrix */
    enum epilogue epilogue;
};

static size_t panels(size_t columns) {
    return (columns + KERNEL_PANEL - 1) / KERNEL_PANEL;
}

static void product_panel(struct worker *worker, size_t unit, void *context) {
    const struct product *op = context;
    const struct text_pass *pass = op->pass;
    size_t which = unit / panels(op->columns);
    size_t column = unit % panels(op->columns) * KERNEL_PANEL;
    const struct matrix *matrix = op->matrix[which];
    struct linear linear = {
        .x = op->x,
        .x_pitch = op->x_width,
        .x_batch_pitch = pass->tokens * op->x_width,
        .weight = matrix->data + column * matrix->pitch,
        .weight_pitch = matrix->pitch,
        .dtype = matrix->dtype,
        .scale = matrix->scale,
        .bias = op->bias[which] + column,
        .y = op->y + which * op->columns + column,
        .y_pitch = op->y_width,
        .y_batch_pitch = pass->tokens * op->y_width,
        .batch = pass->batch,
        .rows = pass->tokens,
        .depth = op->depth,
        .columns = op->columns - column < KERNEL_PANEL ? op->columns - column : KERNEL_PANEL,
        .epilogue = op->epilogue,
    };
    pass->kernels->linear(pass->kernels, &linear, worker->scratch);
}

static void attend_head(struct worker *worker, size_t unit, void *context) {
    struct text_pass *pass = context;
    const struct geometry *g = &pass->weights->geometry;
    size_t prompt = unit / g->heads, head = unit % g->heads;
    size_t head_width = g->width / g->heads, wide = 3 * (size_t)g->width;
    const float *qkv = pass->wide + prompt * pass->tokens * wide + head * head_width;
    struct attend op = {
        .q = qkv,
        .k = qkv + g->width,
        .v = qkv + 2 * (size_t)g->width,
        .out = pass->h + prompt * pass->tokens * g->width + head * head_width,
        .mask = pass->key_mask[prompt],
        .pitch = wide,
        .out_pitch = g->width,
        .tokens = pass->tokens,
        .head_width = head_width,
        .scale = 1.0f / sqrtf((float)head_width),
    };
    pass->kernels->attend(&op, worker->scratch);
}

void block_run(struct worker *worker, struct text_pass *pass, const struct block *block) {
    const struct geometry *g = &pass->weights->geometry;
    size_t D = g->width, M = g->mlp_width;
    struct product qkv = {
        .pass = pass, .matrix = {&block->q, &block->k, &block->v}, .bias = {block->q_bias, block->k_bias, block->v_bias},
        .x = pass->h, .y = pass->wide, .x_width = D, .y_width = 3 * D, .depth = D, .columns = D, .epilogue = EPILOGUE_STORE,
    };
    struct product out = {
        .pass = pass, .matrix = {&block->out}, .bias = {block->out_bias},
        .x = pass->h, .y = pass->x, .x_width = D, .y_width = D, .depth = D, .columns = D, .epilogue = EPILOGUE_ADD,
    };
    struct product fc1 = {
        .pass = pass, .matrix = {&block->fc1}, .bias = {block->fc1_bias},
        .x = pass->h, .y = pass->wide, .x_width = D, .y_width = M, .depth = D, .columns = M,
        .epilogue = g->activation == ACTIVATION_GELU ? EPILOGUE_GELU : EPILOGUE_QUICK_GELU,
    };
    struct product fc2 = {
        .pass = pass, .matrix = {&block->fc2}, .bias = {block->fc2_bias},
        .x = pass->wide, .y = pass->x, .x_width = M, .y_width = D, .depth = M, .columns = D, .epilogue = EPILOGUE_ADD,
    };

    norm(worker, pass, block->norm1_gain, block->norm1_bias);
    worker_each(worker, 3 * panels(D), product_panel, &qkv);
    worker_each(worker, pass->batch * g->heads, attend_head, pass);
    worker_each(worker, panels(D), product_panel, &out);
    norm(worker, pass, block->norm2_gain, block->norm2_bias);
    worker_each(worker, panels(M), product_panel, &fc1);
    worker_each(worker, panels(D), product_panel, &fc2);
}
