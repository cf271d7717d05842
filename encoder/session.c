/* session.c - lays out a session's memory, turns prompts into rows of ids, and runs the tower over them. */
#include "session.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cpus.h"
#include "base/memory.h"
#include "base/workers.h"
#include "kernels/cpu.h"
#include "model/kept.h"
#include "tokenizer_place.h"

enum state { IDLE, RUNNING, CANCELLED };

struct session {
    const struct clip *clip;
    struct session_params params;
    struct kernels kernels;
    struct workers *workers;
    pid_t process;
    size_t bytes; /* of the mapping that this struct is at the start of */
    _Atomic int state;
    int (*progress)(void *user, uint32_t done, uint32_t total);
    void *user;
    struct text_pass pass;
    struct session_prompt *prompts; /* [B] */
    struct tap *taps;               /* [SESSION_TAPS] */
    int32_t *ids;                   /* [B,T] */
    size_t *end;                    /* [B] */
    const unsigned char **key_mask; /* [B] into key_masks, or NULL */
    unsigned char *key_masks;       /* [B,T] */
    void *text_scratch;
};

/* Everything but the workers' own, in one mapping. With arena->base NULL it counts. */
static void lay_out(struct arena *arena, struct session *s, const struct clip *clip, const struct session_params *params,
                    const struct tower_buffers *buffers) {
    const struct geometry *g = &clip->geometry;
    size_t B = params->max_prompts;
    size_t text = clip->tokenizer ? tokenizer_frame_scratch_bytes(clip->tokenizer, params->max_text_bytes) : 0;
    s->prompts = arena_take(arena, B, sizeof *s->prompts);
    s->taps = arena_take(arena, SESSION_TAPS, sizeof *s->taps);
    s->ids = arena_take(arena, B * g->context, sizeof *s->ids);
    s->end = arena_take(arena, B, sizeof *s->end);
    s->key_mask = arena_take(arena, B, sizeof *s->key_mask);
    s->pass.rows = arena_take(arena, B, sizeof *s->pass.rows);
    s->pass.row = arena_take(arena, buffers->rows, sizeof *s->pass.row);
    s->pass.nodes = arena_take(arena, buffers->nodes, sizeof *s->pass.nodes);
    s->pass.buckets = arena_take(arena, buffers->buckets, sizeof *s->pass.buckets);
    s->key_masks = arena_take(arena, B * g->context, sizeof *s->key_masks);
    s->text_scratch = arena_take(arena, text, 1);
    s->pass.x = arena_take(arena, buffers->x, sizeof(float));
    s->pass.low = arena_take(arena, buffers->stream, sizeof(float));
    s->pass.h = arena_take(arena, buffers->stream, sizeof(float));
    s->pass.wide = arena_take(arena, buffers->wide, sizeof(float));
    s->pass.ends_x = arena_take(arena, buffers->ends, sizeof(float));
    s->pass.ends_low = arena_take(arena, buffers->ends, sizeof(float));
    s->pass.ends_h = arena_take(arena, buffers->ends, sizeof(float));
    s->pass.pooled = arena_take(arena, buffers->pooled, sizeof(float));
    s->pass.prepared = arena_take(arena, buffers->prepared_bytes, 1);
    s->pass.kept = arena_take(arena, buffers->kept, sizeof *s->pass.kept);
    s->pass.kept_from = buffers->kept_from;
    for (size_t i = 0; i < buffers->kept; i++) {
        struct kept_slot slot = {0};
        slot.key = arena_take(arena, g->context, sizeof *slot.key);
        slot.attended = arena_take(arena, buffers->kept_attended, sizeof(float));
        slot.hidden = arena_take(arena, buffers->kept_hidden, sizeof(float));
        if (arena->base)
            s->pass.kept[i] = slot;
    }
    s->pass.kept_count = arena->base ? buffers->kept : 0;
}

int session_settle(struct session_params *params, struct fault *fault) {
    if (params->threads == 0) {
        unsigned cpus = cpus_usable();
        params->threads = cpus < WORKERS_LIMIT ? cpus : WORKERS_LIMIT;
    }
    if (params->max_prompts == 0)
        params->max_prompts = 1;
    if (params->max_text_bytes == 0)
        params->max_text_bytes = 65536;
    if (params->threads > WORKERS_LIMIT)
        return fault_set(fault, FAULT_LIMIT, "threads is %u, expected at most %d", params->threads, WORKERS_LIMIT);
    if (params->max_prompts > SESSION_PROMPTS)
        return fault_set(fault, FAULT_LIMIT, "max_prompts is %zu, expected at most %d", params->max_prompts, SESSION_PROMPTS);
    if (params->max_text_bytes > SESSION_TEXT)
        return fault_set(fault, FAULT_LIMIT, "max_text_bytes is %zu, expected at most %zu", params->max_text_bytes,
                         SESSION_TEXT);
    if (params->kept_prompts > SESSION_KEPT)
        return fault_set(fault, FAULT_LIMIT, "kept_prompts is %zu, expected at most %d", params->kept_prompts, SESSION_KEPT);
    return 0;
}

static int measure(const struct clip *clip, const struct session_params *params, const struct kernels *kernels,
                   struct tower_buffers *buffers, size_t *bytes, struct fault *fault) {
    struct arena arena = {0};
    struct session unused = {0};
    int fits = tower_measure(&clip->geometry, kernels, params->max_prompts, params->kept_prompts, buffers);
    arena_take(&arena, 1, sizeof(struct session));
    if (fits)
        lay_out(&arena, &unused, clip, params, buffers);
    if (!fits || arena.overflow)
        return fault_set(fault, FAULT_LIMIT, "%zu prompts of %u tokens need more memory than there are addresses",
                         params->max_prompts, clip->geometry.context);
    *bytes = arena.used;
    return 0;
}

/* The model's own table is the best without AMX in exact arithmetic, and was checked when the model was opened. */
static int needs_another_table(const struct session_params *params) {
    return params->kernels != KERNELS_BEST || params->arithmetic != ARITHMETIC_EXACT || cpu_features() & CPU_AMX;
}

/* AMX is asked for here and nowhere else, and only if it may be used. */
static enum kernel_set highest(const struct session_params *params) {
    int wanted = params->kernels == KERNELS_BEST || params->kernels >= KERNELS_AMX;
    return wanted && !(cpu_features() & CPU_AMX && cpu_take_amx()) ? KERNELS_AVX512 : params->kernels;
}

int session_measure(const struct clip *clip, const struct session_params *params, size_t *bytes, struct fault *fault) {
    struct tower_buffers buffers;
    struct kernels kernels = clip->kernels;
    if (needs_another_table(params))
        kernels_fill(&kernels, params->kernels, params->arithmetic, cpu_features());
    int status = measure(clip, params, &kernels, &buffers, bytes, fault);
    if (!status)
        *bytes += workers_measure(params->threads, buffers.worker_bytes, kernels.blas_bytes);
    return status;
}

int session_open(struct session **out, const struct clip *clip, const struct session_params *params, struct fault *fault) {
    struct tower_buffers buffers;
    struct kernels kernels = clip->kernels;
    size_t bytes = 0;
    int rejected, status = 0;
    *out = NULL;
    if (needs_another_table(params))
        status = kernels_choose(&kernels, highest(params), params->arithmetic, &rejected, fault);
    if (!status)
        status = measure(clip, params, &kernels, &buffers, &bytes, fault);
    if (status)
        return status;
    struct session *s = memory_pages(bytes, memory_page_size(), MEMORY_NOW);
    if (!s)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for a session of %zu bytes (%zu prompts of %u tokens)", bytes,
                         params->max_prompts, clip->geometry.context);
    struct arena arena = {.base = (char *)s};
    arena_take(&arena, 1, sizeof *s);
    s->clip = clip;
    s->params = *params;
    s->kernels = kernels;
    s->bytes = bytes;
    s->process = getpid();
    lay_out(&arena, s, clip, params, &buffers);
    s->pass.weights = &clip->weights;
    s->pass.kernels = &s->kernels;
    s->pass.ids = s->ids;
    s->pass.end = s->end;
    s->pass.key_mask = s->key_mask;
    s->pass.taps = s->taps;
    status = workers_open(&s->workers, params->threads, buffers.worker_bytes, kernels.blas_bytes, fault);
    if (status)
        session_close(s);
    else
        *out = s;
    return status;
}

void session_close(struct session *session) {
    if (!session)
        return;
    workers_close(session->workers);
    memory_release(session, session->bytes);
}

void session_cancel(struct session *session) {
    int expected = RUNNING;
    atomic_compare_exchange_strong(&session->state, &expected, CANCELLED);
}

int session_begin(struct session *session, struct fault *fault) {
    int expected = IDLE;
    if (session->process != getpid())
        return fault_set(fault, FAULT_WRONG_PROCESS, "the session was opened by process %d and is used in %d: threads do not "
                         "survive a fork", (int)session->process, (int)getpid());
    if (!atomic_compare_exchange_strong(&session->state, &expected, RUNNING))
        return fault_set(fault, FAULT_ARGUMENT, "another encode is under way on this session; calls on one session must not "
                         "overlap");
    return 0;
}

void session_end(struct session *session) {
    atomic_store(&session->state, IDLE);
}

struct session_prompt *session_prompts(struct session *session) {
    return session->prompts;
}

struct tap *session_taps(struct session *session) {
    return session->taps;
}

size_t session_max_prompts(const struct session *session) {
    return session->params.max_prompts;
}

int session_check(const struct session *session, struct fault *fault) {
    return clip_check(session->clip, fault);
}

void session_work(struct session *session, void (*job)(struct worker *worker, void *context), void *context) {
    workers_run(session->workers, job, context);
}

/* First end id of the row; else, as transformers has it for a config from before its #24773, the row's first largest id. */
static size_t find_end(const struct clip *clip, const int32_t *ids, size_t count) {
    int32_t end = clip_end_id(clip);
    size_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == end)
            return i;
        if (ids[i] > ids[largest])
            largest = i;
    }
    return clip->geometry.legacy_end ? largest : SIZE_MAX;
}

static int take_ids(struct session *s, size_t index, int pools, int32_t *row, struct fault *fault) {
    struct session_prompt *prompt = &s->prompts[index];
    const struct geometry *g = &s->clip->geometry;
    if (prompt->id_count == 0 || prompt->id_count > g->context)
        return fault_set(fault, FAULT_ARGUMENT, "prompt %zu: found %zu ids, expected 1 to %u", index, prompt->id_count,
                         g->context);
    for (size_t i = 0; i < prompt->id_count; i++) {
        row[i] = prompt->ids[i];
        if (row[i] < 0 || (uint32_t)row[i] >= g->vocabulary)
            return fault_set(fault, FAULT_ARGUMENT, "prompt %zu: id %zu is %d, expected 0 to %u", index, i, row[i],
                             g->vocabulary - 1);
    }
    prompt->frame = (struct token_frame){.end_position = find_end(s->clip, row, prompt->id_count)};
    if (pools && prompt->frame.end_position == SIZE_MAX && clip_end_id(s->clip) < 0)
        return fault_set(fault, FAULT_ARGUMENT, "prompt %zu: pooling takes the row of the end id, and the model has none: "
                         "neither a tokenizer nor eos_token_id in config.json", index);
    if (pools && prompt->frame.end_position == SIZE_MAX)
        return fault_set(fault, FAULT_ARGUMENT, "prompt %zu: none of its %zu ids is the end id %d, where pooling takes its row",
                         index, prompt->id_count, clip_end_id(s->clip));
    return 0;
}

static int take_text(struct session *s, size_t index, int32_t *row, struct fault *fault) {
    struct session_prompt *prompt = &s->prompts[index];
    struct fault inner;
    if (!s->clip->tokenizer)
        return fault_set(fault, FAULT_NO_TOKENIZER, "prompt %zu is text, but the model was opened without a tokenizer: "
                         TOKENIZER_ADVICE, index);
    if (prompt->text_bytes > s->params.max_text_bytes)
        return fault_set(fault, FAULT_LIMIT, "prompt %zu has %zu bytes; the session was opened for max_text_bytes %zu", index,
                         prompt->text_bytes, s->params.max_text_bytes);
    int status = tokenizer_frame(s->clip->tokenizer, prompt->text, prompt->text_bytes, s->text_scratch,
                                 s->clip->geometry.context, row, NULL, &prompt->frame, &inner);
    return status ? fault_set(fault, (enum fault_code)status, "prompt %zu: %s", index, inner.message) : 0;
}

static int take_key_mask(struct session *s, size_t index, size_t tokens, struct fault *fault) {
    const unsigned char *theirs = s->prompts[index].key_mask;
    unsigned char *own = s->key_masks + index * tokens;
    s->key_mask[index] = theirs ? own : NULL;
    for (size_t i = 0; theirs && i < tokens; i++) {
        own[i] = theirs[i];
        if (own[i] > 1)
            return fault_set(fault, FAULT_ARGUMENT, "prompt %zu: key_mask[%zu] is %u, expected 0 or 1", index, i, own[i]);
        if (i == 0 && own[i] == 0)
            return fault_set(fault, FAULT_ARGUMENT, "prompt %zu: key_mask hides token 0, which leaves rows without any key; "
                             "expected 1 there", index);
    }
    return 0;
}

int session_tokenize(struct session *session, size_t prompts, int pools, size_t *tokens, struct fault *fault) {
    size_t context = session->clip->geometry.context;
    size_t T = prompts && session->prompts[0].ids ? session->prompts[0].id_count : context;
    for (size_t i = 0; i < prompts; i++) {
        const struct session_prompt *prompt = &session->prompts[i];
        size_t own = prompt->ids ? prompt->id_count : context;
        int32_t *row = session->ids + i * T;
        if (own != T)
            return fault_set(fault, FAULT_ARGUMENT, "prompt %zu comes to %zu tokens, but prompt 0 to %zu: all rows of a request "
                             "must be of one length", i, own, T);
        int status = prompt->ids ? take_ids(session, i, pools, row, fault) : take_text(session, i, row, fault);
        if (!status)
            status = take_key_mask(session, i, T, fault);
        if (status)
            return status;
        session->end[i] = prompt->frame.end_position;
    }
    *tokens = T;
    return 0;
}

static int checkpoint(void *user, uint32_t done, uint32_t total) {
    struct session *s = user;
    if (s->progress && s->progress(s->user, done, total))
        return 1;
    return atomic_load(&s->state) == CANCELLED;
}

int session_run(struct session *session, size_t prompts, size_t tokens, size_t taps,
                int (*progress)(void *user, uint32_t done, uint32_t total), void *user, struct fault *fault) {
    int status = clip_check(session->clip, fault);
    if (status)
        return status;
    session->progress = progress;
    session->user = user;
    session->pass.batch = prompts;
    session->pass.tokens = tokens;
    session->pass.tap_count = taps;
    session->pass.checkpoint = checkpoint;
    session->pass.user = session;
    status = tower_run(session->workers, &session->pass, fault);
    /* a mapping shows what is written into its file: numbers computed meanwhile may be anything, an infinity included */
    struct fault changed;
    int now = !status || status == FAULT_NON_FINITE ? clip_check(session->clip, &changed) : 0;
    if (now) {
        kept_forget(&session->pass);
        status = now;
        *fault = changed;
    }
    return status;
}
