/* test_checkpoint.c - protects what becomes of one file or many: told apart by first bytes, the wanted tensors in memory with
 * their own bytes and not what lies between them, mapped or copied, a copy that can be stopped, and every file's fate seen. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../encoder/format/checkpoint.h"
#include "unit.h"

static struct fault fault;
static char root[] = "/tmp/penult-checkpoint-XXXXXX";

static const char *at(const char *name) {
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size) {
    FILE *to = fopen(at(name), "wb");
    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, size, to), size);
    assert_int_equal(fclose(to), 0);
}

/* One tensor of the file, of bytes that all are `value`; between it and the one before lie those of "hole", which are zero and
 * take no room on the disk. */
struct stored {
    const char *name;
    size_t bytes, before;
    int value;
};

static void write_tensors(const char *name, const struct stored *stored, size_t count) {
    char header[1024];
    size_t size = 8, end = 0;
    for (size_t i = 0; i < count; i++) {
        if (stored[i].before)
            size += (size_t)snprintf(header + size, sizeof header - size, "%c\"hole%zu\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}",
                                     size == 8 ? '{' : ',', i, stored[i].before, end, end + stored[i].before);
        end += stored[i].before;
        size += (size_t)snprintf(header + size, sizeof header - size, "%c\"%s\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}",
                                 size == 8 ? '{' : ',', stored[i].name, stored[i].bytes, end, end + stored[i].bytes);
        end += stored[i].bytes;
    }
    header[size++] = '}';
    for (unsigned i = 0; i < 8; i++)
        header[i] = (char)((size - 8) >> 8 * i);
    write_file(name, header, size);
    int descriptor = open(at(name), O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(descriptor, (off_t)(size + end)), 0);
    size_t place = size;
    for (size_t i = 0; i < count; i++) {
        char *bytes = malloc(stored[i].bytes + 1);
        memset(bytes, stored[i].value, stored[i].bytes + 1);
        place += stored[i].before;
        assert_int_equal(pwrite(descriptor, bytes, stored[i].bytes, (off_t)place), stored[i].bytes);
        place += stored[i].bytes;
        free(bytes);
    }
    close(descriptor);
}

static const struct stored apart[] = {{"a", 5000, 0, 1}, {"b", 3000, 1000, 2}, {"c", 7000, 9 << 20, 3}, {"none", 0, 0, 0}};
static const struct stored second[] = {{"d", 4000, 0, 4}, {"e", 10, 1 << 20, 5}};
static const char index_text[] = "{\"weight_map\":{\"a\":\"one.st\",\"b\":\"one.st\",\"c\":\"one.st\",\"d\":\"two.st\",\"e\":\"two.st\",\"f\":\"gone.st\"}}";

static int begin(void **state) {
    (void)state;
    if (!mkdtemp(root))
        return -1;
    write_tensors("one.st", apart, sizeof apart / sizeof *apart);
    write_tensors("two.st", second, sizeof second / sizeof *second);
    return 0;
}

static int end(void **state) {
    static const char *const files[] = {"one.st", "two.st", "index", "odd"};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(at(files[i]));
    return rmdir(root);
}

/* The wanted ones' values, and no data for the others. */
static void holds(const struct checkpoint *c, const char *wanted) {
    for (size_t i = 0; i < c->set.count; i++) {
        const struct named_tensor *item = &c->set.items[i];
        int value = item->name[0] - 'a' + 1;
        if (item->bytes == 0)
            continue;
        if (!strchr(wanted, item->name[0]) || item->name_size > 1) {
            assert_null(item->tensor.data);
            continue;
        }
        assert_non_null(item->tensor.data);
        for (uint64_t k = 0; k < item->bytes; k++)
            assert_int_equal(item->tensor.data[k], value);
    }
}

static void want(const struct checkpoint *c, const char *wanted, unsigned char *used) {
    for (size_t i = 0; i < c->set.count; i++)
        used[i] = strchr(wanted, c->set.items[i].name[0]) || c->set.items[i].bytes == 0;
}

/* "c" lies 9 MiB behind "b": they come without what is between, and with a copy its size is all that is taken. A tensor
 * without bytes is wanted, too, and needs none. */
static void spans_leave_gaps_out(void **state) {
    (void)state;
    static const struct {
        const char *wanted;
        size_t spans;
    } cases[] = {{"abc", 2}, {"ab", 1}, {"b", 1}, {"ac", 2}, {"", 0}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        int copy = (int)(i % 2);
        struct checkpoint c;
        unsigned char used[16] = {0};
        struct report report = {NULL, NULL};
        assert_int_equal(checkpoint_open(&c, root, "one.st", &report, &fault), 0);
        assert_string_equal(c.name, "one.st");
        want(&c, cases[i / 2].wanted, used);
        assert_int_equal(checkpoint_load(&c, used, copy, NULL, NULL, &fault), 0);
        assert_int_equal(c.span_count, cases[i / 2].spans);
        assert_true(c.bytes_loaded < 64 << 10);
        holds(&c, cases[i / 2].wanted);
        assert_int_equal(checkpoint_check(&c, &fault), 0);
        checkpoint_forget(&c);
        assert_int_equal(checkpoint_check(&c, &fault), 0);
        checkpoint_close(&c);
    }
}

struct watch {
    uint64_t done, total, stop;
};

static int watch(void *user, uint64_t done, uint64_t total) {
    struct watch *w = user;
    assert_true(done > w->done && done <= total);
    w->done = done;
    w->total = total;
    return done >= w->stop;
}

static void a_copy_can_be_stopped(void **state) {
    (void)state;
    for (uint64_t stop = 9 << 20; stop <= 10 << 20; stop += 1 << 20) {
        struct watch w = {.stop = stop};
        struct checkpoint c;
        unsigned char used[16];
        struct report report = {NULL, NULL};
        memset(used, 1, sizeof used); /* the hole as well: more than one step */
        assert_int_equal(checkpoint_open(&c, NULL, at("one.st"), &report, &fault), 0);
        assert_string_equal(c.name, "one.st");
        int status = checkpoint_load(&c, used, 1, watch, &w, &fault);
        assert_int_equal(status, stop > w.total ? 0 : FAULT_CANCELLED);
        assert_true(w.done == w.total && w.total > 9 << 20);
        if (status)
            assert_names(fault.message, "cancelled");
        checkpoint_close(&c);
    }
}

static void said(void *user, const struct finding *finding) {
    *(unsigned *)user += finding->severity == REPORT_WARNING;
    assert_string_equal(finding->subject, "gone.st");
}

/* Shards, whatever white space their index begins with. What lies in a file that is not there has no type. */
static void shards_become_one_set(void **state) {
    (void)state;
    for (const char *first = " \t\n\r"; *first; first++) {
        for (int copy = 0; copy < 2; copy++) {
            char text[sizeof index_text + 1];
            unsigned warnings = 0;
            struct report report = {said, &warnings};
            struct checkpoint c;
            unsigned char used[16] = {0};
            snprintf(text, sizeof text, "%c%s", *first, index_text);
            write_file("index", text, strlen(text));
            assert_int_equal(checkpoint_open(&c, root, "index", &report, &fault), 0);
            assert_int_equal(warnings, 1);
            assert_int_equal(c.set.count, 6);
            assert_int_equal(c.set.items[5].tensor.dtype, DTYPE_NONE);
            want(&c, copy ? "ace" : "de", used);
            used[5] = 0;
            assert_int_equal(checkpoint_load(&c, used, copy, NULL, NULL, &fault), 0);
            assert_int_equal(c.span_count, copy ? 3 : 2);
            holds(&c, copy ? "ace" : "de");
            assert_int_equal(checkpoint_check(&c, &fault), 0);
            checkpoint_close(&c);
        }
    }
}

static void refuses(const char *name, int code, const char *words) {
    struct checkpoint c;
    struct report report = {NULL, NULL};
    int status = checkpoint_open(&c, root, name, &report, &fault);
    if (status != code)
        fail_msg("status %d, expected %d: %s", status, code, status ? fault.message : "opened");
    assert_names(fault.message, words);
}

static void other_files_are_named(void **state) {
    static const struct {
        const char *bytes;
        size_t size;
        int code;
        const char *words;
    } cases[] = {{"PK\3\4abcdefgh", 12, FAULT_UNSUPPORTED, "pickle"}, {"GGUF\3\0\0\0\0\0", 10, FAULT_UNSUPPORTED, "GGUF"},
                 {"", 0, FAULT_TRUNCATED, "odd"}, {"{\"x\":1}", 7, FAULT_TRUNCATED, "odd"}, {"{\"xyzuvw\":1}", 12, FAULT_FORMAT, "weight_map"},
                 {"{\0\0\0\0\0\0\0x", 9, FAULT_TRUNCATED, "odd"}};
    (void)state;
    refuses("nowhere", FAULT_NOT_FOUND, "nowhere");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file("odd", cases[i].bytes, cases[i].size);
        refuses("odd", cases[i].code, cases[i].words);
    }
    static const char lies[] = "{\"weight_map\":{\"z\":\"one.st\"}}", broken[] = "{\"weight_map\":{\"z\":\"odd\"}}";
    write_file("index", lies, sizeof lies - 1);
    refuses("index", FAULT_MISMATCH, "does not hold it");
    write_file("index", broken, sizeof broken - 1);
    refuses("index", FAULT_TRUNCATED, "odd");
    unlink(at("odd"));
    assert_int_equal(mkfifo(at("odd"), 0600), 0);
    refuses("index", FAULT_IO, "odd");
    unlink(at("odd"));
}

/* Truncated, or written to, after its header was read. */
static void a_file_that_changes_is_seen(void **state) {
    (void)state;
    for (int copy = 0; copy < 2; copy++) {
        struct checkpoint c;
        unsigned char used[16] = {0};
        struct report report = {NULL, NULL};
        write_tensors("odd", second, sizeof second / sizeof *second);
        assert_int_equal(checkpoint_open(&c, root, "odd", &report, &fault), 0);
        want(&c, "de", used);
        if (copy) {
            assert_int_equal(truncate(at("odd"), 6000), 0);
            assert_int_equal(checkpoint_load(&c, used, 1, NULL, NULL, &fault), FAULT_TRUNCATED);
        } else {
            assert_int_equal(checkpoint_load(&c, used, 0, NULL, NULL, &fault), 0);
            assert_int_equal(truncate(at("odd"), 6000), 0);
            assert_int_equal(checkpoint_check(&c, &fault), FAULT_CHANGED);
        }
        assert_names(fault.message, "odd");
        checkpoint_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_leave_gaps_out),  cmocka_unit_test(a_copy_can_be_stopped), cmocka_unit_test(shards_become_one_set),
        cmocka_unit_test(other_files_are_named), cmocka_unit_test(a_file_that_changes_is_seen),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, begin, end);
}
