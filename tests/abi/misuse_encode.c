/* misuse_encode.c - wrong requests to encode_text, one broken field at a time, and the right layouts of outputs.
 *
 * Protects: every error that can be found before the first block is found there, named, and leaves the outputs
 * untouched.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "misuse.h"

static void pointers(void **state) {
    struct encode *e = *state;
    penult_error error;
    FAILED(PENULT_E_ARGUMENT, api->encode_text(NULL, &e->request, &e->result, &error), &error, "session", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->encode_text(e->session, NULL, &e->result, &error), &error, "request", "NULL");
    e->request.prompts = NULL;
    REFUSED(e, PENULT_E_ARGUMENT, "prompts", "NULL");
    e->request.outputs = NULL;
    REFUSED(e, PENULT_E_ARGUMENT, "outputs", "NULL");
    e->outputs[0].to.data = NULL;
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "NULL");
    e->prompts[1].text = NULL;
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 1", "NULL");
    /* The result and the error are the caller's choice. */
    assert_int_equal(api->encode_text(e->session, &e->request, NULL, NULL), PENULT_OK);
    assert_memory_equal(e->memory, e->right, e->memory_bytes);
    e->result.prompts = NULL;
    e->result.prompt_count = 0;
    e->result.prompt_stride = 0;
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_int_equal(e->result.tokens, CONTEXT);
}

static int32_t call_request(void *sized, penult_error *error, void *user) {
    struct encode *e = user;
    encode_reset(e);
    const int32_t status = api->encode_text(e->session, sized, &e->result, error);
    if (status == PENULT_OK) {
        assert_memory_equal(e->memory, e->right, e->memory_bytes);
    }
    return status;
}

static int32_t call_result(void *sized, penult_error *error, void *user) {
    struct encode *e = user;
    unsigned char before[512];
    uint32_t size;
    memcpy(&size, sized, sizeof size);
    memcpy(before, sized, sizeof before);
    encode_reset(e);
    const int32_t status = api->encode_text(e->session, &e->request, sized, error);
    assert_memory_equal((unsigned char *)sized + size, before + size, sizeof before - size); /* never beyond */
    return status;
}

static void sizes(void **state) {
    struct encode *e = *state;
    const penult_text_request request = e->request;
    sized_struct("request", &request, sizeof request, offsetof(penult_text_request, progress),
                 call_request, e);
    const penult_text_result result = e->result;
    sized_struct("result", &result, sizeof result, offsetof(penult_text_result, prompt_count),
                 call_result, e);
}

static void strides(void **state) {
    struct encode *e = *state;
    const char *const names[3] = {"prompt_stride", "output_stride", "result->prompt_stride"};
    uint32_t *const fields[3] = {&e->request.prompt_stride, &e->request.output_stride, &e->result.prompt_stride};
    for (size_t which = 0; which < 3; which++) {
        *fields[which] = 0;
        REFUSED(e, PENULT_E_ARGUMENT, names[which], "0");
    }
    /* An older host's outputs end before the buffer, which is then NULL. */
    e->request.output_stride = offsetof(penult_output, to);
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "NULL");

    /* An older host's prompts have no ids. */
    struct {
        const char *text;
        uint64_t text_bytes;
    } old[2] = {{"a photo of a cat", 16}, {"caf\xc3\xa9, 8k!", 10}};
    e->request.prompt_stride = sizeof old[0];
    e->request.prompts = (const penult_prompt *)(const void *)old;
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_memory_equal(e->memory, e->right, e->memory_bytes);
    encode_reset(e);

    /* The prompts of ABI 0.2 end before the mask: what lies behind them is the next prompt, and no mask. */
    unsigned char older[2][offsetof(penult_prompt, key_mask)];
    for (int index = 0; index < 2; index++) {
        memcpy(older[index], &e->prompts[index], sizeof older[0]);
    }
    e->request.prompt_stride = sizeof older[0];
    e->request.prompts = (const penult_prompt *)(const void *)older;
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_memory_equal(e->memory, e->right, e->memory_bytes);
    encode_reset(e);

    /* A newer host's elements are longer, and not even a multiple of eight bytes; what is new in them must be zero. */
    unsigned char prompts[2][sizeof(penult_prompt) + 4], outputs[2][sizeof(penult_output) + 12], results[2][100];
    for (int junk = 0; junk < 2; junk++) {
        memset(prompts, 0, sizeof prompts);
        memset(outputs, 0, sizeof outputs);
        memset(results, 0x5a, sizeof results);
        for (int index = 0; index < 2; index++) {
            memcpy(prompts[index], &e->prompts[index], sizeof e->prompts[0]);
            memcpy(outputs[index], &e->outputs[index], sizeof e->outputs[0]);
        }
        e->request.prompt_stride = sizeof prompts[0];
        e->request.prompts = (const penult_prompt *)(const void *)prompts;
        e->request.output_stride = sizeof outputs[0];
        e->request.outputs = (const penult_output *)(const void *)outputs;
        e->result.prompt_stride = sizeof results[0];
        e->result.prompts = (penult_prompt_result *)(void *)results;
        if (junk == 1) {
            outputs[1][sizeof outputs[0] - 1] = 1;
            REFUSED(e, PENULT_E_UNSUPPORTED, "outputs", "later version");
            break;
        }
        assert_int_equal(encode_run(e, NULL), PENULT_OK);
        assert_memory_equal(e->memory, e->right, e->memory_bytes);
        for (size_t byte = sizeof(penult_prompt_result); byte < sizeof results[0]; byte++) {
            assert_int_equal(results[1][byte], 0); /* filled in by the library: unknown means zero */
        }
        memset(e->memory, 0xa5, e->memory_bytes);
        prompts[1][sizeof prompts[0] - 1] = 1;
        REFUSED(e, PENULT_E_UNSUPPORTED, "prompts", "later version");
    }
}

static void counts(void **state) {
    struct encode *e = *state;
    e->request.prompt_count = 0;
    REFUSED(e, PENULT_E_ARGUMENT, "prompt_count", "0");
    e->request.prompt_count = MAX_PROMPTS + 1;
    REFUSED(e, PENULT_E_LIMIT, "4", "3");
    e->request.prompt_count = UINT32_MAX;
    REFUSED(e, PENULT_E_LIMIT, "4294967295", "3");
    e->request.output_count = 0;
    REFUSED(e, PENULT_E_ARGUMENT, "output_count", "0");
    e->request.arithmetic = 1;
    REFUSED(e, PENULT_E_UNSUPPORTED, "arithmetic", "1");
    e->result.prompt_count = 1;
    REFUSED(e, PENULT_E_ARGUMENT, "1", "2");
    e->result.reserved = 1;
    REFUSED(e, PENULT_E_UNSUPPORTED, "reserved", "0");
}

static void texts(void **state) {
    struct encode *e = *state;
    char text[MAX_TEXT_BYTES + 1];
    memset(text, 'x', sizeof text);
    e->prompts[1] = (penult_prompt){.text = text, .text_bytes = sizeof text};
    REFUSED(e, PENULT_E_LIMIT, "prompt 1", "257", "256");
    e->prompts[0] = (penult_prompt){.text = "abc\xff", .text_bytes = 4};
    REFUSED(e, PENULT_E_TEXT, "prompt 0", "UTF-8", "3");

    /* A failed allocation in the host must not become the empty prompt, nor one of two rows be picked silently. */
    int32_t id = 1;
    e->prompts[0] = (penult_prompt){.text = NULL, .text_bytes = 4};
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "text", "4");
    e->prompts[0] = (penult_prompt){.ids = NULL, .id_count = 77};
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "ids", "77");
    e->prompts[0] = (penult_prompt){.text = "abc", .text_bytes = 3, .ids = &id, .id_count = 1};
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "text and ids", "one");

    /* The length is judged before a byte is read. */
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *unreadable = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(unreadable != MAP_FAILED);
    e->prompts[1] = (penult_prompt){.text = unreadable, .text_bytes = UINT64_MAX};
    REFUSED(e, PENULT_E_LIMIT, "prompt 1", "18446744073709551615", "256");
    /* Text of no bytes is not read at all, and exactly as much as the session has room for is no error. */
    e->prompts[0] = (penult_prompt){.text = unreadable, .text_bytes = 0};
    e->prompts[1] = (penult_prompt){.text = text, .text_bytes = MAX_TEXT_BYTES};
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_int_equal(e->results[0].body_count, 0);
    assert_int_equal(e->results[0].end_position, 1);
    assert_int_equal(e->results[1].body_count, CONTEXT - 2);
    assert_int_equal(e->results[1].end_position, CONTEXT - 1);
    assert_true(e->results[1].cut_count > 0 && e->results[1].cut_begin < MAX_TEXT_BYTES);
    munmap(unreadable, page);
}

static void rows_of_ids(void **state) {
    struct encode *e = *state;
    int32_t row[2][CONTEXT + 1];
    for (size_t index = 0; index <= CONTEXT; index++) {
        row[0][index] = row[1][index] = index == 0 ? info.start_id : index < 5 ? 300 + (int32_t)index : info.end_id;
    }
#define IDS(prompt, count) e->prompts[prompt] = (penult_prompt){.ids = row[prompt], .id_count = count}
    IDS(0, 0);
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "0");
    IDS(0, CONTEXT + 1);
    IDS(1, CONTEXT + 1);
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "78", "77");
    IDS(0, UINT64_MAX);
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "18446744073709551615", "77");
    IDS(1, 12); /* and a text, which comes to 77 */
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 1", "12", "77");
    IDS(0, 12);
    IDS(1, 13);
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 1", "13", "12");
    row[1][3] = -1;
    IDS(1, CONTEXT);
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 1", "-1", "id 3");
    row[1][3] = (int32_t)info.vocabulary;
    IDS(1, CONTEXT);
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 1", "1000", "id 3");
    row[1][3] = 303;

    /* No end id: there is no row to pool. Hidden states do not need one. */
    IDS(0, 5);
    IDS(1, 5);
    e->outputs[0].to.bytes = 2 * 5 * info.width * sizeof(float);
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "end");
    IDS(0, 5);
    IDS(1, 5);
    e->request.output_count = 1;
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_int_equal(e->result.tokens, 5);
    assert_true(e->results[0].end_position == UINT64_MAX);
    assert_int_equal(e->results[0].body_count, 0);

    /* Shorter than the context, packed: 6 rows each, and the pooled row is the end id's. */
    encode_reset(e);
    IDS(0, 6);
    IDS(1, 6);
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_int_equal(e->result.tokens, 6);
    assert_int_equal(e->results[1].end_position, 5);
    const unsigned char *rows = e->outputs[0].to.data;
    const size_t bytes = 6 * info.width * sizeof(float);
    assert_memory_equal(rows, rows + bytes, bytes); /* the same ids give the same bits */
    assert_int_equal(rows[2 * bytes], 0xa5);
}

static void key_masks(void **state) {
    struct encode *e = *state;
    uint8_t mask[CONTEXT];
    memset(mask, 1, sizeof mask);
    e->prompts[0].key_mask = mask;
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_memory_equal(e->memory, e->right, e->memory_bytes);

    /* What is hidden behind the end changes no bit up to it, and nothing that is pooled. */
    const size_t row = info.width * sizeof(float);
    const size_t rows = (size_t)e->results[0].end_position + 1;
    memset(mask + rows, 0, CONTEXT - rows);
    encode_reset(e);
    e->prompts[0].key_mask = mask;
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    const unsigned char *hidden = e->outputs[0].to.data, *right = e->right + (hidden - e->memory);
    assert_memory_equal(hidden, right, rows * row);
    assert_memory_not_equal(hidden + rows * row, right + rows * row, row);
    const size_t others = (size_t)(hidden - e->memory) + CONTEXT * row; /* the second prompt, and what is pooled of both */
    assert_memory_equal(e->memory + others, e->right + others, e->memory_bytes - others);

    encode_reset(e);
    mask[CONTEXT - 1] = 2;
    e->prompts[1].key_mask = mask;
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 1", "key_mask[76]", "2", "0 or 1");
    mask[0] = 0;
    e->prompts[0].key_mask = mask;
    REFUSED(e, PENULT_E_ARGUMENT, "prompt 0", "key_mask", "token 0");

    /* A row of ids has a mask of its own length, of which no byte more is read. */
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *end = mmap(NULL, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(end != MAP_FAILED);
    assert_int_equal(mprotect(end, page, PROT_READ | PROT_WRITE), 0);
    int32_t ids[3] = {info.start_id, 300, info.end_id};
    memset(end + page - 3, 1, 3);
    for (int index = 0; index < 2; index++) {
        e->prompts[index] = (penult_prompt){.ids = ids, .id_count = 3, .key_mask = end + page - 3};
    }
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    munmap(end, 2 * page);
}

static void output_kinds(void **state) {
    struct encode *e = *state;
    e->outputs[1].kind = 0;
    REFUSED(e, PENULT_E_UNSUPPORTED, "output 1", "kind", "0");
    e->outputs[1].kind = 5;
    REFUSED(e, PENULT_E_UNSUPPORTED, "output 1", "kind", "5");
    e->outputs[0].flags = 2;
    REFUSED(e, PENULT_E_UNSUPPORTED, "output 0", "flags", "2");
    e->outputs[1].flags = PENULT_FINAL_NORM; /* pooled vectors are behind the final norm anyway */
    REFUSED(e, PENULT_E_ARGUMENT, "output 1", "flags");
    e->outputs[0].reserved = 1;
    REFUSED(e, PENULT_E_UNSUPPORTED, "output 0", "reserved");
    e->outputs[0].to.reserved = 1;
    REFUSED(e, PENULT_E_UNSUPPORTED, "output 0", "reserved");
    e->outputs[1].layer = -1;
    REFUSED(e, PENULT_E_ARGUMENT, "output 1", "layer", "-1");
    e->outputs[0].to.dtype = 0;
    REFUSED(e, PENULT_E_UNSUPPORTED, "output 0", "dtype", "0");
    e->outputs[0].to.dtype = 4;
    REFUSED(e, PENULT_E_UNSUPPORTED, "output 0", "dtype", "4");

    const int32_t blocks = (int32_t)info.layers;
    const int32_t outside[4] = {blocks + 1, -(blocks + 2), INT32_MAX, INT32_MIN};
    for (size_t number = 0; number < 4; number++) {
        char word[16];
        snprintf(word, sizeof word, "%d", (int)outside[number]);
        e->outputs[0].layer = outside[number];
        REFUSED(e, PENULT_E_ARGUMENT, "output 0", "layer", word);
    }
    /* From both ends the same states, -1 to -(L+1) and L to 0. */
    for (int32_t layer = 0; layer <= blocks; layer++) {
        encode_reset(e);
        e->request.output_count = 1;
        e->outputs[0].layer = layer;
        assert_int_equal(encode_run(e, NULL), PENULT_OK);
        assert_int_equal(e->result.blocks_run, (uint32_t)layer);
        unsigned char *front = malloc(e->memory_bytes);
        assert_non_null(front);
        memcpy(front, e->memory, e->memory_bytes);
        e->outputs[0].layer = layer - (blocks + 1);
        memset(e->memory, 0xa5, e->memory_bytes);
        assert_int_equal(encode_run(e, NULL), PENULT_OK);
        assert_memory_equal(front, e->memory, e->memory_bytes);
        free(front);
    }
}

static void output_buffers(void **state) {
    struct encode *e = *state;
    const uint64_t row = info.width * sizeof(float);
    e->outputs[0].to.bytes -= 1;
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "bytes");
    e->outputs[1].to.bytes = 0;
    REFUSED(e, PENULT_E_ARGUMENT, "output 1", "bytes");
    e->outputs[0].to.row_pitch = row - 1;
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "row_pitch");
    e->outputs[0].to.batch_pitch = row; /* the second prompt would lie over the first one's second token */
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "batch_pitch");
    e->outputs[1].to.batch_pitch = info.projection * sizeof(float) - 1;
    REFUSED(e, PENULT_E_ARGUMENT, "output 1", "batch_pitch");
    /* Pitches whose products wrap round to something small. */
    e->outputs[0].to.row_pitch = UINT64_MAX;
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "");
    e->outputs[0].to.row_pitch = UINT64_MAX / 76 + 1;
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "");
    e->outputs[0].to.batch_pitch = UINT64_MAX - CONTEXT * row + 1;
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "");
    e->outputs[0].to.row_pitch = UINT64_MAX;
    e->outputs[0].to.bytes = UINT64_MAX;
    REFUSED(e, PENULT_E_ARGUMENT, "output 0", "");
    e->outputs[1].to.batch_pitch = UINT64_MAX;
    e->outputs[1].to.bytes = UINT64_MAX;
    REFUSED(e, PENULT_E_ARGUMENT, "output 1", "");
}

/* What is right: any alignment, any pitch that does not overlap, and the bytes between rows are the caller's. */
static void output_layouts(void **state) {
    struct encode *e = *state;
    const size_t row = info.width * sizeof(float);
    const struct {
        size_t offset, row_pitch, batch_pitch;
    } layouts[] = {
        {1, row, CONTEXT * row},
        {768 * 4, 2048 * 4, CONTEXT * 2048 * 4}, /* columns 768.. of a [B,77,2048] tensor */
        {3, row + 5, CONTEXT * (row + 5) + 7},
        {0, row + 16, 0},
        {0, 2 * row, row}, /* [T,B,D]: prompts side by side */
        {2, 2 * row + 9, row + 3},
    };
    const unsigned char *const packed = e->right + ((unsigned char *)e->outputs[0].to.data - e->memory);
    const size_t bytes = 2 * (CONTEXT * 2048 * 4 + 64);
    unsigned char *tensor = malloc(bytes), *expected = malloc(bytes);
    assert_non_null(tensor);
    assert_non_null(expected);
    for (size_t number = 0; number < sizeof layouts / sizeof layouts[0]; number++) {
        const size_t row_pitch = layouts[number].row_pitch;
        const size_t batch_pitch = layouts[number].batch_pitch ? layouts[number].batch_pitch : CONTEXT * row_pitch;
        encode_reset(e);
        memset(tensor, 0x3c, bytes);
        memset(expected, 0x3c, bytes);
        for (size_t b = 0; b < 2; b++) {
            for (size_t t = 0; t < CONTEXT; t++) {
                memcpy(expected + layouts[number].offset + b * batch_pitch + t * row_pitch,
                       packed + (b * CONTEXT + t) * row, row);
            }
        }
        e->outputs[0].to.data = tensor + layouts[number].offset;
        e->outputs[0].to.row_pitch = row_pitch;
        e->outputs[0].to.batch_pitch = layouts[number].batch_pitch;
        /* Up to the last byte that is written and no further: the tensor may end there. */
        e->outputs[0].to.bytes = batch_pitch + (CONTEXT - 1) * row_pitch + row;
        penult_error error;
        if (encode_run(e, &error) != PENULT_OK) {
            fail_msg("layout %zu: %.508s", number, error.message);
        }
        assert_memory_equal(tensor, expected, bytes);
        e->outputs[0].to.bytes -= 1;
        memset(tensor, 0x3c, bytes);
        FAILED(PENULT_E_ARGUMENT, encode_run(e, &error), &error, "output 0", "bytes");
    }
    free(tensor);
    free(expected);
}

#define WITH_SESSION(test) cmocka_unit_test_setup_teardown(test, encode_setup, encode_teardown)

const struct CMUnitTest misuse_encode_tests[] = {
    WITH_SESSION(pointers), WITH_SESSION(sizes),        WITH_SESSION(strides),
    WITH_SESSION(counts),   WITH_SESSION(texts),        WITH_SESSION(rows_of_ids), WITH_SESSION(key_masks),
    WITH_SESSION(output_kinds), WITH_SESSION(output_buffers), WITH_SESSION(output_layouts),
};
const size_t misuse_encode_test_count = sizeof misuse_encode_tests / sizeof misuse_encode_tests[0];
