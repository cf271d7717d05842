/* test_pipeline_races.c - protects the thread tags of penult_condition.h: threads share one model, each with pipelines of its
 * own, some opened and closed meanwhile, planning, conditioning and describing, while others cancel them from outside; every
 * result has the bits of a lone run. Under ThreadSanitizer (make check-san) it also looks for races, which bits alone may not
 * show.
 *
 *     test_pipeline_races PLUGIN MODEL [ROUNDS]
 *
 * Pipelines run on Penult's own kernels, as in test_races.c. Knows nothing of what the numbers mean. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../memory/host.h"
#include "penult_condition.h"

#define THREADS 6
#define CANCELLERS 2
#define CANCELS 3
#define PROMPT "a (castle:1.3) at dawn, 8k, it's (caf\xc3\xa9)0.7 --- masterpiece BREAK [fog]"
#define NEGATIVE "blurry, (text:1.2)++"
#define MOST_BYTES (1u << 22)

static const char *const recipes[] = {"sdxl@a1111", "sdxl@compel", "sd1", "sdxl@comfyui"};
#define RECIPES (sizeof recipes / sizeof recipes[0])

static const penult_condition_api *condition;
static penult_model *shared;
static struct right {
    unsigned char *memory;
    size_t bytes;
    uint64_t tokens;
} right[RECIPES];

/* A pipeline that others may cancel: it is alive as long as the lock is held. */
static struct place {
    pthread_mutex_t lock;
    penult_pipeline *pipeline;
    unsigned left;
} places[THREADS];

static unsigned rounds = 2;
static atomic_uint wrong_bits, wrong_plans, refused, conditioned, cancelled, cancels;
static atomic_int over;

static penult_pipeline *open_one(size_t which, uint32_t flags) {
    penult_named_model models[] = {{"clip_l", shared}, {"clip_g", shared}};
    penult_pipeline_params params = {.struct_size = sizeof params, .recipe = recipes[which], .flags = flags,
        .model_count = strcmp(recipes[which], "sd1") == 0 ? 1 : 2, .model_stride = sizeof models[0], .models = models, .threads = 2,
        .max_windows = 12, .kernels = PENULT_KERNELS_SCALAR, .cache_bytes = 1u << 20};
    penult_pipeline *pipeline = NULL;
    if (condition->pipeline_open(&params, &pipeline, NULL) != PENULT_OK)
        atomic_fetch_add(&refused, 1);
    return pipeline;
}

/* Its plan, and all of its tensors packed into the memory; *bytes of it. */
static int32_t run_one(penult_pipeline *pipeline, unsigned char *memory, size_t *bytes, uint64_t *tokens) {
    penult_condition_result result = {.struct_size = sizeof result};
    penult_tensor_info told = {.struct_size = sizeof told};
    penult_named_tensor tensors[8];
    penult_condition_request request = {.struct_size = sizeof request, .prompt = {PROMPT, strlen(PROMPT)},
        .negative = {NEGATIVE, strlen(NEGATIVE)}, .tensor_stride = sizeof tensors[0], .tensors = tensors};
    int32_t status = condition->plan(pipeline, &request, &result, NULL);
    if (status)
        return status;
    *tokens = result.token_count;
    *bytes = 0;
    for (uint32_t i = 0; i < 8 && condition->tensor(pipeline, i, result.chunks, &told, NULL) == PENULT_OK; i++) {
        size_t size = told.shape[1] * (told.rank == 3 ? told.shape[2] : 1) * sizeof(float);
        if (*bytes + size > MOST_BYTES)
            give_up("tensors of more than %u bytes", MOST_BYTES);
        tensors[i] = (penult_named_tensor){told.name, {.data = memory + *bytes, .bytes = size, .dtype = PENULT_F32}};
        *bytes += size;
        request.tensor_count = i + 1;
    }
    memset(memory, 0xA5, *bytes);
    return condition->condition(pipeline, &request, &result, NULL);
}

/* It may be cancelled by a neighbour; then the same pipeline must still give the right bits. */
static void condition_it(penult_pipeline *pipeline, size_t which, unsigned char *memory) {
    for (int tries = 0; tries <= CANCELS; tries++) {
        size_t bytes = 0;
        uint64_t tokens = 0;
        int32_t status = run_one(pipeline, memory, &bytes, &tokens);
        if (status == PENULT_E_CANCELLED) {
            atomic_fetch_add(&cancelled, 1);
            continue;
        }
        atomic_fetch_add(&conditioned, 1);
        atomic_fetch_add(&refused, status != PENULT_OK);
        atomic_fetch_add(&wrong_plans, tokens != right[which].tokens);
        atomic_fetch_add(&wrong_bits, bytes != right[which].bytes || memcmp(memory, right[which].memory, bytes) != 0);
        return;
    }
    atomic_fetch_add(&refused, 1);
}

static void set_place(struct place *place, penult_pipeline *pipeline) {
    pthread_mutex_lock(&place->lock);
    place->pipeline = pipeline;
    place->left = CANCELS;
    pthread_mutex_unlock(&place->lock);
}

static void *host_thread(void *argument) {
    struct place *place = argument;
    size_t thread = (size_t)(place - places);
    unsigned char *memory = malloc(MOST_BYTES);
    if (!memory)
        give_up("the test itself has no memory");
    for (unsigned round = 0; round < rounds; round++) {
        size_t which = (thread + round) % RECIPES;
        penult_pipeline *pipeline = open_one(which, round % 2 ? PENULT_PIPELINE_NO_CACHE : 0);
        penult_recipe_info recipe = {.struct_size = sizeof recipe};
        if (!pipeline)
            continue;
        atomic_fetch_add(&refused, condition->recipe(0, recipes[which], &recipe, NULL) != PENULT_OK);
        set_place(place, pipeline);
        condition_it(pipeline, which, memory);
        set_place(place, NULL);
        condition_it(pipeline, which, memory); /* from the cache, if it has one */
        condition->pipeline_close(pipeline);
    }
    free(memory);
    return NULL;
}

static void *canceller(void *argument) {
    penult_pipeline_info told = {.struct_size = sizeof told};
    (void)argument;
    for (unsigned at = 0; !atomic_load(&over); at++) {
        struct place *place = &places[at % THREADS];
        pthread_mutex_lock(&place->lock);
        if (place->pipeline)
            atomic_fetch_add(&refused, condition->pipeline_describe(place->pipeline, &told, NULL) != PENULT_OK);
        if (place->pipeline && place->left) {
            place->left--;
            condition->pipeline_cancel(place->pipeline);
            atomic_fetch_add(&cancels, 1);
        }
        pthread_mutex_unlock(&place->lock);
        usleep(500);
    }
    return NULL;
}

static void learn_what_is_right(void) {
    for (size_t i = 0; i < RECIPES; i++) {
        penult_pipeline *pipeline = open_one(i, 0);
        right[i].memory = malloc(MOST_BYTES);
        if (!pipeline || !right[i].memory || run_one(pipeline, right[i].memory, &right[i].bytes, &right[i].tokens) != PENULT_OK)
            give_up("%s alone", recipes[i]);
        condition->pipeline_close(pipeline);
    }
}

static pthread_t start(void *(*body)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument) != 0)
        give_up("the test itself got no thread");
    return thread;
}

int main(int argc, char **argv) {
    pthread_t hosts[THREADS], cancellers[CANCELLERS];
    if (argc < 3 || argc > 4)
        give_up("usage: test_pipeline_races PLUGIN MODEL [ROUNDS]");
    if (argc > 3)
        rounds = (unsigned)strtoul(argv[3], NULL, 10);
    host_load(argv);
    condition = api->extension(PENULT_CONDITION);
    if (!condition)
        give_up("no " PENULT_CONDITION);
    shared = host_open(argv[2], NULL, PENULT_MAP);
    learn_what_is_right();
    for (unsigned i = 0; i < THREADS; i++)
        pthread_mutex_init(&places[i].lock, NULL);
    unsigned before = thread_count();
    for (unsigned i = 0; i < CANCELLERS; i++)
        cancellers[i] = start(canceller, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        hosts[i] = start(host_thread, &places[i]);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(hosts[i], NULL);
    atomic_store(&over, 1);
    for (unsigned i = 0; i < CANCELLERS; i++)
        pthread_join(cancellers[i], NULL);
    api->model_close(shared);
    for (size_t i = 0; i < RECIPES; i++)
        free(right[i].memory);
    unsigned left = thread_count() - before, wanted = THREADS * 2 * rounds;
    check(conditioned == wanted, "%u threads on one model, %u rounds each: %u of %u calls ended, %u more were cancelled by %u calls "
          "from outside", THREADS, rounds, conditioned, wanted, cancelled, cancels);
    check(refused == 0, "nothing was refused (%u were)", refused);
    check(wrong_bits == 0 && wrong_plans == 0, "each has the bits of a lone run (%u have not; %u plans)", wrong_bits, wrong_plans);
    check(left == 0, "no thread is left (%u are)", left);
    return done();
}
