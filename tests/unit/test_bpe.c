/* test_bpe.c - protects byte-pair merging: both ways through a piece against a plain one that follows the definition,
 * and the pattern's scanner and the finding of added tokens where they meet.
 */
#include <stdlib.h>

#include "../../encoder/base/wrap.h"
#include "../../encoder/text/added.h"
#include "../../encoder/text/bpe.h"
#include "../../encoder/text/split.h"
#include "unit.h"

enum { SYMBOLS = 4, LONGEST = 300 };

static uint64_t seed = 1;

WRAPS("the generator works modulo 2^64")
static unsigned random_below(unsigned below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

/* The lowest rank, the leftmost among equals, one merge at a time. */
struct plain {
    int32_t pairs[400][3];
    size_t count;
};

static size_t merge_plainly(const struct plain *plain, int32_t *ids, size_t count) {
    for (;;) {
        size_t best = plain->count, at = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            for (size_t rank = 0; rank < best; rank++) {
                if (plain->pairs[rank][0] == ids[i] && plain->pairs[rank][1] == ids[i + 1]) {
                    best = rank;
                    at = i;
                }
            }
        }
        if (best == plain->count)
            return count;
        ids[at] = plain->pairs[best][2];
        memmove(ids + at + 1, ids + at + 2, (count - at - 2) * sizeof *ids);
        count--;
    }
}

/* Random vocabularies of few symbols, in which pairs overlap and compete; pieces on both sides of what counts as short.
 */
static void merges_as_defined(void **state) {
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct bpe bpe = {0};
        struct plain plain = {.count = 0};
        int32_t next = 2 * SYMBOLS;
        size_t wanted = 1 + random_below(120);
        assert_true(bpe_open(&bpe, wanted));
        for (int byte = 0; byte < 256; byte++) {
            bpe.symbol[byte] = byte % SYMBOLS;
            bpe.last_symbol[byte] = SYMBOLS + byte % SYMBOLS;
        }
        while (plain.count < wanted) {
            int32_t left = (int32_t)random_below((unsigned)next), right = (int32_t)random_below((unsigned)next);
            enum bpe_added added = bpe_add(&bpe, left, right, (uint32_t)plain.count, next);
            if (added == BPE_ADDED)
                memcpy(plain.pairs[plain.count++], (int32_t[]){left, right, next++}, 3 * sizeof(int32_t));
            else
                assert_int_equal(added, BPE_THERE);
        }
        for (int text = 0; text < 60; text++) {
            char piece[LONGEST];
            int32_t expected[LONGEST];
            uint32_t scratch[BPE_SCRATCH * LONGEST];
            const int32_t *ids;
            const uint32_t *begins;
            size_t count = 1 + random_below(text % 2 ? LONGEST : 60);
            unsigned variety = 1 + random_below(SYMBOLS);
            for (size_t i = 0; i < count; i++) {
                piece[i] = (char)random_below(variety);
                expected[i] = piece[i] + (i + 1 == count ? SYMBOLS : 0);
            }
            size_t left = merge_plainly(&plain, expected, count);
            assert_int_equal(bpe_merge(&bpe, piece, count, scratch, &ids, &begins), left);
            assert_memory_equal(ids, expected, left * sizeof *ids);
            assert_int_equal(begins[0], 0);
            for (size_t i = 1; i < left; i++)
                assert_true(begins[i - 1] < begins[i] && begins[i] < count);
        }
        bpe_close(&bpe);
    }
}

/* Pairs made to collide are refused instead of making every later search slow. */
WRAPS("an inverse modulo 2^64 is one because products wrap")
static void crowded_table(void **state) {
    struct bpe bpe = {0};
    enum { MERGES = 4000 };
    uint32_t crowded = 0, rank = 0;
    (void)state;
    assert_true(bpe_open(&bpe, MERGES));
    /* multiples of the inverse of the hash's factor land side by side */
    for (uint64_t i = 0; rank < MERGES && i < 4000000 && !crowded; i++) {
        uint64_t pair = i * 0xF1DE83E19937733Du;
        int32_t left = (int32_t)(pair >> 32 & 0x7FFFFFFF), right = (int32_t)(pair & 0x7FFFFFFF);
        if (pair & 0x8000000080000000u)
            continue;
        enum bpe_added added = bpe_add(&bpe, left, right, rank, 1);
        rank += added == BPE_ADDED;
        crowded += added == BPE_CROWDED;
        bpe.symbol['a'] = left;
        bpe.last_symbol['b'] = right;
    }
    assert_true(crowded > 0);
    /* the pair that found no place has no rank, and looking for it ends */
    uint32_t scratch[2 * BPE_SCRATCH];
    const int32_t *ids;
    const uint32_t *begins;
    assert_int_equal(bpe_merge(&bpe, "ab", 2, scratch, &ids, &begins), 2);
    bpe_close(&bpe);
}

static void expect_pieces(const char *text, const char *const *pieces) {
    struct split split = {.text = text, .end = strlen(text)};
    size_t begin, end;
    for (; split_next(&split, &begin, &end); pieces++) {
        if (!*pieces || end - begin != strlen(*pieces) || memcmp(text + begin, *pieces, end - begin) != 0)
            fail_msg("%s: found \"%.*s\", expected \"%s\"", text, (int)(end - begin), text + begin,
                     *pieces ? *pieces : "");
    }
    assert_null(*pieces);
}
#define PIECES(text, ...) expect_pieces(text, (const char *const[]){__VA_ARGS__, NULL})

/* The order of the alternatives, and what the two literal ones change: the symbols behind them begin anew. */
static void pieces(void **state) {
    (void)state;
    PIECES("don't y'all'd've", "don", "'t", "y", "'", "all", "'d", "'ve");
    PIECES("'sam 'r 'v 'l ''s", "'s", "am", "'", "r", "'", "v", "'", "l", "''", "s");
    PIECES("!'s 2023a1", "!'", "s", "2", "0", "2", "3", "a", "1");
    PIECES("x<|endoftext|>!!", "x", "<|", "endoftext", "|>", "!!");
    PIECES("<|startoftext|>'s|>", "<|", "startoftext", "|>", "'s", "|>");
    PIECES("!<|endoftext|>!!", "!<|", "endoftext", "|>!!");
    PIECES("<|endoftext|><|endoftext|>", "<|", "endoftext", "|>", "<|", "endoftext", "|>");
    PIECES("<<|endoftext|>|>", "<<|", "endoftext", "|>|>");
    PIECES("<|endoftext>", "<|", "endoftext", ">");
}

/* The longest token wins at a place; one that may not stand there gives its place to none. */
static void added_tokens(void **state) {
    struct added_token tokens[] = {{"<a>", 3, 1, 0, 0, 0}, {"<a>b", 4, 2, 0, 0, 0}, {"w", 1, 3, 1, 0, 0},
                                   {";", 1, 4, 0, 1, 0},   {":", 1, 5, 0, 0, 1},    {"<abcd", 5, 6, 0, 0, 0}};
    struct added added;
    static const struct {
        int32_t id; /* 0: between tokens */
        size_t begin, end;
    } expected[] = {{2, 0, 4}, {1, 4, 7}, {0, 7, 12}, {4, 12, 15}, {5, 15, 18}, {3, 18, 19}, {0, 19, 25}};
    static const char text[] = "<a>b<a>cw<ab  ;:  w <abcx";
    struct added_walk walk;
    struct added_cut cut;
    size_t i = 0;
    (void)state;
    assert_null(added_order(&added, tokens, sizeof tokens / sizeof *tokens));
    added_start(&walk, &added, text, sizeof text - 1);
    for (; added_next(&walk, &cut); i++) {
        assert_int_equal(cut.token ? cut.token->id : 0, expected[i].id);
        assert_int_equal(cut.begin, expected[i].begin);
        assert_int_equal(cut.end, expected[i].end);
    }
    assert_int_equal(i, sizeof expected / sizeof *expected);
    /* tokens that are white space, and take along what is behind them: the text is handed out whole all the same */
    struct added_token space[] = {{" ", 1, 1, 0, 0, 1}};
    assert_null(added_order(&added, space, 1));
    added_start(&walk, &added, "a     b", 7);
    size_t end = 0;
    for (i = 0; added_next(&walk, &cut); i++, end = cut.end)
        assert_true(cut.begin == end || (cut.token && cut.end == end));
    assert_int_equal(end, 7);
    tokens[0].text = "<a>b";
    tokens[0].size = 4;
    assert_non_null(added_order(&added, tokens, sizeof tokens / sizeof *tokens));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_as_defined),
        cmocka_unit_test(crowded_table),
        cmocka_unit_test(pieces),
        cmocka_unit_test(added_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
