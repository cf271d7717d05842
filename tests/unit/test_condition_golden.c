/* test_condition_golden.c - protects what prompts with weights mean: tests/condition/golden.txt says what the hosts' own code
 * made of some hundred of them, odd and usual, with which versions; record.py beside it says how.
 */
#include <math.h>
#include <stdio.h>

#include "../../encoder/base/file.h"
#include "../../encoder/base/memory.h"
#include "../../encoder/condition/chunk.h"
#include "unit.h"

#include <stdlib.h>

#define MODEL "samples/model"
#define GOLDEN "tests/condition/golden.txt"

struct golden {
    struct tokenizer *tokenizer;
    size_t line, parsed[DIALECTS], refused, cut, hidden;
    char *prompt; /* the last cut's, for the lines that follow it */
    size_t size;
    struct chunk_rules rules;
};

static struct fault fault;

static char *word_of(char **at) {
    char *begin = *at, *end = strchr(begin, ' ');
    *at = end ? end + 1 : begin + strlen(begin);
    if (end)
        *end = '\0';
    return begin;
}

static size_t bytes_of(const char *hex, char *out) {
    size_t size = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    for (size_t i = 0; i < size; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (char)strtoul(pair, NULL, 16);
    }
    return size;
}

/* The reference's repr() of a double, and ours: equal, or both not a number. */
static int same(double ours, const char *theirs) {
    double value = strtod(theirs, NULL);
    return ours == value || (isnan(ours) && isnan(value));
}

/* Parses with scratch of exactly the promised size, so that a sanitizer sees a step too far. */
static int parse(enum dialect_kind kind, const char *prompt, size_t size, struct dialect_text *text, void **scratch) {
    *scratch = malloc(dialect_scratch_bytes(size));
    return dialect_parse(kind, prompt, size, *scratch, text, &fault);
}

static const char *join_name(const struct dialect_text *text) {
    static const char *const names[] = {"one", "and", "blend"};
    return text->join == DIALECT_BLEND && !text->normalised ? "blend_as_is" : names[text->join];
}

static void check_segment(const struct golden *golden, const struct dialect_text *text, size_t at, char *theirs) {
    const struct dialect_segment *segment = &text->segments[at];
    char *colon = strrchr(theirs, ':'), expected[4096];
    assert_non_null(colon);
    *colon = '\0';
    size_t size = colon[1] ? bytes_of(colon + 1, expected) : 0;
    if (!same(segment->weight, theirs) || segment->end - segment->begin != size ||
        memcmp(text->text + segment->begin, expected, size) != 0)
        fail_msg(GOLDEN " line %zu: segment %zu is \"%.*s\" with %.17g", golden->line, at, (int)(segment->end - segment->begin),
                 text->text + segment->begin, segment->weight);
}

/* "one part 1.0 1.1:6361 1.0:20 ..." */
static void check_parts(const struct golden *golden, const struct dialect_text *text, char *rest) {
    size_t part = 0, segment = 0;
    const char *kind = word_of(&rest);
    int alone = text->part_count == 1 && text->join != DIALECT_BLEND; /* one prompt is the same, however it was said */
    if (!alone && strcmp(kind, join_name(text)) != 0)
        fail_msg(GOLDEN " line %zu: parts are joined by %s", golden->line, join_name(text));
    while (*rest) {
        char *word = word_of(&rest);
        if (strcmp(word, "part") == 0) {
            assert_int_equal(text->parts[part].first, segment);
            if (part >= text->part_count || !same(text->parts[part++].weight, word_of(&rest)))
                fail_msg(GOLDEN " line %zu: part %zu", golden->line, part);
        } else {
            if (segment == text->segment_count)
                fail_msg(GOLDEN " line %zu: %zu segments found", golden->line, segment);
            check_segment(golden, text, segment++, word);
        }
    }
    /* where compel finds no prompt at all and fails later, there is an empty one */
    int empty = segment == 0 && text->text_bytes == 0 && text->segment_count <= 1;
    if (!empty && (segment != text->segment_count || part != text->part_count))
        fail_msg(GOLDEN " line %zu: %zu segments in %zu parts found", golden->line, text->segment_count, text->part_count);
}

static void check_parse(struct golden *golden, char *rest) {
    const char *name = word_of(&rest);
    enum dialect_kind kind = dialect_find(name, strlen(name));
    char prompt[4096];
    struct dialect_text text;
    void *scratch;
    assert_true(kind < DIALECTS);
    size_t size = bytes_of(word_of(&rest), prompt);
    int status = parse(kind, prompt, size, &text, &scratch), refused = strcmp(rest, "refused") == 0;
    if ((status != 0) != refused)
        fail_msg(GOLDEN " line %zu: %s", golden->line, status ? fault.message : "the host refuses it");
    if (!refused)
        check_parts(golden, &text, rest);
    golden->refused += (size_t)refused;
    golden->parsed[kind]++;
    free(scratch);
}

/* ---- windows ---- */

static void check_row(const struct golden *golden, const struct dialect_text *text, const struct chunks *chunks, size_t k, char *row) {
    int32_t ids[77];
    double weights[77];
    char *shown = NULL;
    chunks_row(&golden->rules, golden->tokenizer, text, chunks, k, ids, weights);
    for (size_t i = 0; i < 77; i++) {
        if (row) {
            shown = row;
            row = strchr(row, ',');
            if (row)
                *row++ = '\0';
        }
        const char *star = strchr(shown, '*');
        if (atoi(shown) != ids[i] || !same(weights[i], star ? star + 1 : "1"))
            fail_msg(GOLDEN " line %zu: window %zu, row %zu is %d with %.17g, expected %s", golden->line, k, i, (int)ids[i], weights[i],
                     shown);
    }
}

static void with_chunks(struct golden *golden, void (*check)(struct golden *, const struct dialect_text *, const struct chunks *, char *),
                        char *rest) {
    struct dialect_text text;
    struct chunks chunks;
    void *parsed, *cut = malloc(chunks_scratch_bytes(golden->tokenizer, golden->size));
    assert_int_equal(parse(golden->rules.kind, golden->prompt, golden->size, &text, &parsed), 0);
    assert_int_equal(chunks_cut(&golden->rules, golden->tokenizer, &text, cut, &chunks, &fault), 0);
    check(golden, &text, &chunks, rest);
    free(parsed);
    free(cut);
}

static void check_rows(struct golden *golden, const struct dialect_text *text, const struct chunks *chunks, char *rest) {
    size_t k = 0;
    for (; *rest; k++) {
        if (k == chunks->count)
            fail_msg(GOLDEN " line %zu: %zu windows found", golden->line, k);
        check_row(golden, text, chunks, k, word_of(&rest));
    }
    assert_int_equal(k, chunks->count);
}

static void check_cut(struct golden *golden, char *rest) {
    const char *name = word_of(&rest);
    int splits = strcmp(name, "compel_long") == 0;
    enum dialect_kind kind = splits ? DIALECT_COMPEL : dialect_find(name, strlen(name));
    const char *hex = word_of(&rest);
    free(golden->prompt);
    golden->prompt = malloc(strlen(hex) + 1);
    golden->size = bytes_of(hex, golden->prompt);
    golden->rules =
        chunk_rules_of(kind, kind == DIALECT_COMPEL ? tokenizer_pad_id(golden->tokenizer) : tokenizer_end_id(golden->tokenizer));
    golden->rules.splits = splits;
    with_chunks(golden, check_rows, rest);
    golden->cut++;
}

/* The rows that are hidden: from the first to the last, but not the frame of the windows where compel cuts into several. */
static void check_mask(struct golden *golden, const struct dialect_text *text, const struct chunks *chunks, char *rest) {
    size_t segment = (size_t)atoi(word_of(&rest)), first = (size_t)atoi(word_of(&rest)), last = (size_t)atoi(word_of(&rest));
    unsigned char *mask = malloc(chunks->count * 77);
    assert_int_equal(chunks_mask_without(&golden->rules, text, chunks, segment, mask), 1);
    for (size_t i = 0; i < chunks->count * 77; i++) {
        int hidden = i >= first && i <= last && !(golden->rules.splits && (i % 77 == 0 || i % 77 == 76));
        if (mask[i] != !hidden)
            fail_msg(GOLDEN " line %zu: key %zu is %d", golden->line, i, mask[i]);
    }
    free(mask);
}

static void check_line(struct golden *golden, char *rest) {
    const char *kind = word_of(&rest);
    if (strcmp(kind, "parse") == 0) {
        check_parse(golden, rest);
    } else if (strcmp(kind, "cut") == 0) {
        check_cut(golden, rest);
    } else if (strcmp(kind, "hide") == 0) {
        with_chunks(golden, check_mask, rest);
        golden->hidden++;
    } else if (strcmp(kind, "reference") != 0) {
        fail_msg(GOLDEN " line %zu: unknown kind %s", golden->line, kind);
    }
}

static void golden_file(void **state) {
    (void)state;
    struct golden golden = {0};
    size_t size;
    char *all = NULL;
    if (file_read_all(NULL, GOLDEN, (size_t)16 << 20, &all, &size, &fault) ||
        tokenizer_open(&golden.tokenizer, MODEL, NULL, NULL, NULL, &fault))
        fail_msg("%s", fault.message);
    for (char *line = all, *next; line < all + size; line = next) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        next = end + 1;
        golden.line++;
        check_line(&golden, line);
    }
    for (int kind = DIALECT_A1111; kind < DIALECTS; kind++)
        assert_true(golden.parsed[kind] >= 150);
    assert_true(golden.refused >= 5 && golden.cut >= 120 && golden.hidden >= 30);
    free(golden.prompt);
    tokenizer_close(golden.tokenizer);
    memory_free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
