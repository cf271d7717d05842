/* test_misuse.c - a careless host against the real plugin. Usage: test_misuse PLUGIN MODEL.
 *
 * Protects the promise that a wrong call is a status and a sentence, and never a crash, a partial result or a session
 * that is worse than before. This file owns the fixture (misuse.h) and the order; the tests are in misuse_*.c.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "misuse.h"
#include "misuse_condition.h"

#define GUARD 0xa5
#define GUARD_BYTES 64u

const penult_api *api;
const char *model_path;
penult_model *model;
penult_model_info info;

void error_fill(penult_error *error) {
    memset(error, GUARD, sizeof *error);
}

void error_untouched(const penult_error *error) {
    penult_error filled;
    error_fill(&filled);
    assert_memory_equal(error, &filled, sizeof filled);
}

/* The child leaves its result in shared memory and ends by a signal: what its parent's threads held is nobody's there, and
 * memcheck, which looks for leaks where a process exits, would call it lost. */
int in_a_child(int (*child)(void *context), void *context) {
    int *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0, given = CHILD_HANGS;
    assert_true(result != MAP_FAILED);
    *result = CHILD_CRASHED;
    const pid_t process = fork();
    if (process == 0) {
        *result = child(context);
        kill(getpid(), SIGKILL);
    }
    for (int tenth = 0; process > 0 && tenth < 100 && given == CHILD_HANGS; tenth++) {
        const struct timespec pause = {.tv_nsec = 100000000};
        if (waitpid(process, &status, WNOHANG) == process) {
            given = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? *result : CHILD_CRASHED;
        } else {
            nanosleep(&pause, NULL);
        }
    }
    if (process > 0 && given == CHILD_HANGS) {
        kill(process, SIGKILL);
        waitpid(process, NULL, 0);
    }
    munmap(result, sizeof *result);
    return given;
}

void failed_with(int32_t wanted, int32_t status, const penult_error *error, const char *const *words) {
    if (status != wanted) {
        fail_msg("status %d instead of %d: %.508s", status, wanted, status == 0 ? "success" : error->message);
    }
    assert_int_equal(error->status, status);
    assert_non_null(memchr(error->message, '\0', sizeof error->message));
    assert_null(strchr(error->message, '\n'));
    assert_true(strlen(error->message) > 10);
    for (; *words != NULL; words++) {
        if (strstr(error->message, *words) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", error->message, *words);
        }
    }
}

penult_session_params session_params(void) {
    return (penult_session_params){.struct_size = sizeof(penult_session_params),
                                   .threads = 2,
                                   .max_prompts = MAX_PROMPTS,
                                   .max_text_bytes = MAX_TEXT_BYTES};
}

penult_session *open_session(penult_model *of) {
    penult_session_params params = session_params();
    penult_session *session = NULL;
    penult_error error;
    if (api->session_open(of, &params, &session, &error) != PENULT_OK) {
        fail_msg("%s", error.message);
    }
    assert_non_null(session);
    return session;
}

void encode_reset(struct encode *encode) {
    const size_t hidden_bytes = 2u * CONTEXT * info.width * sizeof(float);
    const size_t pooled_bytes = 2u * info.projection * sizeof(float);
    memset(encode->memory, GUARD, encode->memory_bytes);
    memset(encode->results, GUARD, sizeof encode->results);
    memset(encode->prompts, 0, sizeof encode->prompts);
    encode->prompts[0] = (penult_prompt){.text = "a photo of a cat", .text_bytes = 16};
    encode->prompts[1] = (penult_prompt){.text = "caf\xc3\xa9, 8k!", .text_bytes = 10};
    encode->outputs[0] = (penult_output){
        .kind = PENULT_HIDDEN,
        .layer = -2,
        .to = {.data = encode->memory + GUARD_BYTES, .bytes = hidden_bytes, .dtype = PENULT_F32}};
    encode->outputs[1] = (penult_output){.kind = PENULT_POOLED_PROJECTED,
                                         .to = {.data = encode->memory + 2 * GUARD_BYTES + hidden_bytes,
                                                .bytes = pooled_bytes,
                                                .dtype = PENULT_F32}};
    encode->request = (penult_text_request){.struct_size = sizeof encode->request,
                                            .prompt_count = 2,
                                            .prompt_stride = sizeof(penult_prompt),
                                            .prompts = encode->prompts,
                                            .output_count = 2,
                                            .output_stride = sizeof(penult_output),
                                            .outputs = encode->outputs};
    encode->result = (penult_text_result){.struct_size = sizeof encode->result,
                                          .prompt_count = 4,
                                          .prompt_stride = sizeof(penult_prompt_result),
                                          .prompts = encode->results};
}

int32_t encode_run(struct encode *encode, penult_error *error) {
    return api->encode_text(encode->session, &encode->request, &encode->result, error);
}

void encode_is_right(struct encode *encode) {
    penult_error error;
    error_fill(&error);
    encode_reset(encode);
    if (encode_run(encode, &error) != PENULT_OK) {
        fail_msg("the right request failed: %.508s", error.message);
    }
    error_untouched(&error);
    assert_memory_equal(encode->memory, encode->right, encode->memory_bytes);
    assert_int_equal(encode->result.struct_size, sizeof encode->result);
    assert_int_equal(encode->result.tokens, CONTEXT);
    assert_int_equal(encode->result.blocks_run, info.layers);
    assert_int_equal(encode->results[0].end_position, encode->results[0].body_count + 1);
    assert_int_equal(encode->results[0].cut_count, 0);
    assert_int_equal(encode->results[0].cut_begin, 16);
}

void encode_refused(struct encode *encode, int32_t status, const char *const *words) {
    const penult_text_result result = encode->result;
    penult_prompt_result results[4];
    memcpy(results, encode->results, sizeof results);
    unsigned char *before = malloc(encode->memory_bytes);
    assert_non_null(before);
    memcpy(before, encode->memory, encode->memory_bytes);

    penult_error error;
    error_fill(&error);
    const int32_t got = encode_run(encode, &error);
    failed_with(status, got, &error, words);
    assert_memory_equal(encode->memory, before, encode->memory_bytes);
    assert_memory_equal(&encode->result, &result, sizeof result);
    assert_memory_equal(encode->results, results, sizeof results);
    free(before);
    /* The same again without an error struct: nothing to write the sentence to. */
    assert_int_equal(encode_run(encode, NULL), status);
    encode_is_right(encode);
    encode_reset(encode);
}

int encode_setup(void **state) {
    struct encode *encode = calloc(1, sizeof *encode);
    assert_non_null(encode);
    encode->memory_bytes = 3u * GUARD_BYTES + 2u * (CONTEXT * info.width + info.projection) * sizeof(float);
    encode->memory = malloc(encode->memory_bytes);
    encode->right = malloc(encode->memory_bytes);
    assert_non_null(encode->memory);
    assert_non_null(encode->right);
    encode->session = open_session(model);
    encode_reset(encode);
    penult_error error;
    if (encode_run(encode, &error) != PENULT_OK) {
        fail_msg("%s", error.message);
    }
    memcpy(encode->right, encode->memory, encode->memory_bytes);
    /* The library wrote what it was told to and not a byte beside it. */
    const size_t gaps[3] = {0, GUARD_BYTES + encode->outputs[0].to.bytes, encode->memory_bytes - GUARD_BYTES};
    for (size_t gap = 0; gap < 3; gap++) {
        for (size_t byte = 0; byte < GUARD_BYTES; byte++) {
            assert_int_equal(encode->right[gaps[gap] + byte], GUARD);
        }
    }
    encode_reset(encode);
    *state = encode;
    return 0;
}

int encode_teardown(void **state) {
    struct encode *encode = *state;
    api->session_close(encode->session);
    free(encode->memory);
    free(encode->right);
    free(encode);
    return 0;
}

void sized_struct(const char *name, const void *right, size_t size, size_t small, sized_call call, void *user) {
    unsigned char bytes[512];
    penult_error error;
    struct {
        uint32_t size;
        unsigned char tail; /* what the unknown bytes are filled with */
        int32_t status;
    } cases[] = {
        {0, 0, PENULT_E_ARGUMENT},                     /* forgotten */
        {3, 0, PENULT_E_ARGUMENT},                     /* smaller than the field that says it */
        {(uint32_t)small, GUARD, PENULT_OK},           /* an older host: what lies behind is not ours to read */
        {(uint32_t)size, GUARD, PENULT_OK},            /* this host */
        {(uint32_t)size + 4, 0, PENULT_OK},            /* a newer host that uses nothing new */
        {(uint32_t)size + 64, 0, PENULT_OK},
        {(uint32_t)size + 64, 1, PENULT_E_UNSUPPORTED}, /* a newer host that does */
    };
    assert_true(size + 64 <= sizeof bytes);
    for (size_t number = 0; number < sizeof cases / sizeof cases[0]; number++) {
        memset(bytes, cases[number].tail, sizeof bytes);
        memcpy(bytes, right, cases[number].size == small ? small : size);
        memcpy(bytes, &cases[number].size, sizeof(uint32_t));
        error_fill(&error);
        const int32_t status = call(bytes, &error, user);
        if (status != cases[number].status) {
            fail_msg("%s with struct_size %u (of %zu) and a tail of %u gives %d instead of %d: %.508s", name,
                     cases[number].size, size, cases[number].tail, status, cases[number].status,
                     status == PENULT_OK ? "success" : error.message);
        }
        if (status == PENULT_OK) {
            error_untouched(&error);
        } else {
            FAILED(cases[number].status, status, &error, name);
        }
    }
    /* One wrong byte at the very end counts as well. */
    const uint32_t longer = (uint32_t)size + 64;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, right, size);
    memcpy(bytes, &longer, sizeof longer);
    bytes[longer - 1] = 1;
    FAILED(PENULT_E_UNSUPPORTED, call(bytes, &error, user), &error, name);
}

static int open_all(void **state) {
    (void)state;
    penult_open_params params = {.struct_size = sizeof params, .path = model_path};
    penult_error error;
    if (api->model_open(&params, &model, &error) != PENULT_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    info.struct_size = sizeof info;
    return api->model_describe(model, &info, &error) != PENULT_OK || info.context != CONTEXT || info.projection == 0;
}

static int close_all(void **state) {
    (void)state;
    api->model_close(model);
    return 0;
}

int main(int argc, char **argv) {
    struct penult_library library;
    char why[512];
    if (argc != 3) {
        fprintf(stderr, "usage: test_misuse PLUGIN MODEL\n");
        return 2;
    }
    if (penult_load(&library, argv[1], why, sizeof why) != 0) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    api = library.api;
    condition = api->extension(PENULT_CONDITION);
    model_path = argv[2];
    /* One group, so that there is one plan in the TAP output. */
    enum { PARTS = 7 };
    const size_t counts[PARTS] = {misuse_model_test_count,    misuse_encode_test_count,    misuse_life_test_count,
                                  misuse_pipeline_test_count, misuse_condition_test_count, misuse_condition_life_test_count,
                                  misuse_condition_recipes_test_count};
    const struct CMUnitTest *const parts[PARTS] = {misuse_model_tests,    misuse_encode_tests,    misuse_life_tests,
                                                   misuse_pipeline_tests, misuse_condition_tests, misuse_condition_life_tests,
                                                   misuse_condition_recipes_tests};
    struct CMUnitTest tests[128];
    size_t count = 0;
    for (size_t part = 0; part < PARTS; part++) {
        for (size_t number = 0; number < counts[part] && count < sizeof tests / sizeof tests[0]; number++) {
            tests[count++] = parts[part][number];
        }
    }
    const int failed = _cmocka_run_group_tests("misuse", tests, count, open_all, close_all);
    penult_unload(&library);
    return failed != 0;
}
