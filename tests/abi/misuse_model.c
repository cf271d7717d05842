/* misuse_model.c - wrong calls of model_open, model_describe, tokenize, session_measure and session_open.
 *
 * Each test protects one function of the table; encode_text has a file of its own.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "misuse.h"

/* ---- model_open --------------------------------------------------------------------------------------------- */

static int32_t call_open(void *sized, penult_error *error, void *user) {
    (void)user;
    penult_model *opened = (penult_model *)1;
    const int32_t status = api->model_open(sized, &opened, error);
    if (status == PENULT_OK) {
        assert_non_null(opened);
        api->model_close(opened);
    } else {
        assert_null(opened);
    }
    return status;
}

static penult_open_params open_params(void) {
    return (penult_open_params){.struct_size = sizeof(penult_open_params), .path = model_path};
}

static void open_refused(const penult_open_params *params, int32_t status, const char *first, const char *second) {
    penult_error error;
    penult_open_params copy = *params;
    error_fill(&error);
    FAILED(status, call_open(&copy, &error, NULL), &error, first, second);
    assert_int_equal(call_open(&copy, NULL, NULL), status);
}

static void open_sizes(void **state) {
    (void)state;
    const penult_open_params right = open_params();
    sized_struct("params", &right, sizeof right, offsetof(penult_open_params, tokenizer_path),
                 call_open, NULL);
}

static void open_null(void **state) {
    (void)state;
    penult_error error;
    penult_open_params params = open_params();
    error_fill(&error);
    FAILED(PENULT_E_ARGUMENT, call_open(NULL, &error, NULL), &error, "params", "NULL");
    error_fill(&error);
    FAILED(PENULT_E_ARGUMENT, api->model_open(&params, NULL, &error), &error, "out", "NULL");
    /* no path is a tokenizer alone, which must be somewhere */
    params.path = NULL;
    params.tokenizer_path = "/nonexistent/tokenizer.json";
    open_refused(&params, PENULT_E_NOT_FOUND, "/nonexistent", "");
    api->model_close(NULL);
}

static void open_values(void **state) {
    (void)state;
    penult_open_params params = open_params();
    params.access = 2;
    open_refused(&params, PENULT_E_UNSUPPORTED, "access", "2");
    params = open_params();
    params.activation = 3;
    open_refused(&params, PENULT_E_UNSUPPORTED, "activation", "3");
    params = open_params();
    params.reserved = 1;
    open_refused(&params, PENULT_E_UNSUPPORTED, "reserved", "0");
    params = open_params();
    params.tokenizer_mode = 2;
    open_refused(&params, PENULT_E_UNSUPPORTED, "tokenizer_mode", "2");
    params = open_params();
    params.pad_in_text = 3;
    open_refused(&params, PENULT_E_UNSUPPORTED, "pad_in_text", "3");
    params.pad_in_text = PENULT_PAD_IS_SPECIAL;
    params.tokenizer_mode = PENULT_TOKENIZER_OPEN_CLIP;
    open_refused(&params, PENULT_E_ARGUMENT, "pad_in_text", "open_clip");
    params = open_params();
    params.path = "no/such/model";
    open_refused(&params, PENULT_E_NOT_FOUND, "no/such/model", "");
    params.path = "no/\xff\xfe"; /* a message is UTF-8 whatever a path is made of */
    open_refused(&params, PENULT_E_NOT_FOUND, "no/??", "");
    params.path = "";
    open_refused(&params, PENULT_E_ARGUMENT, "params->path is an empty", "");
    params = open_params();
    params.tokenizer_path = "";
    open_refused(&params, PENULT_E_ARGUMENT, "params->tokenizer_path is an empty", "");
    params = open_params();
    params.tokenizer_path = "no/such/tokenizer";
    open_refused(&params, PENULT_E_NOT_FOUND, "no/such/tokenizer", "");
}

static int32_t cancel_at_once(void *user, const penult_progress *progress) {
    int *calls = user;
    const int right = progress->struct_size == sizeof *progress && progress->stage == PENULT_STAGE_OPEN &&
                      progress->done <= progress->total && progress->total > 0;
    *calls += right ? 1 : 1000;
    return 1;
}

static void open_cancelled(void **state) {
    (void)state;
    int calls = 0;
    penult_open_params params = open_params();
    params.access = PENULT_COPY;
    params.progress = cancel_at_once;
    params.user = &calls;
    open_refused(&params, PENULT_E_CANCELLED, "cancel", "");
    assert_int_equal(calls, 2); /* open_refused calls twice; a cancelled open asks once */
}

/* ---- model_describe ----------------------------------------------------------------------------------------- */

static void describe(void **state) {
    (void)state;
    unsigned char bytes[sizeof(penult_model_info) + 32];
    penult_error error;
    error_fill(&error);
    FAILED(PENULT_E_ARGUMENT, api->model_describe(NULL, &info, &error), &error, "model", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->model_describe(model, NULL, &error), &error, "info", "NULL");
    const uint32_t sizes[] = {0, 3, 8, 60, sizeof(penult_model_info), sizeof(penult_model_info) + 16};
    for (size_t number = 0; number < sizeof sizes / sizeof sizes[0]; number++) {
        const uint32_t size = sizes[number];
        memset(bytes, 0xa5, sizeof bytes);
        memcpy(bytes, &size, sizeof size);
        error_fill(&error);
        const int32_t status = api->model_describe(model, (penult_model_info *)(void *)bytes, &error);
        if (size < 8) {
            FAILED(PENULT_E_ARGUMENT, status, &error, "info", "struct_size");
            assert_int_equal(bytes[4], 0xa5);
            continue;
        }
        /* What fits is filled, what this version does not know is zero, what lies behind is not touched. */
        assert_int_equal(status, PENULT_OK);
        error_untouched(&error);
        const size_t known = size < sizeof info ? size : sizeof info;
        assert_memory_equal(bytes, &size, sizeof size);
        assert_memory_equal(bytes + 4, (unsigned char *)&info + 4, known - 4);
        for (size_t byte = known; byte < sizeof bytes; byte++) {
            assert_int_equal(bytes[byte], byte < size ? 0 : 0xa5);
        }
    }
}

/* ---- tokenize ----------------------------------------------------------------------------------------------- */

static int32_t ids[512];
static penult_span spans[512];

static penult_token_request token_request(const char *text, size_t bytes) {
    return (penult_token_request){.struct_size = sizeof(penult_token_request), .text = text, .text_bytes = bytes};
}

static penult_token_result token_result(uint64_t capacity) {
    memset(ids, 0xa5, sizeof ids);
    memset(spans, 0xa5, sizeof spans);
    return (penult_token_result){
        .struct_size = sizeof(penult_token_result), .ids = ids, .spans = spans, .capacity = capacity};
}

static void tokens_refused(const penult_token_request *request, penult_token_result result, int32_t status,
                           const char *first, const char *second) {
    penult_error error;
    const penult_token_result before = result;
    error_fill(&error);
    FAILED(status, api->tokenize(model, request, &result, &error), &error, first, second);
    if (status != PENULT_E_LIMIT) {
        assert_memory_equal(&result, &before, sizeof before);
    }
    for (size_t index = 0; index < sizeof ids / sizeof ids[0]; index++) {
        assert_int_equal(ids[index], (int32_t)0xa5a5a5a5);
        assert_true(spans[index].begin == UINT64_C(0xa5a5a5a5a5a5a5a5));
    }
}

static int32_t call_tokenize_request(void *sized, penult_error *error, void *user) {
    penult_token_result result = token_result(CONTEXT);
    (void)user;
    return api->tokenize(model, sized, &result, error);
}

static int32_t call_tokenize_result(void *sized, penult_error *error, void *user) {
    (void)user;
    unsigned char before[512];
    uint32_t size;
    const penult_token_request request = token_request("a cat", 5);
    memcpy(&size, sized, sizeof size);
    memcpy(before, sized, sizeof before);
    const int32_t status = api->tokenize(model, &request, sized, error);
    assert_memory_equal((unsigned char *)sized + size, before + size, sizeof before - size); /* never beyond */
    return status;
}

static void tokenize_sizes(void **state) {
    (void)state;
    const penult_token_request request = token_request("a cat", 5);
    sized_struct("request", &request, sizeof request, offsetof(penult_token_request, text),
                 call_tokenize_request, NULL);
    const penult_token_result result = token_result(CONTEXT);
    sized_struct("result", &result, sizeof result, offsetof(penult_token_result, body_count),
                 call_tokenize_result, NULL);
}

static void tokenize_null(void **state) {
    (void)state;
    penult_error error;
    penult_token_request request = token_request("a cat", 5);
    penult_token_result result = token_result(CONTEXT);
    FAILED(PENULT_E_ARGUMENT, api->tokenize(NULL, &request, &result, &error), &error, "model", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->tokenize(model, NULL, &result, &error), &error, "request", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->tokenize(model, &request, NULL, &error), &error, "result", "NULL");
    request.text = NULL;
    tokens_refused(&request, token_result(CONTEXT), PENULT_E_ARGUMENT, "text", "NULL");

    /* NULL with no bytes is an empty text; arrays that are NULL are not filled, whatever the capacity. */
    request.text_bytes = 0;
    assert_int_equal(api->tokenize(model, &request, &result, NULL), PENULT_OK);
    assert_int_equal(result.id_count, CONTEXT);
    assert_int_equal(result.body_count, 0);
    assert_int_equal(result.end_position, 1);
    request = token_request("a cat", 5);
    result = token_result(0);
    result.ids = NULL;
    result.spans = NULL;
    assert_int_equal(api->tokenize(model, &request, &result, NULL), PENULT_OK);
    assert_int_equal(result.id_count, CONTEXT);
    const uint64_t body = result.body_count;
    result = token_result(UINT64_MAX);
    result.ids = NULL;
    assert_int_equal(api->tokenize(model, &request, &result, NULL), PENULT_OK);
    assert_int_equal(result.body_count, body);
    assert_int_equal(spans[1].begin, 0);
    assert_int_equal(spans[body].end, 5);
}

static void tokenize_values(void **state) {
    (void)state;
    penult_token_request request = token_request("a cat", 5);
    request.flags = 2;
    tokens_refused(&request, token_result(CONTEXT), PENULT_E_UNSUPPORTED, "flags", "2");
    request.flags = 0x80000001u;
    tokens_refused(&request, token_result(CONTEXT), PENULT_E_UNSUPPORTED, "flags", "80000001");
    request.flags = 0;
    penult_token_result result = token_result(CONTEXT);
    result.reserved = 1;
    tokens_refused(&request, result, PENULT_E_UNSUPPORTED, "reserved", "0");

    request = token_request("abc\xff", 4);
    tokens_refused(&request, token_result(CONTEXT), PENULT_E_TEXT, "UTF-8", "3");
    request = token_request("abc\xed\xa0\x80", 6); /* a lone surrogate */
    tokens_refused(&request, token_result(CONTEXT), PENULT_E_TEXT, "UTF-8", "3");
    request = token_request("abcd\xe2\x82", 6); /* the end of the text inside a character */
    tokens_refused(&request, token_result(CONTEXT), PENULT_E_TEXT, "UTF-8", "4");
}

static void tokenize_short_arrays(void **state) {
    (void)state;
    penult_error error;
    const penult_token_request framed = token_request("a cat", 5);
    penult_token_result result = token_result(CONTEXT - 1);
    tokens_refused(&framed, result, PENULT_E_LIMIT, "76", "77");
    assert_int_equal(api->tokenize(model, &framed, &result, &error), PENULT_E_LIMIT);
    assert_int_equal(result.id_count, CONTEXT);
    /* The number that the first call says is the capacity with which the second succeeds. */
    char text[200];
    memset(text, '.', sizeof text);
    penult_token_request body = token_request(text, sizeof text);
    body.flags = PENULT_TOKENS_BODY;
    result = token_result(1);
    assert_int_equal(api->tokenize(model, &body, &result, &error), PENULT_E_LIMIT);
    const uint64_t count = result.id_count;
    assert_true(count > 1 && count <= sizeof text);
    result = token_result(count);
    assert_int_equal(api->tokenize(model, &body, &result, &error), PENULT_OK);
    assert_int_equal(result.id_count, count);
    assert_int_equal(result.body_count, count);
    assert_int_equal(spans[count - 1].end, sizeof text);
    assert_int_equal(ids[count], (int32_t)0xa5a5a5a5);
}

static void tokenize_reads_no_further(void **state) {
    (void)state;
    /* The text ends where readable memory ends, in the middle of nothing: no terminator, no look-ahead. */
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    assert_int_equal(mprotect(memory + page, page, PROT_NONE), 0);
    const char *const ends[] = {"a cat", "it'", "<|endoftext|", "8", " ", "caf\xc3\xa9", "e\xcc\x81",
                                "\xf0\x9f\x90\x88", "\xc3", "\xe2\x82", "\xf0\x9f\x90"};
    for (size_t number = 0; number < sizeof ends / sizeof ends[0]; number++) {
        const size_t bytes = strlen(ends[number]);
        memcpy(memory + page - bytes, ends[number], bytes);
        const penult_token_request request = token_request(memory + page - bytes, bytes);
        penult_token_result result = token_result(CONTEXT);
        const int32_t status = api->tokenize(model, &request, &result, NULL);
        assert_int_equal(status, number < 8 ? PENULT_OK : PENULT_E_TEXT);
    }
    /* No memory holds such a text; the library says so before it looks at one byte. */
    penult_error error;
    penult_token_request request = token_request(memory + page, UINT64_MAX);
    penult_token_result result = token_result(CONTEXT);
    const int32_t status = api->tokenize(model, &request, &result, &error);
    assert_true(status == PENULT_E_LIMIT || status == PENULT_E_NO_MEMORY || status == PENULT_E_ARGUMENT);
    FAILED(status, status, &error, "18446744073709551615");
    munmap(memory, 2 * page);
}

/* ---- session_measure, session_open -------------------------------------------------------------------------- */

static int32_t call_measure(void *sized, penult_error *error, void *user) {
    (void)user;
    uint64_t bytes = 0xa5;
    const int32_t status = api->session_measure(model, sized, &bytes, error);
    assert_true(status == PENULT_OK ? bytes > 4096 : bytes == 0xa5);
    return status;
}

static int32_t call_session(void *sized, penult_error *error, void *user) {
    (void)user;
    penult_session *session = (penult_session *)1;
    const int32_t status = api->session_open(model, sized, &session, error);
    if (status == PENULT_OK) {
        assert_non_null(session);
        api->session_close(session);
    } else {
        assert_null(session);
    }
    return status;
}

static void session_sizes(void **state) {
    (void)state;
    const penult_session_params right = session_params();
    const size_t small = offsetof(penult_session_params, max_prompts);
    sized_struct("params", &right, sizeof right, small, call_measure, NULL);
    sized_struct("params", &right, sizeof right, small, call_session, NULL);
}

static void session_null(void **state) {
    (void)state;
    penult_error error;
    uint64_t bytes;
    penult_session *session = (penult_session *)1;
    const penult_session_params params = session_params();
    FAILED(PENULT_E_ARGUMENT, api->session_measure(NULL, &params, &bytes, &error), &error, "model", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->session_measure(model, NULL, &bytes, &error), &error, "params", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->session_measure(model, &params, NULL, &error), &error, "bytes", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->session_open(NULL, &params, &session, &error), &error, "model", "NULL");
    assert_null(session);
    FAILED(PENULT_E_ARGUMENT, api->session_open(model, NULL, &session, &error), &error, "params", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->session_open(model, &params, NULL, &error), &error, "out", "NULL");
    api->session_close(NULL);
    api->session_cancel(NULL);
    assert_null(api->extension(NULL));
    assert_null(api->extension(""));
    assert_null(api->extension("penult.nothing/1"));
}

/* Opened without a path: zeros for the tower, tokens as the whole model gives them, and no session. */
static void tokenizer_alone(void **state) {
    (void)state;
    penult_error error;
    penult_model *alone;
    penult_session *session = (penult_session *)1;
    uint64_t bytes;
    int32_t rows[2][77];
    penult_open_params params = open_params();
    penult_model_info found = {.struct_size = sizeof found}, zeros = {.struct_size = sizeof found, .context = 77};
    const penult_session_params session_of = session_params();
    params.tokenizer_path = params.path;
    params.path = NULL;
    assert_int_equal(api->model_open(&params, &alone, &error), PENULT_OK);
    assert_int_equal(api->model_describe(alone, &found, &error), PENULT_OK);
    assert_true(found.start_id > 0 && found.end_id > found.start_id && found.pad_id >= 0);
    zeros.start_id = found.start_id;
    zeros.end_id = found.end_id;
    zeros.pad_id = found.pad_id;
    assert_memory_equal(&found, &zeros, sizeof found);
    FAILED(PENULT_E_ARGUMENT, api->session_measure(alone, &session_of, &bytes, &error), &error, "only a tokenizer", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->session_open(alone, &session_of, &session, &error), &error, "only a tokenizer", "NULL");
    assert_null(session);
    for (size_t i = 0; i < 2; i++) {
        penult_token_request request = {.struct_size = sizeof request, .text = "a photo of a cat!", .text_bytes = 17};
        penult_token_result result = {.struct_size = sizeof result, .ids = rows[i], .capacity = 77};
        assert_int_equal(api->tokenize(i ? alone : model, &request, &result, &error), PENULT_OK);
    }
    assert_memory_equal(rows[0], rows[1], sizeof rows[0]);
    api->model_close(alone);
}

static void session_values(void **state) {
    (void)state;
    penult_error error;
    const sized_call calls[2] = {call_measure, call_session};
    for (size_t number = 0; number < 2; number++) {
#define FLAW(member, value, status, ...) \
    do { \
        penult_session_params params = session_params(); \
        params.member = value; \
        FAILED(status, calls[number](&params, &error, NULL), &error, __VA_ARGS__); \
    } while (0)
        FLAW(flags, 4, PENULT_E_UNSUPPORTED, "flags", "4");
        FLAW(reserved, 8, PENULT_E_UNSUPPORTED, "reserved", "8");
        FLAW(threads, 257, PENULT_E_LIMIT, "257", "256");
        FLAW(kept_prompts, 65, PENULT_E_LIMIT, "kept_prompts", "65", "64");
        /* Sizes whose product does not fit, or fits and is absurd: an error that names the number, at once. */
        FLAW(max_text_bytes, UINT64_MAX, PENULT_E_LIMIT, "max_text_bytes", "18446744073709551615");
    }
    penult_session_params params = session_params();
    params.max_prompts = UINT32_MAX;
    params.max_text_bytes = UINT64_C(1) << 40;
    const int32_t status = call_session(&params, &error, NULL);
    assert_true(status == PENULT_E_LIMIT || status == PENULT_E_NO_MEMORY);
    FAILED(status, status, &error, "");
}

static void session_measure_grows(void **state) {
    (void)state;
    uint64_t one, more;
    penult_session_params params = session_params();
    assert_int_equal(api->session_measure(model, &params, &one, NULL), PENULT_OK);
    params.max_prompts *= 4;
    assert_int_equal(api->session_measure(model, &params, &more, NULL), PENULT_OK);
    /* At least the residual stream of each further prompt. */
    assert_true(more >= one + 3 * MAX_PROMPTS * (uint64_t)CONTEXT * info.width * sizeof(float));
    params = session_params();
    params.threads = 4;
    assert_int_equal(api->session_measure(model, &params, &more, NULL), PENULT_OK);
    assert_true(more > one);
}

const struct CMUnitTest misuse_model_tests[] = {
    cmocka_unit_test(open_sizes),
    cmocka_unit_test(open_null),
    cmocka_unit_test(open_values),
    cmocka_unit_test(open_cancelled),
    cmocka_unit_test(describe),
    cmocka_unit_test(tokenize_sizes),
    cmocka_unit_test(tokenize_null),
    cmocka_unit_test(tokenize_values),
    cmocka_unit_test(tokenize_short_arrays),
    cmocka_unit_test(tokenize_reads_no_further),
    cmocka_unit_test(session_sizes),
    cmocka_unit_test(session_null),
    cmocka_unit_test(tokenizer_alone),
    cmocka_unit_test(session_values),
    cmocka_unit_test(session_measure_grows),
};
const size_t misuse_model_test_count = sizeof misuse_model_tests / sizeof misuse_model_tests[0];
