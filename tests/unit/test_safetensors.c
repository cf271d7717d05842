/* test_safetensors.c - protects the header reader: each rule of the format, with the status and the name in the message.
 * The cases marked ST are those of huggingface/safetensors' own tests (safetensors/src/tensor.rs). */
#include "../../encoder/format/safetensors.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRY(name, dtype, shape, range)                                                                              \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" range "]}"

struct probe {
    const char *header;
    uint64_t data; /* bytes behind the header */
    int status;
    const char *names; /* what the message must name */
};

/* Exact-size copy, so that a sanitizer sees a read beyond the header. */
static int parse(struct safetensors *out, const char *header, uint64_t data, struct fault *fault) {
    size_t size = strlen(header);
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, header, size);
    int status = safetensors_parse(out, "m.safetensors", copy, size, 8 + size + data, fault);
    free(copy);
    return status;
}

static void reads_names_types_shapes_and_ranges(void **state) {
    struct safetensors s;
    struct fault fault;
    (void)state;
    assert_int_equal(parse(&s, "{\"__metadata__\":{\"format\":\"pt\"}," ENTRY("b", "F16", "2,3", "4,16") ","
                               ENTRY("a\\u0062", "F32", "", "0,4") "," ENTRY("empty", "BF16", "2,0", "16,16") "}  ",
                           16, &fault), 0);
    assert_int_equal(s.set.count, 3);
    /* sorted by name: "ab", "b", "empty" */
    assert_int_equal(s.set.items[0].name_size, 2);
    assert_memory_equal(s.set.items[0].name, "ab", 2);
    assert_int_equal(s.set.items[0].tensor.rank, 0);
    assert_int_equal(tensor_find(&s.set, "b", 1), 1);
    assert_int_equal(tensor_find(&s.set, "c", 1), 3);
    assert_int_equal(s.set.items[1].tensor.dtype, DTYPE_F16);
    assert_int_equal(s.set.items[1].tensor.shape[1], 3);
    assert_int_equal(s.set.items[1].bytes, 12);
    assert_int_equal(s.set.items[1].offset, s.data_offset + 4);
    safetensors_close(&s);
}

static void accepts_the_legal_corners(void **state) {
    static const struct probe probes[] = {
        {"{}\r \t\n", 0, 0, ""}, /* ST: white space behind */
        {" {}", 0, 0, ""},       /* ST: and before, which the code takes though the README forbids it */
        {"{" ENTRY("test", "I32", "2,0", "0,0") "}", 0, 0, ""}, /* ST: zero-sized */
        {"{" ENTRY("a", "F4", "2", "0,1") "}", 1, 0, ""},
        {"{" ENTRY("a", "F8_E4M3", "1,1,1,1,1,1,1,3", "0,3") "}", 3, 0, ""},
        {"{" ENTRY("a", "U8", "1", "0,1") "," ENTRY("A", "U8", "1", "1,2") "}", 2, 0, ""},
        {"{" ENTRY("a", "\\u00558", "1", "0,1") "}", 1, 0, ""}, /* JSON's other spelling of U8 */
        {"{\"a\":{\"shape\":[1],\"later\":{\"x\":[1]},\"data_offsets\":[0,1],\"dtype\":\"U8\"}}", 1, 0, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        struct safetensors s;
        struct fault fault;
        if (parse(&s, probes[i].header, probes[i].data, &fault))
            fail_msg("refused %s: %s", probes[i].header, fault.message);
        safetensors_close(&s);
    }
}

static void refuses_each_broken_rule_by_name(void **state) {
    static const struct probe probes[] = {
        {"", 0, FAULT_FORMAT, "m.safetensors"},
        {"[]", 0, FAULT_FORMAT, "object"},
        {"{", 0, FAULT_FORMAT, "JSON"},
        {"{}{}", 0, FAULT_FORMAT, "JSON"},
        {"{\"t\":1}", 0, FAULT_FORMAT, "object"},
        {"{" ENTRY("t", "I32", "2,2", "0,4") "}", 4, FAULT_FORMAT, "\"t\""},                        /* ST */
        {"{" ENTRY("t", "I32", "2,18446744073709551614", "0,16") "}", 16, FAULT_FORMAT, "shape"},  /* ST */
        {"{" ENTRY("t", "I32", "2,9223372036854775807", "0,16") "}", 16, FAULT_FORMAT, "\"t\""},   /* ST */
        {"{" ENTRY("t", "F32", "4294967296,4294967296", "0,0") "}", 0, FAULT_FORMAT, "overflow"},
        {"{" ENTRY("t", "F32", "4294967296,4294967296,0", "0,0") "}", 0, FAULT_FORMAT, "overflow"},
        {"{" ENTRY("t", "F4", "1", "0,1") "}", 1, FAULT_FORMAT, "whole bytes"},
        {"{" ENTRY("t", "U8", "2", "0,2") "}", 3, FAULT_TRAILING, "3"},  /* ST: trailing byte */
        {"{" ENTRY("t", "U8", "2", "0,2") "}", 1, FAULT_TRUNCATED, "2"}, /* ST: cut short */
        {"{" ENTRY("t", "U8", "2", "1,3") "}", 3, FAULT_FORMAT, "begins"},
        {"{" ENTRY("t", "U8", "2", "0,2") "," ENTRY("u", "U8", "2", "1,3") "}", 3, FAULT_FORMAT, "\"u\""},
        {"{" ENTRY("t", "U8", "2", "0,2") "," ENTRY("u", "U8", "2", "3,5") "}", 5, FAULT_FORMAT, "\"u\""},
        {"{" ENTRY("t", "U8", "2", "0,2") "," ENTRY("u", "U8", "2", "0,2") "}", 2, FAULT_FORMAT, "begins"},
        {"{" ENTRY("t", "U8", "2", "2,0") "}", 2, FAULT_FORMAT, "data_offsets"},
        {"{" ENTRY("t", "U8", "2", "0") "}", 2, FAULT_FORMAT, "data_offsets"},
        {"{" ENTRY("t", "U8", "2", "0,2,4") "}", 2, FAULT_FORMAT, "data_offsets"},
        {"{" ENTRY("t", "U8", "2", "0,9007199254740993") "}", 2, FAULT_FORMAT, "9007199254740993"},
        {"{" ENTRY("t", "U8", "-1", "0,2") "}", 2, FAULT_FORMAT, "negative"},
        {"{" ENTRY("t", "U8", "-0", "0,0") "}", 0, FAULT_FORMAT, "\"t\": shape"},
        {"{" ENTRY("t", "U8", "2", "-0,2") "}", 2, FAULT_FORMAT, "\"t\": data_offsets"},
        {"{" ENTRY("t", "U8", "2.0", "0,2") "}", 2, FAULT_FORMAT, "2.0"},
        {"{" ENTRY("t", "U8", "2e0", "0,2") "}", 2, FAULT_FORMAT, "2e0"},
        {"{" ENTRY("t", "U8", "\"2\"", "0,2") "}", 2, FAULT_FORMAT, "integer"},
        {"{" ENTRY("t", "U8", "[2]", "0,2") "}", 2, FAULT_FORMAT, "integer"},
        {"{" ENTRY("t", "U8", "1,1,1,1,1,1,1,1,2", "0,2") "}", 2, FAULT_FORMAT, "more than 8"},
        {"{" ENTRY("t", "u8", "2", "0,2") "}", 2, FAULT_FORMAT, "\"u8\""},
        {"{" ENTRY("t", "F128", "2", "0,32") "}", 32, FAULT_FORMAT, "\"F128\""},
        {"{\"t\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,2]}}", 2, FAULT_FORMAT, "dtype"},
        {"{\"t\":{\"shape\":[2],\"data_offsets\":[0,2]}}", 2, FAULT_FORMAT, "lacks"},
        {"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, FAULT_FORMAT, "twice"},
        {"{" ENTRY("t", "U8", "1", "0,1") "," ENTRY("t", "U8", "1", "1,2") "}", 2, FAULT_FORMAT, "twice"},
        {"{" ENTRY("t", "U8", "1", "0,1") "," ENTRY("\\u0074", "U8", "1", "1,2") "}", 2, FAULT_FORMAT, "twice"},
        {"{\"__metadata__\":{\"a\":1}}", 0, FAULT_FORMAT, "__metadata__"},
        {"{\"__metadata__\":{\"a\":{}}}", 0, FAULT_FORMAT, "__metadata__"},
        {"{\"__metadata__\":[]}", 0, FAULT_FORMAT, "__metadata__"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, FAULT_FORMAT, "twice"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        struct safetensors s;
        struct fault fault = {0};
        int status = parse(&s, probes[i].header, probes[i].data, &fault);
        if (status != probes[i].status)
            fail_msg("status %d and not %d for %s: %s", status, probes[i].status, probes[i].header, fault.message);
        assert_names(fault.message, probes[i].names);
        assert_null(s.set.items);
    }
}

/* "a\u0000b" and "a" are two names. A reader that stops at the NUL would see one tensor under the other's name. */
static void names_may_hold_anything(void **state) {
    struct safetensors s;
    struct fault fault;
    (void)state;
    assert_int_equal(parse(&s, "{" ENTRY("a\\u0000b", "U8", "1", "0,1") "," ENTRY("a", "U8", "1", "1,2") "}", 2, &fault), 0);
    assert_int_equal(tensor_find(&s.set, "a\0b", 3), 1);
    assert_int_equal(tensor_find(&s.set, "a", 1), 0);
    safetensors_close(&s);
}

static int open_bytes(const void *bytes, size_t size, struct fault *fault) {
    char path[] = "/tmp/penult-test-XXXXXX";
    int descriptor = mkstemp(path);
    struct file file;
    struct safetensors s;
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, bytes, size), (ssize_t)size);
    close(descriptor);
    assert_int_equal(file_open(&file, NULL, path, fault), 0);
    int status = safetensors_open(&s, &file, "m.safetensors", fault);
    if (!status)
        safetensors_close(&s);
    file_close(&file);
    unlink(path);
    return status;
}

static void the_length_is_checked_before_it_is_used(void **state) {
    struct fault fault;
    (void)state;
    for (size_t size = 0; size < 8; size++)
        assert_int_equal(open_bytes("\x02\0\0\0\0\0\0\0", size, &fault), FAULT_TRUNCATED);
    assert_int_equal(open_bytes("\x3c\0\0\0\0\0\0\0", 8, &fault), FAULT_TRUNCATED);         /* ST */
    assert_int_equal(open_bytes("\x3c\0\0\0\0\xff\xff\xff", 8, &fault), FAULT_FORMAT);      /* ST: too large */
    assert_int_equal(open_bytes("\x01\0\0\0\0\0\0\0\xff", 9, &fault), FAULT_FORMAT);        /* ST: not UTF-8 */
    assert_int_equal(open_bytes("\x01\0\0\0\0\0\0\0{", 9, &fault), FAULT_FORMAT);           /* ST */
    assert_int_equal(open_bytes("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, &fault), FAULT_FORMAT);
    assert_int_equal(open_bytes("\x02\0\0\0\0\0\0\0{}", 10, &fault), 0);
}

/* J1: a header cut short at every byte is refused, whatever was begun. */
static void a_header_cut_short_is_refused(void **state) {
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"}," ENTRY("b", "F16", "2,3", "4,16") ","
                                 "\"a\":{\"more\":[{}],\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}";
    struct safetensors s;
    struct fault fault;
    char cut[sizeof header];
    (void)state;
    for (size_t size = 0; size < sizeof header - 1; size++) {
        memcpy(cut, header, size);
        cut[size] = '\0';
        if (parse(&s, cut, 16, &fault) != FAULT_FORMAT)
            fail_msg("taken when cut to %zu bytes", size);
        assert_names(fault.message, "m.safetensors");
    }
    assert_int_equal(parse(&s, header, 16, &fault), 0);
    safetensors_close(&s);
}

/* A type's name is looked up without its escapes, in a buffer that holds every name: one that is longer is none of them. */
static void a_dtype_of_a_hundred_escapes_is_none(void **state) {
    struct safetensors s;
    struct fault fault;
    char header[1024] = "{\"a\":{\"dtype\":\"";
    (void)state;
    for (int i = 0; i < 100; i++)
        strcat(header, "\\u0046");
    strcat(header, "\",\"shape\":[],\"data_offsets\":[0,4]}}");
    assert_int_equal(parse(&s, header, 4, &fault), FAULT_FORMAT);
    assert_names(fault.message, "dtype");
    assert_int_equal(parse(&s, "{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, &fault), FAULT_FORMAT);
    assert_names(fault.message, "an array");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_names_types_shapes_and_ranges),     cmocka_unit_test(accepts_the_legal_corners),
        cmocka_unit_test(refuses_each_broken_rule_by_name),        cmocka_unit_test(names_may_hold_anything),
        cmocka_unit_test(the_length_is_checked_before_it_is_used), cmocka_unit_test(a_header_cut_short_is_refused),
        cmocka_unit_test(a_dtype_of_a_hundred_escapes_is_none),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
