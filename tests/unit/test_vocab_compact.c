/* test_vocab_compact.c - protects the reader of clip.vocab: what it refuses and how, that its ids are those of the same
 * merges as vocab.json, and where a tokenizer is looked for.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "../../encoder/base/memory.h"
#include "../../encoder/tokenizer_place.h"
#include "compact.h"
#include "vocab_edits.h"

/* h e, l l, he ll, hell o</w>: the merges of small_vocab.h, as ids */
static const uint16_t hello[] = {71, 68, 75, 75, 512, 513, 514, 334};
#define HELLO (sizeof hello / sizeof *hello / 2)

static int open_bytes(struct tokenizer **out, const char *bytes, size_t size, int32_t pad) {
    struct vocab_files files = {0};
    struct tokenizer_options options = {.default_pad = pad};
    char *own = malloc(size + 1); /* its own block, so that a read behind its end is seen */
    memcpy(own, bytes, size);
    files.of[VOCAB_COMPACT] = (struct vocab_file){own, size};
    int status = tokenizer_open_files(out, &files, &options, NULL, NULL, &fault);
    free(own);
    return status;
}

static void refused(struct compact *file, int code, const char *names) {
    struct tokenizer *tokenizer = (struct tokenizer *)file;
    int status = open_bytes(&tokenizer, file->bytes, file->size, -1);
    if (status != code)
        fail_msg("status %d, expected %d: %s", status, code, status ? fault.message : "opened");
    assert_names(fault.message, "clip.vocab");
    assert_names(fault.message, names);
    assert_null(tokenizer);
    free(file);
}

static void same_ids(const struct tokenizer *one, const struct tokenizer *other, const char *text) {
    char scratch[65536];
    int32_t ids[2][600];
    size_t count[2], size = strlen(text);
    assert_true(tokenizer_scratch_bytes(one, size) <= sizeof scratch && tokenizer_id_count_limit(size) <= 600);
    assert_int_equal(tokenizer_body(one, text, size, scratch, ids[0], NULL, &count[0], &fault), 0);
    assert_int_equal(tokenizer_body(other, text, size, scratch, ids[1], NULL, &count[1], &fault), 0);
    assert_int_equal(count[0], count[1]);
    assert_memory_equal(ids[0], ids[1], count[0] * sizeof *ids[0]);
}

/* The compact form and vocab.json with the same merges are one tokenizer, whatever the byte. */
static void same_as_the_pair(void **state) {
    (void)state;
    struct compact *file = compact_of(1, HELLO, hello, HELLO);
    struct small small = small_pair();
    struct tokenizer *compact, *pair;
    assert_int_equal(open_bytes(&compact, file->bytes, file->size, -1), 0);
    assert_int_equal(open_small(&small, &pair, NULL, NULL), 0);
    assert_int_equal(tokenizer_start_id(compact), SMALL_START);
    assert_int_equal(tokenizer_end_id(compact), SMALL_END);
    assert_int_equal(tokenizer_pad_id(compact), SMALL_END);
    assert_int_equal(tokenizer_id_limit(compact), tokenizer_id_limit(pair));
    same_ids(compact, pair, "Hello hello! <|endoftext|>a<|startoftext|> hell \xC3\xA9 \xF0\x9F\x98\x80");
    for (uint32_t c = 1; c < 0x800; c++) {
        char text[8] = "x";
        if (c < 0x80) {
            text[1] = (char)c;
        } else {
            text[1] = (char)(0xC0 | c >> 6);
            text[2] = (char)(0x80 | (c & 0x3F));
        }
        same_ids(compact, pair, text);
    }
    struct vocab_files files = {0};
    struct tokenizer_options open_clip = {.mode = TOKENIZER_OPEN_CLIP, .default_pad = -1};
    struct tokenizer *cleaned;
    files.of[VOCAB_COMPACT] = (struct vocab_file){file->bytes, file->size};
    assert_int_equal(tokenizer_open_files(&cleaned, &files, &open_clip, NULL, NULL, &fault), 0);
    EXPECT_IDS(cleaned, "hello <end_of_text>", 515, SMALL_END);
    assert_int_equal(tokenizer_pad_id(cleaned), 0);
    assert_int_equal(tokenizer_pads_by_default(cleaned), 0); /* zeros pad in that mode, whatever the file */
    tokenizer_close(cleaned);
    assert_string_equal(tokenizer_source(compact), "clip.vocab");
    assert_string_equal(tokenizer_source(pair), "vocab.json");
    assert_int_equal(tokenizer_pads_by_default(compact), 1);
    assert_int_equal(tokenizer_pads_by_default(pair), 0);
    tokenizer_close(compact);
    tokenizer_close(pair);
    small_free(&small);
    free(file);
}

/* The pad is the caller's to say; an id that is none is refused. "!" stays text. */
static void default_pads(void **state) {
    (void)state;
    struct compact *file = compact_of(1, HELLO, hello, HELLO);
    struct tokenizer *tokenizer;
    assert_int_equal(open_bytes(&tokenizer, file->bytes, file->size, 0), 0);
    assert_int_equal(tokenizer_pad_id(tokenizer), 0);
    EXPECT_IDS(tokenizer, "hello!", 515, 256);
    tokenizer_close(tokenizer);
    assert_int_equal(open_bytes(&tokenizer, file->bytes, file->size, SMALL_END), 0);
    tokenizer_close(tokenizer);
    assert_int_equal(open_bytes(&tokenizer, file->bytes, file->size, SMALL_END + 1), FAULT_ARGUMENT);
    assert_names(fault.message, "518");
    free(file);
}

/* "!" is what pads in SDXL's second tokenizer, and cut out of the text there; both can be asked for, whatever the file. */
static void pads_in_text(void **state) {
    (void)state;
    struct compact *file = compact_of(1, HELLO, hello, HELLO);
    struct small small = small_pair();
    small_edit(&small, VOCAB_SPECIAL_TOKENS_MAP_JSON, NULL, "{\"pad_token\": {\"content\": \"!\", \"normalized\": true, \"lstrip\": true}}");
    struct vocab_files files[2] = {small_files(&small), {{{0}}}};
    files[1].of[VOCAB_COMPACT] = (struct vocab_file){file->bytes, file->size};
    for (size_t i = 0; i < 2; i++) {
        struct tokenizer *tokenizer;
        struct tokenizer_options options = {.default_pad = 0, .pad_in_text = PAD_IS_TEXT};
        assert_int_equal(tokenizer_open_files(&tokenizer, &files[i], &options, NULL, NULL, &fault), 0);
        EXPECT_IDS(tokenizer, "hello!! !<|endoftext|>", 515, 0, 256, 256, SMALL_END);
        assert_int_equal(tokenizer_pad_id(tokenizer), 0);
        tokenizer_close(tokenizer);
        options.pad_in_text = PAD_IS_SPECIAL;
        assert_int_equal(tokenizer_open_files(&tokenizer, &files[i], &options, NULL, NULL, &fault), 0);
        EXPECT_IDS(tokenizer, "hello!! !<|endoftext|>", 515, 0, 0, 0, SMALL_END);
        tokenizer_close(tokenizer);
        /* a pad that is the end is cut out as the end in any case */
        options = (struct tokenizer_options){.default_pad = SMALL_END, .pad_in_text = PAD_IS_TEXT};
        assert_int_equal(tokenizer_open_files(&tokenizer, &files[1], &options, NULL, NULL, &fault), 0);
        EXPECT_IDS(tokenizer, "!<|endoftext|>", 256, SMALL_END);
        tokenizer_close(tokenizer);
        options.default_pad = SMALL_START;
        assert_int_equal(tokenizer_open_files(&tokenizer, &files[1], &options, NULL, NULL, &fault), 0);
        EXPECT_IDS(tokenizer, "!<|startoftext|>", 256, SMALL_START);
        tokenizer_close(tokenizer);
    }
    /* one that is only an added token is still what pads, and counts among the ids */
    small_edit(&small, VOCAB_SPECIAL_TOKENS_MAP_JSON, NULL, "{\"pad_token\": \"~hello\"}");
    files[0] = small_files(&small);
    struct tokenizer_options options = {.pad_in_text = PAD_IS_TEXT};
    struct tokenizer *tokenizer;
    assert_int_equal(tokenizer_open_files(&tokenizer, &files[0], &options, NULL, NULL, &fault), 0);
    EXPECT_IDS(tokenizer, "~hello", 349, 515);
    assert_int_equal(tokenizer_pad_id(tokenizer), 518);
    assert_int_equal(tokenizer_id_limit(tokenizer), 519);
    tokenizer_close(tokenizer);
    small_free(&small);
    free(file);
}

static void counts(void **state) {
    (void)state;
    refused(compact_of(2, HELLO, hello, HELLO), FAULT_UNSUPPORTED, "version 2, expected 1");
    refused(compact_of(1, HELLO + 1, hello, HELLO), FAULT_TRUNCATED, "expected 44 for its 5 merges");
    refused(compact_of(1, HELLO - 1, hello, HELLO), FAULT_TRAILING, "expected 36 for its 3 merges");
    refused(compact_of(1, 65023, hello, HELLO), FAULT_FORMAT, "65023 merges, expected at most 65022");
    refused(compact_of(1, UINT32_MAX, hello, HELLO), FAULT_FORMAT, "4294967295 merges");
    struct compact *none = compact_of(1, 0, NULL, 0);
    struct tokenizer *tokenizer;
    assert_int_equal(open_bytes(&tokenizer, none->bytes, none->size, -1), 0);
    assert_int_equal(tokenizer_end_id(tokenizer), 513);
    tokenizer_close(tokenizer);
    free(none);
}

/* As many merges as 16 bits have ids for: symbols in pairs, then what they make before a symbol. */
static void most_merges(void **state) {
    (void)state;
    uint16_t *ids = malloc(2 * 65022 * sizeof *ids);
    for (uint32_t k = 0; k < 65022; k++) {
        uint32_t more = k < 61440 ? 0 : k - 61440; /* 120 * 512 pairs of symbols, then three symbols each */
        ids[2 * k] = (uint16_t)(k < 61440 ? k / 512 : 512 + more / 64 * 512);
        ids[2 * k + 1] = (uint16_t)(k < 61440 ? k % 512 : 256 + more % 64);
    }
    struct compact *file = compact_of(1, 65022, ids, 65022);
    struct tokenizer *tokenizer;
    if (open_bytes(&tokenizer, file->bytes, file->size, -1))
        fail_msg("%s", fault.message);
    assert_int_equal(tokenizer_end_id(tokenizer), 65535);
    tokenizer_close(tokenizer);
    free(file);
    free(ids);
}

static void merges(void **state) {
    (void)state;
    static const uint16_t itself[] = {512, 0}, later[] = {0, 600}, word_first[] = {256, 0}, word_made[] = {0, 256, 512, 1},
                          twice[] = {1, 2, 1, 2}, two_ways[] = {1, 2, 512, 3, 2, 3, 1, 514};
    refused(compact_of(1, 1, itself, 1), FAULT_FORMAT, "merge 0: found the id 512, expected one below its own, 512");
    refused(compact_of(1, 1, later, 1), FAULT_FORMAT, "merge 0: found the id 600");
    refused(compact_of(1, 1, word_first, 1), FAULT_FORMAT, "merge 0: found the id 256, which ends a word");
    refused(compact_of(1, 2, word_made, 2), FAULT_FORMAT, "merge 1: found the id 512, which ends a word");
    refused(compact_of(1, 2, twice, 2), FAULT_FORMAT, "(ids 512 and 513), expected it once");
    refused(compact_of(1, 4, two_ways, 4), FAULT_FORMAT, "twice");
    uint16_t doubling[14];
    for (size_t k = 0; k < 7; k++)
        doubling[2 * k] = doubling[2 * k + 1] = (uint16_t)(k ? 511 + k : 0);
    refused(compact_of(1, 7, doubling, 7), FAULT_LIMIT, "merge 6 makes a token of 128 bytes, expected at most 64");
}

/* Every cut, and every byte changed, is refused. */
static void damage(void **state) {
    (void)state;
    struct compact *file = compact_of(1, HELLO, hello, HELLO);
    for (size_t size = 0; size < file->size; size++) {
        struct tokenizer *tokenizer;
        int status = open_bytes(&tokenizer, file->bytes, size, -1);
        if (status != (size < 8 ? FAULT_FORMAT : FAULT_TRUNCATED))
            fail_msg("cut to %zu bytes: status %d", size, status);
    }
    for (size_t at = 0; at < file->size; at++) {
        struct tokenizer *tokenizer;
        file->bytes[at] ^= 1;
        assert_int_not_equal(open_bytes(&tokenizer, file->bytes, file->size, -1), 0);
        file->bytes[at] ^= 1;
    }
    struct compact *other = compact_of(1, HELLO, hello, HELLO);
    other->bytes[other->size - 1] ^= 1;
    refused(other, FAULT_FORMAT, "checksum");
    other = compact_of(1, HELLO, hello, HELLO);
    other->bytes[other->size - 8] ^= 1;
    refused(other, FAULT_FORMAT, "checksum");
    other = compact_of(1, HELLO, hello, HELLO);
    other->bytes[7] = 'C';
    refused(other, FAULT_FORMAT, "\"PENVOCAC\" at its beginning, expected \"PENVOCAB\"");
    free(file);
}

/* ---- places ---- */

static char root[] = "/tmp/penult-vocab-XXXXXX";

static const char *at(const char *name) {
    static char path[8][128];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

static void write_file(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int make_places(void **state) {
    (void)state;
    struct compact *file = compact_of(1, HELLO, hello, HELLO);
    struct small small = small_pair();
    if (!mkdtemp(root) || mkdir(at("own"), 0700) || mkdir(at("pair"), 0700) || mkdir(at("none"), 0700) || mkdir(at("bad"), 0700) ||
        mkdir(at("folder"), 0700) || mkdir(at("folder/clip.vocab"), 0700))
        return -1;
    write_file(at("own/clip.vocab"), file->bytes, file->size);
    write_file(at("any-name"), file->bytes, file->size);
    write_file(at("pair/clip.vocab"), "not read", 8);
    write_file(at("pair/vocab.json"), small.of[VOCAB_VOCAB_JSON], strlen(small.of[VOCAB_VOCAB_JSON]));
    write_file(at("pair/merges.txt"), small.of[VOCAB_MERGES_TXT], strlen(small.of[VOCAB_MERGES_TXT]));
    write_file(at("bad/clip.vocab"), "PENVOCAB", 8);
    small_free(&small);
    free(file);
    return 0;
}

static int remove_places(void **state) {
    (void)state;
    static const char *const files[] = {"own/clip.vocab", "any-name", "pair/clip.vocab", "pair/vocab.json", "pair/merges.txt",
                                        "bad/clip.vocab"};
    static const char *const folders[] = {"own", "pair", "none", "bad", "folder/clip.vocab", "folder"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(at(files[i]));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        rmdir(at(folders[i]));
    return rmdir(root);
}

struct heard {
    unsigned notes, warnings;
    char last[512];
};

static void hear(void *user, const struct finding *finding) {
    struct heard *heard = user;
    assert_string_equal(finding->subject, "tokenizer");
    heard->notes += finding->severity == REPORT_NOTE;
    heard->warnings += finding->severity == REPORT_WARNING;
    snprintf(heard->last, sizeof heard->last, "%s", finding->message);
}

/* What a search comes to: the status, whether it found one, how much it said and what last. */
static void finds(struct tokenizer_place place, int status, const char *source, unsigned notes, unsigned warnings,
                  const char *words) {
    struct heard heard = {0};
    struct report report = {hear, &heard};
    struct tokenizer *tokenizer;
    place.rows_from = "its vocab_size";
    int found = tokenizer_find(&tokenizer, &place, NULL, &report, &fault);
    if (found != status)
        fail_msg("status %d, expected %d: %s", found, status, found ? fault.message : "found");
    assert_names(status ? fault.message : heard.last, words);
    assert_int_equal(heard.notes, notes);
    assert_int_equal(heard.warnings, warnings);
    if (source)
        assert_string_equal(tokenizer_source(tokenizer), source);
    else
        assert_null(tokenizer);
    tokenizer_close(tokenizer);
}

/* Given before beside, beside before the plugin's own; the own one is never the reason why a model does not open. */
static void places(void **state) {
    (void)state;
    const char *own = at("own"), *pair = at("pair"), *none = at("none");
    finds((struct tokenizer_place){.given = own, .beside = pair}, 0, "clip.vocab", 1, 0, "at the path that was given");
    finds((struct tokenizer_place){.given = at("any-name")}, 0, "clip.vocab", 1, 0, "assumed to be id 517");
    finds((struct tokenizer_place){.beside = pair, .own = own}, 0, "vocab.json", 1, 0, "beside the weights; its padding is id 517");
    finds((struct tokenizer_place){.beside = own}, 0, "clip.vocab", 1, 0, "beside the weights");
    finds((struct tokenizer_place){.beside = none, .own = own}, 0, "clip.vocab", 1, 0, "beside the plugin");
    finds((struct tokenizer_place){.beside = none, .own = own, .rows = 518}, 0, "clip.vocab", 1, 0, "beside the plugin");
    finds((struct tokenizer_place){.beside = none, .own = own, .rows = 517}, 0, NULL, 1, 1, "make vocab");
    finds((struct tokenizer_place){.beside = none, .own = none}, 0, NULL, 0, 1, "make vocab");
    finds((struct tokenizer_place){.beside = none}, 0, NULL, 0, 1, "--tokenizer");
    finds((struct tokenizer_place){.beside = none, .own = at("bad")}, 0, NULL, 0, 2, "make vocab");
    finds((struct tokenizer_place){.beside = none, .own = at("folder")}, 0, NULL, 0, 2, "make vocab");
    finds((struct tokenizer_place){.own = at("folder"), .needed = 1}, FAULT_IO, NULL, 0, 0, "clip.vocab");
    finds((struct tokenizer_place){.own = at("bad"), .needed = 1}, FAULT_TRUNCATED, NULL, 0, 0, "clip.vocab");
    finds((struct tokenizer_place){.own = none, .needed = 1}, FAULT_NOT_FOUND, NULL, 0, 0, "make vocab");
    finds((struct tokenizer_place){.needed = 1}, FAULT_NOT_FOUND, NULL, 0, 0, "make vocab");
    finds((struct tokenizer_place){.own = own, .needed = 1}, 0, "clip.vocab", 1, 0, "beside the plugin");
    finds((struct tokenizer_place){.given = own, .rows = 517}, FAULT_MISMATCH, NULL, 1, 0, "ids up to 517, but its vocab_size is 517");
    finds((struct tokenizer_place){.given = "/dev/null"}, FAULT_IO, NULL, 0, 0, "/dev/null");
    finds((struct tokenizer_place){.given = none}, FAULT_NOT_FOUND, NULL, 0, 0, "vocab.json");
    assert_int_equal(tokenizer_is_in(own), 1);
    assert_int_equal(tokenizer_is_in(none), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_the_pair), cmocka_unit_test(default_pads), cmocka_unit_test(pads_in_text), cmocka_unit_test(counts),
        cmocka_unit_test(most_merges),      cmocka_unit_test(merges),       cmocka_unit_test(damage),
        cmocka_unit_test_setup_teardown(places, make_places, remove_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
