/* test_condition_chunk.c - protects what golden.txt cannot show: that every token of a prompt is accounted for, which bytes
 * it came from and what was cut off; the frames of rows; refusals; positive and negative of one length.
 */
#include <stdio.h>

#include "../../encoder/condition/chunk.h"
#include "small_vocab.h"

static struct fault fault;

struct made {
    struct dialect_text text;
    struct chunks chunks;
    unsigned char *parsed, *cut;
    struct chunk_rules rules;
};

/* Cuts with scratch of the promised size between guard bytes. */
static int make(const struct tokenizer *tokenizer, struct chunk_rules rules, const char *prompt, size_t size, struct made *out) {
    enum { GUARD = 64 };
    size_t bytes = chunks_scratch_bytes(tokenizer, size);
    *out = (struct made){.rules = rules, .parsed = malloc(dialect_scratch_bytes(size)), .cut = malloc(bytes + GUARD)};
    memset(out->cut + bytes, 0xA5, GUARD);
    assert_int_equal(dialect_parse(rules.kind, prompt, size, out->parsed, &out->text, &fault), 0);
    int status = chunks_cut(&out->rules, tokenizer, &out->text, out->cut, &out->chunks, &fault);
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(out->cut[bytes + i], 0xA5);
    return status;
}

static void drop(struct made *made) {
    free(made->parsed);
    free(made->cut);
}

static int open_small(void **state) {
    struct small small = small_pair();
    struct tokenizer *tokenizer;
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

static char *digits(size_t count) {
    char *out = malloc(count + 1);
    memset(out, '7', count); /* one id each */
    out[count] = '\0';
    return out;
}

/* Windows follow each other without a gap, tokens know their window and row, and what is cut off is said. */
static void check_whole(const struct made *made) {
    const struct chunks *chunks = &made->chunks;
    size_t next = 0, cut = 0;
    for (size_t k = 0; k < chunks->count; k++) {
        const struct chunk *chunk = &chunks->list[k];
        while (next < chunk->first) {
            assert_int_equal(chunks->tokens[next++].chunk, CHUNK_NONE);
            cut++;
        }
        assert_int_equal(chunk->first, next);
        for (size_t i = 0; i < chunk->count; i++, next++) {
            assert_int_equal(chunks->tokens[next].chunk, k);
            assert_int_equal(chunks->tokens[next].row, 1 + i);
            assert_int_equal(made->text.segments[chunks->tokens[next].segment].part, chunk->part);
        }
        assert_true(chunk->count <= made->rules.length - 2);
    }
    for (; next < chunks->token_count; next++, cut++)
        assert_int_equal(chunks->tokens[next].chunk, CHUNK_NONE);
    assert_int_equal(cut, chunks->cut_count);
    assert_true((chunks->cut_begin == UINT32_MAX) == (cut == 0));
}

static void everything_accounted_for(void **state) {
    static const char *const prompts[] = {"", "7", "hello (hello:1.3)", "BREAK", "BREAK BREAK hello", "hello, hello", "(\"hello\", \"7 7\").and()",
                                          "<|endoftext|> hello", "((7))", "[hello] e\xCC\x81 \xF0\x9F\x98\x80"};
    char *many = digits(400);
    for (int kind = 0; kind < DIALECTS; kind++) {
        for (int splits = 0; splits < 2; splits++) {
            struct chunk_rules rules = chunk_rules_of((enum dialect_kind)kind, SMALL_END);
            rules.splits = splits && kind == DIALECT_COMPEL;
            for (size_t i = 0; i <= sizeof prompts / sizeof *prompts; i++) {
                const char *prompt = i < sizeof prompts / sizeof *prompts ? prompts[i] : many;
                struct made made;
                assert_int_equal(make(*state, rules, prompt, strlen(prompt), &made), 0);
                check_whole(&made);
                drop(&made);
            }
        }
    }
    free(many);
}

/* What diffusers and compel cut off: how many, and from which byte. Others cut nothing. */
static void cut_off(void **state) {
    char *prompt = digits(80);
    for (int kind = 0; kind < DIALECTS; kind++) {
        struct made made;
        int cuts = kind == DIALECT_PLAIN || kind == DIALECT_COMPEL;
        assert_int_equal(make(*state, chunk_rules_of((enum dialect_kind)kind, 0), prompt, 80, &made), 0);
        assert_int_equal(made.chunks.token_count, 80);
        assert_int_equal(made.chunks.count, cuts ? 1 : 2);
        assert_int_equal(made.chunks.cut_count, cuts ? 5 : 0);
        assert_int_equal(made.chunks.cut_begin, cuts ? 75 : UINT32_MAX);
        assert_int_equal(made.chunks.tokens[79].begin, 79);
        assert_int_equal(made.chunks.tokens[79].end, 80);
        drop(&made);
    }
    free(prompt);
}

/* The frame of a row, padding, and the weight of each. */
static void rows(void **state) {
    struct made made;
    int32_t ids[10];
    double weights[10];
    struct chunk_rules rules = chunk_rules_of(DIALECT_A1111, 5);
    rules.length = 10;
    assert_int_equal(make(*state, rules, "7 (hello:1.5)", 13, &made), 0);
    chunks_row(&rules, *state, &made.text, &made.chunks, 0, ids, weights);
    assert_int_equal(ids[0], SMALL_START);
    assert_int_equal(ids[2], 515);
    assert_int_equal(ids[3], SMALL_END);
    for (int i = 4; i < 10; i++)
        assert_int_equal(ids[i], 5);
    for (int i = 0; i < 10; i++)
        assert_true(weights[i] == (i == 2 ? 1.5 : 1));
    assert_int_equal(made.chunks.tokens[1].begin, 3);
    assert_int_equal(made.chunks.tokens[1].end, 8);
    assert_int_equal(chunks_weighted(&made.text, &made.chunks), 1);
    drop(&made);

    chunks_empty_row(&rules, *state, ids);
    assert_true(ids[0] == SMALL_START && ids[1] == SMALL_END && ids[2] == 5 && ids[9] == 5);
    assert_int_equal(make(*state, rules, "7 hello", 7, &made), 0);
    chunks_row(&rules, *state, &made.text, &made.chunks, 0, ids, NULL);
    assert_int_equal(ids[2], 515);
    assert_int_equal(chunks_weighted(&made.text, &made.chunks), 0);
    drop(&made);
}

/* An end token that somebody typed: A1111 pads all that is behind it, others leave it. */
static void typed_end(void **state) {
    static const char prompt[] = "7<|endoftext|>7";
    for (int kind = 0; kind < DIALECTS; kind++) {
        struct made made;
        int32_t ids[77];
        struct chunk_rules rules = chunk_rules_of((enum dialect_kind)kind, 5);
        assert_int_equal(make(*state, rules, prompt, sizeof prompt - 1, &made), 0);
        chunks_row(&rules, *state, &made.text, &made.chunks, 0, ids, NULL);
        assert_int_equal(ids[2], SMALL_END);
        assert_int_equal(ids[3] == 5, kind == DIALECT_A1111);
        drop(&made);
    }
}

/* compel rounds weights to float32 before it compares them with 1; the others do not. */
static void rounded_weights(void **state) {
    struct made made;
    double weights[77];
    int32_t ids[77];
    struct chunk_rules rules = chunk_rules_of(DIALECT_COMPEL, 0);
    assert_int_equal(make(*state, rules, "(7)1.00000000001 7+", 19, &made), 0);
    chunks_row(&rules, *state, &made.text, &made.chunks, 0, ids, weights);
    assert_true(weights[1] == 1 && weights[2] == (double)1.1f);
    drop(&made);
    rules.kind = DIALECT_COMFYUI;
    assert_int_equal(make(*state, rules, "(7:1.00000000001)", 17, &made), 0);
    chunks_row(&rules, *state, &made.text, &made.chunks, 0, ids, weights);
    assert_true(weights[1] == 1.00000000001);
    drop(&made);
}

/* A weight on what was cut off changes nothing that is seen. */
static void weight_cut_off(void **state) {
    struct made made;
    char *prompt = digits(81);
    memcpy(prompt + 76, " (7)2", 5);
    assert_int_equal(make(*state, chunk_rules_of(DIALECT_COMPEL, 0), prompt, 81, &made), 0);
    assert_int_equal(made.text.segment_count, 2);
    assert_int_equal(chunks_weighted(&made.text, &made.chunks), 0);
    drop(&made);
    free(prompt);
}

/* A segment that compel makes no encoding without: it has no tokens, it was cut off, or begins where the end is. */
static void masks(void **state) {
    unsigned char mask[4 * 77];
    struct made made;
    struct chunk_rules rules = chunk_rules_of(DIALECT_COMPEL, 0);
    assert_int_equal(make(*state, rules, "7 (\"\")- 7", 9, &made), 0);
    assert_int_equal(made.text.segment_count, 3);
    assert_int_equal(chunks_mask_without(&rules, &made.text, &made.chunks, 1, mask), 0);
    drop(&made);

    char *prompt = digits(400);
    memcpy(prompt + 75, " (7)-", 5);
    assert_int_equal(make(*state, rules, prompt, 80, &made), 0);
    assert_int_equal(chunks_mask_without(&rules, &made.text, &made.chunks, 1, mask), 0);
    drop(&made);

    memset(prompt, '7', 400);
    prompt[74] = ' ';
    prompt[75] = '(';
    memcpy(prompt + 80, ")-", 2);
    assert_int_equal(make(*state, rules, prompt, 82, &made), 0); /* 74 tokens, one that is kept and three that are not */
    assert_int_equal(chunks_mask_without(&rules, &made.text, &made.chunks, 1, mask), 1);
    for (size_t i = 0; i < 77; i++)
        assert_int_equal(mask[i], i < 75);
    drop(&made);

    rules.splits = 1;
    assert_int_equal(make(*state, rules, prompt, 82, &made), 0);
    assert_int_equal(made.chunks.count, 2);
    assert_int_equal(chunks_mask_without(&rules, &made.text, &made.chunks, 1, mask), 1);
    for (size_t i = 0; i < 154; i++)
        assert_int_equal(mask[i], !(i == 75 || (i >= 78 && i < 81)));
    drop(&made);
    free(prompt);

    /* the mask of a part begins at its first window */
    static const char joined[] = "(\"7 7\", \"7 (hello)- 7\").and()";
    assert_int_equal(make(*state, rules, joined, sizeof joined - 1, &made), 0);
    assert_int_equal(made.chunks.count, 2);
    assert_int_equal(chunks_mask_without(&rules, &made.text, &made.chunks, 2, mask), 1);
    for (size_t i = 0; i < 77; i++)
        assert_int_equal(mask[i], i != 2);
    drop(&made);

    /* and ends with its last */
    static const char before[] = "(\"7 (hello)- 7\", \"7 7\").and()";
    memset(mask, 0xA5, sizeof mask);
    assert_int_equal(make(*state, rules, before, sizeof before - 1, &made), 0);
    assert_int_equal(made.chunks.count, 2);
    assert_int_equal(chunks_mask_without(&rules, &made.text, &made.chunks, 1, mask), 1);
    for (size_t i = 0; i < 78; i++)
        assert_int_equal(mask[i], i == 77 ? 0xA5 : i != 2);
    drop(&made);
}

static void refusals(void **state) {
    static const struct {
        uint32_t length, word;
    } cases[] = {{2, 0}, {9, 8}, {CHUNK_LENGTH_LIMIT + 1, 8}, {77, UINT32_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made made;
        struct chunk_rules rules = chunk_rules_of(DIALECT_COMFYUI, 0);
        rules.length = cases[i].length;
        rules.word = cases[i].word;
        assert_int_equal(make(*state, rules, "7", 1, &made), FAULT_ARGUMENT);
        assert_names(fault.message, "a row of ");
        drop(&made);
    }
    assert_true(chunks_scratch_bytes(*state, DIALECT_TEXT_LIMIT + (size_t)1) == SIZE_MAX);
    assert_true(chunks_scratch_bytes(*state, DIALECT_TEXT_LIMIT) < SIZE_MAX);
}

/* A comma too far back is no place to begin a window at, and for a host that looks for none no comma is. */
static void commas(void **state) {
    static const struct {
        size_t comma;
        uint32_t backtrack;
        uint32_t first; /* tokens of the first window */
    } cases[] = {{60, 20, 61}, {55, 20, 56}, {54, 20, 75}, {60, 0, 75}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made made;
        char *prompt = digits(100);
        prompt[cases[i].comma] = ',';
        struct chunk_rules rules = chunk_rules_of(DIALECT_A1111, 0);
        rules.backtrack = cases[i].backtrack;
        assert_int_equal(make(*state, rules, prompt, 100, &made), 0);
        assert_int_equal(made.chunks.count, 2);
        assert_int_equal(made.chunks.list[0].count, cases[i].first);
        check_whole(&made);
        drop(&made);
        free(prompt);
    }
}

/* ComfyUI begins a window for a segment of few tokens that does not fit, and cuts one of many. */
static void short_words(void **state) {
    char *prompt = digits(100);
    for (size_t tokens = 7; tokens <= 8; tokens++) {
        struct made made;
        memcpy(prompt + 70, "(", 1);
        memcpy(prompt + 71 + tokens, ":2)", 3);
        assert_int_equal(make(*state, chunk_rules_of(DIALECT_COMFYUI, 0), prompt, 74 + tokens, &made), 0);
        assert_int_equal(made.chunks.count, 2);
        assert_int_equal(made.chunks.list[0].count, tokens < 8 ? 70 : 75);
        check_whole(&made);
        drop(&made);
        memset(prompt + 70, '7', 30);
    }
    free(prompt);
}

/* A character of several tokens is in no place to be cut at; where no word ends the window is filled. */
static void inside_a_character(void **state) {
    enum { FACES = 40, BYTES = 4 * FACES };
    char prompt[BYTES + 1];
    for (int i = 0; i < FACES; i++)
        memcpy(prompt + 4 * i, "\xF0\x9F\x98\x80", 5);
    struct made made;
    struct chunk_rules rules = chunk_rules_of(DIALECT_COMPEL, 0);
    rules.splits = 1;
    assert_int_equal(make(*state, rules, prompt, BYTES, &made), 0);
    assert_int_equal(made.chunks.token_count, BYTES);
    assert_int_equal(made.chunks.list[0].count, 75);
    check_whole(&made);
    drop(&made);
}

/* What the tokenizer refuses comes back from every dialect, and nothing behind it is read. */
static void not_utf8(void **state) {
    static const char prompt[] = "(\"7 7\", \"7\").and()";
    for (int kind = 0; kind < DIALECTS; kind++) {
        struct dialect_text text;
        struct chunks chunks;
        struct chunk_rules rules = chunk_rules_of((enum dialect_kind)kind, 0);
        void *parsed = malloc(dialect_scratch_bytes(sizeof prompt - 1));
        void *cut = malloc(chunks_scratch_bytes(*state, sizeof prompt - 1));
        assert_int_equal(dialect_parse(rules.kind, prompt, sizeof prompt - 1, parsed, &text, &fault), 0);
        char *broken = malloc(text.text_bytes);
        memcpy(broken, text.text, text.text_bytes);
        broken[text.segments[0].begin] = '\xFF';
        text.text = broken;
        assert_int_equal(chunks_cut(&rules, *state, &text, cut, &chunks, &fault), FAULT_TEXT);
        assert_names(fault.message, "UTF-8");
        free(broken);
        free(cut);
        free(parsed);
    }
}

/* Positive and negative: filled up with the empty prompt, or repeated to the common multiple. */
static void equal(void **state) {
    (void)state;
    assert_int_equal(chunks_equal(DIALECT_A1111, 3, 1), 3);
    assert_int_equal(chunks_equal(DIALECT_COMPEL, 2, 5), 5);
    assert_int_equal(chunks_equal(DIALECT_PLAIN, 1, 1), 1);
    assert_int_equal(chunks_equal(DIALECT_COMFYUI, 2, 3), 6);
    assert_int_equal(chunks_equal(DIALECT_COMFYUI, 4, 2), 4);
    assert_int_equal(chunks_equal(DIALECT_COMFYUI, 1, 4), 4);
    assert_int_equal(chunks_equal(DIALECT_COMFYUI, 1, 5), 0);
    assert_int_equal(chunks_equal(DIALECT_COMFYUI, 4, 5), 0);
    assert_int_equal(chunks_source(DIALECT_A1111, 1, 0), 0);
    assert_int_equal(chunks_source(DIALECT_A1111, 1, 1), CHUNK_NONE);
    assert_int_equal(chunks_source(DIALECT_COMFYUI, 2, 5), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_accounted_for), cmocka_unit_test(cut_off),        cmocka_unit_test(rows),
        cmocka_unit_test(typed_end),                cmocka_unit_test(rounded_weights), cmocka_unit_test(weight_cut_off),
        cmocka_unit_test(masks),                    cmocka_unit_test(refusals),       cmocka_unit_test(equal),
        cmocka_unit_test(commas),                   cmocka_unit_test(short_words),    cmocka_unit_test(inside_a_character),
        cmocka_unit_test(not_utf8),
    };
    return cmocka_run_group_tests(tests, open_small, close_small);
}
