/* pipeline.c - opening and closing: towers against the recipe, sessions, and all memory of a call, laid out once. */
#include "pipeline.h"

#include <errno.h>
#include <string.h>

#include "../base/fpu.h"
#include "../base/memory.h"
#include "../condition/size_embedding.h"
#include "inside.h"

const char *const pipeline_names[PIPELINE_KINDS][2] = {
    [PIPELINE_CONTEXT] = {"prompt_embeds", "negative_prompt_embeds"},
    [PIPELINE_POOLED] = {"pooled_prompt_embeds", "negative_pooled_prompt_embeds"},
    [PIPELINE_TIME_IDS] = {"add_time_ids", "negative_add_time_ids"},
    [PIPELINE_VECTOR] = {"vector", "negative_vector"},
    [PIPELINE_TEXT_MASK] = {"text_mask", "negative_text_mask"},
};

const char *pipeline_tower_name(enum recipe_tower_kind kind) {
    static const char *const names[] = {[RECIPE_CLIP_L] = "clip_l", [RECIPE_CLIP_H] = "clip_h", [RECIPE_CLIP_BIGG] = "clip_g"};
    return names[kind];
}

/* ---- params ---- */

static enum tap_kind pooled_kind(const struct recipe_tower *tower, const struct geometry *g) {
    int projects = tower->pooled == RECIPE_PROJECTED || (tower->pooled == RECIPE_PROJECTED_IF_ANY && g->projection);
    return projects ? TAP_POOLED_PROJECTED : TAP_POOLED_RAW;
}

static int check_tower(const struct pipeline_params *params, unsigned index, struct fault *fault) {
    const struct recipe_tower *tower = &params->recipe->towers[index];
    const struct clip *clip = params->clips[index];
    const char *name = pipeline_tower_name(tower->kind);
    int layer, norm;
    if (!clip->tokenizer)
        return fault_set(fault, FAULT_NO_TOKENIZER, "%s takes text, but the model for %s was opened without a tokenizer: open it "
                         "with a tokenizer_path", params->recipe->name, name);
    if (tower->pooled == RECIPE_PROJECTED && !clip->geometry.projection)
        return fault_set(fault, FAULT_MISMATCH, "%s takes the projected vector of %s, but its model is a CLIPTextModel and has no "
                         "projection", params->recipe->name, name);
    if (clip->geometry.context != params->clips[0]->geometry.context)
        return fault_set(fault, FAULT_MISMATCH, "%s has a context of %u tokens and %s one of %u: their hidden states cannot stand "
                         "side by side", pipeline_tower_name(params->recipe->towers[0].kind), params->clips[0]->geometry.context,
                         name, clip->geometry.context);
    if (clip->geometry.context > CHUNK_LENGTH_LIMIT || clip->geometry.context < 10)
        return fault_set(fault, FAULT_UNSUPPORTED, "%s has a context of %u tokens, expected 10 to %d for windows", name,
                         clip->geometry.context, CHUNK_LENGTH_LIMIT);
    if (tower->layer && (uint32_t)-tower->layer > clip->geometry.layers)
        return fault_set(fault, FAULT_MISMATCH, "%s takes layer %d of %s, which has %u", params->recipe->name, tower->layer, name,
                         clip->geometry.layers);
    return recipe_layer(params->recipe, index, 0, 0, 0, 0, clip->geometry.layers, &layer, &norm, fault);
}

int pipeline_settle(struct pipeline_params *params, struct fault *fault) {
    int status = 0;
    params->max_windows = params->max_windows ? params->max_windows : 8;
    params->max_text_bytes = params->max_text_bytes ? params->max_text_bytes : 65536;
    params->cache_bytes = params->cache_bytes ? params->cache_bytes : PIPELINE_CACHE;
    if (params->threads > WORKERS_LIMIT)
        return fault_set(fault, FAULT_LIMIT, "threads is %u, expected at most %d", params->threads, WORKERS_LIMIT);
    if (params->max_windows > PIPELINE_WINDOWS)
        return fault_set(fault, FAULT_LIMIT, "max_windows is %zu, expected at most %d", params->max_windows, PIPELINE_WINDOWS);
    if (params->max_text_bytes > PIPELINE_TEXT)
        return fault_set(fault, FAULT_LIMIT, "max_text_bytes is %zu, expected at most %zu", params->max_text_bytes, PIPELINE_TEXT);
    for (unsigned t = 0; t < params->recipe->tower_count && !status; t++)
        status = check_tower(params, t, fault);
    return status;
}

/* ---- memory ---- */

static struct chunk_rules rules_of(const struct pipeline_params *params, unsigned index) {
    const struct clip *clip = params->clips[index];
    int32_t pad = params->recipe->towers[index].pad == RECIPE_PAD_ZERO ? 0 : tokenizer_end_id(clip->tokenizer);
    struct chunk_rules rules = chunk_rules_of(params->dialect, pad);
    rules.length = clip->geometry.context;
    rules.splits = params->splits;
    return rules;
}

/* What each tower gives, and where that stands. */
static void measure_tensors(struct pipeline *p) {
    const struct recipe *recipe = p->params.recipe;
    p->context_width = p->pooled_width = 0;
    for (unsigned t = 0; t < recipe->tower_count; t++) {
        struct tower *tower = &p->towers[t];
        const struct geometry *g = &p->params.clips[t]->geometry;
        *tower = (struct tower){.clip = p->params.clips[t], .recipe = &recipe->towers[t], .rules = rules_of(&p->params, t),
                                .tokens = g->context, .width = g->width, .column = p->context_width,
                                .pooled_column = p->pooled_width};
        tower->pooled_kind = pooled_kind(tower->recipe, g);
        if (tower->recipe->pooled != RECIPE_NO_POOLED)
            tower->pooled_width = tower->pooled_kind == TAP_POOLED_RAW ? g->width : g->projection;
        p->context_width += tower->recipe->layer ? g->width : 0;
        p->pooled_width += tower->pooled_width;
    }
    if (p->context_width && p->context_width < recipe->context_width)
        p->context_width = recipe->context_width;
    p->vector_width = recipe_sizes(recipe) ? p->pooled_width + recipe_sizes(recipe) : 0;
}

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t cache_windows(const struct pipeline *p) {
    size_t bytes = slot_bytes_of(&p->towers[0]);
    for (unsigned t = 1; t < p->params.recipe->tower_count; t++)
        bytes += slot_bytes_of(&p->towers[t]);
    return p->params.forgets ? 0 : p->params.cache_bytes / bytes;
}

/* Everything but the towers' pages and the text's. */
static void lay_out(struct arena *arena, struct pipeline *p) {
    size_t windows = p->params.max_windows, tokens = p->towers[0].tokens, width = 0, slots = windows + cache_windows(p);
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        struct tower *tower = &p->towers[t];
        width = largest(width, tower->width);
        tower->slot_count = slots;
        tower->slot_bytes = slot_bytes_of(tower);
        tower->rows = arena_take(arena, windows, sizeof *tower->rows);
        tower->ids = arena_take(arena, (windows + 1) * tokens, sizeof *tower->ids);
        tower->masks = arena_take(arena, (windows + 1) * tokens, 1);
        tower->at = arena_take(arena, RUN_TAPS * windows, sizeof *tower->at);
        tower->pending = arena_take(arena, windows, sizeof *tower->pending);
        tower->slots = arena_take(arena, slots, sizeof *tower->slots);
        for (unsigned side = 0; side < SIDES; side++) {
            tower->readings[side].rows = arena_take(arena, windows, sizeof(uint32_t));
            tower->readings[side].masked = arena_take(arena, windows, sizeof(uint32_t));
        }
    }
    int joins = dialects[p->params.dialect].rule == DIALECT_FROM_EMPTY_AND_MASK;
    p->weights = arena_take(arena, tokens, sizeof *p->weights);
    p->row_ids = arena_take(arena, tokens, sizeof *p->row_ids);
    p->window = arena_take(arena, tokens * width, sizeof *p->window);
    p->part = arena_take(arena, joins ? windows : 0, tokens * width * sizeof *p->part);
    p->joined = arena_take(arena, joins ? windows : 0, tokens * width * sizeof *p->joined);
    p->keys = arena_take(arena, joins ? windows : 0, tokens);
    p->shares = arena_take(arena, windows + 1, sizeof *p->shares);
    p->blend = arena_take(arena, windows + 1, sizeof *p->blend);
    p->line = arena_take(arena, largest(p->vector_width, largest(p->pooled_width, tokens)), sizeof *p->line);
}

static size_t text_bytes(struct pipeline *p, size_t each) {
    void *scratch[RECIPE_TOWERS][SIDES][2];
    size_t bytes[SIDES][2] = {{each, each}, {each, each}};
    struct arena arena = {0};
    reading_lay_out(p, &arena, bytes, scratch);
    return arena.used;
}

static struct session_params session_params_of(const struct pipeline_params *params) {
    return (struct session_params){.threads = params->threads, .max_prompts = params->max_windows, .max_text_bytes = 1,
                                   .kernels = params->kernels,
                                   .arithmetic = params->arithmetic};
}

static int measure(struct pipeline *p, size_t *bytes, size_t *total, struct fault *fault) {
    struct arena arena = {0};
    measure_tensors(p);
    arena_take(&arena, 1, sizeof *p);
    lay_out(&arena, p);
    *bytes = arena.used;
    *total = arena.used;
    if (arena.overflow)
        return fault_set(fault, FAULT_LIMIT, "%zu windows need more memory than there are addresses", p->params.max_windows);
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        struct session_params params = session_params_of(&p->params);
        size_t session = 0, slots;
        int status = session_settle(&params, fault);
        if (!status)
            status = session_measure(p->params.clips[t], &params, &session, fault);
        if (status)
            return status;
        if (__builtin_mul_overflow(p->towers[t].slot_count, p->towers[t].slot_bytes, &slots) ||
            __builtin_add_overflow(*total, session, total) || __builtin_add_overflow(*total, slots, total))
            return fault_set(fault, FAULT_LIMIT, "a cache of %zu bytes needs more memory than there are addresses",
                             p->params.cache_bytes);
    }
    *total += text_bytes(p, 1024);
    return 0;
}

int pipeline_measure(const struct pipeline_params *params, size_t *bytes, struct fault *fault) {
    struct pipeline p = {.params = *params};
    size_t own;
    return measure(&p, &own, bytes, fault);
}

/* ---- life ---- */

static int open_tower(struct pipeline *p, struct tower *tower, struct fault *fault) {
    struct session_params params = session_params_of(&p->params);
    tower->pages = memory_pages(tower->slot_count * tower->slot_bytes, memory_page_size(), MEMORY_AS_TOUCHED);
    if (!tower->pages)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for %zu windows of %zu bytes", tower->slot_count, tower->slot_bytes);
    slots_lay_out(tower);
    if (!slots_back(tower, p->params.max_windows))
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for %zu windows of %zu bytes", p->params.max_windows, tower->slot_bytes);
    int status = session_settle(&params, fault);
    return status ? status : session_open(&tower->session, tower->clip, &params, fault);
}

static int open_all(struct pipeline *p, struct fault *fault) {
    p->text_bytes = text_bytes(p, p->params.max_text_bytes);
    p->text_pages = memory_pages(p->text_bytes, memory_page_size(), MEMORY_RESERVED);
    if (!p->text_pages || !reading_back(p, text_bytes(p, 1024 < p->params.max_text_bytes ? 1024 : p->params.max_text_bytes)))
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for prompts of %zu bytes", p->params.max_text_bytes);
    int status = 0;
    for (unsigned t = 0; t < p->params.recipe->tower_count && !status; t++)
        status = open_tower(p, &p->towers[t], fault);
    return status;
}

int pipeline_open(struct pipeline **out, const struct pipeline_params *params, struct fault *fault) {
    struct pipeline counted = {.params = *params};
    size_t bytes = 0, total = 0;
    *out = NULL;
    int status = measure(&counted, &bytes, &total, fault);
    if (status)
        return status;
    struct pipeline *p = memory_pages(bytes, memory_page_size(), MEMORY_NOW);
    if (!p)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for a pipeline of %zu bytes", bytes);
    struct arena arena = {.base = (char *)p};
    arena_take(&arena, 1, sizeof *p);
    p->params = *params;
    p->bytes = bytes;
    p->total_bytes = total;
    measure_tensors(p);
    lay_out(&arena, p);
    status = open_all(p, fault);
    if (status)
        pipeline_close(p);
    else
        *out = p;
    return status;
}

void pipeline_close(struct pipeline *p) {
    if (!p)
        return;
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        session_close(p->towers[t].session);
        memory_release(p->towers[t].pages, p->towers[t].slot_count * p->towers[t].slot_bytes);
    }
    memory_release(p->text_pages, p->text_bytes);
    memory_release(p, p->bytes);
}

void pipeline_cancel(struct pipeline *p) {
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++)
        session_cancel(p->towers[t].session);
}

int pipeline_begin(struct pipeline *p, struct fault *fault) {
    int status = 0;
    unsigned begun = 0;
    for (; begun < p->params.recipe->tower_count && !status; begun++)
        status = session_begin(p->towers[begun].session, fault);
    /* the first session refuses for all: whoever holds it holds the others, for it is the last to be let go */
    return status;
}

void pipeline_end(struct pipeline *p) {
    for (unsigned t = p->params.recipe->tower_count; t > 0; t--)
        session_end(p->towers[t - 1].session);
}

static int read_prompts(struct pipeline *p, const struct pipeline_request *request, int wanted[PIPELINE_KINDS][2],
                        struct fault *fault) {
    int status = reading_take(p, request, fault);
    int has_negative = p->towers[0].readings[1].is_read || p->negative_is_zero;
    for (int kind = 0; kind < PIPELINE_KINDS && !status && !has_negative; kind++) {
        if (kind != PIPELINE_TIME_IDS && request->tensors[kind][1].data)
            status = fault_set(fault, FAULT_ARGUMENT, "%s: %s has no unconditional, expected a negative prompt",
                               pipeline_names[kind][1], p->params.recipe->name);
    }
    return status ? status : rows_take(p, request, wanted, fault);
}

int pipeline_read(struct pipeline *p, const struct pipeline_request *request, int wanted[PIPELINE_KINDS][2], struct fault *fault) {
    uint64_t kept = fpu_hold(); /* weights are numbers, and compared, whatever the host rounds like or traps */
    int errno_of_host = errno; /* pow() leaves ERANGE there for ten thousand plus signs behind a word */
    int status = read_prompts(p, request, wanted, fault);
    errno = errno_of_host;
    fpu_restore(kept);
    return status;
}

/* ---- what it is ---- */

const struct pipeline_params *pipeline_params_of(const struct pipeline *p) {
    return &p->params;
}

size_t pipeline_bytes(const struct pipeline *p) {
    return p->total_bytes;
}

size_t pipeline_cache_windows(const struct pipeline *p) {
    return p->towers[0].slot_count - p->params.max_windows;
}

size_t pipeline_tokens(const struct pipeline *p) {
    return p->towers[0].tokens;
}

size_t pipeline_width(const struct pipeline *p, enum pipeline_kind kind) {
    switch (kind) {
    case PIPELINE_CONTEXT:
        return p->context_width;
    case PIPELINE_POOLED:
        return p->pooled_width;
    case PIPELINE_TIME_IDS:
        return recipe_sizes(p->params.recipe) / SIZE_EMBEDDING;
    case PIPELINE_VECTOR:
        return p->vector_width;
    case PIPELINE_TEXT_MASK:
        return p->params.recipe->text_mask ? p->towers[0].tokens : 0;
    case PIPELINE_KINDS:
    default:
        return 0;
    }
}

size_t pipeline_chunks(const struct pipeline *p, unsigned negative) {
    return p->chunks[negative];
}

size_t pipeline_own_chunks(const struct pipeline *p, unsigned negative) {
    return p->own_chunks[negative];
}

int pipeline_negative_is_zero(const struct pipeline *p) {
    return p->negative_is_zero;
}
