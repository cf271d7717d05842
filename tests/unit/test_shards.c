/* test_shards.c - protects the index of sharded models: every rule of shards.h refused by name, what is accepted sorted and whole,
 * and no memory kept or lost. */
#include "../../encoder/format/shards.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct fault fault;

/* From a block of the text's exact size, so that a sanitizer sees a byte read beyond it. */
static int parse(struct shards *out, const char *text, size_t size) {
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    memset(&fault, 0xA5, sizeof fault);
    int status = shards_parse(out, "i.json", copy, size, &fault);
    free(copy);
    return status;
}

static void accepted(void **state) {
    static const char text[] = " {\"metadata\": {\"total_size\": 1.5, \"x\": [1, {}]}, \"weight_map\": {\"b\": \"two\", \"a\\u0062\": \"one\","
                               " \"a\": \"\\u0074wo\", \"\": \"one\"}, \"more\": null} ";
    struct shards s;
    (void)state;
    assert_int_equal(parse(&s, text, sizeof text - 1), 0);
    assert_int_equal(s.count, 4);
    assert_int_equal(s.file_count, 2);
    assert_string_equal(s.files[0], "two");
    assert_string_equal(s.files[1], "one");
    static const struct {
        const char *name;
        unsigned file;
    } expected[] = {{"", 1}, {"a", 0}, {"ab", 1}, {"b", 0}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(s.entries[i].name_size, strlen(expected[i].name));
        assert_memory_equal(s.entries[i].name, expected[i].name, s.entries[i].name_size);
        assert_int_equal(s.entries[i].file, expected[i].file);
    }
    shards_free(&s);
    assert_int_equal(parse(&s, "{\"weight_map\":{}}", 17), 0);
    assert_int_equal(s.count, 0);
    shards_free(&s);
}

static void refused(void **state) {
    static const struct {
        const char *text;
        enum fault_code code;
        const char *word;
    } cases[] = {
        {"", FAULT_FORMAT, "i.json"},
        {"[]", FAULT_FORMAT, "an object"},
        {"{}", FAULT_FORMAT, "weight_map is missing"},
        {"{\"weight_map\":{},\"weight_map\":{}}", FAULT_FORMAT, "twice"},
        {"{\"weight_map\":1}", FAULT_FORMAT, "weight_map"},
        {"{\"weight_map\":", FAULT_FORMAT, "i.json"},
        {"{\"weight_map\"", FAULT_FORMAT, "i.json"},
        {"{\"weight_map\":{", FAULT_FORMAT, "i.json"},
        {"{\"weight_map\":{\"a\"", FAULT_FORMAT, "i.json"},
        {"{\"weight_map\":{\"a\":", FAULT_FORMAT, "i.json"},
        {"{\"weight_map\":{\"a\":{}}}", FAULT_FORMAT, "\"a\" is not a string"},
        {"{\"weight_map\":{\"a\":\"\"}}", FAULT_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", FAULT_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\".hidden\"}}", FAULT_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"b/c\"}}", FAULT_FORMAT, "b/c"},
        {"{\"weight_map\":{\"a\":\"\\u002fetc\"}}", FAULT_FORMAT, "/etc"},
        {"{\"weight_map\":{\"a\":\"b\\\\c\"}}", FAULT_FORMAT, "plain name"},
        {"{\"weight_map\":{\"a\":\"b\\u0000c\"}}", FAULT_FORMAT, "b\\x00c"},
        {"{\"weight_map\":{\"a\":\"x\",\"b\":\"x\",\"a\":\"y\"}}", FAULT_FORMAT, "\"a\" stands in weight_map twice"},
        {"{\"metadata\":{\"x\":", FAULT_FORMAT, "i.json"},
        {"{\"metadata\":", FAULT_FORMAT, "i.json"},
        {"{\"weight_map\":{}} x", FAULT_FORMAT, "i.json"},
    };
    struct shards s;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(&s, cases[i].text, strlen(cases[i].text)), cases[i].code);
        assert_int_equal(fault.code, cases[i].code);
        assert_names(fault.message, cases[i].word);
        assert_null(s.entries);
        assert_null(s.bytes);
    }
}

/* Many tensors, so that the table grows; the most files, and one more; the longest name, and one byte more. */
static void limits(void **state) {
    struct shards s;
    (void)state;
    for (unsigned files = SHARDS_FILES; files <= SHARDS_FILES + 1; files++) {
        char *text = malloc(1 << 16);
        assert_non_null(text);
        size_t size = (size_t)sprintf(text, "{\"weight_map\":{");
        for (unsigned i = 0; i < 1000; i++)
            size += (size_t)sprintf(text + size, "%s\"tensor.%03u\":\"file-%u\"", i ? "," : "", 999 - i, i % files);
        size += (size_t)sprintf(text + size, "}}");
        int status = parse(&s, text, size);
        assert_int_equal(status, files > SHARDS_FILES ? FAULT_LIMIT : 0);
        if (status == 0) {
            assert_int_equal(s.count, 1000);
            for (size_t i = 0; i < 1000; i++)
                assert_int_equal(s.entries[i].file, (999 - i) % files);
            shards_free(&s);
        } else {
            assert_names(fault.message, "256");
        }
        free(text);
    }
    for (size_t length = 255; length <= 256; length++) {
        char text[400];
        size_t size = (size_t)snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%0*d\"}}", (int)length, 7);
        assert_int_equal(parse(&s, text, size), length > 255 ? FAULT_FORMAT : 0);
        shards_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(refused),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests_name("shards", tests, NULL, NULL);
}
