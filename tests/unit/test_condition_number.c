/* test_condition_number.c - protects numbers: what Python's float() takes and what it does not, and each value.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../encoder/condition/number.h"
#include "unit.h"

static void values(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"1", 1},           {"1.5", 1.5},       {" 1.3 ", 1.3},       {"\t-0.5\n", -0.5},    {"+.5", 0.5},          {"1.", 1},
        {"1e3", 1000},      {"1E-3", 0.001},    {"1e+2", 100},        {"1_0", 10},           {"1_0.0_1e1_0", 10.01e10},
        {"0", 0},           {"000", 0},         {"1e999", HUGE_VAL},  {"-1e999", -HUGE_VAL}, {"1e-999", 0},         {"0e999999999999", 0},
        {"inf", HUGE_VAL},  {"-InFinity", -HUGE_VAL},                 {"0.1", 0.1},          {"123456789012345678", 123456789012345678.0},
        {"\xD9\xA1.\xD9\xA5", 1.5},             {"\xEF\xBC\x91\xEF\xBC\x92", 12},            {"\xE3\x80\x80" "7\xC2\xA0", 7},
        {"1.0000000000000000000000000000000001", 1},                  {"10000000000000000000000000", 1e25},
        {"1e400000000000000000000", HUGE_VAL},  {"1e-4_0", 1e-40},    {"\x1C" "2", 2},       {"1573e-3", 1.573},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double value = -77;
        char *exact = malloc(strlen(cases[i].text));
        memcpy(exact, cases[i].text, strlen(cases[i].text));
        if (!number_read(exact, strlen(cases[i].text), &value) ||
            !(value == cases[i].value || fabs(value - cases[i].value) <= 4e-16 * fabs(cases[i].value)))
            fail_msg("\"%s\" is %.17g", cases[i].text, value);
        free(exact);
    }
    double value;
    assert_true(number_read("nan", 3, &value) && isnan(value));
    assert_true(number_read("-NaN ", 5, &value) && isnan(value));
}

static void not_numbers(void **state) {
    (void)state;
    static const char *const texts[] = {"",     " ",     ".",   "-",    "+",       "1.2.3", "1__0", "_1",      "1_",    "1_.5", "1._5", "1e",   "e5",
                                        "1e+",  "1e_5",  "1e5_", "--1", "1 2",     "0x10",  "1f",   "infinit", "nano",  "in",   "a",    "1,5",  "\\",
                                        "1e1.5", "\xC2\xB2", "1\xE2\x80\xA2", "+ 1", "- inf", "1e 5", "\xD9\xA1_", "1.5_", "1\xFF"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double value = -77;
        if (number_read(texts[i], strlen(texts[i]), &value) || value != -77)
            fail_msg("\"%s\" was taken for %.17g", texts[i], value);
    }
    double value = -77;
    assert_false(number_read("1\0", 2, &value));
    assert_false(number_read("\0", 1, &value));
}

/* Characters as Python's `re` sorts them. */
static void characters(void **state) {
    (void)state;
    size_t length;
    assert_int_equal(number_digit("7", 1, &length), 7);
    assert_int_equal(number_digit("\xF0\x9D\x9F\x99", 4, &length), 1); /* mathematical double-struck */
    assert_int_equal(length, 4);
    assert_int_equal(number_digit("\xC2\xB2", 2, &length), -1); /* a superscript is a number and no digit */
    assert_int_equal(number_digit("a", 1, &length), -1);
    assert_int_equal(number_digit("", 0, &length), -1);
    assert_int_equal(number_digit("\xF4\x8F\xBF\xBF", 4, &length), -1);
    assert_true(number_is_space("\x1C", 1, &length) && number_is_space("\xE2\x80\xA8", 3, &length));
    assert_true(!number_is_space("\xE2\x80\x8B", 3, &length) && !number_is_space("", 0, &length) && !number_is_space("\x1B", 1, &length));
    assert_true(number_is_word("_", 1, &length) && number_is_word("\xC3\xA9", 2, &length) && number_is_word("\xC2\xB2", 2, &length));
    assert_true(!number_is_word("-", 1, &length) && !number_is_word("\xCC\x81", 2, &length) && !number_is_word("", 0, &length));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(not_numbers), cmocka_unit_test(characters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
