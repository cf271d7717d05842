/* life_condition.c - the stages of a pipeline's life: see life.h. Everything it needs is made before the life begins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "life.h"

#define SHORT_TEXT "a (castle:1.3) at dawn, 8k"
#define NEGATIVE "blurry, (sketch)0.8"
#define OTHER "a dragon over a (lake)0.9 at noon"
#define LAST_TURN 4
#define MOST_TENSORS 8
#define WINDOWS 6

static const penult_condition_api *condition;
static const char *long_prompt;
static size_t long_bytes;
static unsigned char *memory; /* one for all tensors */
static size_t memory_bytes;
static uint64_t blocks_done;

static struct {
    uint64_t measured, tokens, cut;
    uint32_t windows, chunks;
} out;

static int32_t count_blocks(void *user, const penult_progress *progress) {
    (void)user;
    blocks_done = progress->done;
    return 0;
}

static penult_pipeline_params params_of(const struct life *life, penult_named_model models[2]) {
    models[0] = (penult_named_model){"clip_l", life->model};
    models[1] = (penult_named_model){"clip_g", life->model};
    return (penult_pipeline_params){.struct_size = sizeof(penult_pipeline_params), .recipe = life->way->recipe,
        .dialect = life->way->dialect, .model_count = strncmp(life->way->recipe, "sdxl", 4) == 0 ? 2 : 1,
        .model_stride = sizeof models[0], .models = models, .threads = life->way->threads, .kernels = life->way->kernels,
        .max_windows = WINDOWS, .max_text_bytes = life->way->long_text ? long_bytes : 0, .cache_bytes = 1u << 20};
}

void life_condition_begin(const penult_model *model, const char *text, size_t text_bytes) {
    penult_model_info info = {.struct_size = sizeof info};
    condition = api->extension(PENULT_CONDITION);
    if (!condition || api->model_describe(model, &info, NULL) != PENULT_OK)
        give_up("no " PENULT_CONDITION);
    long_prompt = text;
    long_bytes = text_bytes;
    /* two contexts of two towers, and six vectors that are shorter than one more */
    memory_bytes = (size_t)WINDOWS * 3 * info.context * 2 * info.width * sizeof(float);
    memory = calloc(memory_bytes, 1);
    if (!memory)
        give_up("the test itself has no memory");
}

void life_condition_end(void) {
    free(memory);
}

int32_t life_pipeline_measure(struct life *life) {
    penult_named_model models[2];
    penult_pipeline_params params = params_of(life, models);
    uint64_t bytes = UINT64_MAX;
    int32_t status = condition->pipeline_measure(&params, &bytes, &life->now);
    life->dangling |= status && bytes != UINT64_MAX;
    out.measured = life->way->threads ? bytes : 0; /* where nobody says how many CPUs there are, it may be more */
    return status;
}

int32_t life_pipeline_open(struct life *life) {
    penult_named_model models[2];
    penult_pipeline_params params = params_of(life, models);
    memset(&life->pipeline, 0xA5, sizeof life->pipeline);
    int32_t status = condition->pipeline_open(&params, &life->pipeline, &life->now);
    life->dangling |= status && life->pipeline;
    return status;
}

static penult_condition_request request_of(const struct life *life) {
    int is_long = life->way->long_text;
    return (penult_condition_request){.struct_size = sizeof(penult_condition_request), .progress = count_blocks,
        .prompt = {is_long ? long_prompt : SHORT_TEXT, is_long ? long_bytes : strlen(SHORT_TEXT)},
        .negative = {NEGATIVE, strlen(NEGATIVE)}};
}

int32_t life_plan(struct life *life) {
    penult_condition_request request = request_of(life);
    penult_condition_result result = {.struct_size = sizeof result}, blank = result;
    int32_t status = condition->plan(life->pipeline, &request, &result, &life->now);
    life->dangling |= status && memcmp(&result, &blank, sizeof blank) != 0;
    out.tokens = result.token_count;
    out.cut = result.cut_count;
    out.windows = result.window_count;
    out.chunks = result.chunks;
    return status;
}

static uint32_t want_all(const struct life *life, penult_named_tensor *tensors) {
    penult_tensor_info info = {.struct_size = sizeof info};
    uint32_t count = 0;
    size_t at = 0;
    while (count < MOST_TENSORS && condition->tensor(life->pipeline, count, out.chunks, &info, NULL) == PENULT_OK) {
        size_t bytes = info.shape[1] * (info.rank == 3 ? info.shape[2] : 1) * sizeof(float);
        tensors[count++] = (penult_named_tensor){info.name, {.data = memory + at, .bytes = bytes, .dtype = PENULT_F32}};
        at += bytes;
    }
    if (at > memory_bytes)
        give_up("tensors of %zu bytes", at);
    return count;
}

/* Once, then other prompts, whose windows want slots of the cache that nobody has used, then the first again: whatever of it
 * comes from the cache, every bit is the same. */
int32_t life_condition(struct life *life) {
    penult_named_tensor tensors[MOST_TENSORS];
    penult_condition_request request = request_of(life);
    const penult_condition_text own = request.prompt, negative = request.negative;
    uint64_t first = 0;
    request.tensor_count = want_all(life, tensors);
    request.tensor_stride = sizeof tensors[0];
    request.tensors = tensors;
    for (size_t turn = 0; turn <= LAST_TURN; turn++) {
        int is_other = turn > 0 && turn < LAST_TURN;
        request.prompt = is_other ? (penult_condition_text){OTHER, strlen(OTHER) - turn} : own;
        request.negative = is_other ? (penult_condition_text){OTHER, 8 + turn} : negative;
        memset(memory, 0, memory_bytes);
        blocks_done = 0;
        int32_t status = condition->condition(life->pipeline, &request, NULL, &life->now);
        for (size_t i = 0; status && !blocks_done && i < memory_bytes; i++)
            life->dangling |= memory[i] != 0;
        if (status)
            return status;
        uint64_t bits = life_mix(0, memory, memory_bytes);
        life->dangling |= turn == LAST_TURN && bits != first;
        first = turn == 0 ? bits : first;
    }
    return PENULT_OK;
}

int32_t life_pipeline_close(struct life *life) {
    condition->pipeline_close(life->pipeline);
    life->pipeline = NULL;
    return PENULT_OK;
}

uint64_t life_condition_bits(uint64_t hash) {
    return life_mix(life_mix(hash, &out, sizeof out), memory, memory_bytes);
}
