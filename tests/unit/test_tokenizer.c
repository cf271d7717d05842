/* test_tokenizer.c - protects what a tokenizer returns beside the ids: the bytes behind them, what was cut, where the
 * row ends; and how it takes broken, odd and very long texts.
 */
#include "small_vocab.h"
#include "tokens.h"

static int open_small(void **state) {
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, "{\"pad_token\": \"!\"}");
    struct vocab_files files = small_files(&small);
    if (tokenizer_open_files(&tokenizer, &files, NULL, NULL, NULL, &fault))
        fail_msg("%s", fault.message);
    small_free(&small);
    *state = tokenizer;
    return 0;
}

static int close_small(void **state) {
    tokenizer_close(*state);
    return 0;
}

/* The bytes behind each id: exact where nothing changed, the whole segment where NFC or lower case changed the
 * length. */
static void spans(void **state) {
    static const struct {
        const char *text;
        uint64_t begin, end;
        size_t from_end; /* which id, counted from the last: 0 */
    } cases[] = {
        {"a  hello", 3, 8, 0},           {" ! ", 1, 2, 0},         {"x<|endoftext|>y", 1, 14, 1},
        {"x<|endoftext|>y", 14, 15, 0},  {"xe\xCC\x81y", 4, 5, 0}, /* NFC makes one character of three bytes: y is
                                                                      behind it */
        {"\xC3\x89", 1, 2, 0},                                     /* lower case of one length: its second byte */
        {"1\xC4\xB0", 1, 3, 0},          /* U+0130 becomes i and a mark: both come from all of it */
        {"\xE2\x84\xAA", 0, 3, 0},       /* KELVIN SIGN becomes k */
        {"1a\xCC\x81\xCC\xA3", 1, 6, 0}, /* marks change places: the whole segment */
        {"\xF0\x9F\x98\x80", 3, 4, 0},   /* the last byte of an emoji that is four ids */
        {"1\xE2\x80\x83", 0, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *ids;
        struct token_span *found;
        size_t count;
        assert_int_equal(body_of(*state, cases[i].text, strlen(cases[i].text), &ids, &found, &count), 0);
        assert_true(count > cases[i].from_end);
        struct token_span span = found[count - 1 - cases[i].from_end];
        if (span.begin != cases[i].begin || span.end != cases[i].end)
            fail_msg("case %zu: %llu..%llu", i, (unsigned long long)span.begin, (unsigned long long)span.end);
        free(ids);
        free(found);
    }
}

/* 0, 1, 75, 76, 77, 78 ids in rows of 77: what is kept, what is cut and where; padding; spans of what is no text. */
static void cutting(void **state) {
    static const size_t counts[] = {0, 1, 74, 75, 76, 77, 78, 200};
    char text[400], scratch[1 << 16];
    assert_true(tokenizer_frame_scratch_bytes(*state, sizeof text) <= sizeof scratch);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int32_t ids[77];
        struct token_span found[77];
        struct token_frame frame;
        size_t n = counts[i], kept = n < 75 ? n : 75;
        for (size_t j = 0; j < n; j++)
            memcpy(text + 2 * j, "7 ", 2); /* one id each */
        assert_int_equal(tokenizer_frame(*state, text, 2 * n, scratch, 77, ids, found, &frame, &fault), 0);
        assert_int_equal(frame.body_count, kept);
        assert_int_equal(frame.cut_count, n - kept);
        assert_int_equal(frame.cut_begin, n > 75 ? 150 : 2 * n);
        assert_int_equal(frame.end_position, kept + 1);
        assert_int_equal(ids[0], tokenizer_start_id(*state));
        assert_int_equal(ids[kept + 1], tokenizer_end_id(*state));
        for (size_t j = kept + 2; j < 77; j++)
            assert_int_equal(ids[j], tokenizer_pad_id(*state));
        assert_true(found[0].begin == 0 && found[0].end == 0);
        for (size_t j = kept + 1; j < 77; j++)
            assert_true(found[j].begin == 2 * n && found[j].end == 2 * n);
        for (size_t j = 1; j <= kept; j++)
            assert_true(found[j].begin == 2 * (j - 1) && found[j].end == 2 * j - 1);
    }
}

/* An end token that was typed comes first: pooling takes its row. A row of two is all frame; one of one is refused. */
static void short_rows(void **state) {
    static const char text[] = "x <|endoftext|> y";
    char scratch[8192];
    int32_t ids[8];
    struct token_frame frame;
    assert_int_equal(tokenizer_frame(*state, text, sizeof text - 1, scratch, 8, ids, NULL, &frame, &fault), 0);
    assert_int_equal(frame.end_position, 2);
    assert_int_equal(ids[4], tokenizer_end_id(*state));
    assert_int_equal(tokenizer_frame(*state, text, sizeof text - 1, scratch, 2, ids, NULL, &frame, &fault), 0);
    assert_int_equal(frame.body_count, 0);
    assert_int_equal(frame.cut_count, 3);
    assert_int_equal(frame.cut_begin, 0);
    ids[0] = -5;
    assert_int_equal(tokenizer_frame(*state, text, sizeof text - 1, scratch, 1, ids, NULL, &frame, &fault),
                     FAULT_ARGUMENT);
    assert_int_equal(ids[0], -5);
}

/* A cut inside a segment whose bytes several ids share: the first byte that no kept id stands for lies behind it. */
static void cut_inside_a_segment(void **state) {
    static const char marks[] = "a\xCC\x81\xCC\xA3 7";
    char scratch[8192];
    int32_t ids[3];
    struct token_frame frame;
    assert_int_equal(tokenizer_frame(*state, marks, sizeof marks - 1, scratch, 3, ids, NULL, &frame, &fault), 0);
    assert_true(frame.cut_count >= 2);
    assert_int_equal(frame.cut_begin, 6);

    /* Three bytes that become two: the second of them, merged with the h behind it, is the first id that is cut. */
    static const char sharp_s[] = "\xE1\xBA\x9Eha";
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    small_edit(&small, VOCAB_VOCAB_JSON, ": 517}", ": 517, \"\\u0141h\": 518}");
    small_edit(&small, VOCAB_MERGES_TXT, "h e\n", "\xC5\x81 h\nh e\n");
    struct vocab_files files = small_files(&small);
    assert_int_equal(tokenizer_open_files(&tokenizer, &files, NULL, NULL, NULL, &fault), 0);
    assert_int_equal(tokenizer_frame(tokenizer, sharp_s, sizeof sharp_s - 1, scratch, 3, ids, NULL, &frame, &fault), 0);
    assert_int_equal(frame.cut_count, 2);
    assert_int_equal(frame.cut_begin, 3);
    tokenizer_close(tokenizer);
    small_free(&small);
}

/* The malformed forms of UTF-8, each behind eight good bytes and one more: refused with its offset, nothing written. */
static void invalid_text(void **state) {
    static const char *const forms[] = {"\x80",
                                        "\xBF",
                                        "\xC0\x80",
                                        "\xC1\xBF",
                                        "\xE0\x80\x80",
                                        "\xE0\x9F\xBF",
                                        "\xF0\x80\x80\x80",
                                        "\xED\xA0\x80",
                                        "\xED\xBF\xBF",
                                        "\xF4\x90\x80\x80",
                                        "\xF5\x80\x80\x80",
                                        "\xFF",
                                        "\xFE",
                                        "\xC3",
                                        "\xE2\x82",
                                        "\xF0\x9F\x98",
                                        "\xC3(",
                                        "\xE2(\xA1",
                                        "\xF0(\x8C\xBC"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char text[32] = "01234567\xC3\xA9";
        char scratch[8192];
        int32_t ids[128] = {-5};
        size_t count = 99;
        memcpy(text + 10, forms[i], strlen(forms[i]));
        int status = tokenizer_body(*state, text, 10 + strlen(forms[i]), scratch, ids, NULL, &count, &fault);
        assert_int_equal(status, FAULT_TEXT);
        assert_names(fault.message, "byte 10");
        assert_int_equal(count, 99);
        assert_int_equal(ids[0], -5);
    }
}

/* NUL is text, U+10FFFF is text. */
static void odd_text(void **state) {
    int32_t *ids;
    struct token_span *found;
    size_t count;
    assert_int_equal(body_of(*state, "a\0b\0", 4, &ids, &found, &count), 0);
    assert_int_equal(count, 4);
    assert_int_equal(found[3].begin, 3);
    free(ids);
    free(found);
    assert_int_equal(body_of(*state, "\xF4\x8F\xBF\xBF", 4, &ids, &found, &count), 0);
    assert_true(count > 0);
    free(ids);
    free(found);
}

/* Texts that made others crash or crawl: one character a million times, marks, text that grows threefold. Sizes hold.
 */
static void long_texts(void **state) {
    static const struct {
        const char *unit;
        size_t times;
    } cases[] = {{"a", 1000000},
                 {"x", 65536},
                 {"(", 100000},
                 {" ", 1000000},
                 {"!", 100000},
                 {"\xCC\x81", 500000},
                 {"\xCC\x81\xCC\xA3", 250000},
                 {"\xF0\x9D\x85\xA0", 100000},
                 {"\xCE\x90", 100000},
                 {"\xC4\xB0", 100000},
                 {"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", 50000},
                 {"<|endoftext|", 20000},
                 {"hell", 16384}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t unit = strlen(cases[i].unit), size = unit * cases[i].times, count = 0;
        char *text = malloc(size);
        for (size_t j = 0; j < cases[i].times; j++)
            memcpy(text + j * unit, cases[i].unit, unit);
        int32_t *ids;
        struct token_span *found;
        assert_int_equal(body_of(*state, text, size, &ids, &found, &count), 0);
        assert_true(count == 0 || found[count - 1].end == size);
        free(ids);
        free(found);
        free(text);
    }
}

/* Sizes do not overflow; a text above the limit is refused before a byte of it is read. */
static void limits(void **state) {
    size_t count;
    assert_int_equal(tokenizer_scratch_bytes(*state, TOKENIZER_TEXT_LIMIT + (size_t)1), SIZE_MAX);
    assert_int_equal(tokenizer_id_count_limit(SIZE_MAX), SIZE_MAX);
    assert_true(tokenizer_scratch_bytes(*state, TOKENIZER_TEXT_LIMIT) > TOKENIZER_TEXT_LIMIT);
    assert_int_equal(tokenizer_body(*state, "", INT32_MAX, NULL, NULL, NULL, &count, &fault), FAULT_LIMIT);
    assert_names(fault.message, "2147483647");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans),        cmocka_unit_test(cutting),
        cmocka_unit_test(short_rows),   cmocka_unit_test(cut_inside_a_segment),
        cmocka_unit_test(invalid_text), cmocka_unit_test(odd_text),
        cmocka_unit_test(long_texts),   cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, open_small, close_small);
}
