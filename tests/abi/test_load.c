/* test_load.c - penult_load.h against everything that a path can turn out to be.
 *
 * Each test protects one sentence that a host shows to its user: it must name the path as given, the file that was
 * really loaded, and what is wrong with it, and must leave nothing loaded. Usage: test_load FAKES PLUGIN, the folder of
 * the libraries built from fakes/ and the real plugin. Knows nothing of models.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "penult_load.h"

static const char *fakes;
static const char *plugin;
static char scratch[4096];

static const char *in(const char *folder, const char *name) {
    static char path[4096];
    assert_true((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) < sizeof path);
    return path;
}

static void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The load fails with one sentence (no line break, no cut) that contains every one of the NULL-terminated words. */
static void refuses(const char *path, const char *loaded, const char *const *words) {
    struct penult_library library;
    char why[2048];
    memset(&library, 0x5a, sizeof library);
    memset(why, 0x5a, sizeof why);
    assert_int_equal(penult_load(&library, path, why, sizeof why), -1);
    assert_null(library.handle);
    assert_null(library.entry);
    assert_null(library.api);
    assert_non_null(memchr(why, '\0', sizeof why));
    assert_null(strchr(why, '\n'));
    if (path != NULL && strstr(why, path) != why) {
        fail_msg("\"%s\" does not begin with the path %s", why, path);
    }
    for (; *words != NULL; words++) {
        if (strstr(why, *words) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", why, *words);
        }
    }
    if (loaded == NULL) {
        assert_string_equal(library.path, "");
    } else {
        char *real = realpath(loaded, NULL);
        assert_non_null(real);
        assert_string_equal(library.path, real);
        assert_non_null(strstr(why, real));
        free(real);
    }
    penult_unload(&library); /* after a failure: nothing */
}

#define REFUSES(path, loaded, ...) refuses(path, loaded, (const char *const[]){__VA_ARGS__, NULL})
#define REFUSES_FAKE(name, ...)                                                                                       \
    do {                                                                                                              \
        char path_[4096];                                                                                             \
        strcpy(path_, in(fakes, name));                                                                               \
        REFUSES(path_, path_, __VA_ARGS__);                                                                           \
    } while (0)

static void no_path(void **state) {
    (void)state;
    struct penult_library library;
    char why[64];
    /* dlopen(NULL) and dlopen("") give the host itself, which may well have a penult_entry of its own. */
    assert_int_equal(penult_load(&library, NULL, why, sizeof why), -1);
    assert_string_equal(why, "no penult was loaded: the path is NULL");
    assert_int_equal(penult_load(&library, "", why, sizeof why), -1);
    assert_string_equal(why, "no penult was loaded: the path is empty");
    assert_null(library.handle);
}

static void file_not_found(void **state) {
    (void)state;
    REFUSES(in(scratch, "nowhere/penult.so"), NULL, "was not found", "No such file");
    /* A bare name is not looked for in the working directory, and people expect that it is. */
    REFUSES("penult-of-nowhere.so", NULL, "without a slash", "library path", "No such file");
}

static void text_file(void **state) {
    (void)state;
    char text[300];
    memset(text, 'x', sizeof text);
    char path[4096];
    strcpy(path, in(scratch, "text.so"));
    write_file(path, text, sizeof text);
    REFUSES(path, NULL, "could not be loaded as a shared library", "ELF");
    write_file(path, "", 0);
    REFUSES(path, NULL, "could not be loaded as a shared library", "too short");
}

static void truncated_elf(void **state) {
    (void)state;
    /* Cut inside the file header. A cut further on is for the system to survive: its loader maps before it looks. */
    unsigned char head[40];
    FILE *whole = fopen(in(fakes, "no_entry.so"), "rb");
    assert_non_null(whole);
    assert_int_equal(fread(head, 1, sizeof head, whole), sizeof head);
    fclose(whole);
    char path[4096];
    strcpy(path, in(scratch, "cut.so"));
    write_file(path, head, sizeof head);
    REFUSES(path, NULL, "could not be loaded as a shared library", "too short");
}

static void directory(void **state) {
    (void)state;
    REFUSES(scratch, NULL, "could not be loaded as a shared library", "directory");
}

static void not_a_penult(void **state) {
    (void)state;
    REFUSES_FAKE("no_entry.so", "is not a penult", "no symbol penult_entry");
    REFUSES_FAKE("null_entry.so", "is not a penult", "penult_entry returned NULL");
    REFUSES_FAKE("no_functions.so", "is not a penult", "without functions");
}

static void other_versions(void **state) {
    (void)state;
    REFUSES_FAKE("old.so", "is penult 0.0.9", "too old", "compiled for penult 0.5", "same minor version");
    REFUSES_FAKE("new.so", "is penult 0.6.0", "too new", "compiled for penult 0.5");
    REFUSES_FAKE("newer.so", "is penult 1.3.0", "too new", "compiled for penult 0.5");
    REFUSES_FAKE("nameless.so", "unknown version", "no table for ABI 0.5");
    REFUSES_FAKE("nonsense.so", "latest and best", "no table for ABI 0.5");
}

static void tables_that_lack_something(void **state) {
    (void)state;
    REFUSES_FAKE("short_table.so", "is penult 0.5.7 without session_close, session_cancel, encode_text, extension, model_hash:",
                 "56 bytes", "compiled with 96");
    REFUSES_FAKE("hole.so", "without tokenize, session_close, session_cancel, encode_text, extension, model_hash:");
    /* Not even abi_minor is covered: nothing behind struct_size may be believed. */
    REFUSES_FAKE("tiny_table.so", "table of 4 bytes", "compiled with 96 bytes");
    REFUSES_FAKE("other_minor.so", "ABI 0.5", "does not say it is one");
}

static void version_comparison(void **state) {
    (void)state;
    /* The order is numeric ("0.10" is newer than "0.9"), and text that only looks like a version is none. */
    assert_int_equal(penult_load_compare_version_("0.5.0"), 0);
    assert_int_equal(penult_load_compare_version_("0.5"), 0);
    assert_int_equal(penult_load_compare_version_("0.2.99"), -1);
    assert_int_equal(penult_load_compare_version_("0.10.0"), 1);
    assert_int_equal(penult_load_compare_version_("10.0.0"), 1);
    assert_int_equal(penult_load_compare_version_("4000000000.1"), 0);
    assert_int_equal(penult_load_compare_version_(""), 0);
    assert_int_equal(penult_load_compare_version_("1"), 0);
    assert_int_equal(penult_load_compare_version_("1."), 0);
    assert_int_equal(penult_load_compare_version_("v1.2"), 0);
}

static void says_which_file_was_loaded(void **state) {
    (void)state;
    char link[4096], target[4096];
    char *real = realpath(in(fakes, "old.so"), NULL);
    assert_non_null(real);
    /* A symbolic link, as distributions leave them about: both names are in the sentence. */
    strcpy(link, in(scratch, "penult.so"));
    assert_int_equal(symlink(real, link), 0);
    REFUSES(link, real, "(loaded from", "too old");
    unlink(link);
    /* penult_entry found in a dependency: the sentence speaks of the file that has it. */
    strcpy(target, in(fakes, "depends.so"));
    REFUSES(target, real, "(loaded from", "is penult 0.0.9");
    free(real);
}

static void a_short_why_is_cut(void **state) {
    (void)state;
    struct penult_library library;
    char why[16];
    memset(why, 0x5a, sizeof why);
    assert_int_equal(penult_load(&library, in(fakes, "old.so"), why, 8), -1);
    assert_int_equal(strlen(why), 7);
    assert_int_equal(why[8], 0x5a);
    assert_int_equal(penult_load(&library, in(fakes, "old.so"), why, 1), -1);
    assert_string_equal(why, "");
    why[0] = 'x';
    assert_int_equal(penult_load(&library, in(fakes, "old.so"), why, 0), -1);
    assert_int_equal(why[0], 'x');
    assert_int_equal(penult_load(&library, in(fakes, "old.so"), NULL, 0), -1);
    assert_int_equal(penult_load(&library, in(scratch, "nowhere.so"), NULL, 512), -1);
}

static void a_refused_library_is_unloaded(void **state) {
    (void)state;
    struct penult_library library;
    char path[4096];
    strcpy(path, in(fakes, "short_table.so"));
    assert_int_equal(penult_load(&library, path, NULL, 0), -1);
    assert_null(dlopen(path, RTLD_NOW | RTLD_NOLOAD));
}

static void the_real_plugin(void **state) {
    (void)state;
    struct penult_library first, second;
    char why[512] = "untouched";
    if (penult_load(&first, plugin, why, sizeof why) != 0) {
        fail_msg("%s", why);
    }
    assert_string_equal(why, "");
    char *real = realpath(plugin, NULL);
    assert_non_null(real);
    assert_string_equal(first.path, real);
    free(real);
    assert_int_equal(first.api->abi_minor, PENULT_ABI_MINOR);
    assert_true(first.api->struct_size >= sizeof(penult_api));
    assert_true(PENULT_HAS(first.api, model_open));
    assert_true(PENULT_HAS(first.api, extension));
    assert_int_equal(strncmp(first.entry->version(), "0.5.", 4), 0);
    /* A version that it does not speak is NULL and never another version's table. */
    assert_null(first.entry->get_api(0));
    assert_null(first.entry->get_api(PENULT_ABI_VERSION + 1));
    assert_null(first.entry->get_api(1u << 16));
    assert_null(first.entry->get_api(UINT32_MAX));
    /* RTLD_LOCAL: the host's own names are not in reach of the plugin's, nor the other way round. */
    assert_null(dlsym(RTLD_DEFAULT, PENULT_ENTRY_NAME));

    assert_int_equal(penult_load(&second, plugin, why, sizeof why), 0);
    assert_ptr_equal(first.api, second.api);
    penult_unload(&first);
    assert_null(first.handle);
    assert_null(first.api);
    assert_string_equal(second.api->extension("penult.nothing/1") == NULL ? "" : "found", "");
    assert_non_null(second.api->extension("penult.condition/1"));
    penult_unload(&second);
    penult_unload(&second);
}

static void has_asks_the_size(void **state) {
    (void)state;
    penult_api table;
    memset(&table, 0x11, sizeof table);
    table.struct_size = offsetof(penult_api, model_hash);
    assert_true(PENULT_HAS(&table, extension));
    assert_false(PENULT_HAS(&table, model_hash));
    table.struct_size = sizeof table - 1;
    assert_false(PENULT_HAS(&table, model_hash));
    table.struct_size = sizeof table;
    assert_true(PENULT_HAS(&table, model_hash));
    table.extension = NULL;
    assert_false(PENULT_HAS(&table, extension));
}

static int make_scratch(void **state) {
    (void)state;
    strcpy(scratch, in(fakes, "scratch_XXXXXX"));
    return mkdtemp(scratch) == NULL;
}

static int remove_scratch(void **state) {
    (void)state;
    unlink(in(scratch, "text.so"));
    unlink(in(scratch, "cut.so"));
    return rmdir(scratch);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: test_load FAKES PLUGIN\n");
        return 2;
    }
    fakes = argv[1];
    plugin = argv[2];
    const struct CMUnitTest load[] = {
        cmocka_unit_test(no_path),
        cmocka_unit_test(file_not_found),
        cmocka_unit_test(text_file),
        cmocka_unit_test(truncated_elf),
        cmocka_unit_test(directory),
        cmocka_unit_test(not_a_penult),
        cmocka_unit_test(other_versions),
        cmocka_unit_test(tables_that_lack_something),
        cmocka_unit_test(version_comparison),
        cmocka_unit_test(says_which_file_was_loaded),
        cmocka_unit_test(a_short_why_is_cut),
        cmocka_unit_test(a_refused_library_is_unloaded),
        cmocka_unit_test(has_asks_the_size),
        cmocka_unit_test(the_real_plugin),
    };
    return cmocka_run_group_tests(load, make_scratch, remove_scratch);
}
