/* misuse_condition.c - wrong requests to plan and condition, one broken field at a time, and the right layouts of tensors.
 *
 * Protects: every error that can be found before the first block is found there, named, and leaves tensors, result and its
 * arrays untouched; the pipeline gives the bits that it gave before.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "misuse_condition.h"

#define GUARD 0xa5
#define GUARD_BYTES 64u

/* ---- the fixture -------------------------------------------------------------------------------------------- */

void conditioning_reset(struct conditioning *c) {
    size_t at = GUARD_BYTES;
    memset(c->memory, GUARD, c->memory_bytes);
    memset(c->tokens, GUARD, sizeof c->tokens);
    memset(c->windows, GUARD, sizeof c->windows);
    for (uint32_t i = 0; i < TENSORS; i++) {
        penult_tensor_info tensor = {.struct_size = sizeof tensor};
        assert_int_equal(condition->tensor(c->pipeline, i, 1, &tensor, NULL), PENULT_OK);
        c->tensors[i] = (penult_named_tensor){
            tensor.name, {.data = c->memory + at, .bytes = c->bytes_of[i], .dtype = PENULT_F32}};
        at += c->bytes_of[i] + GUARD_BYTES;
    }
    memset(&c->tensors[TENSORS], 0, sizeof c->tensors[0]);
    c->request = (penult_condition_request){.struct_size = sizeof c->request,
                                            .prompt = {PROMPT, strlen(PROMPT)},
                                            .negative = {NEGATIVE, strlen(NEGATIVE)},
                                            .tensor_count = TENSORS,
                                            .tensor_stride = sizeof c->tensors[0],
                                            .tensors = c->tensors};
    c->result = (penult_condition_result){.struct_size = sizeof c->result,
                                          .token_stride = sizeof c->tokens[0],
                                          .tokens = c->tokens,
                                          .token_capacity = sizeof c->tokens / sizeof c->tokens[0],
                                          .windows = c->windows,
                                          .window_stride = sizeof c->windows[0],
                                          .window_capacity = sizeof c->windows / sizeof c->windows[0]};
}

int32_t conditioning_run(struct conditioning *c, penult_error *error) {
    return condition->condition(c->pipeline, &c->request, &c->result, error);
}

int32_t conditioning_plan(struct conditioning *c, penult_error *error) {
    return condition->plan(c->pipeline, &c->request, &c->result, error);
}

void conditioning_is_right(struct conditioning *c) {
    penult_error error;
    error_fill(&error);
    conditioning_reset(c);
    if (conditioning_run(c, &error) != PENULT_OK) {
        fail_msg("the right request failed: %.508s", error.message);
    }
    error_untouched(&error);
    assert_memory_equal(c->memory, c->right, c->memory_bytes);
    assert_int_equal(c->result.struct_size, sizeof c->result);
    assert_true(c->result.chunks == 1 && c->result.negative_chunks == 1 && c->result.window_count == 4);
    assert_true(c->result.cut_count == 0 && c->result.token_count > 8 && c->result.token_count < 64);
}

static void nothing_changed(struct conditioning *c, int32_t (*call)(struct conditioning *, penult_error *), int32_t status,
                            const char *const *words) {
    struct conditioning before = *c;
    unsigned char *memory = malloc(c->memory_bytes);
    penult_error error;
    assert_non_null(memory);
    memcpy(memory, c->memory, c->memory_bytes);
    error_fill(&error);
    failed_with(status, call(c, &error), &error, words);
    assert_int_equal(call(c, NULL), status);
    assert_memory_equal(c->memory, memory, c->memory_bytes);
    assert_memory_equal(c, &before, sizeof before);
    free(memory);
}

void conditioning_refused(struct conditioning *c, int also_plan, int32_t status, const char *const *words) {
    nothing_changed(c, conditioning_run, status, words);
    if (also_plan) {
        nothing_changed(c, conditioning_plan, status, words);
    }
    conditioning_is_right(c);
    conditioning_reset(c);
}

int conditioning_setup(void **state) {
    struct conditioning *c = calloc(1, sizeof *c);
    penult_named_model models[2];
    const penult_pipeline_params params = pipeline_params("sdxl", models);
    assert_non_null(c);
    c->pipeline = open_pipeline(&params);
    c->memory_bytes = GUARD_BYTES;
    for (uint32_t i = 0; i < TENSORS; i++) {
        penult_tensor_info tensor = {.struct_size = sizeof tensor};
        assert_int_equal(condition->tensor(c->pipeline, i, 1, &tensor, NULL), PENULT_OK);
        c->bytes_of[i] = sizeof(float) * tensor.shape[1] * (tensor.rank == 3 ? tensor.shape[2] : 1);
        c->memory_bytes += c->bytes_of[i] + GUARD_BYTES;
    }
    c->memory = malloc(c->memory_bytes);
    c->right = malloc(c->memory_bytes);
    assert_non_null(c->memory);
    assert_non_null(c->right);
    conditioning_reset(c);
    penult_error error;
    if (conditioning_run(c, &error) != PENULT_OK) {
        fail_msg("%s", error.message);
    }
    memcpy(c->right, c->memory, c->memory_bytes);
    /* the library wrote what it was told to and not a byte beside it */
    for (size_t i = 0, gap = 0; i <= TENSORS; gap += GUARD_BYTES + (i < TENSORS ? c->bytes_of[i] : 0), i++) {
        for (size_t byte = 0; byte < GUARD_BYTES; byte++) {
            assert_int_equal(c->right[gap + byte], GUARD);
        }
    }
    conditioning_is_right(c); /* now from the cache */
    assert_true(c->result.cached_count == 4 && c->result.blocks_run == 0);
    conditioning_reset(c);
    *state = c;
    return 0;
}

int conditioning_teardown(void **state) {
    struct conditioning *c = *state;
    condition->pipeline_close(c->pipeline);
    free(c->memory);
    free(c->right);
    free(c);
    return 0;
}

/* ---- the request -------------------------------------------------------------------------------------------- */

static void pointers(void **state) {
    struct conditioning *c = *state;
    uint64_t blank[16] = {0};
    penult_error error;
    void *const wrong[] = {NULL, blank, model};
    for (size_t i = 0; i < 3; i++) {
        penult_pipeline *const handle = wrong[i];
        FAILED(PENULT_E_ARGUMENT, condition->condition(handle, &c->request, &c->result, &error), &error, "pipeline",
               i ? "not a pipeline" : "NULL");
        FAILED(PENULT_E_ARGUMENT, condition->plan(handle, &c->request, &c->result, &error), &error, "pipeline");
    }
    FAILED(PENULT_E_ARGUMENT, condition->condition(c->pipeline, NULL, &c->result, &error), &error, "request", "NULL");
    FAILED(PENULT_E_ARGUMENT, condition->plan(c->pipeline, NULL, &c->result, &error), &error, "request", "NULL");
    FAILED(PENULT_E_ARGUMENT, condition->plan(c->pipeline, &c->request, NULL, &error), &error, "result", "NULL");
    assert_int_equal(c->memory[GUARD_BYTES], GUARD);
    conditioning_is_right(c);
    conditioning_reset(c);
    /* the result and the error are the caller's choice, and a plan needs no tensors */
    assert_int_equal(condition->condition(c->pipeline, &c->request, NULL, NULL), PENULT_OK);
    assert_memory_equal(c->memory, c->right, c->memory_bytes);
    c->request.tensors = NULL;
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "request->tensors");
    c->request.tensor_count = 0;
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "request->tensors");
    c->request.tensors = NULL;
    c->request.tensor_count = c->request.tensor_stride = 0;
    assert_int_equal(conditioning_plan(c, NULL), PENULT_OK);
    assert_true(c->result.window_count == 4 && c->result.cached_count == 0 && c->result.blocks_run == 0);
}

static int32_t call_request(void *sized, penult_error *error, void *user) {
    struct conditioning *c = user;
    conditioning_reset(c);
    const int32_t status = condition->condition(c->pipeline, sized, &c->result, error);
    if (status == PENULT_OK) {
        assert_memory_equal(c->memory, c->right, c->memory_bytes);
    }
    return status;
}

static int32_t call_plan_result(void *sized, penult_error *error, void *user) {
    struct conditioning *c = user;
    unsigned char before[512];
    uint32_t size;
    memcpy(&size, sized, sizeof size);
    memcpy(before, sized, sizeof before);
    conditioning_reset(c);
    const int32_t status = condition->plan(c->pipeline, &c->request, sized, error);
    assert_memory_equal((unsigned char *)sized + size, before + size, sizeof before - size); /* never beyond */
    return status;
}

static void sizes(void **state) {
    struct conditioning *c = *state;
    const penult_condition_request request = c->request;
    const penult_condition_result result = c->result;
    sized_struct("request", &request, sizeof request, offsetof(penult_condition_request, progress), call_request, c);
    sized_struct("result", &result, sizeof result, offsetof(penult_condition_result, window_count), call_plan_result, c);
}

static void values(void **state) {
    struct conditioning *c = *state;
    c->request.flags = 4;
    BOTH_REFUSED(c, PENULT_E_UNSUPPORTED, "request->flags", "0x4");
    c->request.reserved = 1;
    BOTH_REFUSED(c, PENULT_E_UNSUPPORTED, "request->reserved", "1");
    c->request.clip_skip = 1;
    BOTH_REFUSED(c, PENULT_E_ARGUMENT, "clip_skip", "PENULT_CONDITION_CLIP_SKIP");
    const int32_t skips[] = {-1, (int32_t)info.layers - 1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        c->request.flags = PENULT_CONDITION_CLIP_SKIP;
        c->request.clip_skip = skips[i];
        BOTH_REFUSED(c, PENULT_E_ARGUMENT, "clip skip", "sdxl@diffusers");
    }
    c->request.negative_sizes.crop_top = 1;
    BOTH_REFUSED(c, PENULT_E_ARGUMENT, "request->negative_sizes", "PENULT_CONDITION_NEGATIVE_SIZES");
    c->request.negative_sizes.aesthetic_score = 1e-320;
    BOTH_REFUSED(c, PENULT_E_ARGUMENT, "request->negative_sizes");
    uint32_t *const numbers[] = {&c->request.negative_sizes.original_height, &c->request.negative_sizes.original_width,
                                 &c->request.negative_sizes.crop_left, &c->request.negative_sizes.target_height,
                                 &c->request.negative_sizes.target_width};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        *numbers[i] = 1;
        BOTH_REFUSED(c, PENULT_E_ARGUMENT, "request->negative_sizes");
    }
    c->result.token_stride = 0;
    BOTH_REFUSED(c, PENULT_E_ARGUMENT, "result->token_stride", "0");
    c->result.window_stride = 65537;
    BOTH_REFUSED(c, PENULT_E_ARGUMENT, "result->window_stride", "65537");
}

static void texts(void **state) {
    struct conditioning *c = *state;
    static const char *const names[] = {"prompt", "prompt_2", "negative", "negative_2"};
    penult_condition_text *const fields[] = {&c->request.prompt, &c->request.prompt_2, &c->request.negative, &c->request.negative_2};
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *unreadable = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char text[MAX_TEXT_BYTES + 1];
    assert_true(unreadable != MAP_FAILED);
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < 4; i++) {
        *fields[i] = (penult_condition_text){NULL, 4};
        BOTH_REFUSED(c, PENULT_E_ARGUMENT, names[i], "NULL", "4");
        *fields[i] = (penult_condition_text){text, sizeof text};
        BOTH_REFUSED(c, PENULT_E_LIMIT, names[i], "257", "256");
        *fields[i] = (penult_condition_text){unreadable, UINT64_MAX}; /* the length is judged before a byte is read */
        BOTH_REFUSED(c, PENULT_E_LIMIT, names[i], "18446744073709551615");
        *fields[i] = (penult_condition_text){"abc\xff", 4};
        BOTH_REFUSED(c, PENULT_E_TEXT, i > 1 ? "negative" : "UTF-8", "UTF-8", "3");
        *fields[i] = (penult_condition_text){unreadable, 0}; /* given, empty, and not read */
        assert_int_equal(conditioning_run(c, NULL), PENULT_OK);
        conditioning_reset(c);
        *fields[i] = (penult_condition_text){text, MAX_TEXT_BYTES};
        assert_int_equal(conditioning_run(c, NULL), PENULT_OK);
        assert_true(c->result.cut_count > 0);
        conditioning_reset(c);
    }
    munmap(unreadable, page);
}

/* ---- tensors ------------------------------------------------------------------------------------------------ */

static void tensors(void **state) {
    struct conditioning *c = *state;
    const uint64_t row = 2 * info.width * sizeof(float);
    c->tensors[3].name = NULL;
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "request->tensors[3].name", "NULL");
    c->tensors[3].name = "text_mask";
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "request->tensors[3]", "text_mask", "sdxl@diffusers");
    c->tensors[0].name = "prompt_embeds\n\x01";
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "request->tensors[0]", "prompt_embeds");
    c->tensors[7].name = "vector";
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "vector", "twice");
    c->tensors[TENSORS] = c->tensors[0];
    c->request.tensor_count = UINT32_MAX; /* stops at the first that is there twice */
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "prompt_embeds", "twice");
    c->request.tensor_stride = 0;
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "request->tensor_stride", "0");
    c->request.tensor_stride = offsetof(penult_named_tensor, to);
    RUN_REFUSED(c, PENULT_E_ARGUMENT, "to.data", "NULL");
    for (uint32_t i = 0; i < TENSORS; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s: ", c->tensors[i].name);
        c->tensors[i].to.data = NULL;
        RUN_REFUSED(c, PENULT_E_ARGUMENT, name, "to.data", "NULL");
        c->tensors[i].to.bytes -= 1;
        RUN_REFUSED(c, PENULT_E_ARGUMENT, name, "to.bytes");
        c->tensors[i].to.bytes = 0;
        RUN_REFUSED(c, PENULT_E_ARGUMENT, name, "to.bytes is 0");
        c->tensors[i].to.reserved = 1;
        RUN_REFUSED(c, PENULT_E_UNSUPPORTED, name, "reserved");
        c->tensors[i].to.dtype = 0;
        RUN_REFUSED(c, PENULT_E_UNSUPPORTED, name, "to.dtype", "0");
        c->tensors[i].to.dtype = 99;
        RUN_REFUSED(c, PENULT_E_UNSUPPORTED, name, "to.dtype", "99");
        c->tensors[i].to.batch_pitch = c->bytes_of[i] - 1;
        RUN_REFUSED(c, PENULT_E_ARGUMENT, name, "to.batch_pitch");
        c->tensors[i].to.batch_pitch = c->bytes_of[i];
        c->tensors[i].to.row_pitch = i < 2 ? row : 1; /* counts for the context alone */
        assert_int_equal(conditioning_run(c, NULL), PENULT_OK);
        assert_memory_equal(c->memory, c->right, c->memory_bytes);
        conditioning_reset(c);
    }
    for (uint32_t i = 0; i < 2; i++) {
        c->tensors[i].to.row_pitch = row - 1;
        RUN_REFUSED(c, PENULT_E_ARGUMENT, c->tensors[i].name, "to.row_pitch");
        c->tensors[i].to.row_pitch = row + 1;
        RUN_REFUSED(c, PENULT_E_ARGUMENT, c->tensors[i].name, "to.bytes");
        c->tensors[i].to.row_pitch = UINT64_MAX;
        RUN_REFUSED(c, PENULT_E_ARGUMENT, c->tensors[i].name, "to.row_pitch", "overflows");
        c->tensors[i].to.row_pitch = UINT64_MAX / (CONTEXT - 1);
        RUN_REFUSED(c, PENULT_E_ARGUMENT, c->tensors[i].name, "overflows");
        /* as a longer prompt would need them */
        c->request.prompt = (penult_condition_text){"x", 1};
    }
}

/* Any alignment and any pitch: the bytes between rows are the caller's. Elements of a newer host are longer. */
static void layouts(void **state) {
    struct conditioning *c = *state;
    const size_t row = 2 * info.width * sizeof(float), pitch = row + 5, bytes = CONTEXT * pitch + 64;
    unsigned char *tensor = malloc(bytes), *expected = malloc(bytes), longer[2][sizeof(penult_named_tensor) + 4];
    assert_non_null(tensor);
    assert_non_null(expected);
    memset(tensor, 0x3c, bytes);
    memset(expected, 0x3c, bytes);
    for (size_t t = 0; t < CONTEXT; t++) {
        memcpy(expected + 3 + t * pitch, c->right + GUARD_BYTES + t * row, row);
    }
    c->tensors[0].to = (penult_buffer){
        .data = tensor + 3, .bytes = (CONTEXT - 1) * pitch + row, .row_pitch = pitch, .dtype = PENULT_F32};
    memset(longer, 0, sizeof longer);
    memcpy(longer[0], &c->tensors[6], sizeof c->tensors[6]);
    memcpy(longer[1], &c->tensors[0], sizeof c->tensors[0]);
    c->request.tensors = (const penult_named_tensor *)(const void *)longer;
    c->request.tensor_stride = sizeof longer[0];
    c->request.tensor_count = 2;
    assert_int_equal(conditioning_run(c, NULL), PENULT_OK);
    assert_memory_equal(tensor, expected, bytes);
    longer[1][sizeof longer[0] - 1] = 1;
    RUN_REFUSED(c, PENULT_E_UNSUPPORTED, "request->tensors[1]", "later version");
    free(tensor);
    free(expected);
}

/* ---- the result --------------------------------------------------------------------------------------------- */

/* Arrays that are short, absent, or of another host's elements: counts tell of all, and no byte beyond is written. */
static void arrays(void **state) {
    struct conditioning *c = *state;
    assert_int_equal(conditioning_plan(c, NULL), PENULT_OK);
    const uint64_t count = c->result.token_count;
    penult_condition_token tokens[64];
    memcpy(tokens, c->tokens, sizeof tokens);
    for (uint64_t room = 0; room <= count; room += 5) {
        conditioning_reset(c);
        c->result.token_capacity = room;
        c->result.window_capacity = (uint32_t)(room % 4);
        assert_int_equal(conditioning_plan(c, NULL), PENULT_OK);
        assert_true(c->result.token_count == count && c->result.window_count == 4);
        assert_memory_equal(c->tokens, tokens, room * sizeof tokens[0]);
        assert_int_equal(((unsigned char *)&c->tokens[room])[0], GUARD);
        assert_int_equal(((unsigned char *)&c->windows[room % 4])[0], GUARD);
    }
    conditioning_reset(c);
    c->result.tokens = NULL;
    c->result.windows = NULL;
    c->result.token_stride = c->result.window_stride = 0;
    assert_int_equal(conditioning_plan(c, NULL), PENULT_OK);
    assert_true(c->result.token_count == count && c->result.window_count == 4);
    conditioning_reset(c);
    c->result.token_stride = sizeof tokens[0] + 16;
    c->result.token_capacity = 2;
    c->result.window_stride = 8; /* tower and flags alone */
    assert_int_equal(conditioning_plan(c, NULL), PENULT_OK);
    const unsigned char *second = (unsigned char *)c->tokens + sizeof tokens[0] + 16;
    assert_memory_equal(second, &tokens[1], sizeof tokens[1]);
    for (size_t byte = 0; byte < 16; byte++) {
        assert_int_equal(second[sizeof tokens[1] + byte], 0);
    }
    assert_int_equal(((unsigned char *)c->windows)[4 * 8], GUARD);
}

#define WITH_PIPELINE(test) cmocka_unit_test_setup_teardown(test, conditioning_setup, conditioning_teardown)

const struct CMUnitTest misuse_condition_tests[] = {
    WITH_PIPELINE(pointers), WITH_PIPELINE(sizes),   WITH_PIPELINE(values), WITH_PIPELINE(texts),
    WITH_PIPELINE(tensors),  WITH_PIPELINE(layouts), WITH_PIPELINE(arrays),
};
const size_t misuse_condition_test_count = sizeof misuse_condition_tests / sizeof misuse_condition_tests[0];
