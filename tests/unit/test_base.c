/* test_base.c - protects what everything stands on, at its limits: messages that are too long, sizes that overflow, paths that
 * do not fit. A mistake here would be one in every error path.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../encoder/base/arena.h"
#include "../../encoder/base/fault.h"
#include "../../encoder/base/file.h"
#include "../../encoder/base/memory.h"
#include "../../encoder/base/utf8.h"
#include "../../encoder/text/tokenizer.h"
#include "unit.h"

/* A message is cut at a whole character, wherever the limit falls in one, and always ends. */
static void long_messages_are_cut_at_a_character(void **state) {
    static const char *const characters[] = {"x", "\xc3\xa9", "\xe4\xbd\xa0", "\xf0\x9f\x98\x80"};
    struct fault fault;
    (void)state;
    for (size_t kind = 0; kind < 4; kind++) {
        size_t size = strlen(characters[kind]);
        for (int before = 0; before < 8; before++) {
            char text[1024] = "";
            for (size_t at = 0; at + size < sizeof text; at += size)
                memcpy(text + at, characters[kind], size + 1);
            assert_int_equal(fault_set(&fault, FAULT_TEXT, "%.*s%s", before, "abcdefgh", text), FAULT_TEXT);
            size_t length = strlen(fault.message);
            assert_true(length < sizeof fault.message && length >= sizeof fault.message - 1 - size);
            for (size_t at = 0; at < length;) {
                size_t whole = utf8_length(fault.message + at, length - at);
                assert_true(whole > 0);
                at += whole;
            }
        }
    }
    assert_int_equal(utf8_length("", 0), 0);
}

/* A quoted name is printable and of bounded length, whatever its bytes are. */
static void quotes_are_printable(void **state) {
    struct fault_text text;
    char bytes[256];
    (void)state;
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    for (size_t begin = 0; begin < 256; begin += 64) {
        fault_quote(&text, bytes + begin, 64);
        for (const char *p = text.bytes; *p; p++)
            assert_true(*p >= 0x20 && *p < 0x7F && *p != '"');
    }
    assert_names(fault_quote(&text, bytes, sizeof bytes), "...");
    assert_true(strlen(text.bytes) < sizeof text.bytes);
}

static void sizes_that_overflow_give_nothing(void **state) {
    struct arena arena = {0};
    (void)state;
    assert_null(memory_array(SIZE_MAX / 2, 4));
    assert_null(memory_resize(NULL, SIZE_MAX / 2, 4));
    assert_null(memory_pages(SIZE_MAX, memory_page_size(), MEMORY_NOW));
    assert_null(memory_pages(SIZE_MAX - 2 * memory_page_size(), 1 << 20, MEMORY_NOW));
    assert_null(memory_pages(0, memory_page_size(), MEMORY_NOW));
    assert_null(memory_pages(4096, 1, MEMORY_NOW));
    void *block = memory_resize(NULL, 0, 0), *other = memory_array(0, 0);
    assert_non_null(block);
    assert_non_null(other);
    memory_free(block);
    memory_free(other);
    arena_take(&arena, SIZE_MAX / 2, 4);
    assert_true(arena.overflow);
    arena = (struct arena){0};
    arena_take(&arena, SIZE_MAX, 1);
    assert_true(arena.overflow);
    arena = (struct arena){.used = SIZE_MAX - 63};
    arena_take(&arena, 64, 1);
    assert_true(arena.overflow);
}

/* Pages lie where they were asked for, and are zero. */
static void pages_are_aligned(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        unsigned char *pages = memory_pages(10000, (size_t)1 << 20, i % 2 ? MEMORY_NOW : MEMORY_RESERVED);
        assert_non_null(pages);
        assert_int_equal((uintptr_t)pages & 0xFFFFF, 0);
        assert_int_equal(pages[0] | pages[9999], 0);
        memory_release(pages, 10000);
    }
    memory_release(NULL, 10000);
}

static void long_paths_are_refused(void **state) {
    static char path[5000];
    struct file file;
    struct fault fault;
    (void)state;
    memset(path, 'x', sizeof path - 1);
    assert_int_equal(file_open(&file, path, "config.json", &fault), FAULT_ARGUMENT);
    assert_names(fault.message, "config.json");
    assert_int_equal(file_open(&file, NULL, path, &fault), FAULT_ARGUMENT);
    assert_int_equal(file.descriptor, -1);
    file_close(&file);
    assert_int_equal(file_exists(path, "config.json"), 1); /* nobody looked; opening it says why */
    char byte;
    file.descriptor = 0;
    assert_int_equal(file_read(&file, UINT64_MAX, &byte, 1, "model.safetensors", &fault), FAULT_ARGUMENT);
    assert_names(fault.message, "beyond any file");
}

/* A vocabulary without its merges is no tokenizer; with them it is. */
static void a_vocabulary_alone_is_no_tokenizer(void **state) {
    char folder[] = "/tmp/penult-test-XXXXXX", vocab[64], merges[64];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(vocab, sizeof vocab, "%s/vocab.json", folder);
    snprintf(merges, sizeof merges, "%s/merges.txt", folder);
    int without = tokenizer_is_in(folder);
    fclose(fopen(vocab, "w"));
    int alone = tokenizer_is_in(folder);
    fclose(fopen(merges, "w"));
    int both = tokenizer_is_in(folder);
    unlink(vocab);
    unlink(merges);
    rmdir(folder);
    assert_int_equal(without, 0);
    assert_int_equal(alone, 0);
    assert_int_equal(both, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_messages_are_cut_at_a_character), cmocka_unit_test(quotes_are_printable),
        cmocka_unit_test(sizes_that_overflow_give_nothing),     cmocka_unit_test(pages_are_aligned),
        cmocka_unit_test(long_paths_are_refused),               cmocka_unit_test(a_vocabulary_alone_is_no_tokenizer),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
