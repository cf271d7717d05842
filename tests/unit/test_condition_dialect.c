/* test_condition_dialect.c - protects what the dialects make of brackets: the vectors of the reference (spec.md 8), what is
 * refused and in which words, hostile prompts in bounded time, and where each byte of text came from.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../encoder/condition/dialect.h"
#include "unit.h"

static struct fault fault;

/* Parses a copy that ends where it ends, with scratch of the promised size behind which guard bytes stand. */
static int parse(enum dialect_kind kind, const char *prompt, size_t size, struct dialect_text *text, unsigned char **scratch) {
    enum { GUARD = 64 };
    size_t bytes = dialect_scratch_bytes(size);
    char *exact = malloc(size ? size : 1);
    memcpy(exact, prompt, size);
    *scratch = malloc(bytes + GUARD);
    memset(*scratch, 0xA5, bytes + GUARD);
    int status = dialect_parse(kind, exact, size, *scratch, text, &fault);
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal((*scratch)[bytes + i], 0xA5);
    free(exact);
    return status;
}

/* ("text",weight)("text",weight) with ten digits, as the reference writes it. */
static const char *shown(enum dialect_kind kind, const char *prompt) {
    static char out[4096];
    struct dialect_text text;
    unsigned char *scratch;
    if (parse(kind, prompt, strlen(prompt), &text, &scratch)) {
        free(scratch);
        return "refused";
    }
    char *at = out;
    *at = '\0';
    for (size_t i = 0; i < text.segment_count; i++) {
        const struct dialect_segment *segment = &text.segments[i];
        at += snprintf(at, sizeof out - (size_t)(at - out), "%s%.*s|%.10g", i ? ";" : "", (int)(segment->end - segment->begin),
                       text.text + segment->begin, segment->weight);
    }
    free(scratch);
    return out;
}

/* Input, A1111, ComfyUI. "(nothing)": no segment. */
static void vectors(void **state) {
    (void)state;
    static const char *const rows[][3] = {
        {"((a))", "a|1.21", "a|1.21"},
        {"(a:0.5)", "a|0.5", "a|0.5"},
        {"((a:1.2) b)", "a|1.32; b|1.1", "a|1.2; b|1.1"},
        {"(a (b) c:1.5)", "a |1.5;b|1.65; c|1.5", "a |1.5;b|1.65; c|1.5"},
        {"[a]", "a|0.9090909091", "[a]|1"},
        {"[[a] b]", "a|0.826446281; b|0.9090909091", "[[a] b]|1"},
        {"(a", "a|1.1", "(a|1"},
        {"((a)", "a|1.21", "(a|1.1"},
        {"(a))", "a|1.1;)|1", "a|1.1;)|1"},
        {"a) (b)", "a) |1;b|1.1", "a) (b)|1"},
        {"\\(a\\)", "(a)|1", "(a)|1"},
        {"(a\\))", "a)|1.1", "a)|1.1"},
        {"\\\\a", "\\a|1", "\\\\a|1"},
        {"(:1.2)", "|1", ":1.2|1.1"},
        {"(a:b)", "a:b|1.1", "a:b|1.1"},
        {"(a: 1.3 )", "a|1.3", "a|1.3"},
        {"(a:1e1)", "a:1e1|1.1", "a|10"},
        {"(a:-0.5)", "a|-0.5", "a|-0.5"},
        {"(a:0)", "a|0", "a|0"},
        {"(a:1.2) (b:0.8)", "a|1.2; |1;b|0.8", "a|1.2; |1;b|0.8"},
        {"a BREAK b", "a|1;BREAK|-1;b|1", "a BREAK b|1"},
        {"(a BREAK b:1.2)", "a|1.2;BREAK|-1.2;b|1.2", "a BREAK b|1.2"},
        {"a:1.2)", "a:1.2)|1", "a:1.2)|1"},
        {"[a:0.5]", "a:0.5|0.9090909091", "[a:0.5]|1"},
        {"(a:1.2:1.3)", "a:1.2|1.3", "a:1.2|1.3"},
        {"()", "|1", ""},
        {"a, (b, c)1.3", "a, |1;b, c|1.1;1.3|1", "a, |1;b, c|1.1;1.3|1"},
        {"(hello:-1)", "hello|-1", "hello|-1"}, /* what BREAK weighs does not make a BREAK of it */
        {"(BREAKS:-1)", "BREAKS|-1", "BREAKS|-1"},
        {"(a:1.2.3)", "refused", "a:1.2.3|1.1"},
        /* the doctest of parse_prompt_attention */
        {"normal text", "normal text|1", "normal text|1"},
        {"an (important) word", "an |1;important|1.1; word|1", "an |1;important|1.1; word|1"},
        {"\\(literal\\]", "(literal]|1", "(literal\\]|1"},
        {"(unnecessary)(parens)", "unnecessaryparens|1.1", "unnecessary|1.1;parens|1.1"},
        {"a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
         "a |1;house|1.573; |1.1;on|1; a |1.1;hill|0.55;, sun, |1.1;sky|1.4641;.|1.1",
         "a |1;(((house:1.3)) [on] a (hill:0.5), sun, (((sky))).|1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(shown(DIALECT_A1111, rows[i][0]), rows[i][1]) != 0)
            fail_msg("a1111 \"%s\": %s, expected %s", rows[i][0], shown(DIALECT_A1111, rows[i][0]), rows[i][1]);
        if (strcmp(shown(DIALECT_COMFYUI, rows[i][0]), rows[i][2]) != 0)
            fail_msg("comfyui \"%s\": %s, expected %s", rows[i][0], shown(DIALECT_COMFYUI, rows[i][0]), rows[i][2]);
        char whole[200];
        snprintf(whole, sizeof whole, "%s|1", rows[i][0]);
        assert_string_equal(shown(DIALECT_PLAIN, rows[i][0]), whole);
    }
}

/* Weights are products of doubles in the host's order: to the last bit. */
static void exact_products(void **state) {
    (void)state;
    struct dialect_text text;
    unsigned char *scratch;
    assert_int_equal(parse(DIALECT_A1111, "(((house:1.3)) (((sky", 21, &text, &scratch), 0);
    assert_true(text.segments[0].weight == 1.3 * 1.1 * 1.1);
    assert_true(text.segments[text.segment_count - 1].weight == 1.1 * 1.1 * 1.1 * 1.1);
    free(scratch);
    assert_int_equal(parse(DIALECT_COMPEL, "cat---", 6, &text, &scratch), 0);
    assert_true(text.segments[0].weight == pow(0.9, 3));
    free(scratch);
}

static void names(void **state) {
    (void)state;
    assert_int_equal(dialect_find("a1111", 5), DIALECT_A1111);
    assert_int_equal(dialect_find("compel", 6), DIALECT_COMPEL);
    assert_int_equal(dialect_find("comfy", 5), DIALECTS);
    assert_int_equal(dialect_find("A1111", 5), DIALECTS);
    assert_int_equal(dialect_find("", 0), DIALECTS);
}

/* What is refused, by the name of what was wrong and where. */
static void refusals(void **state) {
    (void)state;
    static const struct {
        enum dialect_kind kind;
        const char *prompt;
        int code;
        const char *names;
    } cases[] = {
        {DIALECT_PLAIN, "ab\xFF", FAULT_TEXT, "byte 2"},
        {DIALECT_A1111, "a\xC3(", FAULT_TEXT, "byte 1"},
        {DIALECT_A1111, "a (b:1.2.3)", FAULT_FORMAT, "\"1.2.3\" at byte 5"},
        {DIALECT_A1111, "(a:.)", FAULT_FORMAT, "\".\" at byte 3"},
        {DIALECT_COMPEL, "a cat.swap(dog)", FAULT_UNSUPPORTED, ".swap() at byte 5"},
        {DIALECT_COMPEL, "(a cat).swap(dog) b", FAULT_UNSUPPORTED, ".swap() at byte 7"},
        {DIALECT_COMPEL, "((a).swap(b) c)+", FAULT_UNSUPPORTED, ".swap() at byte 4"},
        {DIALECT_COMPEL, "(x.swap(b))", FAULT_UNSUPPORTED, ".swap() at byte 2"},
        {DIALECT_COMPEL, "a withLora(x, -0.5)", FAULT_UNSUPPORTED, "a LoRA at byte 2"},
        {DIALECT_COMPEL, "(b useLora(x))+", FAULT_UNSUPPORTED, "a LoRA at byte 3"},
        {DIALECT_COMPEL, "a withLora(Ab_9-z, +0.5)", FAULT_UNSUPPORTED, "a LoRA at byte 2"},
        {DIALECT_COMPEL, "a withLora(x, .5)", FAULT_UNSUPPORTED, "a LoRA at byte 2"},
        {DIALECT_COMPEL, "(\"a\", \"b\").blend(1, no_normalise)", FAULT_FORMAT, "\"no_normalise\" at byte"},
        {DIALECT_COMPEL, "(\"a\", \"b\").and(1, Xy_9-z = wide)", FAULT_FORMAT, "\"Xy_9-z\" at byte"},
        {DIALECT_COMPEL, "(\"a\", \"b\").and(1)", FAULT_FORMAT, "1 weights for 2 parts"},
        {DIALECT_COMPEL, "(\"a\", \"b\").and(1, no)", FAULT_FORMAT, "\"no\" at byte"},
        {DIALECT_COMPEL, "(\"a\", \"b\").blend(x=2, 1, no_normalize)", FAULT_FORMAT, "\"x\" at byte"},
        {DIALECT_COMPEL, "(\"a\", \"b\").blend(1, 2) c", FAULT_FORMAT, "byte 23"},
        {DIALECT_COMPEL, "(\"a\", ()).blend(1, 2)", FAULT_FORMAT, "not empty"},
        {DIALECT_COMPEL, "a\vb", FAULT_FORMAT, "vertical tab at byte 1"},
        {DIALECT_COMPEL, "a b\f", FAULT_FORMAT, "form feed at byte 3"},
        {DIALECT_COMPEL, "(\"a\", \"b \v (\").and()", FAULT_FORMAT, "vertical tab"},
        {DIALECTS, "a", FAULT_ARGUMENT, "dialect 4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dialect_text text;
        unsigned char *scratch;
        int status = parse(cases[i].kind, cases[i].prompt, strlen(cases[i].prompt), &text, &scratch);
        if (status != cases[i].code)
            fail_msg("\"%s\": %d %s", cases[i].prompt, status, status ? fault.message : "");
        assert_names(fault.message, cases[i].names);
        free(scratch);
    }
    assert_true(dialect_scratch_bytes(DIALECT_TEXT_LIMIT + (size_t)1) == SIZE_MAX);
    assert_true(dialect_scratch_bytes(DIALECT_TEXT_LIMIT) < SIZE_MAX);
    struct dialect_text text;
    assert_int_equal(dialect_parse(DIALECT_PLAIN, "", DIALECT_TEXT_LIMIT + (size_t)1, NULL, &text, &fault), FAULT_LIMIT);
}

/* Compel's corners that seldom come up by chance; where a thing is not what it looks like, it is text. */
static void compel_corners(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"a cat.attend", "a cat.attend|1"},
        {"(a).attend(", "a .attend(|1"},
        {"(a).attend(x)", "a .attend(x)|1"},
        {"(a).attend(2", "a .attend(2|1"},
        {"(a) .attend ( 2. )", "a|2"},
        {"(a).attend b", "a .attend b|1"},
        {"(a).5", "a|0.5"},
        {"(a).x", "a .x|1"},
        {"(a).swap", "a .swap|1"},
        {"useLora", "useLora|1"},
        {"useLora()", "useLora()|1"},
        {"useLora(x", "useLora(x|1"},
        {"useLora(x~)", "useLora(x~)|1"},
        {"useLora(x^)", "useLora(x^)|1"},
        {"(a useLora b)+", "a useLora b|1.1"},
        {"(\"a\" \"b\").and()", "a b .and()|1"},
        {"(\"a\", =).and()", "(\"a\", =).and()|1"},
        {"(\"a\", \"b\").and", "a , b .and|1"},
        {"(\"a\", \"b\").and(1 2)", "a , b .and(1 2)|1"},
        {"(\"a\", \"b\").and(1,)", "a , b .and(1, )|1"},
        {"(\"a\", \"b\").and(1, =)", "a , b .and(1, =)|1"},
        {"(\"a\", \"b\").and(x=)", "a , b .and(x=)|1"},
        {"(\"a\", \"b\").and(x = wide", "a , b .and(x = wide|1"},
        {"(\"a\", \"b\").and(x", "a , b .and(x|1"},
        {"(\"a\", \"b\").and(x~)", "a , b .and(x~)|1"},
        {"(\"a\", \"b\").and(x^)", "a , b .and(x^)|1"},
        {"(\"a\", \"b\").and(+1, 2)", "a , b .and(+1, 2)|1"},
        {"(\"a\", \"b", "(\"a\", \"b|1"},
        {"(\"a\",", "(\"a\",|1"},
        {"\"a \\t b\"+", "a b|1.1"},
        {"\"a\\n\\rb\"+", "a b|1.1"},
        {"(a\tb\r\nc)+", "a b c|1.1"},
        {"\"a\rb\"+", "\"a b\"+|1"}, /* a quote ends in its line */
        {"\"a\\fb\"+", "\"a\\fb\"+|1"},
        {"\"a\\b\"+", "a\\b|1.1"},
        {"\"(a\"", "\"(a\"|1"},
        {"\"a)\"", "\"a)\"|1"},
        {"(\"a)\" b", "(\"a)\" b|1"},
        {"a\\", "a\\|1"},
        {"\"a\\", "\"a\\|1"},
        {"(\f)", "refused"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(shown(DIALECT_COMPEL, rows[i][0]), rows[i][1]) != 0)
            fail_msg("compel \"%s\": %s, expected %s", rows[i][0], shown(DIALECT_COMPEL, rows[i][0]), rows[i][1]);
    }
}

static void joins(void **state) {
    (void)state;
    static const struct {
        const char *prompt;
        enum dialect_join join;
        int normalised;
        size_t parts;
        double last;
    } cases[] = {
        {"(\"a\", \"b\").and()", DIALECT_AND, 0, 2, 1},
        {"(\"a\", \"b\", c).add(1, 2, -0.5) rest", DIALECT_AND, 0, 3, -0.5},
        {"(\"a\", \"b\").and(+1.5, +2.)", DIALECT_AND, 0, 2, 2},
        {"(\"a\", \"b\").blend(1, 0.25)", DIALECT_BLEND, 1, 2, 0.25},
        {"(\"a\", \"b\").blend(1, 3, no_normalize)", DIALECT_BLEND, 0, 2, 3},
        {"(\"a\", \"b\").blend(no_normalize)", DIALECT_BLEND, 0, 2, 1},
        {"(\"a\", (), (b)).and(1, 2, 3)", DIALECT_AND, 0, 2, 3},
        {"(\"a - b\", \"( c\").and()", DIALECT_AND, 0, 2, 1},
        {"((), ()).and()", DIALECT_AND, 0, 1, 1},
        {"(\"a\", \"b\").and(inf, -inf)", DIALECT_AND, 0, 2, -HUGE_VAL},
        {"just a cat", DIALECT_ONE, 0, 1, 1},
        {"()", DIALECT_ONE, 0, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dialect_text text;
        unsigned char *scratch;
        assert_int_equal(parse(DIALECT_COMPEL, cases[i].prompt, strlen(cases[i].prompt), &text, &scratch), 0);
        if (text.join != cases[i].join || text.normalised != cases[i].normalised || text.part_count != cases[i].parts ||
            text.parts[text.part_count - 1].weight != cases[i].last)
            fail_msg("\"%s\": %d, %d, %zu parts, %g", cases[i].prompt, (int)text.join, text.normalised, text.part_count,
                     text.parts[text.part_count - 1].weight);
        free(scratch);
    }
}

/* The byte of the prompt behind a byte of text: where signs go, escapes are opened and blanks come in. */
static void origins(void **state) {
    (void)state;
    static const struct {
        enum dialect_kind kind;
        const char *prompt, *find;
        uint32_t begin, end;
    } cases[] = {
        {DIALECT_A1111, "(a:1.2) \\(cat\\)", "cat", 10, 13},
        {DIALECT_A1111, "(a:1.2) \\(cat\\)", "(", 9, 10},
        {DIALECT_A1111, "a BREAK b", "BREAK", 2, 7},
        {DIALECT_COMFYUI, "((a:1.5) dog) \\(x", "dog", 9, 12},
        {DIALECT_COMFYUI, "((a:1.5) dog) \\(x", "(x", 15, 17},
        {DIALECT_COMPEL, "a,cat (b dog)1.3", "dog", 9, 12},
        {DIALECT_COMPEL, "a,cat (b dog)1.3", "cat", 2, 5},
        {DIALECT_COMPEL, "x \\\\\\(dog", "dog", 6, 9},
        {DIALECT_PLAIN, "a cat", "cat", 2, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dialect_text text;
        unsigned char *scratch;
        uint32_t begin, end;
        assert_int_equal(parse(cases[i].kind, cases[i].prompt, strlen(cases[i].prompt), &text, &scratch), 0);
        const char *found = memmem(text.text, text.text_bytes, cases[i].find, strlen(cases[i].find));
        assert_non_null(found);
        size_t at = (size_t)(found - text.text);
        dialect_origin(&text, at, at + strlen(cases[i].find), &begin, &end);
        if (begin != cases[i].begin || end != cases[i].end)
            fail_msg("case %zu: %u..%u", i, begin, end);
        dialect_origin(&text, text.text_bytes, text.text_bytes, &begin, &end);
        assert_true(begin == strlen(cases[i].prompt) && end == begin);
        free(scratch);
    }
}

/* ComfyUI marks brackets that are text with \0\1 and \0\2, so these in a prompt become brackets. */
static void marks_of_comfyui(void **state) {
    (void)state;
    struct dialect_text text;
    unsigned char *scratch;
    assert_int_equal(parse(DIALECT_COMFYUI, "a\0\1\0\2b\0", 7, &text, &scratch), 0);
    assert_int_equal(text.text_bytes, 5);
    assert_memory_equal(text.text, "a)(b\0", 5);
    free(scratch);
}

/* ---- hostile prompts ---- */

static char *repeated(const char *unit, size_t times, size_t *size) {
    size_t length = strlen(unit);
    char *out = malloc(length * times + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(out + i * length, unit, length);
    *size = length * times;
    return out;
}

/* A result or a fault that says what it was, in time that grows with the length: twice the text may not take longer than
 * some times twice. Segments are in order and inside the text whatever comes. */
static void hostile(void **state) {
    (void)state;
    static const char *const units[] = {
        "(", ")", "[", "]", "()", "(a", "a)", "((a)", "(a))", "[(", "(]", ":", "(:", ":1)", "(a:1e999)", "(a:nan)", "(a:1_0)", "\\", "\\(",
        "\\)", "\"", "\"(", "(\"", "\\\"", "\"\\\"", "( ", "( (a) ", ",", ",a", "+", "a+", "(a)+", "-", "--", "(a)1", "1", "1.", ".",
        "BREAK", " BREAK ", "BREAK BREAK", " ", "\n", "\xE3\x80\x80", "\xF0\x9F\x98\x80", "a .attend(", "(a).attend(1 ", "=", "(=)",
        "(\"a\",", "withLora(", "embedding:", " embedding:", "\xD9\xA1", "(a:\xD9\xA1)", "(((((((((((a:1)", "(a)(", "\"a\" (", "\\\\(", "\f ", "( \"a\" ",
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        for (int kind = 0; kind < DIALECTS; kind++) {
            size_t size;
            char *prompt = repeated(units[i], 100000, &size);
            void *scratch = malloc(dialect_scratch_bytes(size));
            struct dialect_text text;
            struct timespec begin, end;
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
            int status = dialect_parse((enum dialect_kind)kind, prompt, size, scratch, &text, &fault);
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
            double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
            if (seconds > 5)
                fail_msg("%s, \"%s\" a hundred thousand times: %.1f s", dialects[kind].name, units[i], seconds);
            if (status) {
                assert_true(status == fault.code && (status == FAULT_LIMIT || kind == DIALECT_COMPEL || kind == DIALECT_A1111));
                assert_non_null(strstr(fault.message, " at byte "));
            } else {
                uint32_t at = 0;
                for (size_t j = 0; j < text.segment_count; j++) {
                    assert_true(text.segments[j].begin == at && text.segments[j].end >= at);
                    at = text.segments[j].end;
                }
                assert_int_equal(at, text.text_bytes);
            }
            free(scratch);
            free(prompt);
        }
    }
}

/* Nesting up to the limit is a result, one more is a fault. */
static void depth(void **state) {
    (void)state;
    for (int kind = DIALECT_A1111; kind < DIALECTS; kind++) {
        for (size_t deep = DIALECT_DEPTH - 2; deep < DIALECT_DEPTH + 2; deep++) {
            char prompt[2 * DIALECT_DEPTH + 8] = {0};
            memset(prompt, '(', deep);
            prompt[deep] = 'a';
            memset(prompt + deep + 1, ')', deep);
            struct dialect_text text;
            unsigned char *scratch;
            int status = parse((enum dialect_kind)kind, prompt, 2 * deep + 1, &text, &scratch);
            /* ComfyUI's first level is the prompt itself */
            int fits = deep + (kind == DIALECT_COMFYUI) <= DIALECT_DEPTH;
            assert_int_equal(status, fits ? 0 : FAULT_LIMIT);
            if (fits) /* no host has a limit short of its own stack */
                assert_true(kind == DIALECT_COMPEL ? text.segments[0].weight == 1 : text.segments[0].weight > 1e9);
            else
                assert_names(fault.message, "more than 256 deep");
            free(scratch);
        }
    }
}

/* Weights that are no usual numbers come through as the host has them. */
static void odd_weights(void **state) {
    (void)state;
    struct dialect_text text;
    unsigned char *scratch;
    assert_int_equal(parse(DIALECT_COMFYUI, "(a:1e999)", 9, &text, &scratch), 0);
    assert_true(isinf(text.segments[0].weight));
    free(scratch);
    assert_int_equal(parse(DIALECT_COMFYUI, "(a:nan)", 7, &text, &scratch), 0);
    assert_true(isnan(text.segments[0].weight));
    free(scratch);
    assert_int_equal(parse(DIALECT_A1111, "(a:nan)", 7, &text, &scratch), 0);
    assert_true(text.segments[0].weight == 1.1);
    free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),        cmocka_unit_test(exact_products),   cmocka_unit_test(names),   cmocka_unit_test(refusals),
        cmocka_unit_test(compel_corners), cmocka_unit_test(joins),            cmocka_unit_test(origins), cmocka_unit_test(marks_of_comfyui),
        cmocka_unit_test(hostile),        cmocka_unit_test(depth),            cmocka_unit_test(odd_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
