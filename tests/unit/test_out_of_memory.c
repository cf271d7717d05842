/* test_out_of_memory.c - protects every branch that is taken when memory is refused while files are read: each call of
 * memory_array and memory_resize in turn, by the linker's --wrap, in this process, where sanitizers see leaks and gcov sees
 * branches. tests/faults does the same to the plugin as it is, below malloc and mmap. Uses samples/model. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../encoder/base/memory.h"
#include "../../encoder/clip.h"
#include "../../encoder/format/shards.h"
#include "unit.h"

void *__real_memory_array(size_t count, size_t size);
void *__real_memory_resize(void *block, size_t count, size_t size);
void *__wrap_memory_array(size_t count, size_t size);
void *__wrap_memory_resize(void *block, size_t count, size_t size);

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

/* ---- a model of one file, and the same behind an index ---- */

static const char *path;

static int open_model(void) {
    struct clip_params params = {.path = path, .tokenizer_path = "samples/model"};
    struct clip *clip;
    int status = clip_open(&clip, &params, &fault);
    clip_close(clip);
    return status;
}

static void a_model(void **state) {
    (void)state;
    path = "samples/model";
    assert_true(refuse_each(open_model) > 20);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index),
        cmocka_unit_test(a_model),
        cmocka_unit_test(a_model_in_shards),
    };
    return cmocka_run_group_tests_name("out of memory", tests, NULL, NULL);
}
