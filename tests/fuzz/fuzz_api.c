/* fuzz_api.c - the bytes choose calls of the ABI, eight a call, on tiny models that lie in memory: open, describe, tokenize,
 * measure, session_open, encode, cancel, close, with wrong handles, wrong sizes, files that change, and a system that refuses
 * the k-th call.
 *
 * Protects: every status is the one that the small model of api_world.h expects; a refusal leaves outputs, results and
 * out-parameters as penult.h says, keeps no memory, and the same call succeeds when nothing is refused; the same prompt gives
 * the same bits.
 */
#include <stdio.h>
#include <string.h>

#include "api_world.h"
#include "fuzz.h"

enum { MOST_CALLS = 24, MOST_OPENS = 3 };

/* What takes long happens a few times in an input at most: opening, and comparing kernels (once). */
static unsigned opens;
static int is_rare(const struct call *c) {
    return opens++ == 0 && c->extra == 0xFF;
}

/* ---- opening models ---- */

struct listener {
    unsigned reports, steps;
    int cancels;
};

static void on_report(void *user, const penult_report *report) {
    struct listener *listener = user;
    size_t length = strlen(report->message);
    fuzz_require(report->struct_size == sizeof *report && report->subject[0] && length, "a report without words");
    fuzz_require(fuzz_utf8(report->message, length) == length, "a report that is not UTF-8");
    listener->reports++;
}

static int32_t on_progress(void *user, const penult_progress *step) {
    struct listener *listener = user;
    fuzz_require(step->stage == PENULT_STAGE_OPEN && step->done <= step->total && step->total > 0, "progress that is none");
    listener->steps++;
    return listener->cancels;
}

static uint32_t open_expected(const struct call *c, enum place place, const penult_open_params *params, unsigned tokenizer) {
    int cancels = c->shape & 4 && params->access == PENULT_COPY;
    if (tokenizer == 3 || params->activation > PENULT_GELU)
        return ONE(tokenizer == 3 ? PENULT_E_ARGUMENT : PENULT_E_UNSUPPORTED);
    if (place == PLACE_NONE)
        return ONE(PENULT_E_NOT_FOUND);
    if (place == PLACE_ODD && params->activation == 0)
        return ONE(PENULT_E_FORMAT);
    if (place == PLACE_SHORT)
        return ONE(PENULT_E_TRUNCATED);
    return cancels ? ONE(PENULT_E_CANCELLED) : tokenizer == 2 ? ONE(PENULT_E_NOT_FOUND) : 0;
}

/* The flaws of a sized struct, and a NULL. */
enum { FLAW_NULL = SIZED_FLAWS, FLAW_HANDLE, FLAW_OUT, FLAW_FLAGS, FLAW_RESERVED };

/* What the calls that ask the system for something may come to when it refused them; some go on without. */
#define REFUSALS (ONE(PENULT_E_OK) | ONE(PENULT_E_NO_MEMORY) | ONE(PENULT_E_IO) | ONE(PENULT_E_NOT_FOUND))
#define PENULT_E_OK PENULT_OK

static void close_model(struct model *model) {
    api->model_close(model->handle);
    *model = (struct model){0};
}

static void open_model(const struct call *call, struct model *to) {
    static const char *const tokenizers[] = {NULL, "tiny/full", "tiny/none", ""};
    struct call c = *call;
    struct listener listener = {0, 0, c.shape >> 2 & 1};
    enum place place = c.what % PLACES;
    unsigned tokenizer = c.shape >> 5 & 3, flaw = c.flaw % 12;
    penult_open_params params = {
        .struct_size = sizeof params, .access = c.shape & 1, .path = place_paths[place], .activation = c.shape >> 3 & 3,
        .tokenizer_path = tokenizers[tokenizer], .report = c.shape & 2 ? on_report : NULL,
        .progress = c.shape & 4 ? on_progress : NULL, .user = &listener};
    unsigned char passed[sizeof params + SIZED_MORE];
    uint32_t expected = open_expected(&c, place, &params, tokenizer);
    if (flaw == FLAW_RESERVED) {
        params.reserved = 1;
        expected = ONE(PENULT_E_UNSUPPORTED) | (tokenizer == 3 ? ONE(PENULT_E_ARGUMENT) : 0);
    }
    size_t size;
    int32_t status = sized(passed, &params, sizeof params, flaw, &size);
    if (status)
        expected = ONE(status);
    if (flaw == FLAW_NULL || flaw == FLAW_OUT)
        expected = ONE(PENULT_E_ARGUMENT);
    for (int again = 0; again < 2; again++) {
        penult_model *handle = (penult_model *)(void *)blank;
        penult_error error;
        call_begin(&c, &error);
        status = api->model_open(flaw == FLAW_NULL ? NULL : (void *)passed, flaw == FLAW_OUT ? NULL : &handle, &error);
        struct watched watched = call_end();
        uint32_t allowed = watched.system.refused ? REFUSALS | expected : expected;
        call_expect(status, allowed, NULL, &error, &watched);
        /* comparing kernels takes a worker and its stack for a moment */
        fuzz_require(watched.requested <= (size_t)1 << (system_checks_kernels ? 23 : 20), "a tiny model that takes megabytes");
        fuzz_require(flaw == FLAW_OUT || (status == PENULT_OK ? handle && handle != (void *)blank : !handle), "out of model_open");
        if (status == PENULT_OK) {
            uint32_t own = place == PLACE_PLAIN ? PENULT_QUICK_GELU : PENULT_GELU;
            *to = (struct model){handle, place, params.access, params.activation ? params.activation : own,
                                 place != PLACE_PLAIN || tokenizer == 1, touched[place]};
            return;
        }
        if (!watched.system.refused)
            return;
        c.fault = 0; /* the same call, and nobody refuses: what comes of it must be right */
    }
}

static void call_model_open(const struct call *c) {
    struct model *model = &models[PERMANENT + c->slot % (MODELS - PERMANENT)];
    if (opens >= MOST_OPENS)
        return;
    close_model(model);
    system_checks_kernels = system_starts_threads = is_rare(c);
    open_model(c, model);
    system_checks_kernels = system_starts_threads = 0;
}

static void call_model_close(const struct call *c) {
    if (c->what & 1) { /* nothing, and memory that is no model */
        api->model_close(NULL);
        api->model_close((penult_model *)(void *)blank);
    } else {
        close_model(&models[PERMANENT + c->slot % (MODELS - PERMANENT)]);
    }
}

/* The model to pass for a flaw, and what is expected where it is none. */
static penult_model *model_for(const struct model *model, unsigned flaw, uint32_t *expected) {
    penult_model *handle = flaw == FLAW_HANDLE ? (penult_model *)(void *)(model->handle ? (void *)sessions[0].handle : blank)
                                               : model->handle;
    if (flaw == FLAW_HANDLE || !handle)
        *expected = ONE(PENULT_E_ARGUMENT);
    return handle;
}

/* ---- describing, tokenizing ---- */

static void call_describe(const struct call *c) {
    const struct model *model = &models[c->slot % MODELS];
    unsigned char info[sizeof(penult_model_info) + SIZED_MORE], before[sizeof info];
    unsigned flaw = c->flaw % 8;
    uint32_t expected = 0;
    penult_model *handle = model_for(model, flaw, &expected);
    penult_error error;
    memset(info, UNTOUCHED, sizeof info);
    uint32_t size = sizeof(penult_model_info);
    if (flaw >= SIZED_ZERO && flaw <= SIZED_LONGER) {
        const uint32_t sizes[] = {0, 7, 65537, 8 + c->extra % 120u, sizeof info};
        size = sizes[flaw - SIZED_ZERO];
    }
    memcpy(info, &size, sizeof size);
    memcpy(before, info, sizeof info);
    if (!expected && (size < 8 || size > 65536 || flaw == FLAW_NULL))
        expected = ONE(PENULT_E_ARGUMENT);
    call_begin(c, &error);
    int32_t status = api->model_describe(handle, flaw == FLAW_NULL ? NULL : (penult_model_info *)(void *)info, &error);
    struct watched watched = call_end();
    call_expect(status, expected, NULL, &error, &watched);
    fuzz_require(watched.requested == 0 && watched.system.made == 0, "describing takes nothing");
    if (status != PENULT_OK) {
        fuzz_require(memcmp(info, before, sizeof info) == 0, "info was touched");
        return;
    }
    penult_model_info own = {0};
    memcpy(&own, info, size < sizeof own ? size : sizeof own);
    fuzz_require(own.struct_size == size && own.width == TINY_WIDTH, "info of another model");
    fuzz_require(untouched(info + size, sizeof info - size), "info beyond its size");
    if (size >= sizeof own) {
        fuzz_require(own.layers == TINY_LAYERS && own.context == TINY_CONTEXT && own.vocabulary == TINY_VOCABULARY &&
                         own.projection == (uint32_t)(model->place == PLACE_PLAIN ? 0 : TINY_PROJECTION) && own.access == model->access &&
                         own.pad_id == (model->has_tokenizer && model->place != PLACE_PLAIN ? TINY_PAD : own.pad_id) &&
                         own.activation == model->activation,
                     "info of another model");
    }
}

static void call_tokenize(const struct call *call) {
    struct call c = *call;
    const struct model *model = &models[c.slot % MODELS];
    const struct text *text = &texts[c.content % TEXTS];
    int32_t ids[3 * 80];
    penult_span spans[3 * 80];
    unsigned flaw = c.flaw % 12;
    size_t size, result_size;
    unsigned char passed[sizeof(penult_token_request) + SIZED_MORE], result[sizeof(penult_token_result) + SIZED_MORE];
    penult_token_request request = {
        .struct_size = sizeof request, .flags = c.what & 1, .text = text->bytes, .text_bytes = text->size};
    penult_token_result own = {.struct_size = sizeof own, .ids = c.what & 2 ? NULL : ids, .spans = c.what & 4 ? NULL : spans,
                               .capacity = c.what & 8 ? c.extra % 10 : sizeof ids / sizeof ids[0]};
    uint32_t expected = 0;
    penult_model *handle = model_for(model, flaw, &expected);
    if (flaw == FLAW_FLAGS)
        request.flags |= 2;
    if (flaw == FLAW_RESERVED)
        own.reserved = 1;
    uint32_t broken = (uint32_t)sized(passed, &request, sizeof request, c.what & 16 ? SIZED_NONE : flaw, &size);
    uint32_t broken_result = (uint32_t)sized(result, &own, sizeof own, c.what & 16 ? flaw : SIZED_NONE, &result_size);
    if (!expected && (broken || broken_result || flaw == FLAW_NULL))
        expected = ONE(flaw == FLAW_NULL ? PENULT_E_ARGUMENT : broken | broken_result);
    if (!expected && (flaw == FLAW_FLAGS || flaw == FLAW_RESERVED))
        expected = ONE(PENULT_E_UNSUPPORTED);
    if (!expected && !model->has_tokenizer)
        expected = ONE(PENULT_E_NO_TOKENIZER);
    if (!expected && !text->is_utf8)
        expected = ONE(PENULT_E_TEXT);
    int small = !expected && (own.ids || own.spans);
    for (int again = 0; again < 2; again++) {
        penult_error error;
        unsigned char kept[sizeof result];
        memset(ids, UNTOUCHED, sizeof ids);
        memset(spans, UNTOUCHED, sizeof spans);
        memcpy(kept, result, sizeof result);
        call_begin(&c, &error);
        int32_t status = api->tokenize(handle, flaw == FLAW_NULL && !(c.what & 16) ? NULL : (void *)passed,
                                       flaw == FLAW_NULL && c.what & 16 ? NULL : (penult_token_result *)(void *)result, &error);
        struct watched watched = call_end();
        memcpy(&own, result, sizeof own);
        uint32_t allowed = expected;
        if (small && !watched.system.refused && own.id_count > own.capacity)
            allowed = ONE(PENULT_E_LIMIT);
        if (watched.system.refused)
            allowed = ONE(PENULT_E_NO_MEMORY);
        call_expect(status, allowed, NULL, &error, &watched);
        fuzz_require(watched.blocks == 0 && watched.mapped == 0, "tokenizing keeps memory");
        if (status != PENULT_OK) {
            fuzz_require(untouched(ids, sizeof ids) && untouched(spans, sizeof spans), "ids of a refused text");
            fuzz_require(status == PENULT_E_LIMIT || memcmp(kept, result, sizeof kept) == 0, "a result of a refused text");
        } else {
            size_t count = own.id_count;
            fuzz_require(c.what & 1 || (count == TINY_CONTEXT && own.end_position < count), "a row of another length");
            fuzz_require(own.cut_begin <= text->size && own.body_count + own.cut_count <= 3 * text->size, "counts of a text");
            fuzz_require(untouched(ids + (own.ids ? count : 0), sizeof ids - (own.ids ? count * sizeof *ids : 0)), "ids beyond");
            for (size_t i = 0; own.ids && i < count; i++)
                fuzz_require(ids[i] >= 0 && ids[i] < TINY_VOCABULARY, "an id beyond the vocabulary");
        }
        if (!watched.system.refused)
            return;
        c.fault = 0;
    }
}

/* ---- sessions ---- */

static uint32_t session_params(const struct call *c, penult_session_params *params, unsigned flaw) {
    static const uint64_t lengths[8] = {16, 64, 64, 16, 64, 64, 1, 128};
    *params = (penult_session_params){
        .struct_size = sizeof *params, .threads = 1, .max_prompts = c->what & 3, .max_text_bytes = lengths[c->what >> 2 & 7],
        .kernels = c->shape % (PENULT_KERNELS_AMX + 1), .arithmetic = c->extra >> 1 & 1,
        .kept_prompts = c->extra >> 2 & 3};
    if (c->what == 0xFF)
        params->max_text_bytes = 0; /* the default is megabytes: not often */
    switch (flaw) {
    case FLAW_FLAGS:
        params->flags = c->extra & 1;
        params->reserved = !params->flags;
        return ONE(PENULT_E_UNSUPPORTED);
    case FLAW_RESERVED:
        params->arithmetic = c->extra & 1 ? PENULT_ARITHMETIC_BF16 + 1 : 0;
        params->kernels = c->extra & 1 ? 0 : PENULT_KERNELS_AMX + 1;
        return ONE(PENULT_E_UNSUPPORTED);
    case FLAW_RESERVED + 1:
        params->threads = c->extra & 1 ? 257 : 1;
        params->kept_prompts = 64 + !(c->extra & 1);
        return ONE(PENULT_E_LIMIT);
    case FLAW_RESERVED + 2:
        params->max_prompts = 65537;
        return ONE(PENULT_E_LIMIT);
    case FLAW_RESERVED + 3:
        params->max_text_bytes = ((uint64_t)1 << 28) + 1;
        return ONE(PENULT_E_LIMIT);
    default:
        return 0;
    }
}

static void call_measure(const struct call *c) {
    const struct model *model = &models[c->slot % MODELS];
    penult_session_params params;
    unsigned char passed[sizeof params + SIZED_MORE];
    unsigned flaw = c->flaw % (FLAW_RESERVED + 4);
    uint64_t bytes[2] = {0, 0};
    size_t size;
    uint32_t expected = session_params(c, &params, flaw);
    uint32_t broken = (uint32_t)sized(passed, &params, sizeof params, flaw, &size);
    if (broken || flaw == FLAW_NULL || flaw == FLAW_OUT)
        expected = ONE(broken ? broken : PENULT_E_ARGUMENT);
    penult_model *handle = model_for(model, flaw, &expected);
    for (int i = 0; i < 2; i++) {
        penult_error error;
        call_begin(c, &error);
        int32_t status = api->session_measure(handle, flaw == FLAW_NULL ? NULL : (penult_session_params *)(void *)passed,
                                              flaw == FLAW_OUT ? NULL : &bytes[i], &error);
        struct watched watched = call_end();
        call_expect(status, expected, NULL, &error, &watched);
        fuzz_require(watched.requested == 0 && watched.system.made == 0, "measuring takes nothing");
        fuzz_require((status == PENULT_OK && flaw != FLAW_OUT) == (bytes[i] > 0), "bytes that were not measured");
    }
    fuzz_require(bytes[0] == bytes[1], "two measures");
}

static void close_session(struct session *session) {
    api->session_close(session->handle);
    *session = (struct session){0};
}

static void open_session(const struct call *call, const struct model *model, struct session *to) {
    struct call c = *call;
    penult_session_params params;
    unsigned char passed[sizeof params + SIZED_MORE];
    unsigned flaw = c.flaw % (FLAW_RESERVED + 4);
    size_t size;
    uint32_t expected = session_params(&c, &params, flaw);
    uint32_t broken = (uint32_t)sized(passed, &params, sizeof params, flaw, &size);
    if (broken || flaw == FLAW_NULL)
        expected = ONE(broken ? broken : PENULT_E_ARGUMENT);
    penult_model *handle = model_for(model, flaw, &expected);
    if (flaw == FLAW_OUT)
        expected = ONE(PENULT_E_ARGUMENT);
    for (int again = 0; again < 2; again++) {
        penult_session *session = (penult_session *)(void *)blank;
        penult_error error;
        call_begin(&c, &error);
        int32_t status = api->session_open(handle, flaw == FLAW_NULL ? NULL : (penult_session_params *)(void *)passed,
                                           flaw == FLAW_OUT ? NULL : &session, &error);
        struct watched watched = call_end();
        call_expect(status, watched.system.refused ? ONE(PENULT_E_NO_MEMORY) | ONE(PENULT_OK) : expected, NULL, &error, &watched);
        fuzz_require(flaw == FLAW_OUT || (status == PENULT_OK ? session && session != (void *)blank : !session), "out of session_open");
        if (status == PENULT_OK) {
            *to = (struct session){session, *model, params.max_prompts ? params.max_prompts : 1,
                                   params.kernels << 1 | params.arithmetic,
                                   params.max_text_bytes ? params.max_text_bytes : 65536};
            return;
        }
        if (!watched.system.refused)
            return;
        c.fault = 0;
    }
}

static void call_session_open(const struct call *c) {
    struct session *session = &sessions[PERMANENT + (c->slot >> 2) % (SESSIONS - PERMANENT)];
    if (opens >= MOST_OPENS)
        return;
    close_session(session);
    system_checks_kernels = is_rare(c);
    system_starts_threads = c->extra >= 0xF0;
    open_session(c, &models[c->slot % MODELS], session);
    system_checks_kernels = system_starts_threads = 0;
}

/* Idle: nothing happens. */
static void call_cancel(const struct call *c) {
    api->session_cancel(c->what & 1 ? sessions[c->slot % SESSIONS].handle : c->what & 2 ? NULL : (penult_session *)(void *)blank);
}

static void call_session_close(const struct call *c) {
    if (c->what & 1) {
        api->session_close(NULL);
        api->session_close((penult_session *)(void *)blank);
    } else {
        close_session(&sessions[PERMANENT + c->slot % (SESSIONS - PERMANENT)]);
    }
}

static void call_touch(const struct call *c) {
    enum place place = c->what % PLACE_SHORT;
    touched[place] = c->what >> 3 & 1;
    system_touch(place, touched[place]);
}

/* ---- an input ---- */

static void (*const kinds[16])(const struct call *call) = {
    call_encode, call_encode, call_encode, call_encode, call_encode, call_encode, call_tokenize, call_tokenize,
    call_describe, call_measure, call_session_open, call_session_close, call_model_open, call_model_close, call_cancel, call_touch};

static void start(void) {
    const struct call plain[PERMANENT] = {{.what = PLACE_FULL, .shape = 2}, {.what = PLACE_PLAIN, .shape = 2}};
    const struct call session = {.what = 3 | 1 << 2};
    system_start();
    api = penult_entry()->get_api(PENULT_ABI_VERSION);
    fuzz_require(api != NULL && !penult_entry()->get_api(PENULT_ABI_VERSION + 1) && !api->extension("a"), "the table");
    for (int i = 0; i < PERMANENT; i++) {
        open_model(&plain[i], &models[i]);
        open_session(&session, &models[i], &sessions[i]);
        fuzz_require(sessions[i].handle != NULL, "a tiny model that does not open");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct call call;
    if (!api)
        start();
    opens = 0;
    for (size_t i = 0; i < MOST_CALLS && (i + 1) * sizeof call <= size; i++) {
        memcpy(&call, data + i * sizeof call, sizeof call);
        kinds[call.op % 16](&call);
    }
    for (int place = 0; place < PLACE_SHORT; place++)
        if (touched[place])
            call_touch(&(struct call){.what = (uint8_t)place});
    for (int i = PERMANENT; i < SESSIONS; i++)
        close_session(&sessions[i]);
    for (int i = PERMANENT; i < MODELS; i++)
        close_model(&models[i]);
    return 0;
}

/* Whole calls come, go, change places, or change in one field. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    uint32_t random = fuzz_seed(seed);
    size_t most = room / 8 < MOST_CALLS ? room / 8 : MOST_CALLS, count = size / 8 < most ? size / 8 : most;
    if (most == 0 || fuzz_below(&random, 4) == 0)
        return LLVMFuzzerMutate(data, size, room);
    for (size_t changes = 1 + fuzz_below(&random, 3); changes > 0; changes--) {
        unsigned what = count == 0 ? 0 : fuzz_below(&random, 8);
        size_t at = fuzz_below(&random, count + (what < 2)), other = fuzz_below(&random, count + !count);
        uint8_t call[8];
        if (what < 2 && count < most) { /* a new one, or another one once more */
            for (size_t i = 0; i < sizeof call; i++)
                call[i] = what ? data[other * 8 + i] : (uint8_t)fuzz_random(&random);
            if (!what && fuzz_below(&random, 2))
                call[6] = call[7] = 0; /* without flaw and fault */
            memmove(data + at * 8 + 8, data + at * 8, (count - at) * 8);
            memcpy(data + at * 8, call, sizeof call);
            count++;
        } else if (what == 2) {
            memmove(data + at * 8, data + at * 8 + 8, (count - at - 1) * 8);
            count--;
        } else if (what == 3) {
            memcpy(call, data + at * 8, sizeof call);
            memmove(data + at * 8, data + other * 8, sizeof call);
            memcpy(data + other * 8, call, sizeof call);
        } else if (what > 3) {
            data[at * 8 + fuzz_below(&random, 8)] = (uint8_t)fuzz_random(&random);
        }
    }
    return count * 8;
}
