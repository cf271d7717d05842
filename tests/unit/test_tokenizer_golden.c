/* test_tokenizer_golden.c - protects the ids: tests/tokenizer/golden.txt says what transformers makes of texts and of
 * every code point, with which files; golden_open_clip.txt what open_clip makes of them.
 */
#include <stdio.h>

#include "../../encoder/base/file.h"
#include "../../encoder/base/memory.h"
#include "../../encoder/base/wrap.h"
#include "../../encoder/format/vocab.h"
#include "tokens.h"

#define MODEL "samples/model"
#define GOLDEN "tests/tokenizer/golden.txt"
#define GOLDEN_OPEN_CLIP "tests/tokenizer/golden_open_clip.txt"

static char *read_file(const char *directory, const char *name, size_t *size) {
    char *bytes = NULL;
    if (file_read_all(directory, name, (size_t)16 << 20, &bytes, size, &fault))
        fail_msg("%s", fault.message);
    return bytes;
}

struct golden {
    const char *path;
    struct tokenizer_options options;
    struct tokenizer *tokenizer;
    struct vocab_files shipped, files;
    size_t line, texts, frames, blocks, sections;
};

WRAPS("FNV-1a multiplies modulo 2^64")
static uint64_t fnv(uint64_t value, const void *bytes, size_t size) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++)
        value = (value ^ p[i]) * 0x100000001B3u;
    return value;
}

static const char *word_of(char **at) {
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

static struct tokenizer *tokenizer_of(struct golden *golden) {
    if (!golden->tokenizer && tokenizer_open_files(&golden->tokenizer, &golden->files, &golden->options, NULL, NULL, &fault))
        fail_msg("line %zu: %s", golden->line, fault.message);
    return golden->tokenizer;
}

static void begin_section(struct golden *golden, char *rest) {
    word_of(&rest);
    int pair = strcmp(word_of(&rest), "pair") == 0;
    tokenizer_close(golden->tokenizer);
    golden->tokenizer = NULL;
    golden->files = (struct vocab_files){0};
    for (int kind = pair ? VOCAB_VOCAB_JSON : VOCAB_TOKENIZER_JSON;
         kind <= (pair ? VOCAB_MERGES_TXT : VOCAB_TOKENIZER_JSON); kind++)
        golden->files.of[kind] = golden->shipped.of[kind];
    golden->sections++;
}

static void take_file(struct golden *golden, char *rest) {
    const char *name = word_of(&rest);
    for (int kind = 0; kind < VOCAB_FILES; kind++) {
        if (strcmp(vocab_file_names[kind], name) == 0)
            golden->files.of[kind] = (struct vocab_file){rest, strlen(rest)};
    }
}

static void check_ids(struct golden *golden, char *rest, const int32_t *ids, size_t count) {
    for (size_t i = 0; i < count || *rest; i++) {
        if (!*rest || i == count || atoi(word_of(&rest)) != ids[i])
            fail_msg("%s line %zu: id %zu differs (%zu ids found)", golden->path, golden->line, i, count);
    }
}

static void check_text(struct golden *golden, char *rest) {
    char text[512];
    size_t size = bytes_of(word_of(&rest), text), count = 0;
    int32_t *ids;
    struct token_span *spans;
    assert_int_equal(body_of(tokenizer_of(golden), text, size, &ids, &spans, &count), 0);
    check_ids(golden, rest, ids, count);
    for (size_t i = 0; i < count; i++)
        assert_true(spans[i].begin < spans[i].end && spans[i].end <= size &&
                    (i == 0 || spans[i - 1].begin <= spans[i].begin));
    free(ids);
    free(spans);
    golden->texts++;
}

static void check_frame(struct golden *golden, char *rest) {
    char text[512];
    int32_t ids[12];
    struct token_frame frame;
    size_t size = bytes_of(word_of(&rest), text);
    void *scratch = malloc(tokenizer_frame_scratch_bytes(tokenizer_of(golden), size));
    assert_int_equal(tokenizer_frame(tokenizer_of(golden), text, size, scratch, 12, ids, NULL, &frame, &fault), 0);
    check_ids(golden, rest, ids, 12);
    free(scratch);
    golden->frames++;
}

static void check_block(struct golden *golden, char *rest) {
    uint32_t first = (uint32_t)atoi(word_of(&rest)) * 4096;
    uint64_t value = 0xCBF29CE484222325u, expected = strtoull(rest, NULL, 16);
    char scratch[4096];
    assert_true(tokenizer_scratch_bytes(tokenizer_of(golden), 8) <= sizeof scratch);
    for (uint32_t c = first; c < first + 4096; c++) {
        char text[8] = "a";
        size_t size = 1;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        if (c < 0x80) {
            text[size++] = (char)c;
        } else {
            int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
            text[size++] = (char)(0xF00u >> (more + 1) | c >> 6 * more);
            while (more--)
                text[size++] = (char)(0x80u | (c >> 6 * more & 0x3Fu));
        }
        text[size++] = 'b';
        int32_t ids[24];
        size_t count;
        assert_int_equal(tokenizer_body(tokenizer_of(golden), text, size, scratch, ids, NULL, &count, &fault), 0);
        value = fnv(value, ids, count * sizeof *ids);
    }
    if (value != expected)
        fail_msg("%s line %zu: a code point of U+%04X..U+%04X has other ids", golden->path, golden->line, first, first + 4095);
    golden->blocks++;
}

static void check_line(struct golden *golden, char *rest) {
    const char *kind = word_of(&rest);
    if (strcmp(kind, "section") == 0) {
        begin_section(golden, rest);
    } else if (strcmp(kind, "file") == 0) {
        take_file(golden, rest);
    } else if (strcmp(kind, "ids") == 0) {
        struct tokenizer *tokenizer = tokenizer_of(golden);
        int32_t ids[] = {tokenizer_start_id(tokenizer), tokenizer_end_id(tokenizer), tokenizer_pad_id(tokenizer)};
        check_ids(golden, rest, ids, 3);
    } else if (strcmp(kind, "text") == 0) {
        check_text(golden, rest);
    } else if (strcmp(kind, "frame") == 0) {
        check_frame(golden, rest);
    } else if (strcmp(kind, "block") == 0) {
        check_block(golden, rest);
    } else if (strcmp(kind, "vocabulary") == 0) {
        const struct vocab_file *vocab = &golden->shipped.of[VOCAB_VOCAB_JSON],
                                *merges = &golden->shipped.of[VOCAB_MERGES_TXT];
        uint64_t found = fnv(fnv(0xCBF29CE484222325u, vocab->bytes, vocab->size), merges->bytes, merges->size);
        if (found != strtoull(rest, NULL, 16))
            fail_msg(MODEL " has another vocabulary than %s: record it again", golden->path);
    } else if (strcmp(kind, "reference") != 0) {
        fail_msg("%s line %zu: unknown kind %s", golden->path, golden->line, kind);
    }
}

static struct golden check_file(const char *path, enum tokenizer_mode mode) {
    struct golden golden = {.path = path, .options = {.mode = mode, .default_pad = -1}};
    size_t size;
    char *all = read_file(NULL, path, &size);
    for (int kind = VOCAB_TOKENIZER_JSON; kind <= VOCAB_MERGES_TXT; kind++)
        golden.shipped.of[kind].bytes = read_file(MODEL, vocab_file_names[kind], &golden.shipped.of[kind].size);
    for (char *line = all, *next; line < all + size; line = next) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        next = end + 1;
        golden.line++;
        check_line(&golden, line);
    }
    assert_int_equal(golden.blocks, 272);
    tokenizer_close(golden.tokenizer);
    vocab_files_free(&golden.shipped);
    memory_free(all);
    return golden;
}

/* Ids, start, end, padding and cutting equal the reference's; every code point does. */
static void transformers(void **state) {
    (void)state;
    struct golden golden = check_file(GOLDEN, TOKENIZER_TRANSFORMERS);
    assert_true(golden.texts > 2000 && golden.frames > 100 && golden.sections >= 6);
}

static void open_clip(void **state) {
    (void)state;
    struct golden golden = check_file(GOLDEN_OPEN_CLIP, TOKENIZER_OPEN_CLIP);
    assert_true(golden.texts > 2000 && golden.frames > 100 && golden.sections == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(transformers), cmocka_unit_test(open_clip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
