/* api_encode.c - encode_text for the fuzz target `api`: a right request, one thing wrong with it or none, and what must come
 * of it: the status, every byte that may not be touched, and the same bits for the same prompt whatever stands around it. */
#include <stdio.h>
#include <string.h>

#include "api_world.h"
#include "fuzz.h"

enum { PROMPTS = 3, OUTPUTS = 3, ARENA = 6144, STRIDE_MORE = 8 };

struct encode {
    const struct call *call;
    const struct session *session;
    uint32_t prompt_count, output_count, tokens;
    uint32_t early, late; /* statuses; found before and after the first block */
    const char *word;
    penult_prompt prompts[PROMPTS];
    penult_output outputs[OUTPUTS];
    uint32_t layers[OUTPUTS]; /* from the front */
    int32_t ids[PROMPTS][TINY_CONTEXT + 1];
    uint8_t masks[PROMPTS][TINY_CONTEXT];
    uint64_t content[PROMPTS]; /* hash of the prompt */
    int has_end[PROMPTS], pools;
    uint32_t depth;
    uint32_t cancel_at; /* block; 0: never */
    int cancel_by_call;
    uint32_t blocks_seen;
    penult_text_request request;
};

static unsigned char arena[ARENA];

/* ---- making the request ---- */

static void add_text(struct encode *e, uint32_t i) {
    const struct text *text = &texts[(e->call->content + i) % TEXTS];
    e->prompts[i] = (penult_prompt){.text = text->bytes, .text_bytes = text->size};
    e->content[i] = mix_bytes(BASIS, text->bytes, text->size);
    e->has_end[i] = 1;
    if (!e->session->model.has_tokenizer)
        e->early |= ONE(PENULT_E_NO_TOKENIZER);
    if (text->size > e->session->max_text)
        e->early |= ONE(PENULT_E_LIMIT);
    if (!text->is_utf8)
        e->early |= ONE(PENULT_E_TEXT);
}

static void add_ids(struct encode *e, uint32_t i) {
    uint32_t random = fuzz_seed(e->call->content % 31 + 31 * i);
    e->has_end[i] = e->session->model.place == PLACE_PLAIN; /* the largest id will do there */
    for (uint32_t t = 0; t < e->tokens; t++) {
        e->ids[i][t] = (int32_t)fuzz_below(&random, TINY_VOCABULARY);
        e->has_end[i] |= e->ids[i][t] == TINY_END;
    }
    e->prompts[i] = (penult_prompt){.ids = e->ids[i], .id_count = e->tokens};
    e->content[i] = mix_bytes(BASIS + 1, e->ids[i], e->tokens * sizeof e->ids[i][0]);
}

/* A key mask in two of four ways: right; and at random, hiding the first token or with a value that is none. One that hides
 * nothing must give the bits of no mask. */
static void add_mask(struct encode *e, uint32_t i) {
    unsigned way = e->call->shape >> 6;
    uint32_t random = fuzz_seed(e->call->content % 61 + 61 * i);
    int hides = 0, is_right = 1;
    for (uint32_t t = 0; way >= 2 && t < e->tokens; t++) {
        uint32_t drawn = fuzz_below(&random, 64);
        e->masks[i][t] = way == 3 && drawn == 0 ? 2 : drawn % 3 != 0 || (way == 2 && t == 0);
        hides |= e->masks[i][t] == 0;
        is_right &= e->masks[i][t] <= 1 && (t > 0 || e->masks[i][0] == 1);
        e->prompts[i].key_mask = e->masks[i];
    }
    if (!is_right)
        e->early |= ONE(PENULT_E_ARGUMENT);
    if (hides)
        e->content[i] = mix_bytes(mix(e->content[i], BASIS), e->masks[i], e->tokens);
}

static size_t row_bytes(const penult_output *output) {
    size_t values = output->kind == PENULT_HIDDEN || output->kind == PENULT_POOLED_RAW ? TINY_WIDTH : TINY_PROJECTION;
    return values * (output->to.dtype == PENULT_F32 ? 4 : 2);
}

static size_t rows_of(const struct encode *e, const penult_output *output) {
    return output->kind == PENULT_HIDDEN ? e->tokens : 1;
}

/* Four ways to lie in memory; all leave three bytes before the next output. */
static size_t add_output(struct encode *e, uint32_t i, size_t at) {
    const struct call *c = e->call;
    penult_output *output = &e->outputs[i];
    e->layers[i] = (uint32_t)(c->content * 7u + i * 5u + c->shape) % (TINY_LAYERS + 1);
    output->kind = PENULT_HIDDEN + (c->extra >> 2 * i & 3u);
    output->to.dtype = PENULT_F32 + (c->shape + i) % 3;
    if (output->kind == PENULT_HIDDEN) {
        output->layer = (int32_t)e->layers[i] - (c->shape >> i & 1 ? TINY_LAYERS + 1 : 0);
        output->flags = c->what & 128 ? PENULT_FINAL_NORM : 0;
    } else {
        e->layers[i] = TINY_LAYERS;
        e->pools = 1;
        if (output->kind != PENULT_POOLED_RAW && e->session->model.place == PLACE_PLAIN)
            e->early |= ONE(PENULT_E_ARGUMENT);
    }
    e->depth = e->layers[i] > e->depth ? e->layers[i] : e->depth;
    size_t row = row_bytes(output), T = rows_of(e, output), B = e->prompt_count;
    size_t row_pitch = row, batch_pitch = row * T;
    unsigned layout = c->shape >> 2 * i & 3;
    if (layout == 1) {
        row_pitch = row + 5;
        batch_pitch = T * row_pitch + 7;
    } else if (layout == 2) { /* tokens apart, prompts side by side */
        row_pitch = B * row + 3;
        batch_pitch = row;
    } else if (layout == 3) {
        at++;
    }
    if (layout) {
        output->to.row_pitch = output->kind == PENULT_HIDDEN ? row_pitch : 0;
        output->to.batch_pitch = batch_pitch;
    }
    output->to.data = arena + at;
    output->to.bytes = (B - 1) * batch_pitch + (T - 1) * row_pitch + row;
    fuzz_require(at + output->to.bytes + 3 <= ARENA, "the test's arena is too small");
    return at + output->to.bytes + 3;
}

static int32_t progress(void *user, const penult_progress *step) {
    struct encode *e = user;
    fuzz_require(step->stage == PENULT_STAGE_ENCODE && step->done == ++e->blocks_seen && step->total == e->depth &&
                     step->struct_size == sizeof *step,
                 "progress that is none");
    if (step->done != e->cancel_at)
        return 0;
    if (e->cancel_by_call)
        api->session_cancel(e->session->handle);
    return !e->cancel_by_call;
}

static void make(struct encode *e) {
    const struct call *c = e->call;
    unsigned mode = c->flaw >> 5;
    size_t at = 3;
    e->prompt_count = 1 + (c->what & 3u) % PROMPTS;
    e->output_count = 1 + (c->extra >> 6) % OUTPUTS;
    int is_text = c->what >> 2 & 1;
    e->tokens = is_text ? TINY_CONTEXT : 1 + (c->content >> 4) % TINY_CONTEXT;
    for (uint32_t i = 0; i < e->prompt_count; i++) {
        is_text ? add_text(e, i) : add_ids(e, i);
        add_mask(e, i);
    }
    for (uint32_t i = 0; i < e->output_count; i++)
        at = add_output(e, i, at);
    for (uint32_t i = 0; i < e->prompt_count; i++)
        if (e->pools && !e->has_end[i])
            e->early |= ONE(PENULT_E_ARGUMENT);
    if (e->prompt_count > e->session->max_prompts)
        e->early |= ONE(PENULT_E_LIMIT);
    e->cancel_at = mode == 5 || mode == 6 ? 1 : mode == 7 ? 2 : 0;
    e->cancel_by_call = mode == 6;
    e->request = (penult_text_request){
        .struct_size = sizeof e->request, .prompt_count = e->prompt_count, .prompt_stride = sizeof *e->prompts,
        .prompts = e->prompts, .output_count = e->output_count, .output_stride = sizeof *e->outputs, .outputs = e->outputs,
        .progress = mode >= 4 ? progress : NULL, .user = e};
}

/* ---- one thing wrong ---- */

enum { FLAW_HANDLE = 1, FLAW_NOT_A_SESSION, FLAW_BLANK, FLAW_REQUEST, FLAW_SIZED, FLAW_SIZED_END = FLAW_SIZED + 4,
       FLAW_FIELDS, FLAW_OUTPUTS = FLAW_FIELDS + 9, FLAW_STRIDES = FLAW_OUTPUTS + 9 };

/* Always 1: something is wrong. */
static int wrong(struct encode *e, int32_t status, const char *word) {
    e->early |= ONE(status);
    e->word = word;
    return 1;
}

static int wrong_field(struct encode *e, unsigned which, penult_prompt *prompt) {
    penult_text_request *r = &e->request;
    switch (which) {
    case 0:
        r->arithmetic = 1;
        return wrong(e, PENULT_E_UNSUPPORTED, "arithmetic");
    case 1:
        r->prompts = NULL;
        return wrong(e, PENULT_E_ARGUMENT, "prompts");
    case 2:
        r->prompt_count = e->call->content & 1 ? 0 : e->session->max_prompts + 1;
        return wrong(e, e->call->content & 1 ? PENULT_E_ARGUMENT : PENULT_E_LIMIT, "prompt_count");
    case 3:
        r->prompt_stride = 0;
        return wrong(e, PENULT_E_ARGUMENT, "prompt_stride");
    case 4:
        r->outputs = NULL;
        return wrong(e, PENULT_E_ARGUMENT, "outputs");
    case 5:
        r->output_count = e->call->content & 1 ? 0 : 1025;
        return wrong(e, e->call->content & 1 ? PENULT_E_ARGUMENT : PENULT_E_LIMIT, "output_count");
    case 6:
        r->output_stride = e->call->content & 1 ? 7 : 65537;
        return wrong(e, PENULT_E_ARGUMENT, "output_stride");
    case 7:
        prompt->text = texts[1].bytes;
        prompt->ids = e->ids[0];
        return wrong(e, PENULT_E_ARGUMENT, "text and ids");
    default:
        if (prompt->ids && e->call->content & 1)
            e->ids[e->call->content % e->prompt_count][0] = e->call->content & 2 ? TINY_VOCABULARY : -1;
        else if (prompt->ids)
            prompt->id_count = e->call->content & 2 ? TINY_CONTEXT + 1 : 0;
        else
            *prompt = (penult_prompt){.text_bytes = 1};
        return wrong(e, PENULT_E_ARGUMENT, "prompt");
    }
}

static int wrong_output(struct encode *e, unsigned which, penult_output *output) {
    int apart = output->kind == PENULT_HIDDEN && e->tokens > 1;
    switch (which) {
    case 0:
        output->kind = e->call->content & 2 ? 0 : 5;
        return wrong(e, PENULT_E_UNSUPPORTED, "kind");
    case 1:
        output->layer = e->call->content & 2 ? TINY_LAYERS + 1 : -(TINY_LAYERS + 2);
        return wrong(e, PENULT_E_ARGUMENT, "layer");
    case 2:
        output->flags = 2;
        return wrong(e, output->kind == PENULT_HIDDEN ? PENULT_E_UNSUPPORTED : PENULT_E_ARGUMENT, "flags");
    case 3:
        *(e->call->content & 2 ? &output->reserved : &output->to.reserved) = 1;
        return wrong(e, PENULT_E_UNSUPPORTED, "reserved");
    case 4:
        output->to.data = NULL;
        return wrong(e, PENULT_E_ARGUMENT, "data");
    case 5:
        output->to.dtype = e->call->content & 2 ? 0 : 4;
        return wrong(e, PENULT_E_UNSUPPORTED, "dtype");
    case 6:
        output->to.bytes--;
        return wrong(e, PENULT_E_ARGUMENT, "bytes");
    case 7:
    default:
        if (apart)
            output->to.row_pitch = which == 7 ? 1 : UINT64_MAX;
        else if (e->prompt_count > 1)
            output->to.batch_pitch = which == 7 ? 1 : UINT64_MAX;
        return apart || e->prompt_count > 1 ? wrong(e, PENULT_E_ARGUMENT, "pitch") : 0;
    }
}

/* Elements as a newer host has them: what is new in them must be zero. */
static void widen(struct encode *e, unsigned which) {
    static unsigned char wide[2][PROMPTS * (sizeof(penult_output) + STRIDE_MORE)];
    size_t bytes = which < 2 ? sizeof *e->prompts : sizeof *e->outputs, stride = bytes + STRIDE_MORE;
    uint32_t count = which < 2 ? e->prompt_count : e->output_count;
    unsigned char *to = wide[which / 2];
    memset(to, 0, sizeof wide[0]);
    for (uint32_t i = 0; i < count; i++)
        memcpy(to + i * stride, which < 2 ? (void *)&e->prompts[i] : (void *)&e->outputs[i], bytes);
    if (which & 1) {
        to[(e->call->content % count) * stride + bytes + e->call->content % STRIDE_MORE] = 1;
        wrong(e, PENULT_E_UNSUPPORTED, which < 2 ? "prompts" : "outputs");
    }
    if (which < 2) {
        e->request.prompts = (const penult_prompt *)(void *)to;
        e->request.prompt_stride = (uint32_t)stride;
    } else {
        e->request.outputs = (const penult_output *)(void *)to;
        e->request.output_stride = (uint32_t)stride;
    }
}

/* Returns the session to pass; *passed is where the request is now. */
static penult_session *break_it(struct encode *e, unsigned char *request, const void **passed) {
    unsigned flaw = e->call->flaw & 31u;
    size_t size;
    unsigned as_sized = SIZED_NONE;
    int is_alone = e->early == 0;
    if (flaw >= FLAW_FIELDS && flaw < FLAW_OUTPUTS)
        wrong_field(e, flaw - FLAW_FIELDS, &e->prompts[e->call->content % e->prompt_count]);
    else if (flaw >= FLAW_OUTPUTS && flaw < FLAW_STRIDES)
        wrong_output(e, flaw - FLAW_OUTPUTS, &e->outputs[e->call->content % e->output_count]);
    else if (flaw >= FLAW_STRIDES)
        widen(e, flaw - FLAW_STRIDES);
    else if (flaw >= FLAW_SIZED && flaw <= FLAW_SIZED_END)
        as_sized = SIZED_ZERO + (flaw - FLAW_SIZED);
    int32_t status = sized(request, &e->request, sizeof e->request, as_sized, &size);
    if (status)
        wrong(e, status, "request");
    *passed = flaw == FLAW_REQUEST ? NULL : request;
    if (flaw == FLAW_REQUEST)
        wrong(e, PENULT_E_ARGUMENT, "request");
    if (flaw >= FLAW_HANDLE && flaw <= FLAW_BLANK) {
        e->early = 0; /* nothing else is looked at */
        wrong(e, PENULT_E_ARGUMENT, "session");
    } else if (!is_alone) {
        e->word = NULL; /* another thing that is wrong may be named */
    }
    return flaw == FLAW_HANDLE          ? NULL
           : flaw == FLAW_NOT_A_SESSION ? (penult_session *)(void *)models[0].handle
           : flaw == FLAW_BLANK         ? (penult_session *)(void *)blank
                                        : e->session->handle;
}

/* ---- the result struct, in eight ways ---- */

struct result {
    unsigned char memory[sizeof(penult_text_result) + SIZED_MORE], before[sizeof(penult_text_result) + SIZED_MORE];
    unsigned char prompts[PROMPTS * (sizeof(penult_prompt_result) + STRIDE_MORE)];
    size_t size, stride;
    unsigned way;
};

static void *make_result(struct encode *e, struct result *result) {
    penult_text_result own = {.struct_size = sizeof own, .prompt_stride = sizeof(penult_prompt_result)};
    result->way = e->call->what >> 3 & 7;
    memset(result, UNTOUCHED, offsetof(struct result, size));
    if (result->way == 2 || result->way == 3 || result->way >= 6) {
        own.prompts = (penult_prompt_result *)(void *)result->prompts;
        own.prompt_count = e->prompt_count - (result->way == 3);
    }
    if (result->way == 3)
        e->early |= ONE(PENULT_E_ARGUMENT);
    if (result->way == 4) {
        own.reserved = 1;
        e->early |= ONE(PENULT_E_UNSUPPORTED);
    }
    if (result->way == 6) {
        own.prompt_stride = 0;
        e->early |= ONE(PENULT_E_ARGUMENT);
    }
    if (result->way == 7)
        own.prompt_stride += STRIDE_MORE;
    result->stride = own.prompt_stride;
    result->size = result->way == 5 ? 8 : result->way == 7 ? sizeof own + 8 : sizeof own;
    own.struct_size = (uint32_t)result->size;
    memset(result->memory, 0, sizeof own + 8);
    memcpy(result->memory, &own, result->way == 5 ? 8 : sizeof own);
    if (result->way == 5)
        memset(result->memory + 8, UNTOUCHED, sizeof own);
    memcpy(result->before, result->memory, sizeof result->memory);
    return result->way == 0 ? NULL : result->memory;
}

static void check_result(const struct encode *e, const struct result *result, int32_t status) {
    if (status != PENULT_OK || result->way == 0) {
        fuzz_require(memcmp(result->memory, result->before, sizeof result->memory) == 0, "a result that was touched");
        fuzz_require(untouched(result->prompts, sizeof result->prompts), "prompts of a result that were touched");
        return;
    }
    penult_text_result own = {0};
    memcpy(&own, result->memory, result->size < sizeof own ? result->size : sizeof own);
    fuzz_require(own.struct_size == result->size && own.tokens == e->tokens, "the result's tokens");
    fuzz_require(memcmp(result->memory + result->size, result->before + result->size, sizeof result->memory - result->size) == 0,
                 "a result beyond its size");
    if (result->way == 5)
        return;
    fuzz_require(own.blocks_run == e->depth, "the result's blocks");
    for (uint32_t i = 0; own.prompts && i < e->prompt_count; i++) {
        penult_prompt_result prompt;
        memcpy(&prompt, result->prompts + i * result->stride, sizeof prompt);
        fuzz_require(prompt.end_position < e->tokens || (!e->has_end[i] && prompt.end_position == UINT64_MAX), "an end beyond");
        fuzz_require(prompt.body_count + 2 <= TINY_CONTEXT && prompt.cut_begin <= (e->prompts[i].text ? e->prompts[i].text_bytes : 0),
                     "counts of a prompt");
    }
}

/* ---- the outputs ---- */

/* Takes every row out of the arena, so that what is left must be untouched. */
static void check_outputs(const struct encode *e, int32_t status) {
    for (uint32_t i = 0; i < e->output_count; i++) {
        const penult_output *output = &e->outputs[i];
        size_t row = row_bytes(output), T = rows_of(e, output);
        size_t row_pitch = output->to.row_pitch ? output->to.row_pitch : row;
        size_t batch_pitch = output->to.batch_pitch ? output->to.batch_pitch : row_pitch * T;
        for (uint32_t b = 0; b < e->prompt_count; b++) {
            uint64_t bits = BASIS, key = mix(mix(e->content[b], e->session->kernels), (uint64_t)e->session->model.place);
            key = mix(mix(key, e->session->model.activation), (uint64_t)e->session->model.has_tokenizer);
            key = mix(mix(mix(mix(key, output->kind), e->layers[i]), output->flags), output->to.dtype);
            for (size_t t = 0; t < T; t++) {
                unsigned char *at = (unsigned char *)output->to.data + b * batch_pitch + t * row_pitch;
                bits = mix_bytes(bits, at, row);
                memset(at, UNTOUCHED, row);
            }
            if (status == PENULT_OK)
                remember(key ^ key >> 29, bits, e->call);
        }
    }
    fuzz_require(untouched(arena, ARENA), "bytes that belong to no row were touched");
}

void call_encode(const struct call *call) {
    unsigned char request[sizeof(penult_text_request) + SIZED_MORE];
    struct result result;
    const void *passed;
    penult_error error;
    struct encode e = {.call = call, .session = &sessions[call->slot % SESSIONS]};
    const struct model *model = &e.session->model;
    if (!e.session->handle)
        return;
    make(&e);
    void *to = make_result(&e, &result);
    penult_session *session = break_it(&e, request, &passed);
    memset(arena, UNTOUCHED, ARENA);
    call_begin(call, &error);
    int32_t status = api->encode_text(session, passed, to, call->what & 64 ? NULL : &error);
    struct watched watched = call_end();
    fuzz_require(watched.system.memory == 0, "an encode that asks for memory");
    for (uint32_t i = 0; i < e.output_count; i++)
        if (model->place == PLACE_BROKEN && e.layers[i] == TINY_LAYERS)
            e.late = ONE(PENULT_E_NON_FINITE);
    if (e.cancel_at && e.cancel_at <= e.depth)
        e.late = ONE(PENULT_E_CANCELLED);
    if (model->access == PENULT_MAP && model->touched != touched[model->place])
        e.late = ONE(PENULT_E_CHANGED);
    if (watched.system.refused)
        e.late = ONE(PENULT_E_IO);
    if (call->what & 64 && status != PENULT_OK) { /* no words were asked for */
        fuzz_require((e.early ? e.early : e.late) >> status & 1, "a status that was not to come");
        fuzz_require(untouched(&error, sizeof error), "an error struct that nobody passed");
    } else {
        call_expect(status, e.early ? e.early : e.late, e.word, &error, &watched);
    }
    check_result(&e, &result, status);
    if (e.early)
        fuzz_require(untouched(arena, ARENA), "outputs of a refused request were touched");
    else
        check_outputs(&e, status);
}
