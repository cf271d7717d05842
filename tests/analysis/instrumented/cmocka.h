/* cmocka.h - the few assertions of cmocka that the unit tests use, compiled with the test. MemorySanitizer follows values only
 * through code that was built with it, and the distribution's cmocka was not; with this in its place the very tests that
 * `make test` runs are followed from end to end. A failed assertion ends the program, where cmocka would go on with the next
 * test. Knows no test. */
#ifndef TESTS_ANALYSIS_INSTRUMENTED_CMOCKA_H
#define TESTS_ANALYSIS_INSTRUMENTED_CMOCKA_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test)(void **state);
    int (*setup)(void **state), (*teardown)(void **state);
};

#define cmocka_unit_test(function) {#function, function, NULL, NULL}
#define cmocka_unit_test_setup_teardown(function, setup, teardown) {#function, function, setup, teardown}

#define fail_msg(...) (printf("# %s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), printf("\n"), broken_test())

#define assert_true(holds)                                                                                            \
    do {                                                                                                              \
        if (!(holds))                                                                                                 \
            fail_msg("%s", #holds);                                                                                   \
    } while (0)
#define assert_false(holds) assert_true(!(holds))
#define assert_null(pointer) assert_true((pointer) == NULL)
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_int_equal(a, b) assert_same_integers((uintmax_t)(a), (uintmax_t)(b), __FILE__, __LINE__)
#define assert_int_not_equal(a, b) assert_true((uintmax_t)(a) != (uintmax_t)(b))
#define assert_in_range(value, least, most)                                                                           \
    assert_true((uintmax_t)(value) >= (uintmax_t)(least) && (uintmax_t)(value) <= (uintmax_t)(most))
#define assert_string_equal(a, b) assert_true(strcmp((a), (b)) == 0)
#define assert_memory_equal(a, b, size) assert_true(memcmp((a), (b), (size)) == 0)

#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                                     \
    run_tests((tests), sizeof(tests) / sizeof(tests)[0], (setup), (teardown))
#define cmocka_run_group_tests(tests, setup, teardown) cmocka_run_group_tests_name("", tests, setup, teardown)

static size_t test_now;
static const char *test_name;

static inline _Noreturn void broken_test(void) {
    printf("not ok %zu - %s\n", test_now, test_name);
    fflush(stdout);
    exit(1);
}

static inline void assert_same_integers(uintmax_t a, uintmax_t b, const char *file, int line) {
    if (a == b)
        return;
    printf("# %s:%d: %" PRIuMAX " is not %" PRIuMAX "\n", file, line, a, b);
    broken_test();
}

static inline int run_tests(const struct CMUnitTest *tests, size_t count, int (*setup)(void **), int (*teardown)(void **)) {
    void *group = NULL;
    test_name = "setup";
    if (setup && setup(&group) != 0)
        broken_test();
    for (test_now = 1; test_now <= count; test_now++) {
        void *state = group;
        test_name = tests[test_now - 1].name;
        if (tests[test_now - 1].setup && tests[test_now - 1].setup(&state) != 0)
            broken_test();
        tests[test_now - 1].test(&state);
        if (tests[test_now - 1].teardown && tests[test_now - 1].teardown(&state) != 0)
            broken_test();
        printf("ok %zu - %s\n", test_now, test_name);
        fflush(stdout);
    }
    if (teardown && teardown(&group) != 0)
        broken_test();
    printf("1..%zu\n", count);
    return 0;
}

#endif
