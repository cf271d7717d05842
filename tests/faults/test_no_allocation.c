/* test_no_allocation.c - protects the promise that an encode allocates nothing: from session_open on, every call that asks
 * for memory, threads or files is refused, and encodes of text and of ids, with every output in every type, still work. So
 * does what a pipeline makes of prompts, in every dialect; only its cache does without pages that it cannot have.
 *
 *     test_no_allocation PLUGIN MODEL */
#include <stdlib.h>
#include <string.h>

#include "../memory/host.h"
#include "interpose.h"
#include "penult_condition.h"

/* What is no allocation: a mapped model looks at its file (fstat) before it computes; threads wait for each other, and name
 * themselves when they first run. */
#define REFUSED (ALL_CALLS & ~(1u << CALL_FSTAT | 1u << CALL_WAIT | 1u << CALL_NAME))
#define ENCODES 2
#define PROMPTS 3

static const struct {
    uint32_t kernels;
    const char *name;
} sets[] = {{0, "best"}, {PENULT_KERNELS_SCALAR, "scalar"}, {PENULT_KERNELS_OPENBLAS, "openblas"},
    {PENULT_KERNELS_AVX2, "avx2"}, {PENULT_KERNELS_AVX512, "avx512"}, {PENULT_KERNELS_AMX, "amx"}};

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

/* ---- pipelines ------------------------------------------------------------------------------------------------------ */

#define MOST_TENSORS 8
static const char *const dialects[] = {"plain", "a1111", "comfyui", "compel"};
static const char *const prompts[] = {
    "a (castle:1.3) at dawn, 8k", "(\"a castle\", \"a dog\").and(1, 0.5)", "[a] dog+ (cat)0.5 BREAK -- a long, long road"};

struct tensors {
    penult_named_tensor of[MOST_TENSORS];
    uint32_t count;
    size_t bytes;
    unsigned char *memory;
};

static struct tensors all_tensors(const penult_condition_api *condition, const penult_pipeline *pipeline, uint32_t chunks) {
    struct tensors t = {.count = 0};
    penult_tensor_info info = {.struct_size = sizeof info};
    for (; t.count < MOST_TENSORS && condition->tensor(pipeline, t.count, chunks, &info, NULL) == PENULT_OK; t.count++) {
        size_t bytes = info.shape[1] * (info.rank == 3 ? info.shape[2] : 1) * sizeof(float);
        t.of[t.count] = (penult_named_tensor){info.name, {.bytes = bytes, .dtype = PENULT_F32}};
        t.bytes += bytes;
    }
    t.memory = calloc(t.bytes, 1);
    for (size_t i = 0, at = 0; i < t.count && t.memory; at += t.of[i++].to.bytes)
        t.of[i].to.data = t.memory + at;
    if (!t.memory)
        give_up("the test itself has no memory");
    return t;
}

/* Whether it succeeds and has those bits; `refused`: nothing is given to it. */
static int conditions(const penult_condition_api *condition, penult_pipeline *pipeline, const penult_condition_request *request,
                      struct tensors *t, const unsigned char *right, int refused) {
    penult_condition_result result = {.struct_size = sizeof result};
    memset(t->memory, 0, t->bytes);
    if (refused)
        calls_arm(REFUSED, 0, NEVER);
    int32_t planned = condition->plan(pipeline, request, &result, NULL);
    int32_t status = condition->condition(pipeline, request, &result, NULL);
    calls_disarm();
    struct calls seen = calls_seen();
    int only_slots = !refused || seen.made == seen.of[CALL_MADVISE] + seen.of[CALL_SYSCONF];
    return planned == PENULT_OK && status == PENULT_OK && only_slots && (!right || memcmp(t->memory, right, t->bytes) == 0);
}

static void conditions_refused_everything(penult_model *model, const char *dialect, uint32_t flags) {
    const penult_condition_api *condition = api->extension(PENULT_CONDITION);
    penult_named_model models[] = {{"clip_l", model}, {"clip_g", model}};
    penult_pipeline_params params = {.struct_size = sizeof params, .recipe = "sdxl", .dialect = dialect, .flags = flags, .model_count = 2,
        .model_stride = sizeof models[0], .models = models, .threads = 2, .max_windows = 12, .cache_bytes = 1u << 20};
    unsigned good = 0, count = sizeof prompts / sizeof prompts[0];
    penult_pipeline *free_one, *refused_one;
    if (condition->pipeline_open(&params, &free_one, NULL) || condition->pipeline_open(&params, &refused_one, NULL))
        give_up("pipeline_open");
    for (unsigned i = 0; i < count; i++) {
        penult_condition_result plan = {.struct_size = sizeof plan};
        penult_condition_request request = {.struct_size = sizeof request, .prompt = {prompts[i], strlen(prompts[i])},
            .negative = {prompts[(i + 1) % count], strlen(prompts[(i + 1) % count])}};
        if (condition->plan(free_one, &request, &plan, NULL))
            give_up("plan of %s in %s", prompts[i], dialect);
        struct tensors t = all_tensors(condition, free_one, plan.chunks);
        unsigned char *right = malloc(t.bytes);
        request.tensor_count = t.count;
        request.tensor_stride = sizeof t.of[0];
        request.tensors = t.of;
        if (!right || !conditions(condition, free_one, &request, &t, NULL, 0))
            give_up("condition of %s in %s", prompts[i], dialect);
        memcpy(right, t.memory, t.bytes);
        /* the second time from the cache, if there is one */
        good += (unsigned)(conditions(condition, refused_one, &request, &t, right, 1) &&
                           conditions(condition, refused_one, &request, &t, right, 1));
        free(right);
        free(t.memory);
    }
    check(good == count, "a pipeline, %s%s: plan and condition of %u prompts took nothing (%u did not)", dialect,
          flags ? ", no cache" : "", count, count - good);
    condition->pipeline_close(free_one);
    condition->pipeline_close(refused_one);
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
        for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++)
            for (uint32_t flags = 0; flags <= PENULT_PIPELINE_NO_CACHE; flags++)
                conditions_refused_everything(model, dialects[i], flags);
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
