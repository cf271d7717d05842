/* life.c - see life.h. Knows which status and which words a refusal may come with, and not which call was refused. */
#include "life.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHORT_TEXT "a castle at dawn, 8k"
#define LONG_BYTES ((size_t)200000)
#define MOST_IDS 2048
#define PROMPTS 2

static const char *model_path, *models_path;
static const penult_api *alone, *beside; /* without a vocabulary beside the plugin, and with one */
static char *text_of_length;
static penult_model_info info;

/* What each stage leaves behind for the number at the end. Of fixed size: the test allocates nothing in a life. */
static struct {
    penult_model_info info;
    uint64_t measured;
    int32_t ids[77];
    penult_token_result tokens;
} out;
static struct batch batches[2][2]; /* by text or ids, and by length of the text */
static uint64_t blocks_done;       /* of the encode under way */

static int32_t count_blocks(void *user, const penult_progress *progress) {
    (void)user;
    blocks_done = progress->done;
    return 0;
}

static const penult_api *load_beside(void) {
    static struct penult_library library;
    char path[1024], why[512];
    snprintf(path, sizeof path, "%s/beside/penult.so", models_path);
    if (penult_load(&library, path, why, sizeof why) != 0)
        give_up("%s", why);
    return library.api;
}

void life_begin(char **argv) {
    host_load(argv);
    model_path = argv[2];
    models_path = argv[3];
    alone = api;
    beside = load_beside();
    text_of_length = long_text(LONG_BYTES);
    penult_model *model = host_open(model_path, NULL, PENULT_MAP);
    info.struct_size = sizeof info;
    if (api->model_describe(model, &info, NULL) != PENULT_OK || info.context > sizeof out.ids / sizeof out.ids[0])
        give_up("model_describe");
    batch_make(&batches[0][0], model, PROMPTS, SHORT_TEXT, strlen(SHORT_TEXT), WANT_POOLED);
    batch_make(&batches[0][1], model, PROMPTS, text_of_length, LONG_BYTES, WANT_POOLED);
    batch_make(&batches[1][0], model, PROMPTS, NULL, 0, WANT_POOLED);
    life_condition_begin(model, text_of_length, LONG_BYTES);
    api->model_close(model);
    batches[0][0].request.progress = batches[0][1].request.progress = batches[1][0].request.progress = count_blocks;
}

void life_end(void) {
    for (int ids = 0; ids < 2; ids++)
        for (int length = 0; length < 2 - ids; length++)
            batch_free(&batches[ids][length]);
    life_condition_end();
    free(text_of_length);
}

static struct batch *batch_of(const struct way *way) {
    return &batches[way->ids][way->long_text];
}

/* ---- stages --------------------------------------------------------------------------------------------------------- */

static int32_t open_model(struct life *life) {
    const struct way *way = life->way;
    char path[1024], tokenizer[1280];
    if (way->model)
        snprintf(path, sizeof path, "%s/%s", models_path, way->model);
    else
        snprintf(path, sizeof path, "%s", model_path);
    snprintf(tokenizer, sizeof tokenizer, "%s/%s", path, way->tokenizer ? way->tokenizer : "");
    penult_open_params params = {.struct_size = sizeof params, .path = path,
        .tokenizer_path = way->tokenizer ? tokenizer : NULL, .access = way->access};
    memset(&life->model, 0xA5, sizeof life->model);
    int32_t status = api->model_open(&params, &life->model, &life->now);
    life->dangling |= status && life->model;
    return status;
}

static int32_t describe(struct life *life) {
    out.info = (penult_model_info){.struct_size = sizeof out.info};
    return api->model_describe(life->model, &out.info, &life->now);
}

static int32_t tokenize(struct life *life) {
    const struct way *way = life->way;
    if (way->ids)
        return PENULT_OK;
    penult_token_request request = {.struct_size = sizeof request, .text = way->long_text ? text_of_length : SHORT_TEXT,
        .text_bytes = way->long_text ? LONG_BYTES : strlen(SHORT_TEXT)};
    out.tokens = (penult_token_result){
        .struct_size = sizeof out.tokens, .ids = out.ids, .capacity = sizeof out.ids / sizeof out.ids[0]};
    memset(out.ids, 0x5A, sizeof out.ids);
    int32_t status = api->tokenize(life->model, &request, &out.tokens, &life->now);
    life->dangling |= status && (out.tokens.id_count || out.ids[0] != 0x5A5A5A5A);
    out.tokens.ids = NULL;
    if (status)
        return status;
    /* the same text once more without frame: another way through the plugin, and its ids must be as many */
    penult_token_result body = {.struct_size = sizeof body};
    request.flags = PENULT_TOKENS_BODY;
    status = api->tokenize(life->model, &request, &body, &life->now);
    life->dangling |= status ? body.id_count != 0 : body.id_count != out.tokens.body_count + out.tokens.cut_count;
    return status;
}

static penult_session_params session_params(const struct way *way) {
    return (penult_session_params){.struct_size = sizeof(penult_session_params), .threads = way->threads,
        .max_prompts = PROMPTS, .kernels = way->kernels, .max_text_bytes = way->long_text ? LONG_BYTES : 0};
}

static int32_t measure(struct life *life) {
    penult_session_params params = session_params(life->way);
    out.measured = UINT64_MAX;
    int32_t status = api->session_measure(life->model, &params, &out.measured, &life->now);
    if (life->way->threads == 0 && !status)
        out.measured = 0; /* where the system does not say how many CPUs there are, it may be more */
    return status;
}

static int32_t open_session(struct life *life) {
    penult_session_params params = session_params(life->way);
    memset(&life->session, 0xA5, sizeof life->session);
    int32_t status = api->session_open(life->model, &params, &life->session, &life->now);
    life->dangling |= status && life->session;
    return status;
}

static int32_t encode(struct life *life) {
    struct batch *batch = batch_of(life->way);
    memset(batch->memory, 0, batch->bytes);
    blocks_done = 0;
    int32_t status = api->encode_text(life->session, &batch->request, NULL, &life->now);
    /* an error from before the first block leaves the outputs alone */
    for (size_t i = 0; status && !blocks_done && i < batch->bytes; i++)
        life->dangling |= batch->memory[i] != 0;
    return status;
}

static int32_t close_session(struct life *life) {
    api->session_close(life->session);
    life->session = NULL;
    return PENULT_OK;
}

static int32_t close_model(struct life *life) {
    api->model_close(life->model);
    life->model = NULL;
    return PENULT_OK;
}

static int32_t (*const acts[STAGES])(struct life *) = {
    [MODEL_OPEN] = open_model,
    [DESCRIBE] = describe,
    [TOKENIZE] = tokenize,
    [MEASURE] = measure,
    [SESSION_OPEN] = open_session,
    [ENCODE] = encode,
    [SESSION_CLOSE] = close_session,
    [PIPELINE_MEASURE] = life_pipeline_measure,
    [PIPELINE_OPEN] = life_pipeline_open,
    [PLAN] = life_plan,
    [CONDITION] = life_condition,
    [PIPELINE_CLOSE] = life_pipeline_close,
    [MODEL_CLOSE] = close_model,
};

/* Whether a life of that way has the stage. */
static int has_stage(const struct way *way, int stage) {
    return stage == MODEL_OPEN || stage == MODEL_CLOSE || (stage >= PIPELINE_MEASURE) == (way->recipe != NULL);
}

static int is_end(int stage) {
    return stage == SESSION_CLOSE || stage == PIPELINE_CLOSE || stage == MODEL_CLOSE;
}

/* ---- a life --------------------------------------------------------------------------------------------------------- */

uint64_t life_mix(uint64_t hash, const void *bytes, size_t size) {
    for (const unsigned char *p = bytes; size > 0; size--, p++)
        hash = (hash ^ *p) * 1099511628211u;
    return hash;
}

/* A sentence that names the thing: which file, or that it is memory or a thread that was wanted. */
static int names_the_thing(int32_t status, const penult_error *error) {
    static const char *const files[] = {"config.json", "model.safetensors", "model-0000", "tokenizer.json", "vocab.json",
        "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};
    const char *message = error->message;
    if (error->status != status || !memchr(message, '\0', sizeof error->message) || strlen(message) < 10)
        return 0;
    if (status == PENULT_E_NO_MEMORY)
        return strstr(message, "memory") != NULL;
    if (strstr(message, model_path) || strstr(message, models_path))
        return 1;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strstr(message, files[i]))
            return 1;
    return 0;
}

struct baseline {
    unsigned threads, descriptors;
    int64_t blocks, mapped;
    uint64_t blocked; /* signals, on the thread that calls */
};

static uint64_t blocked_signals(void) {
    sigset_t mask;
    uint64_t bits = 0;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    for (int signal = 1; signal <= 64; signal++)
        bits |= (uint64_t)(sigismember(&mask, signal) == 1) << (signal - 1);
    return bits;
}

static struct baseline look(void) {
    return (struct baseline){
        thread_count(), descriptor_count(), calls_seen().blocks, calls_seen().mapped, blocked_signals()};
}

/* A joined thread can stay in /proc for an instant. */
static int same(const struct baseline *before) {
    struct timespec wait = {.tv_nsec = 1000000};
    for (int i = 0; thread_count() != before->threads && i < 1000; i++)
        nanosleep(&wait, NULL);
    struct baseline now = look();
    return memcmp(&now, before, sizeof now) == 0;
}

static void step(struct life *life, enum stage stage) {
    calls_listen(life->way->stages >> stage & 1);
    life->now = (penult_error){.status = -1};
    int32_t status = acts[stage](life);
    calls_listen(0);
    if (!status)
        return;
    life->bad_error |= !names_the_thing(status, &life->now);
    if (!life->status) {
        life->status = status;
        life->error = life->now;
    }
    life->bad_retry |= acts[stage](life) != PENULT_OK;
}

void life_run(struct life *life, const struct way *way, const struct plan *plan) {
    struct batch *batch = batch_of(way);
    struct baseline before = look();
    api = way->beside ? beside : alone;
    *life = (struct life){.way = way};
    memset(&out, 0, sizeof out);
    calls_plan(plan ? plan : &(struct plan){.calls = ALL_CALLS, .first = NEVER});
    calls_listen(0);
    for (int stage = 0; stage < STAGES; stage++) {
        if (!has_stage(way, stage) || (life->bad_retry && !is_end(stage)))
            continue;
        step(life, (enum stage)stage);
    }
    calls_disarm();
    life->seen = calls_seen();
    calls_settle();
    life->leaked = !same(&before);
    life->bits = life_mix(14695981039346656037u, &out, sizeof out);
    life->bits = way->recipe ? life_condition_bits(life->bits) : life_mix(life->bits, batch->memory, batch->bytes);
}
