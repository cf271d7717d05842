/* test_states.c - protects the numbers from the host, and the host from the numbers: whatever floating-point mode, locale
 * or stack the calling thread has, every call works, raises nothing, and gives the bits that it gives in a plain host. With
 * contract.so as the plugin each call must also leave that state as it found it.
 *
 *     test_states PLUGIN MODEL [LOCALES]     LOCALES: what locales.sh made */
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../memory/host.h"
#include "modes.h"

#define TEXT "I SAW \xc4\xb0STANBUL AT DAWN, 1,5 caf\xc3\xa9s; it's 8k \xe2\x80\x94 na\xc3\xafve"
#define SMALL_STACK ((size_t)64 << 10)
#define CROWD 200
#define FLIPS 12

static const char *model_path;

/* ---- every call, and what came of it -------------------------------------------------------------------------------- */

struct answers {
    uint64_t mapped, copied, ids, described, measured, sentence;
};

static uint64_t hash_of(const void *bytes, size_t size) {
    const unsigned char *p = bytes;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * 1099511628211u;
    return hash;
}

static uint64_t token_hash(const penult_model *model) {
    int32_t ids[256] = {0};
    penult_token_request request = {.struct_size = sizeof request, .text = TEXT, .text_bytes = strlen(TEXT)};
    penult_token_result result = {.struct_size = sizeof result, .ids = ids, .capacity = 256};
    penult_error error;
    if (api->tokenize(model, &request, &result, &error) != PENULT_OK)
        give_up("tokenize: %s", error.message);
    return hash_of(ids, sizeof ids) ^ result.body_count ^ result.cut_count << 32;
}

static int32_t watch(void *user, const penult_progress *progress) {
    *(uint64_t *)user += progress->done;
    return 0;
}

static uint64_t encode_hash(penult_model *model, uint32_t threads) {
    struct batch batch;
    uint64_t seen = 0;
    penult_error error;
    penult_session *session = host_session(model, threads, 2, 0);
    batch_make(&batch, model, 2, TEXT, strlen(TEXT), WANT_ALL);
    batch.request.progress = watch;
    batch.request.user = &seen;
    api->session_cancel(session);
    if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
    uint64_t bits = batch_bits(&batch);
    batch_free(&batch);
    api->session_close(session);
    return bits;
}

/* No arithmetic of its own in floating point: that would meet the state too. */
static void ask(struct answers *answers) {
    penult_model_info info = {.struct_size = sizeof info};
    penult_session_params params = {.struct_size = sizeof params, .threads = 3, .max_prompts = 5};
    penult_open_params nowhere = {.struct_size = sizeof nowhere, .path = "a/folder/that/is/nowhere"};
    penult_error error = {.status = 0};
    penult_model *model = host_open(model_path, NULL, PENULT_COPY);
    answers->copied = encode_hash(model, 1);
    api->model_close(model);
    model = host_open(model_path, NULL, PENULT_MAP);
    answers->ids = token_hash(model);
    if (api->model_describe(model, &info, &error) != PENULT_OK ||
        api->session_measure(model, &params, &answers->measured, &error) != PENULT_OK)
        give_up("model_describe or session_measure: %s", error.message);
    answers->described = hash_of(&info, sizeof info);
    answers->mapped = encode_hash(model, 2);
    api->model_close(model);
    if (api->model_open(&nowhere, &model, &error) != PENULT_E_NOT_FOUND)
        give_up("a folder that is nowhere was opened");
    answers->sentence = hash_of(error.message, strlen(error.message));
}

static struct answers plain;

static const char *difference(const struct answers *a) {
    return a->mapped != plain.mapped         ? "the bits of an encode differ"
           : a->copied != plain.copied       ? "the bits of an encode of copied weights differ"
           : a->ids != plain.ids             ? "the ids differ"
           : a->described != plain.described ? "model_describe differs"
           : a->measured != plain.measured   ? "session_measure differs"
           : a->sentence != plain.sentence   ? "the sentence of an error differs"
                                             : NULL;
}

/* ---- in a thread of its own ----------------------------------------------------------------------------------------- */

struct place {
    void (*enter)(void);
    locale_t locale;
    struct answers answers;
};

static void *in_place(void *argument) {
    struct place *place = argument;
    if (place->locale)
        uselocale(place->locale);
    if (place->enter)
        place->enter();
    ask(&place->answers);
    return NULL;
}

static void run(struct place *place, const pthread_attr_t *attributes) {
    pthread_t thread;
    if (pthread_create(&thread, attributes, in_place, place) != 0)
        give_up("pthread_create");
    pthread_join(thread, NULL);
}

static void judge(const char *name, const struct answers *answers) {
    const char *wrong = difference(answers);
    check(!wrong, "%s: the same answers%s%s", name, wrong ? ", but " : "", wrong ? wrong : "");
}

static void floating_point_modes(void) {
    for (size_t i = 0; i < mode_count; i++) {
        struct place place = {.enter = modes[i].enter};
        run(&place, NULL);
        judge(modes[i].name, &place.answers);
    }
}

/* Below the stack lies a page that nobody may touch: a call that needs more ends the process. */
static void a_small_stack(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), untouched = 0;
    struct place place = {.enter = NULL};
    pthread_attr_t attributes;
    unsigned char *stack = mmap(NULL, SMALL_STACK + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, page, PROT_NONE) != 0)
        give_up("no memory for a stack");
    memset(stack + page, 0xA5, SMALL_STACK);
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack + page, SMALL_STACK) != 0)
        give_up("a stack of 64 KiB is refused");
    run(&place, &attributes);
    pthread_attr_destroy(&attributes);
    while (untouched < SMALL_STACK && stack[page + untouched] == 0xA5)
        untouched++;
    say("a calling thread's stack: %zu bytes of %zu were used, the thread's own included", SMALL_STACK - untouched,
        SMALL_STACK);
    judge("a stack of 64 KiB", &place.answers);
    munmap(stack, SMALL_STACK + page);
}

/* ---- locales -------------------------------------------------------------------------------------------------------- */

static const char *const locales[] = {"de_DE.UTF-8", "tr_TR.UTF-8"};
#define LOCALES (sizeof locales / sizeof locales[0])

static _Atomic int flipping;

static void *flip(void *unused) {
    for (unsigned i = 0; atomic_load(&flipping); i++)
        setlocale(LC_ALL, i % 3 == 2 ? "C" : locales[i % 3]);
    return unused;
}

static void under_locales(const char *folder) {
    char path[4096], why[256] = "no locales were given";
    snprintf(path, sizeof path, "%s/why-not", folder ? folder : "");
    FILE *reason = folder ? fopen(path, "r") : NULL;
    if (reason && fgets(why, sizeof why, reason))
        why[strcspn(why, "\n")] = '\0';
    if (reason)
        fclose(reason);
    if (reason || !folder) {
        skip("under de_DE and tr_TR", why);
        return;
    }
    for (size_t i = 0; i < LOCALES; i++) {
        struct place place = {.locale = newlocale(LC_ALL_MASK, locales[i], (locale_t)0)};
        char name[64];
        if (!place.locale || !setlocale(LC_ALL, locales[i]))
            give_up("%s cannot be set", locales[i]);
        setlocale(LC_ALL, "C");
        snprintf(name, sizeof name, "%s by uselocale", locales[i]);
        run(&place, NULL);
        judge(name, &place.answers);
        freelocale(place.locale);

        struct answers answers;
        setlocale(LC_ALL, locales[i]);
        snprintf(name, sizeof name, "%s by setlocale (%s)", locales[i], strcmp(localeconv()->decimal_point, ",") ? "?" :
                 "with a decimal comma");
        ask(&answers);
        setlocale(LC_ALL, "C");
        judge(name, &answers);
    }
    pthread_t thread;
    unsigned wrong = 0;
    atomic_store(&flipping, 1);
    if (pthread_create(&thread, NULL, flip, NULL) != 0)
        give_up("pthread_create");
    for (int i = 0; i < FLIPS; i++) {
        struct answers answers;
        ask(&answers);
        wrong += difference(&answers) != NULL;
    }
    atomic_store(&flipping, 0);
    pthread_join(thread, NULL);
    setlocale(LC_ALL, "C");
    check(wrong == 0, "while a thread flips setlocale: the same answers (%u of %d rounds differ)", wrong, FLIPS);
}

/* ---- a crowd -------------------------------------------------------------------------------------------------------- */

static pthread_barrier_t gate;
static penult_model *shared;
static uint64_t right;
static _Atomic unsigned crowd_wrong, crowd_done;

static void *one_of_many(void *unused) {
    struct batch batch;
    penult_error error;
    penult_session *session = host_session(shared, 1, 1, 0);
    batch_make(&batch, shared, 1, TEXT, strlen(TEXT), WANT_ALL);
    pthread_barrier_wait(&gate);
    for (int i = 0; i < 3; i++) {
        memset(batch.memory, i, batch.bytes);
        int32_t status = api->encode_text(session, &batch.request, NULL, &error);
        atomic_fetch_add(&crowd_wrong, status != PENULT_OK || batch_bits(&batch) != right);
        atomic_fetch_add(&crowd_done, 1);
    }
    batch_free(&batch);
    api->session_close(session);
    return unused;
}

static void two_hundred_threads(void) {
    static pthread_t threads[CROWD];
    struct batch batch;
    penult_error error;
    pthread_attr_t attributes;
    shared = host_open(model_path, NULL, PENULT_MAP);
    penult_session *session = host_session(shared, 1, 1, 0);
    batch_make(&batch, shared, 1, TEXT, strlen(TEXT), WANT_ALL);
    if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
    right = batch_bits(&batch);
    batch_free(&batch);
    api->session_close(session);
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
    check(crowd_wrong == 0 && crowd_done == 3 * CROWD, "%d threads with a session each, at once: %u of %u encodes differ from "
          "a lone session's", CROWD, crowd_wrong, crowd_done);
    api->model_close(shared);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4)
        give_up("usage: test_states PLUGIN MODEL [LOCALES]");
    if (argc > 3)
        setenv("LOCPATH", argv[3], 1);
    model_path = argv[2];
    host_load(argv);
    ask(&plain);
    floating_point_modes();
    a_small_stack();
    under_locales(argc > 3 ? argv[3] : NULL);
    two_hundred_threads();
    return done();
}
