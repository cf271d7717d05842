/* test_pipeline_states.c - as test_states.c, for penult.condition/1: whatever floating-point mode, locale or stack the calling
 * thread has, prompts are read as the same numbers, and plan and condition give the same answers. Weights that are denormal,
 * infinite or not a number must not meet a host that traps; brackets by the hundred thousand must not meet the end of its
 * stack. With contract.so as the plugin each call must also leave the thread as it found it.
 *
 *     test_pipeline_states PLUGIN MODEL [LOCALES]     LOCALES: what locales.sh made */
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../encoder/base/wrap.h"
#include "../memory/host.h"
#include "modes.h"
#include "penult_condition.h"

#define SMALL_STACK ((size_t)64 << 10)
#define CROWD 200
#define MOST_TEXT 400000
#define WINDOWS 12

static const penult_condition_api *condition;
static penult_model *model;

static const char *const dialects[] = {"plain", "a1111", "comfyui", "compel"};
#define DIALECTS (sizeof dialects / sizeof dialects[0])

static const char *const prompts[] = {
    "I SAW (\xc4\xb0STANBUL:1.3) at [dawn], (1,5 caf\xc3\xa9s:0.7), it's++ (8k)0.35 \xe2\x80\x94 na\xc3\xafve (x:1,5)",
    "(a:1e-310) b (c)1e-310 (d:-1e-320)",
    "(a:nan) b", "(a:1e999) b (c)1e39", "(\"a cat\", \"a (dog)0.1+\").blend(0.3, 0.7)", "(\"a\", \"b\").and(1e-310, 1.1)"};
#define PROMPTS (sizeof prompts / sizeof prompts[0])

/* ---- a pipeline and all of its tensors ------------------------------------------------------------------------------- */

static penult_pipeline *open_one(const char *recipe, const char *dialect, uint64_t text_bytes) {
    penult_named_model models[] = {{"clip_l", model}, {"clip_g", model}};
    penult_pipeline_params params = {.struct_size = sizeof params, .recipe = recipe, .dialect = dialect, .threads = 1,
        .flags = strcmp(dialect, "compel") == 0 ? PENULT_PIPELINE_SPLIT : 0, .model_count = strcmp(recipe, "sdxl") == 0 ? 2 : 1,
        .model_stride = sizeof models[0], .models = models, .max_windows = WINDOWS, .max_text_bytes = text_bytes, .cache_bytes = 1};
    penult_pipeline *pipeline;
    penult_error error;
    if (condition->pipeline_open(&params, &pipeline, &error) != PENULT_OK)
        give_up("pipeline_open: %s", error.message);
    return pipeline;
}

WRAPS("FNV-1a multiplies modulo 2^64")
static uint64_t mixed(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * 1099511628211u;
    return hash;
}

static int32_t watch(void *user, const penult_progress *progress) {
    *(uint64_t *)user += progress->done;
    return 0;
}

/* Statuses, sentences, tokens with their weights, and the bits of a context and a vector. */
static uint64_t answer(penult_pipeline *pipeline, const char *text, size_t text_bytes) {
    penult_condition_token tokens[128];
    penult_condition_result result = {
        .struct_size = sizeof result, .tokens = tokens, .token_stride = sizeof tokens[0], .token_capacity = 128};
    penult_condition_request request = {.struct_size = sizeof request, .prompt = {text, text_bytes}, .negative = {"x", 1},
        .sizes = {.original_height = 512, .aesthetic_score = 1e-310}, .progress = watch};
    penult_error error = {.status = 0};
    uint64_t seen = 0, hash = 14695981039346656037u;
    penult_pipeline_info info = {.struct_size = sizeof info};
    memset(tokens, 0, sizeof tokens);
    condition->pipeline_describe(pipeline, &info, NULL);
    if (!info.vector_width)
        request.sizes = (penult_condition_sizes){0};
    request.user = &seen;
    int32_t status = condition->plan(pipeline, &request, &result, &error);
    hash = mixed(mixed(hash, &status, sizeof status), status ? error.message : "", status ? strlen(error.message) : 0);
    hash = mixed(mixed(hash, tokens, sizeof tokens), &result.token_count, sizeof result.token_count);
    if (status)
        return hash;
    size_t context = (size_t)result.chunks * info.tokens * info.context_width * sizeof(float), vector = info.vector_width * sizeof(float);
    unsigned char *memory = calloc(context + vector, 1);
    if (!memory)
        give_up("the test itself has no memory");
    penult_named_tensor tensors[] = {{"prompt_embeds", {.data = memory, .bytes = context, .dtype = PENULT_F32}},
                                     {"vector", {.data = memory + context, .bytes = vector, .dtype = PENULT_F32}}};
    request.tensor_count = info.vector_width ? 2 : 1;
    request.tensor_stride = sizeof tensors[0];
    request.tensors = tensors;
    status = condition->condition(pipeline, &request, &result, &error);
    hash = mixed(mixed(hash, &status, sizeof status), status ? error.message : "", status ? strlen(error.message) : 0);
    /* numbers that are none may differ in bits that mean nothing */
    hash = status ? hash : mixed(hash, memory, context + vector);
    free(memory);
    return hash;
}

struct answers {
    uint64_t of[DIALECTS][PROMPTS];
};

static void ask(struct answers *answers) {
    for (size_t d = 0; d < DIALECTS; d++) {
        penult_pipeline *pipeline = open_one("sdxl", dialects[d], 0);
        condition->pipeline_cancel(pipeline);
        for (size_t i = 0; i < PROMPTS; i++)
            answers->of[d][i] = answer(pipeline, prompts[i], strlen(prompts[i]));
        condition->pipeline_close(pipeline);
    }
}

static struct answers plain;

static void judge(const char *name, const struct answers *answers) {
    char which[256] = "";
    for (size_t d = 0; d < DIALECTS; d++)
        for (size_t i = 0; i < PROMPTS; i++)
            if (answers->of[d][i] != plain.of[d][i] && !which[0])
                snprintf(which, sizeof which, ", but for %s: %s", dialects[d], prompts[i]);
    check(!which[0], "%s: the same answers%s", name, which);
}

/* ---- states of a thread ---------------------------------------------------------------------------------------------- */

struct place {
    void (*enter)(void);
    struct answers answers;
};

static void *in_place(void *argument) {
    struct place *place = argument;
    if (place->enter)
        place->enter();
    ask(&place->answers);
    return NULL;
}

static void floating_point_modes(void) {
    for (size_t i = 0; i < mode_count; i++) {
        struct place place = {.enter = modes[i].enter};
        pthread_t thread;
        if (pthread_create(&thread, NULL, in_place, &place) != 0)
            give_up("pthread_create");
        pthread_join(thread, NULL);
        judge(modes[i].name, &place.answers);
    }
}

static void under_locales(const char *folder) {
    static const char *const locales[] = {"de_DE.UTF-8", "tr_TR.UTF-8"};
    for (size_t i = 0; i < 2; i++) {
        struct answers answers;
        locale_t own = folder ? newlocale(LC_ALL_MASK, locales[i], (locale_t)0) : (locale_t)0;
        if (!own || !setlocale(LC_ALL, locales[i])) {
            skip(locales[i], "no such locale was made");
            continue;
        }
        ask(&answers);
        setlocale(LC_ALL, "C");
        judge(locales[i], &answers);
        uselocale(own);
        ask(&answers);
        uselocale(LC_GLOBAL_LOCALE);
        freelocale(own);
        judge(locales[i], &answers);
    }
}

/* ---- depth on a small stack ------------------------------------------------------------------------------------------ */

static const char *const repeated[] = {"(", "[", "((a:", ")", "]", "\"", "(\"", "(a++ ", "\\(", "(a, ", "+", "{", "(a:1.1)", ",", "-",
                                       "(\"a\",", ").and(", ":1e999", "( BREAK "};
#define REPEATED (sizeof repeated / sizeof repeated[0])
static unsigned answered, refused, odd;
static char odd_case[256];

static void one_depth(penult_pipeline *pipeline, const char *dialect, const char *piece, char *text) {
    penult_condition_result result = {.struct_size = sizeof result};
    penult_error error = {.status = 0};
    size_t length = strlen(piece), bytes = 0;
    while (bytes + length <= MOST_TEXT && bytes < 100000 * length) {
        memcpy(text + bytes, piece, length);
        bytes += length;
    }
    penult_condition_request request = {.struct_size = sizeof request, .prompt = {text, bytes}};
    int32_t status = condition->plan(pipeline, &request, &result, &error);
    int good = status == PENULT_OK ? result.token_count > 0
                                   : (status == PENULT_E_LIMIT || status == PENULT_E_FORMAT || status == PENULT_E_UNSUPPORTED) &&
                                         strlen(error.message) > 10;
    answered += status == PENULT_OK;
    refused += status != PENULT_OK;
    odd += !good;
    if (!good && !odd_case[0])
        snprintf(odd_case, sizeof odd_case, "; first: %s in %s: %s", piece, dialect, status_name(status));
}

static void *go_deep(void *unused) {
    char *text = malloc(MOST_TEXT);
    if (!text)
        give_up("the test itself has no memory");
    for (size_t d = 0; d < DIALECTS; d++) {
        penult_pipeline *pipeline = open_one("sd1", dialects[d], MOST_TEXT);
        for (size_t i = 0; i < REPEATED; i++)
            one_depth(pipeline, dialects[d], repeated[i], text);
        condition->pipeline_close(pipeline);
    }
    free(text);
    return unused;
}

/* Below the stack lies a page that nobody may touch: a call that needs more ends the process. */
static void a_small_stack(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), untouched = 0;
    struct place place = {.enter = NULL};
    void *(*const bodies[])(void *) = {in_place, go_deep};
    pthread_attr_t attributes;
    pthread_t thread;
    unsigned char *stack = mmap(NULL, SMALL_STACK + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, page, PROT_NONE) != 0)
        give_up("no memory for a stack");
    memset(stack + page, 0xA5, SMALL_STACK);
    for (int i = 0; i < 2; i++) {
        pthread_attr_init(&attributes);
        if (pthread_attr_setstack(&attributes, stack + page, SMALL_STACK) != 0 ||
            pthread_create(&thread, &attributes, bodies[i], &place) != 0)
            give_up("a stack of 64 KiB is refused");
        pthread_join(thread, NULL);
        pthread_attr_destroy(&attributes);
    }
    while (untouched < SMALL_STACK && stack[page + untouched] == 0xA5)
        untouched++;
    say("a calling thread's stack: %zu bytes of %zu were used, the thread's own included", SMALL_STACK - untouched, SMALL_STACK);
    judge("a stack of 64 KiB", &place.answers);
    check(odd == 0 && answered > 0 && refused > 0, "signs by the hundred thousand on it: %u results, %u clear errors, %u others%s",
          answered, refused, odd, odd_case);
    munmap(stack, SMALL_STACK + page);
}

/* ---- a crowd --------------------------------------------------------------------------------------------------------- */

static pthread_barrier_t gate;
static uint64_t right;
static _Atomic unsigned crowd_wrong, crowd_done;

static void *one_of_many(void *unused) {
    penult_pipeline *pipeline = open_one("sd1", "a1111", 0);
    pthread_barrier_wait(&gate);
    for (int i = 0; i < 2; i++) {
        atomic_fetch_add(&crowd_wrong, answer(pipeline, prompts[0], strlen(prompts[0])) != right);
        atomic_fetch_add(&crowd_done, 1);
    }
    condition->pipeline_close(pipeline);
    return unused;
}

static void two_hundred_threads(void) {
    static pthread_t threads[CROWD];
    pthread_attr_t attributes;
    penult_pipeline *pipeline = open_one("sd1", "a1111", 0);
    right = answer(pipeline, prompts[0], strlen(prompts[0]));
    condition->pipeline_close(pipeline);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SMALL_STACK);
    pthread_barrier_init(&gate, NULL, CROWD);
    for (int i = 0; i < CROWD; i++)
        if (pthread_create(&threads[i], &attributes, one_of_many, NULL) != 0)
            give_up("thread %d of %d could not be started", i + 1, CROWD);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&gate);
    pthread_attr_destroy(&attributes);
    check(crowd_wrong == 0 && crowd_done == 2 * CROWD, "%d threads with a pipeline each, at once: %u of %u answers differ from a "
          "lone one's", CROWD, crowd_wrong, crowd_done);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4)
        give_up("usage: test_pipeline_states PLUGIN MODEL [LOCALES]");
    if (argc > 3)
        setenv("LOCPATH", argv[3], 1);
    host_load(argv);
    condition = api->extension(PENULT_CONDITION);
    if (!condition)
        give_up("no " PENULT_CONDITION);
    model = host_open(argv[2], NULL, PENULT_MAP);
    ask(&plain);
    floating_point_modes();
    a_small_stack();
    under_locales(argc > 3 ? argv[3] : NULL);
    two_hundred_threads();
    api->model_close(model);
    return done();
}
