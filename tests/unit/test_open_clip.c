/* test_open_clip.c - protects the cleaning of open_clip's mode where recorded texts do not reach: spans through entities,
 * cuts, long texts, references that are no character, and that time and room stay linear.
 */
#include <stdio.h>

#include "../../encoder/text/html.h"
#include "small_vocab.h"
#include "tokens.h"

static int open_small(void **state) {
    struct small small = small_pair();
    struct vocab_files files = small_files(&small);
    struct tokenizer_options options = {.mode = TOKENIZER_OPEN_CLIP};
    int status = tokenizer_open_files((struct tokenizer **)state, &files, &options, NULL, NULL, &fault);
    small_free(&small);
    return status;
}

static int close_small(void **state) {
    tokenizer_close(*state);
    return 0;
}

/* Each id with the bytes of the text that it came from. */
struct expected {
    int32_t id;
    const char *bytes;
};

static void check(const struct tokenizer *tokenizer, const char *text, const struct expected *expected, size_t count) {
    int32_t *ids;
    struct token_span *spans;
    size_t found, size = strlen(text);
    assert_int_equal(body_of(tokenizer, text, size, &ids, &spans, &found), 0);
    if (found != count)
        fail_msg("%s: %zu ids, expected %zu", text, found, count);
    for (size_t i = 0; i < count; i++) {
        size_t length = (size_t)(spans[i].end - spans[i].begin);
        if (ids[i] != expected[i].id || length != strlen(expected[i].bytes) ||
            memcmp(text + spans[i].begin, expected[i].bytes, length) != 0)
            fail_msg("%s: id %zu is %d for bytes %d to %d, expected %d for \"%s\"", text, i, ids[i], (int)spans[i].begin,
                     (int)spans[i].end, expected[i].id, expected[i].bytes);
    }
    free(ids);
    free(spans);
}
#define CHECK(tokenizer, text, ...)                                                                                    \
    check(tokenizer, text, (const struct expected[]){__VA_ARGS__},                                                     \
          sizeof((const struct expected[]){__VA_ARGS__}) / sizeof(struct expected))

/* An id came from the whole entity, from all characters that were composed, and from nothing that was taken out. */
static void spans(void **state) {
    CHECK(*state, "&lt;", {283, "&lt;"});
    CHECK(*state, "  x &amp;amp; y ", {343, "x"}, {261, "&amp;amp;"}, {344, "y"});
    CHECK(*state, "h&#101;ll&#x6f;", {515, "h&#101;ll&#x6f;"});
    CHECK(*state, "x\x01 y\x7F", {343, "x"}, {344, "y"});
    CHECK(*state, "x\x1B[1;31my", {87, "x"}, {344, "y"});
    CHECK(*state, "\xEF\xAC\x81", {69, "\xEF\xAC\x81"}, {328, "\xEF\xAC\x81"});               /* the ligature fi */
    CHECK(*state, "e\xCC\x81x", {127, "e\xCC\x81"}, {102, "e\xCC\x81"}, {343, "x"});          /* e and an acute accent */
    CHECK(*state, "\xC3\x89", {127, "\xC3"}, {358, "\x89"});                                   /* one for one: exact */
    CHECK(*state, "\xC4\xB0", {328, "\xC4\xB0"}, {136, "\xC4\xB0"}, {485, "\xC4\xB0"});        /* i and a dot above */
    CHECK(*state, "<start_of_text>x<end_of_text>", {SMALL_START, "<start_of_text>"}, {343, "x"}, {SMALL_END, "<end_of_text>"});
    CHECK(*state, "&lt;end_of_text>", {SMALL_END, "&lt;end_of_text>"});
    CHECK(*state, "x&amp;#xFEFF;y", {87, "x"}, {344, "y"}); /* what the second level makes is taken out too */
    CHECK(*state, "&amp;#1; y", {344, "y"});
    CHECK(*state, "x\xCC\x81\xCC\xA3", {343, "x\xCC\x81\xCC\xA3"}, {136, "x\xCC\x81\xCC\xA3"}, {96, "x\xCC\x81\xCC\xA3"}, {136, "x\xCC\x81\xCC\xA3"},
          {479, "x\xCC\x81\xCC\xA3"}); /* marks in another order: no letter of the segment has bytes of its own */
    CHECK(*state, "&amp;&#59;", {5, "&amp;"}, {282, "&#59;"}); /* "&;" is no entity, and one piece */
}

/* A cut begins behind the last whole entity. */
static void cuts(void **state) {
    static const char text[] = "x &amp; y &lt; z";
    char scratch[8192];
    int32_t ids[4];
    struct token_span where[4];
    struct token_frame frame;
    assert_true(tokenizer_frame_scratch_bytes(*state, sizeof text) <= sizeof scratch);
    assert_int_equal(tokenizer_frame(*state, text, sizeof text - 1, scratch, 4, ids, where, &frame, &fault), 0);
    static const int32_t expected[] = {SMALL_START, 343, 261, SMALL_END};
    assert_memory_equal(ids, expected, sizeof expected);
    assert_int_equal(frame.cut_count, 3);
    assert_int_equal(frame.cut_begin, 8);
    assert_int_equal(where[2].begin, 2);
    assert_int_equal(where[2].end, 7);
    assert_int_equal(tokenizer_pad_id(*state), 0);
    assert_int_equal(tokenizer_frame(*state, "x", 1, scratch, 4, ids, where, &frame, &fault), 0);
    assert_int_equal(ids[3], 0);
}

/* What html.unescape says of numbers: another character, U+FFFD, or nothing. */
static void references(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t points[4];
    } cases[] = {
        {"&#65;", {'A'}}, {"&#65", {'A'}}, {"&#x41;", {'A'}}, {"&#X41", {'A'}}, {"&#x;", {'&', '#', 'x', ';'}},
        {"&#;", {'&', '#', ';'}}, {"&#0;", {0xFFFD}}, {"&#x80;", {0x20AC}}, {"&#129;", {0x81}}, {"&#1;", {0}}, {"&#11;", {0}},
        {"&#xFFFE;", {0}}, {"&#xFDD0;", {0}}, {"&#x1FFFF;", {0}}, {"&#xD800;", {0xFFFD}}, {"&#x110000;", {0xFFFD}},
        {"&#99999999999999999999999999;", {0xFFFD}}, {"&#xffffffffffffffffff41;", {0xFFFD}}, {"&#13;", {'\r'}},
        {"&lt", {'<'}}, {"&lt;", {'<'}}, {"&ltx", {'<', 'x'}}, {"&notit;", {0xAC, 'i', 't', ';'}}, {"&notin;", {0x2209}},
        {"&x;", {'&', 'x', ';'}}, {"&&lt;", {'&', '<'}}, {"&", {'&'}}, {"&;", {'&', ';'}}, {"&nGt;", {0x226B, 0x20D2}},
        {"&CounterClockwiseContourIntegral;", {0x2233}}, {"&EACUTE;", {'&', 'E', 'A', 'C'}}, {"&lt x", {'<', ' ', 'x'}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct letter letters[64];
        size_t size = strlen(cases[i].text), expected = 0;
        for (uint32_t at = 0; at < size; at++)
            letters[at] = (struct letter){(unsigned char)cases[i].text[at], at, at + 1};
        size_t count = html_unescape(letters, size);
        while (expected < 4 && cases[i].points[expected])
            expected++;
        if (expected < 4 && count != expected)
            fail_msg("%s: %zu letters, expected %zu", cases[i].text, count, expected);
        for (size_t at = 0; at < expected; at++)
            if (letter_point(&letters[at]) != cases[i].points[at])
                fail_msg("%s: found U+%04X, expected U+%04X", cases[i].text, letter_point(&letters[at]), cases[i].points[at]);
    }
}

/* ftfy wants a semicolon, all of a number, and no semicolon out of it. */
static void ftfy_references(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int count;
        uint32_t first;
    } cases[] = {{"&amp;", 1, '&'}, {"&EACUTE;", 1, 0xC9}, {"&FFILIG;", 3, 'F'}, {"&nothing;", -1, 0}, {"&#12ab;", -1, 0},
                 {"&#x1F600;", 1, 0x1F600}, {"&#x;", -1, 0}, {"&#x3B;", -1, 0}, {"&#59;", -1, 0}, {"&#1;", 0, 0},
                 {"&#x80;", 1, 0x20AC}, {"&#abc;", -1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t points[ENTITY_POINTS] = {0};
        int count = html_ftfy(cases[i].text, strlen(cases[i].text), points);
        if (count != cases[i].count || (count > 0 && points[0] != cases[i].first))
            fail_msg("%s: %d points, the first U+%04X", cases[i].text, count, points[0]);
    }
}

/* A million levels of "&amp;", a million marks, a million of anything else that could be walked again and again. */
static void long_texts(void **state) {
    static const struct {
        const char *head, *again, *tail;
    } cases[] = {{"&", "amp;", "lt;"}, {"e", "\xCC\x81\xCC\xA3", ""}, {"\x1B[", "1;", ""}, {"", "\x1B[1", ""}, {"&", "a", ";"},
                 {"&#", "0", "38;"}, {"", "\xCE\xA3'", ""}, {"", "&#", ""}, {"", "&", ""}, {"", ";", ""}, {"<", "&lt", ""},
                 {"", "\xF0\x9D\x85\xA0", ""}, {"", "\xEF\xAC\x83", ""}, {"", "\xCE\x90\xCC\xA3", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t head = strlen(cases[i].head), again = strlen(cases[i].again), tail = strlen(cases[i].tail), at = head, count;
        size_t size = head + 1000000 / again * again + tail;
        char *text = malloc(size + 1);
        int32_t *ids;
        struct token_span *found;
        memcpy(text, cases[i].head, head);
        for (; at < size - tail; at += again)
            memcpy(text + at, cases[i].again, again);
        memcpy(text + at, cases[i].tail, tail);
        assert_int_equal(body_of(*state, text, size, &ids, &found, &count), 0);
        assert_true(count == 0 || found[count - 1].end <= size);
        if (i == 0) { /* one '<' out of all of them */
            assert_int_equal(count, 1);
            assert_int_equal(ids[0], 283);
            assert_int_equal(found[0].begin, 0);
            assert_int_equal(found[0].end, size);
        }
        free(ids);
        free(found);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans),      cmocka_unit_test(cuts),       cmocka_unit_test(references), cmocka_unit_test(ftfy_references),
        cmocka_unit_test(long_texts),
    };
    return cmocka_run_group_tests(tests, open_small, close_small);
}
