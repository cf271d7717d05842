/* test_out_of_memory.c - protects every branch that is taken when memory is refused while files are read: each call of
 * memory_array, memory_resize and memory_pages in turn, by the linker's --wrap, in this process, where sanitizers see leaks and
 * gcov sees branches; in the engine, and through the plugin's functions, which are linked in. tests/faults does the same to the
 * plugin as it is, below malloc and mmap. Uses samples/model. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../api/penult_condition.h"
#include "../../encoder/base/memory.h"
#include "../../encoder/clip.h"
#include "../../encoder/format/shards.h"
#include "../../encoder/format/vocab.h"
#include "../../encoder/text/tokenizer.h"
#include "compact.h"
#include "unit.h"

void *__real_memory_array(size_t count, size_t size);
void *__real_memory_resize(void *block, size_t count, size_t size);
void *__wrap_memory_array(size_t count, size_t size);
void *__wrap_memory_resize(void *block, size_t count, size_t size);
void *__real_memory_pages(size_t bytes, size_t align, enum memory_backing backing);
void *__wrap_memory_pages(size_t bytes, size_t align, enum memory_backing backing);

static unsigned calls, refused; /* the number of the call that gets nothing; 0: none */

static int is_refused(void) {
    return ++calls == refused;
}

void *__wrap_memory_array(size_t count, size_t size) {
    return is_refused() ? NULL : __real_memory_array(count, size);
}

void *__wrap_memory_resize(void *block, size_t count, size_t size) {
    return is_refused() ? NULL : __real_memory_resize(block, count, size);
}

void *__wrap_memory_pages(size_t bytes, size_t align, enum memory_backing backing) {
    return is_refused() ? NULL : __real_memory_pages(bytes, align, backing);
}

static struct fault fault;

/* Refuses the first call, the second and so on, until there is none that is not made: how many there are. */
static unsigned refuse_each(int (*attempt)(void)) {
    unsigned n = 0;
    int status;
    do {
        calls = 0;
        refused = ++n;
        fault.message[0] = 0;
        status = attempt();
        if (calls >= refused && (status != FAULT_NO_MEMORY || !strstr(fault.message, "memory")))
            fail_msg("call %u refused: status %d, %s", n, status, fault.message);
    } while (calls >= refused);
    refused = 0;
    assert_int_equal(status, 0);
    return n - 1;
}

/* ---- an index of a hundred tensors: its table grows twice ---- */

static char index_text[8192];

static int parse_index(void) {
    struct shards shards;
    int status = shards_parse(&shards, "index", index_text, strlen(index_text), &fault);
    if (!status)
        shards_free(&shards);
    return status;
}

static void an_index(void **state) {
    size_t used = (size_t)snprintf(index_text, sizeof index_text, "{\"weight_map\":{");
    (void)state;
    for (int i = 0; i < 100; i++)
        used += (size_t)snprintf(index_text + used, sizeof index_text - used, "%s\"t%d\":\"%d.st\"", i ? "," : "", i, i % 3);
    snprintf(index_text + used, sizeof index_text - used, "}}");
    assert_true(refuse_each(parse_index) >= 3);
}

/* ---- a vocabulary in one file ---- */

static struct compact *vocabulary;

static int open_vocabulary(void) {
    struct vocab_files files = {.of[VOCAB_COMPACT] = {vocabulary->bytes, vocabulary->size}};
    struct tokenizer_options options = {.default_pad = -1};
    struct tokenizer *tokenizer;
    int status = tokenizer_open_files(&tokenizer, &files, &options, NULL, NULL, &fault);
    tokenizer_close(tokenizer);
    return status;
}

static void a_compact_vocabulary(void **state) {
    static const uint16_t merges[] = {71, 68, 75, 75, 512, 513, 514, 334};
    (void)state;
    vocabulary = compact_of(1, 4, merges, 4);
    assert_true(refuse_each(open_vocabulary) > 5);
    free(vocabulary);
}

/* ---- a model of one file, and the same behind an index ---- */

static const char *path;
static int copies;

static int open_model(void) {
    struct clip_params params = {.path = path, .tokenizer_path = "samples/model", .copy = copies};
    struct clip *clip;
    int status = clip_open(&clip, &params, &fault);
    clip_close(clip);
    return status;
}

static void a_model(void **state) {
    (void)state;
    path = "samples/model";
    for (copies = 1; copies >= 0; copies--)
        assert_true(refuse_each(open_model) > 20);
    copies = 0;
}

static void copy_file(const char *from, const char *to) {
    char bytes[65536];
    size_t count;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    while ((count = fread(bytes, 1, sizeof bytes, in)) > 0)
        assert_int_equal(fwrite(bytes, 1, count, out), count);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Every tensor of the file, as the index of one shard lists them. */
static void write_index(const char *to, const struct tensor_set *set) {
    FILE *out = fopen(to, "wb");
    assert_non_null(out);
    fprintf(out, "{\"metadata\":{},\"weight_map\":{");
    for (size_t i = 0; i < set->count; i++)
        fprintf(out, "%s\"%.*s\":\"weights.safetensors\"", i ? "," : "", (int)set->items[i].name_size, set->items[i].name);
    fprintf(out, "}}");
    assert_int_equal(fclose(out), 0);
}

static void a_model_in_shards(void **state) {
    char root[] = "/tmp/penult-memory-XXXXXX", weights[64], index[64], config[64];
    struct report report = {0};
    struct checkpoint c;
    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(weights, sizeof weights, "%s/weights.safetensors", root);
    snprintf(index, sizeof index, "%s/model.safetensors.index.json", root);
    snprintf(config, sizeof config, "%s/config.json", root);
    copy_file("samples/model/model.safetensors", weights);
    copy_file("samples/model/config.json", config);
    assert_int_equal(checkpoint_open(&c, root, "weights.safetensors", &report, &fault), 0);
    write_index(index, &c.set);
    checkpoint_close(&c);
    path = root;
    assert_true(refuse_each(open_model) > 20);
    unlink(weights), unlink(index), unlink(config);
    assert_int_equal(rmdir(root), 0);
}

/* ---- through the ABI ---- */

static const penult_api *api;

static int told(int32_t status, const penult_error *error) {
    memcpy(fault.message, error->message, sizeof fault.message < sizeof error->message ? sizeof fault.message : sizeof error->message);
    fault.message[sizeof fault.message - 1] = 0;
    return status == PENULT_E_NO_MEMORY ? FAULT_NO_MEMORY : status;
}

/* A model, its tokens, a session, an encode, and all of it given back. */
static int use_a_model(void) {
    penult_error error;
    penult_open_params open = {.struct_size = sizeof open, .path = "samples/model"};
    penult_session_params params = {.struct_size = sizeof params, .threads = 1, .max_text_bytes = 64};
    penult_token_request tokens = {.struct_size = sizeof tokens, .text = "a cat", .text_bytes = 5};
    penult_token_result result = {.struct_size = sizeof result};
    penult_model *model = NULL;
    penult_session *session = NULL;
    int32_t status = api->model_open(&open, &model, &error);
    for (uint32_t flags = 0; !status && flags < 2; flags++) {
        tokens.flags = flags ? PENULT_TOKENS_BODY : 0;
        status = api->tokenize(model, &tokens, &result, &error);
    }
    if (!status)
        status = api->session_open(model, &params, &session, &error);
    if (!status)
        api->session_close(session);
    if (model)
        api->model_close(model);
    return told(status, &error);
}

static int use_a_pipeline(void) {
    const penult_condition_api *condition = api->extension(PENULT_CONDITION);
    penult_error error;
    penult_open_params open = {.struct_size = sizeof open, .path = "samples/model"};
    penult_model *model = NULL;
    penult_pipeline *pipeline = NULL;
    int32_t status = api->model_open(&open, &model, &error);
    penult_named_model named = {"clip_l", model};
    penult_pipeline_params params = {.struct_size = sizeof params, .recipe = "sd1", .model_count = 1, .model_stride = sizeof named,
                                     .models = &named, .threads = 1, .max_windows = 2, .max_text_bytes = 64};
    if (!status)
        status = condition->pipeline_open(&params, &pipeline, &error);
    if (!status)
        condition->pipeline_close(pipeline);
    if (model)
        api->model_close(model);
    return told(status, &error);
}

static void the_api(void **state) {
    (void)state;
    api = penult_entry()->get_api(PENULT_ABI_VERSION);
    assert_non_null(api);
    assert_true(refuse_each(use_a_model) > 25);
    assert_true(refuse_each(use_a_pipeline) > 25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index),
        cmocka_unit_test(a_compact_vocabulary),
        cmocka_unit_test(a_model),
        cmocka_unit_test(a_model_in_shards),
        cmocka_unit_test(the_api),
    };
    return cmocka_run_group_tests_name("out of memory", tests, NULL, NULL);
}
