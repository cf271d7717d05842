/* test_no_allocation.c - protects the promise that an encode allocates nothing: from session_open on, every call that asks
 * for memory, threads or files is refused, and encodes of text and of ids, with every output in every type, still work.
 *
 *     test_no_allocation PLUGIN MODEL */
#include <stdlib.h>
#include <string.h>

#include "../memory/host.h"
#include "interpose.h"

/* What is no allocation: a mapped model looks at its file (fstat) before it computes; threads wait for each other, and name
 * themselves when they first run. */
#define REFUSED (ALL_CALLS & ~(1u << CALL_FSTAT | 1u << CALL_WAIT | 1u << CALL_NAME))
#define ENCODES 2
#define PROMPTS 3

static const struct {
    uint32_t kernels;
    const char *name;
} sets[] = {{0, "best"}, {PENULT_KERNELS_SCALAR, "scalar"}, {PENULT_KERNELS_OPENBLAS, "openblas"},
    {PENULT_KERNELS_AVX2, "avx2"}, {PENULT_KERNELS_AVX512, "avx512"}};

static int32_t cancel(void *user, const penult_progress *progress) {
    (void)progress;
    api->session_cancel(*(penult_session **)user);
    return 0;
}

static void encode_refused_everything(penult_model *model, struct batch *batch, uint32_t kernels, uint32_t threads,
                                      const char *name) {
    penult_session *session = host_session(model, threads, PROMPTS, kernels);
    penult_error error = {.message = "no error"};
    memset(batch->memory, 0, batch->bytes);
    int32_t free_status = api->encode_text(session, &batch->request, NULL, &error);
    uint64_t free_bits = batch_bits(batch);
    api->session_close(session);

    session = host_session(model, threads, PROMPTS, kernels); /* its first encode is under refusal too */
    int32_t status = PENULT_OK;
    uint64_t different = 0;
    struct calls seen = {0};
    for (int i = 0; i < ENCODES; i++) {
        memset(batch->memory, 0, batch->bytes);
        calls_arm(REFUSED, 0, NEVER);
        status |= api->encode_text(session, &batch->request, NULL, &error);
        calls_disarm();
        seen.made += calls_seen().made;
        different += batch_bits(batch) != free_bits;
    }
    batch->request.progress = cancel;
    batch->request.user = &session;
    calls_arm(REFUSED, 0, NEVER);
    int32_t cancelled = api->encode_text(session, &batch->request, NULL, &error);
    calls_disarm();
    batch->request.progress = NULL;
    seen.made += calls_seen().made;
    check(free_status == PENULT_OK && status == PENULT_OK && different == 0 && cancelled == PENULT_E_CANCELLED &&
              seen.made == 0, "%s, %u threads, %s: %d encodes and a cancelled one made %llu calls (%s)", name, threads,
          batch->prompts[0].ids ? "ids" : "text", ENCODES, (unsigned long long)seen.made, error.message);
    api->session_close(session);
}

int main(int argc, char **argv) {
    if (argc != 3)
        give_up("usage: test_no_allocation PLUGIN MODEL");
    host_load(argv);
    size_t bytes = 65536;
    char *text = long_text(bytes);
    for (uint32_t access = PENULT_MAP; access <= PENULT_COPY; access++) {
        penult_model *model = host_open(argv[2], NULL, access);
        struct batch texts, ids;
        batch_make(&texts, model, PROMPTS, text, bytes, WANT_ALL);
        batch_make(&ids, model, PROMPTS, NULL, 0, WANT_ALL);
        for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
            for (uint32_t threads = 1; threads <= 3; threads += 2) {
                encode_refused_everything(model, &texts, sets[i].kernels, threads, sets[i].name);
                encode_refused_everything(model, &ids, sets[i].kernels, threads, sets[i].name);
            }
        }
        batch_free(&texts);
        batch_free(&ids);
        api->model_close(model);
    }
    free(text);
    /* the refusals are real: opening a session under them fails */
    penult_model *model = host_open(argv[2], NULL, PENULT_MAP);
    penult_session_params params = {.struct_size = sizeof params};
    penult_session *session = NULL;
    penult_error error;
    calls_arm(REFUSED, 0, NEVER);
    int32_t status = api->session_open(model, &params, &session, &error);
    calls_disarm();
    check(status == PENULT_E_NO_MEMORY && !session && calls_seen().refused > 0, "a session cannot open without memory");
    api->model_close(model);
    return done();
}
