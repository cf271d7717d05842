/* condition.c - plan and condition: checks every field of a request before anything is computed, then runs the engine, and
 * tells what became of the prompts. */
#include "condition.h"

#include <string.h>

#include "status.h"
#include "structs.h"

_Static_assert(PENULT_WINDOW_CACHED == PIPELINE_WINDOW_CACHED && PENULT_WINDOW_PLAIN == PIPELINE_WINDOW_PLAIN, "same numbers");
_Static_assert(PENULT_WINDOW_EMPTY == PIPELINE_WINDOW_EMPTY && PENULT_WINDOW_MASKED == PIPELINE_WINDOW_MASKED, "same numbers");
_Static_assert(PENULT_CHUNK_CUT == CHUNK_NONE, "same numbers");

struct conditioning {
    struct pipeline *pipeline;
    penult_condition_request request;
    penult_condition_result result;
    struct pipeline_request engine;
    int wanted[PIPELINE_KINDS][2];
    penult_buffer buffers[PIPELINE_KINDS][2];
    struct fault *fault;
};

/* ---- the request ---- */

static int take_text(struct conditioning *c, const penult_condition_text *text, const char *name, unsigned negative, int second) {
    if (!text->text && text->text_bytes)
        return fault_set(c->fault, FAULT_ARGUMENT, "request->%s: text is NULL with text_bytes %llu", name,
                         (unsigned long long)text->text_bytes);
    c->engine.texts[negative][second] = (struct pipeline_text){text->text, (size_t)text->text_bytes};
    return 0;
}

/* Its bits, but for the sign: a comparison would meet the host's mode, which may trap on a denormal or take it for 0. */
static int is_absent(const double *score) {
    uint64_t bits;
    memcpy(&bits, score, sizeof bits);
    return !(bits & INT64_MAX);
}

static int is_zero(const penult_condition_sizes *s) {
    return !s->original_height && !s->original_width && !s->crop_top && !s->crop_left && !s->target_height && !s->target_width &&
           is_absent(&s->aesthetic_score);
}

static void settle_sizes(const penult_condition_sizes *s, double score, struct pipeline_sizes *out) {
    uint32_t height = s->target_height ? s->target_height : s->original_height ? s->original_height : 1024;
    uint32_t width = s->target_width ? s->target_width : s->original_width ? s->original_width : 1024;
    out->numbers[RECIPE_ORIGINAL_HEIGHT] = s->original_height ? s->original_height : height;
    out->numbers[RECIPE_ORIGINAL_WIDTH] = s->original_width ? s->original_width : width;
    out->numbers[RECIPE_CROP_TOP] = s->crop_top;
    out->numbers[RECIPE_CROP_LEFT] = s->crop_left;
    out->numbers[RECIPE_TARGET_HEIGHT] = height;
    out->numbers[RECIPE_TARGET_WIDTH] = width;
    out->aesthetic_score = is_absent(&s->aesthetic_score) ? score : s->aesthetic_score;
}

static int take_sizes(struct conditioning *c) {
    const penult_condition_request *r = &c->request;
    int has_negative = (r->flags & PENULT_CONDITION_NEGATIVE_SIZES) != 0;
    if (!pipeline_width(c->pipeline, PIPELINE_TIME_IDS) && (!is_zero(&r->sizes) || has_negative))
        return fault_set(c->fault, FAULT_ARGUMENT, "request->sizes are set, but %s has no add_time_ids",
                         pipeline_params_of(c->pipeline)->recipe->name);
    if (!has_negative && !is_zero(&r->negative_sizes))
        return fault_set(c->fault, FAULT_ARGUMENT, "request->negative_sizes are set without PENULT_CONDITION_NEGATIVE_SIZES");
    settle_sizes(&r->sizes, 6.0, &c->engine.sizes[0]);
    if (has_negative) {
        settle_sizes(&r->negative_sizes, 2.5, &c->engine.sizes[1]);
    } else {
        c->engine.sizes[1] = c->engine.sizes[0];
        c->engine.sizes[1].aesthetic_score = 2.5;
    }
    return 0;
}

static int take_tensor(struct conditioning *c, uint32_t index) {
    penult_named_tensor own;
    enum pipeline_kind kind;
    unsigned negative;
    struct fault_text quoted;
    int status = element_in(&own, sizeof own, c->request.tensors, c->request.tensor_stride, index, "request->tensors", c->fault);
    if (status)
        return status;
    if (!own.name)
        return fault_set(c->fault, FAULT_ARGUMENT, "request->tensors[%u].name is NULL", index);
    if (!tensor_named(c->pipeline, own.name, 0, &kind, &negative))
        return fault_set(c->fault, FAULT_ARGUMENT, "request->tensors[%u]: found \"%s\", which %s has not", index,
                         fault_quote(&quoted, own.name, strlen(own.name)), pipeline_params_of(c->pipeline)->recipe->name);
    if (c->wanted[kind][negative])
        return fault_set(c->fault, FAULT_ARGUMENT, "request->tensors has %s twice", own.name);
    if (!own.to.data)
        return fault_set(c->fault, FAULT_ARGUMENT, "%s: to.data is NULL", own.name);
    if (own.to.reserved)
        return fault_set(c->fault, FAULT_UNSUPPORTED, "%s: a reserved field is set", own.name);
    if (own.to.dtype < PENULT_F32 || own.to.dtype > PENULT_BF16)
        return fault_set(c->fault, FAULT_UNSUPPORTED, "%s: to.dtype is %u, expected PENULT_F32, PENULT_F16 or PENULT_BF16", own.name,
                         own.to.dtype);
    c->wanted[kind][negative] = 1;
    c->buffers[kind][negative] = own.to;
    c->engine.tensors[kind][negative] = (struct pipeline_tensor){own.to.data, 0, (enum dtype)own.to.dtype};
    return 0;
}

static int take_tensors(struct conditioning *c) {
    const penult_condition_request *r = &c->request;
    if (!r->tensors || r->tensor_count == 0)
        return fault_set(c->fault, FAULT_ARGUMENT, "request->tensors: nothing was asked for");
    int status = stride_check(r->tensor_stride, "request->tensor_stride", c->fault);
    for (uint32_t i = 0; i < r->tensor_count && !status; i++)
        status = take_tensor(c, i);
    return status;
}

/* Every tensor there is, for a plan. */
static void want_all(struct conditioning *c) {
    for (int kind = 0; kind < PIPELINE_KINDS; kind++)
        c->wanted[kind][0] = c->wanted[kind][1] = pipeline_width(c->pipeline, (enum pipeline_kind)kind) > 0;
}

static int progress(void *user, uint32_t done, uint32_t total) {
    const penult_condition_request *request = user;
    penult_progress step = {.struct_size = sizeof step, .stage = PENULT_STAGE_ENCODE, .done = done, .total = total};
    return request->progress(request->user, &step) != 0;
}

static int take_request(struct conditioning *c) {
    const penult_condition_request *r = &c->request;
    if (r->flags & ~(PENULT_CONDITION_CLIP_SKIP | PENULT_CONDITION_NEGATIVE_SIZES))
        return fault_set(c->fault, FAULT_UNSUPPORTED, "request->flags is %#x, expected PENULT_CONDITION_ flags", r->flags);
    if (r->reserved)
        return fault_set(c->fault, FAULT_UNSUPPORTED, "request->reserved is %u, expected 0", r->reserved);
    if (!(r->flags & PENULT_CONDITION_CLIP_SKIP) && r->clip_skip)
        return fault_set(c->fault, FAULT_ARGUMENT, "request->clip_skip is %d without PENULT_CONDITION_CLIP_SKIP", r->clip_skip);
    int status = take_text(c, &r->prompt, "prompt", 0, 0);
    if (!status)
        status = take_text(c, &r->prompt_2, "prompt_2", 0, 1);
    if (!status)
        status = take_text(c, &r->negative, "negative", 1, 0);
    if (!status)
        status = take_text(c, &r->negative_2, "negative_2", 1, 1);
    if (!status)
        status = take_sizes(c);
    c->engine.has_skip = (r->flags & PENULT_CONDITION_CLIP_SKIP) != 0;
    c->engine.skip = r->clip_skip;
    c->engine.progress = r->progress ? progress : NULL;
    c->engine.user = &c->request;
    return status;
}

/* ---- buffers, when the windows are known ---- */

static int check_buffer(struct conditioning *c, enum pipeline_kind kind, unsigned negative) {
    struct pipeline_tensor *tensor = &c->engine.tensors[kind][negative];
    const penult_buffer *to = &c->buffers[kind][negative];
    const char *name = pipeline_names[kind][negative];
    size_t chunks = pipeline_chunks(c->pipeline, negative), tokens = chunks * pipeline_tokens(c->pipeline);
    uint64_t rows = kind == PIPELINE_CONTEXT ? tokens : 1;
    uint64_t row = pipeline_width(c->pipeline, kind) * (kind == PIPELINE_TEXT_MASK ? chunks : 1) * dtype_bits(tensor->dtype) / 8;
    uint64_t pitch = kind == PIPELINE_CONTEXT && to->row_pitch ? to->row_pitch : row, needed;
    if (pitch < row)
        return fault_set(c->fault, FAULT_ARGUMENT, "%s: to.row_pitch is %llu, but a row has %llu bytes", name,
                         (unsigned long long)pitch, (unsigned long long)row);
    if (__builtin_mul_overflow(rows - 1, pitch, &needed) || __builtin_add_overflow(needed, row, &needed))
        return fault_set(c->fault, FAULT_ARGUMENT, "%s: to.row_pitch %llu overflows", name, (unsigned long long)pitch);
    if (to->bytes < needed)
        return fault_set(c->fault, FAULT_ARGUMENT, "%s: to.bytes is %llu, but %zu windows of the prompt take %llu", name,
                         (unsigned long long)to->bytes, chunks, (unsigned long long)needed);
    if (to->batch_pitch && to->batch_pitch < needed)
        return fault_set(c->fault, FAULT_ARGUMENT, "%s: to.batch_pitch is %llu, but the tensor has %llu bytes", name,
                         (unsigned long long)to->batch_pitch, (unsigned long long)needed);
    tensor->row_pitch = (size_t)pitch;
    return 0;
}

static int check_buffers(struct conditioning *c) {
    int status = 0;
    for (int kind = 0; kind < PIPELINE_KINDS && !status; kind++) {
        for (unsigned side = 0; side < 2 && !status; side++) {
            if (c->wanted[kind][side])
                status = check_buffer(c, (enum pipeline_kind)kind, side);
        }
    }
    return status;
}

/* ---- the result ---- */

static int check_result(struct conditioning *c) {
    int status = 0;
    if (c->result.tokens)
        status = stride_check(c->result.token_stride, "result->token_stride", c->fault);
    if (!status && c->result.windows)
        status = stride_check(c->result.window_stride, "result->window_stride", c->fault);
    return status;
}

static void fill_tokens(struct conditioning *c, unsigned tower, unsigned negative) {
    const struct pipeline_prompt *prompt = pipeline_prompt(c->pipeline, tower, negative);
    for (size_t i = 0; prompt && i < prompt->chunks.token_count; i++) {
        const struct chunk_token *token = &prompt->chunks.tokens[i];
        penult_condition_token own = {
            .id = token->id, .tower = tower, .negative = negative, .chunk = token->chunk, .row = token->row, .begin = token->begin,
            .end = token->end, .weight = prompt->unweighted ? 1.0 : prompt->text.segments[token->segment].weight};
        if (c->result.tokens && c->result.token_count < c->result.token_capacity)
            element_out(c->result.tokens, c->result.token_stride, (size_t)c->result.token_count, &own, sizeof own);
        c->result.token_count++;
        c->result.cut_count += token->chunk == CHUNK_NONE;
    }
}

static void fill_windows(struct conditioning *c, unsigned tower) {
    for (size_t i = 0; i < pipeline_window_count(c->pipeline, tower); i++) {
        struct pipeline_window window;
        pipeline_window(c->pipeline, tower, i, &window);
        penult_condition_window own = {.tower = tower, .flags = window.flags, .negative = window.negative, .chunk = window.chunk,
                                       .layer = window.layer};
        if (c->result.windows && c->result.window_count < c->result.window_capacity)
            element_out(c->result.windows, c->result.window_stride, c->result.window_count, &own, sizeof own);
        c->result.window_count++;
        c->result.cached_count += (window.flags & PIPELINE_WINDOW_CACHED) != 0;
    }
}

static void fill_result(struct conditioning *c) {
    penult_condition_result *r = &c->result;
    unsigned towers = pipeline_params_of(c->pipeline)->recipe->tower_count;
    r->token_count = r->cut_count = 0;
    r->window_count = r->cached_count = 0;
    for (unsigned t = 0; t < towers; t++) {
        fill_tokens(c, t, 0);
        fill_tokens(c, t, 1);
        fill_windows(c, t);
    }
    r->chunks = (uint32_t)pipeline_chunks(c->pipeline, 0);
    r->negative_chunks = (uint32_t)pipeline_chunks(c->pipeline, 1);
    r->own_chunks = (uint32_t)pipeline_own_chunks(c->pipeline, 0);
    r->negative_own_chunks = (uint32_t)pipeline_own_chunks(c->pipeline, 1);
    r->negative_zero = (uint32_t)pipeline_negative_is_zero(c->pipeline);
}

/* ---- both calls ---- */

static int run(struct conditioning *c, int only_plan) {
    int status = take_request(c);
    if (!status)
        status = check_result(c);
    if (!status && only_plan)
        want_all(c);
    else if (!status)
        status = take_tensors(c);
    if (!status)
        status = pipeline_read(c->pipeline, &c->engine, c->wanted, c->fault);
    if (!status && !only_plan)
        status = check_buffers(c);
    if (!status && !only_plan)
        status = pipeline_run(c->pipeline, &c->engine, c->fault);
    if (!status)
        fill_result(c);
    c->result.blocks_run = only_plan || status ? 0 : pipeline_blocks_run(c->pipeline);
    return status;
}

static int begin(penult_pipeline *handle, const penult_condition_request *request, penult_condition_result *result, int only_plan,
                 struct fault *fault) {
    struct conditioning c = {.fault = fault};
    if (!is_pipeline(handle))
        return fault_set(fault, FAULT_ARGUMENT, "pipeline is %s", handle ? "not a pipeline" : "NULL");
    int status = struct_in(&c.request, sizeof c.request, request, "request", fault);
    if (!status && result)
        status = struct_in(&c.result, sizeof c.result, result, "result", fault);
    if (!status && !result && only_plan)
        status = fault_set(fault, FAULT_ARGUMENT, "result is NULL");
    c.pipeline = handle->pipeline;
    if (!status)
        status = pipeline_begin(c.pipeline, fault);
    if (status)
        return status;
    status = run(&c, only_plan);
    pipeline_end(c.pipeline);
    if (!status && result)
        struct_out(result, &c.result, sizeof c.result);
    return status;
}

int32_t condition_plan(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                       penult_error *error) {
    struct fault fault;
    return begin(pipeline, request, result, 1, &fault) ? status_of(&fault, error) : PENULT_OK;
}

int32_t condition_run(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                      penult_error *error) {
    struct fault fault;
    return begin(pipeline, request, result, 0, &fault) ? status_of(&fault, error) : PENULT_OK;
}
