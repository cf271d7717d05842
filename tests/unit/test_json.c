/* test_json.c - protects the strict JSON reader: what it accepts, what it refuses, and what it says when it refuses. */
#include "../../encoder/format/json.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Reads to the end or the first fault; returns the fault's code. The text is copied to a block of its exact size, so that
 * an address sanitizer sees any byte read beyond it. */
static int read_all(const char *text, size_t size, struct fault *fault) {
    struct json json;
    struct json_event event;
    char *copy = malloc(size ? size : 1);
    int status;
    assert_non_null(copy);
    memcpy(copy, text, size);
    json_start(&json, "file.json", copy, size);
    do
        status = json_next(&json, &event, fault);
    while (!status && event.kind != JSON_END);
    free(copy);
    return status;
}

static void accepts_what_rfc_8259_allows(void **state) {
    static const char *const texts[] = {
        "{}", "[]", " [ ] ", "0", "-0", "1.5e-7", "1E+2", "\"\"", "true", "false", "null", "[1,[2,[3]],{\"a\":{}}]",
        "{\"a\":1,\"b\":[true,false,null]}", "\"\\u00e9\\n\\\"\\ud83d\\ude00\"", "\"\\u00E9\\uE000\\uFFFF\"", "\"\xc3\xa9\"", "\t\r\n{}\n",
    };
    struct fault fault;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (read_all(texts[i], strlen(texts[i]), &fault))
            fail_msg("refused %s: %s", texts[i], fault.message);
}

/* Each of these is accepted by some reader in use (cJSON takes nine of them), and means different things to different ones. */
static void refuses_what_it_does_not(void **state) {
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {
#define CASE(literal) {literal, sizeof literal - 1}
        CASE(""), CASE(" "), CASE("{"), CASE("["), CASE("[1"), CASE("[1,"), CASE("[1,]"), CASE("{\"a\""), CASE("{\"a\":"),
        CASE("{\"a\":1"), CASE("{\"a\":1,}"), CASE("{a:1}"), CASE("{'a':1}"), CASE("{1:1}"), CASE("{\"a\" 1}"), CASE("[1 2]"),
        CASE("{}x"), CASE("{}{}"), CASE("{}\0"), CASE("01"), CASE("-"), CASE("+1"), CASE(".5"), CASE("1."), CASE("1e"),
        CASE("1e+"), CASE("0x10"), CASE("NaN"), CASE("Infinity"), CASE("tru"), CASE("True"), CASE("nulll"), CASE("\""),
        CASE("\"\\\""), CASE("\"\\x\""), CASE("\"\\u12\""), CASE("\"\\u12g4\""), CASE("\"\\ud800\""), CASE("\"\\udc00\""),
        CASE("\"\\ud800\\u0041\""), CASE("\"\\ud800\\"), CASE("\"\\"), CASE("\"\n\""), CASE("\"\x01\""), CASE("\"\xff\""),
        CASE("\"\xc0\xaf\""), CASE("\"\xed\xa0\x80\""), CASE("\"\xf4\x90\x80\x80\""), CASE("\"\xe2\x82\""),
        CASE("\xef\xbb\xbf{}"), CASE("// c\n{}"), CASE("[1}"), CASE("{\"a\":1]"), CASE("[,1]"), CASE("{,}"),
        CASE("\"\\u12/4\""), CASE("\"\\u12G4\""), CASE("\"\\ud800abcdefgh\""), CASE("\"\\ud800\\nabcdefg\""),
        CASE("\"\\ud800\\ue000\""), CASE("\"\\ud800\\u00e9\""),
#undef CASE
    };
    struct fault fault;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (read_all(cases[i].text, cases[i].size, &fault) != FAULT_FORMAT)
            fail_msg("accepted case %zu: %s", i, cases[i].text);
        assert_names(fault.message, "file.json");
        assert_names(fault.message, "expected");
    }
}

/* A depth bomb must be refused, by number and not by the stack. */
static void depth_is_limited(void **state) {
    char text[4 * JSON_DEPTH];
    struct fault fault;
    (void)state;
    memset(text, '[', JSON_DEPTH);
    memset(text + JSON_DEPTH, ']', JSON_DEPTH);
    assert_int_equal(read_all(text, 2 * JSON_DEPTH, &fault), 0);
    memset(text, '[', JSON_DEPTH + 1);
    memset(text + JSON_DEPTH + 1, ']', JSON_DEPTH + 1);
    assert_int_equal(read_all(text, 2 * JSON_DEPTH + 2, &fault), FAULT_FORMAT);
    assert_names(fault.message, "32");
}

static struct json_event only_event(struct json *json, const char *text) {
    struct json_event event;
    struct fault fault;
    json_start(json, "file.json", text, strlen(text));
    assert_int_equal(json_next(json, &event, &fault), 0);
    return event;
}

/* Keys are compared and stored unescaped: "\u0061" is "a", and "a\u0000b" is three bytes and not "a". */
static void strings_are_unescaped(void **state) {
    struct json json;
    char out[64];
    (void)state;
    struct json_event event = only_event(&json, "\"\\u0061\\u0000b\\/\\t\\ud83d\\ude00\\u00e9\"");
    size_t size = json_unescape(&event, out);
    assert_int_equal(size, 11);
    assert_memory_equal(out, "a\0b/\t\xf0\x9f\x98\x80\xc3\xa9", 11);
    event = only_event(&json, "\"\\u0061\\u0062\"");
    assert_true(json_is(&event, "ab"));
    event = only_event(&json, "\"a\\u0000b\"");
    assert_false(json_is(&event, "a"));
    /* of the same size, and far longer than any key that is known */
    event = only_event(&json, "\"\\u0061c\"");
    assert_false(json_is(&event, "ab"));
    char longer[400];
    memset(longer, 'a', sizeof longer);
    memcpy(longer, "\"\\u0061", 7);
    memcpy(longer + sizeof longer - 2, "\"", 2);
    event = only_event(&json, longer);
    assert_false(json_is(&event, "a"));
}

/* Offsets beyond 2^31 and 2^53 are exact, and what is no integer of 64 bits is refused and not saturated. */
static void integers_are_exact(void **state) {
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0}, {"-0", 0}, {"4294967296", 4294967296}, {"9007199254740993", 9007199254740993},
                {"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"9223372036854775808", "-9223372036854775809", "1.0", "1e3", "\"1\"", "true"};
    struct json json;
    struct fault fault;
    int64_t value;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct json_event event = only_event(&json, good[i].text);
        assert_int_equal(json_integer(&json, &event, "begin", &value, &fault), 0);
        assert_true(value == good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct json_event event = only_event(&json, bad[i]);
        assert_int_equal(json_integer(&json, &event, "begin", &value, &fault), FAULT_FORMAT);
        assert_names(fault.message, "begin");
    }
}

static void reals_do_not_need_a_locale(void **state) {
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1e-05", 1e-05}, {"1e-5", 1e-5}, {"0.00001", 1e-5}, {"1.5", 1.5}, {"-2.25E2", -225}, {"0", 0},
                {"123456789012345", 123456789012345.0}, {"0.1", 0.1}, {"1e22", 1e22}, {"1e-400", 0}, {"5e-324", 5e-324}};
    struct json json;
    struct fault fault;
    double value;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct json_event event = only_event(&json, good[i].text);
        assert_int_equal(json_real(&json, &event, "eps", &value, &fault), 0);
        if (memcmp(&value, &good[i].value, sizeof value) != 0)
            fail_msg("%s", good[i].text);
    }
    struct json_event event = only_event(&json, "1e999");
    assert_int_equal(json_real(&json, &event, "eps", &value, &fault), FAULT_FORMAT);
    char digits[512];
    memset(digits, '7', 400);
    memcpy(digits + 400, "e-400", 6);
    event = only_event(&json, digits);
    assert_int_equal(json_real(&json, &event, "eps", &value, &fault), 0);
    assert_true(fabs(value - 0.77777777777777777) < 1e-14);
}

/* A number may have more digits than any counter should count: what is beyond a double is 0, or refused. */
static void reals_may_be_absurdly_long(void **state) {
    enum { DIGITS = 60000 };
    struct json json;
    struct fault fault;
    double value = 1;
    char *text = malloc(DIGITS + 32);
    (void)state;
    assert_non_null(text);
    memset(text, '0', DIGITS);
    memcpy(text, "0.", 2);
    memcpy(text + DIGITS, "1E2", 4);
    struct json_event event = only_event(&json, text);
    assert_int_equal(json_real(&json, &event, "eps", &value, &fault), 0);
    assert_true(value == 0);
    memset(text, '7', DIGITS);
    memcpy(text + DIGITS, "e2", 3);
    event = only_event(&json, text);
    assert_int_equal(json_real(&json, &event, "eps", &value, &fault), FAULT_FORMAT);
    free(text);
    event = only_event(&json, "1e-999999999999");
    assert_int_equal(json_real(&json, &event, "eps", &value, &fault), 0);
    assert_true(value == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_rfc_8259_allows), cmocka_unit_test(refuses_what_it_does_not),
        cmocka_unit_test(depth_is_limited),             cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(integers_are_exact),           cmocka_unit_test(reals_do_not_need_a_locale),
        cmocka_unit_test(reals_may_be_absurdly_long),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
