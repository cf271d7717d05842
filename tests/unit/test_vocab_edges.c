/* test_vocab_edges.c - protects the corners of a tokenizer's files that no file in use has: keys of the wrong kind, lists and
 * tables at their limits, flags that differ in one bit, every file cut short at every byte.
 */
#include "../../encoder/base/wrap.h"
#include "vocab_edits.h"

#define TYPED(content, more) "{\"__type\": \"AddedToken\", \"content\": \"" content "\"" more "}"

/* tokenizer_config.json, special_tokens_map.json, added_tokens.json. */
static void side_files(void **state) {
    static const enum vocab_file_kind C = VOCAB_TOKENIZER_CONFIG_JSON, S = VOCAB_SPECIAL_TOKENS_MAP_JSON;
    const struct edit edits[] = {
        {C, NULL, "{\"colour\": 1}", FAULT_NONE, ""}, /* and nobody to tell */
        {C, NULL, "{\"bos_token\": {\"x\": 1}}", FAULT_UNSUPPORTED, "the keys of an added token"},
        {C, NULL, "{\"bos_token\": " TYPED("!", ", \"id\": 0") "}", FAULT_UNSUPPORTED, "the keys of an added token"},
        {C, NULL, "{\"bos_token\": {\"__type\": 1, \"content\": \"!\"}}", FAULT_UNSUPPORTED, "\"AddedToken\""},
        {C, NULL, "{\"bos_token\": " TYPED("!", ", \"lstrip\": true, \"lstrip\": true") "}", FAULT_FORMAT, "\"lstrip\" a second"},
        {C, NULL, "{\"unk_token\": null}", FAULT_NONE, ""},
        {C, NULL, "{\"extra_special_tokens\": null}", FAULT_NONE, ""},
        {C, NULL, "{\"extra_special_tokens\": [null]}", FAULT_FORMAT, "extra_special_tokens: found null"},
        {C, NULL, "{\"extra_special_tokens\": [], \"extra_special_tokens\": []}", FAULT_FORMAT, "a second time"},
        {C, NULL, "{\"additional_special_tokens\": [], \"additional_special_tokens\": []}", FAULT_FORMAT, "a second time"},
        {C, NULL, "{\"added_tokens_decoder\": {}, \"added_tokens_decoder\": {}}", FAULT_FORMAT, "a second time"},
        {C, NULL, "{\"added_tokens_decoder\": {\"518\": 1}}", FAULT_FORMAT, "an object for each id"},
        {C, NULL, "{\"padding_side\": 1}", FAULT_UNSUPPORTED, "padding_side"},
        {C, NULL, "{\"tokenizer_class\": \"CLIPTokenizerFast\", \"split_special_tokens\": false}", FAULT_NONE, ""},
        {C, NULL, "{\"image_token\": {}}", FAULT_UNSUPPORTED, "image_token"},
        {C, NULL, "{\"image_token\": 5, \"_token\": \"x\"}", FAULT_NONE, ""},
        {S, NULL, "{\"pad_token\": {\"__type\": \"AddedToken\", \"content\": \"!\"}}", FAULT_UNSUPPORTED, "pad_token"},
        {S, NULL, "{\"pad_token\": \"!\", \"pad_token\": \"!\"}", FAULT_FORMAT, "\"pad_token\" a second time"},
        {S, NULL, "{\"additional_special_tokens\": [], \"additional_special_tokens\": []}", FAULT_FORMAT, "a second time"},
        {S, NULL, "{\"extra_special_tokens\": [], \"extra_special_tokens\": []}", FAULT_FORMAT, "a second time"},
        {S, NULL, "{\"additional_special_tokens\": [\"<x>\"], \"extra_special_tokens\": [\"<y>\"]}", FAULT_NONE, ""},
        {S, NULL, "{\"additional_special_tokens\": [\"<x>\"], \"colour\": 1}", FAULT_UNSUPPORTED,
         "names of special tokens"},
    };
    (void)state;
    CHECK_EDITS(small_pair, edits);
}

static void tokenizer_json(void **state) {
    static const enum vocab_file_kind J = VOCAB_TOKENIZER_JSON;
    static char long_key[512];
    snprintf(long_key, sizeof long_key, "\"invert\": true, \"%096d\": {\"%096d\": {\"%096d\": 1}}", 0, 0, 0);
    const struct edit edits[] = {
        {J, "\"version\": \"1.0\"", "\"version\": 1.0", FAULT_UNSUPPORTED, "version"},
        {J, "\"use_regex\": true", "\"use_regex\": null", FAULT_UNSUPPORTED, "use_regex"},
        {J, "\"sep\": [\"<|endoftext|>\"", "\"sep\": [1", FAULT_FORMAT, "post_processor.sep[0]"},
        {J, "\"invert\": true", "\"invert\": true, \"invert\": true", FAULT_FORMAT, "invert a second time"},
        {J, "\"invert\": true", long_key, FAULT_UNSUPPORTED, "shorter keys"},
        {J, "\"sep\": [\"<|endoftext|>\", 517],", "", FAULT_UNSUPPORTED, "no post_processor.sep[0], expected one"},
        {J, "\"padding\": null", "\"padding\": null, \"padding\": null", FAULT_FORMAT, "\"padding\" a second time"},
        {J, "\"truncation\": null", "\"truncation\": 1", FAULT_UNSUPPORTED, "null or an object"},
        {J, "\"truncation\": null", "\"truncation\": {\"max_length\": 77, \"direction\": \"Right\"}", FAULT_NONE, ""},
        {J, "\"truncation\": null", "\"truncation\": {\"direction\": \"Left\"}", FAULT_UNSUPPORTED, "\"Right\""},
        {J, "\"truncation\": null", "\"truncation\": {\"direction\": 1}", FAULT_UNSUPPORTED, "\"Right\""},
        {J, "\"truncation\": null", "\"truncation\": {\"x\": [1 2]}", FAULT_FORMAT, "a comma"},
        {J, "\"truncation\": null", "\"truncation\": {\"x\" 2}", FAULT_FORMAT, "a colon"},
        {J, "\"truncation\": null", "\"truncation\": {\"x\": }", FAULT_FORMAT, "a value"},
        {J, "\"added_tokens\": [", "\"added_tokens\": 1, \"x\": [", FAULT_FORMAT, "a list of tokens"},
        {J, "\"added_tokens\": [", "\"added_tokens\": [1, ", FAULT_FORMAT, "an object for each token"},
        {J, "\"model\": {", "\"model\": 1, \"x\": {", FAULT_UNSUPPORTED, "model"},
        {J, SMALL_MERGES_JSON, "{}", FAULT_FORMAT, "model.merges"},
        {J, SMALL_MERGES_JSON, "[\"he\"]", FAULT_FORMAT, "a merge"},
        {J, SMALL_MERGES_JSON, "[\"h e l\"]", FAULT_FORMAT, "a merge"},
        {J, SMALL_MERGES_JSON, "[[1, \"e\"]]", FAULT_FORMAT, "a merge"},
        {J, ", \"merges\": " SMALL_MERGES_JSON, "", FAULT_FORMAT, "no model.merges"},
    };
    (void)state;
    CHECK_EDITS(small_json, edits);
    struct small small = small_json();
    struct tokenizer *tokenizer;
    small_edit(&small, J, "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true},", "");
    small_edit(&small, J, "\"added_tokens\"", "\"decoder\"");
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_FORMAT);
    assert_names(fault.message, "found no added_tokens");
    small_free(&small);
    small = small_json();
    small_edit(&small, J, "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true},", "");
    small_edit(&small, J, "\"model\": {", "\"decoder\": {");
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_FORMAT);
    assert_names(fault.message, "found no model.vocab");
    small_free(&small);
}

/* Every list that a file can make long stops at its limit. */
static char *repeated(const char *before, const char *each, const char *after, int count) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    fputs(before, to);
    for (int i = 0; i < count; i++)
        fprintf(to, "%s\"%d%s", i ? "," : "", i + 1000, each);
    fputs(after, to);
    fclose(to);
    return text;
}

static void limits(void **state) {
    const int added = VOCAB_ADDED_LIMIT + 1;
    const struct {
        enum vocab_file_kind kind;
        const char *before, *each, *after;
        int count;
    } lists[] = {
        {VOCAB_TOKENIZER_CONFIG_JSON, "{\"extra_special_tokens\": [", "\"", "]}", added},
        {VOCAB_TOKENIZER_CONFIG_JSON, "{\"added_tokens_decoder\": {", "\": {\"content\": \"!\"}", "}}", added},
        {VOCAB_VOCAB_JSON, "{", "\": 1", "}", VOCAB_TOKENS_LIMIT + 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct small small = small_pair();
        struct tokenizer *tokenizer;
        free(small.of[lists[i].kind]);
        small.of[lists[i].kind] = repeated(lists[i].before, lists[i].each, lists[i].after, lists[i].count);
        assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_LIMIT);
        assert_names(fault.message, vocab_file_names[lists[i].kind]);
        small_free(&small);
    }
    struct small small = small_json();
    struct tokenizer *tokenizer;
    char *many = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&many, &size);
    fputs("\"added_tokens\": [", to);
    for (int i = 0; i < added; i++)
        fprintf(to, "{\"id\": %d, \"content\": \"<%d>\"},", i, i);
    fclose(to);
    small_edit(&small, VOCAB_TOKENIZER_JSON, "\"added_tokens\": [", many);
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_LIMIT);
    assert_names(fault.message, "tokenizer.json: found more than 4096 added tokens");
    free(many);
    small_free(&small);
}

/* Two tokens of one spelling are one only if all their flags agree; else the later one's count. */
static void flags(void **state) {
    static const char *const others[] = {", \"single_word\": true", ", \"lstrip\": true", ", \"rstrip\": true",
                                         ", \"special\": true",     ", \"normalized\": false", ""};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct small small = small_pair();
        struct tokenizer *tokenizer;
        char config[512];
        snprintf(config, sizeof config, "{\"unk_token\": " TYPED("<x>", "") ", \"pad_token\": " TYPED("<x>", "%s")
                 ", \"cls_token\": " TYPED("<|startoftext|>", "") "}", others[i]);
        small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, config);
        if (open_small(&small, &tokenizer, NULL, NULL))
            fail_msg("%s", fault.message);
        assert_int_equal(tokenizer_pad_id(tokenizer), 518);
        EXPECT_IDS(tokenizer, "<x>", 518);
        tokenizer_close(tokenizer);
        small_free(&small);
    }
}

/* Lists in any order; the same id again with the same spelling is the same token. White space that a token takes along is
 * nobody else's: a token that is white space itself is then empty. */
static void listed(void **state) {
#define X518 "\"518\": {\"content\": \"<x>\"}"
    static const struct {
        const char *config, *text;
        int32_t ids[4];
        size_t count;
    } cases[] = {
        {"{\"519\": {\"content\": \"<y>\"}, \"518\": {\"content\": \"<x>\"}}", "<x><y>", {518, 519}, 2},
        {"{" X518 ", " X518 ", " X518 ", " X518 ", " X518 ", " X518 ", " X518 "}", "<x>", {518}, 1},
        {"{\"518\": {\"content\": \"<x>\", \"rstrip\": true}, \"519\": {\"content\": \" \", \"lstrip\": true}}", "<x> ",
         {518, 519}, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct small small = small_pair();
        struct tokenizer *tokenizer;
        char *config = small_join("{\"added_tokens_decoder\": ", cases[i].config, "}");
        small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, config);
        if (open_small(&small, &tokenizer, NULL, NULL))
            fail_msg("%s", fault.message);
        expect_ids(tokenizer, cases[i].text, cases[i].ids, cases[i].count);
        tokenizer_close(tokenizer);
        free(config);
        small_free(&small);
    }
    /* what special_tokens_map.json calls special is not the token that added_tokens.json lists */
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    small_edit(&small, VOCAB_SPECIAL_TOKENS_MAP_JSON, NULL, "{\"extra_special_tokens\": [\"<y>\"]}");
    small_edit(&small, VOCAB_ADDED_TOKENS_JSON, NULL, "{\"<x>\": 518}");
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), 0);
    EXPECT_IDS(tokenizer, "<y><X>", 519, 518);
    tokenizer_close(tokenizer);
    small_free(&small);
}

static void a_symbol_that_ends_no_word(void **state) {
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    (void)state;
    small_edit(&small, VOCAB_VOCAB_JSON, "\"\\u0061</w>\": 320", "\"<unused>\": 320");
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), 0);
    EXPECT_IDS(tokenizer, "a", SMALL_END);
    tokenizer_close(tokenizer);
    small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, "{\"unk_token\": \"<unk>\"}");
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_MISMATCH);
    assert_names(fault.message, "byte 0x61 at the end of a word");
    small_free(&small);
}

WRAPS("FNV-1a multiplies modulo 2^32")
static uint32_t hash_of(const char *text) {
    uint32_t hash = 2166136261u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash ^ hash >> 15;
}

/* `count` spellings whose places in a table of `slots` are one and the same, as JSON and one more in `last`. */
static char *colliding(unsigned count, uint32_t slots, char last[16]) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    unsigned found = 0;
    fputc('{', to);
    for (unsigned i = 0; found <= count; i++) {
        char word[16];
        snprintf(word, sizeof word, "w%u", i);
        if (hash_of(word) % slots)
            continue;
        if (found == count)
            memcpy(last, word, sizeof word);
        else
            fprintf(to, "%s\"%s\": %u", found ? "," : "", word, found);
        found++;
    }
    fputc('}', to);
    fclose(to);
    return text;
}

/* Spellings that collide on purpose: 256 of them are searched through, 257 are refused. */
static void crowded_vocabulary(void **state) {
    char last[16], merges[64];
    (void)state;
    for (unsigned count = 256; count <= 257; count++) {
        struct small small = small_pair();
        struct tokenizer *tokenizer;
        free(small.of[VOCAB_VOCAB_JSON]);
        small.of[VOCAB_VOCAB_JSON] = colliding(count, count == 256 ? 512 : 1024, last);
        snprintf(merges, sizeof merges, "%s %s\n", last, last);
        small_edit(&small, VOCAB_MERGES_TXT, NULL, merges);
        assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), count == 256 ? FAULT_MISMATCH : FAULT_LIMIT);
        assert_names(fault.message, count == 256 ? "the first is not" : "more than 256 tokens with one hash");
        small_free(&small);
    }
}

/* The symbol that an id of the small vocabulary stands for, as JSON writes it and as merges.txt does. */
static void symbol_of(int id, char json[16], char plain[16]) {
    unsigned next = 256, point = 0;
    int at = id < 256 ? 0 : 256;
    for (int hidden = 0; hidden < 2; hidden++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            if (hidden == 0 && small_is_visible(byte) && at++ == id)
                point = byte;
            else if (hidden == 1 && !small_is_visible(byte) && next++ && at++ == id)
                point = next - 1;
        }
    }
    const char *end = id < 256 ? "" : "</w>";
    snprintf(json, 16, "\\u%04x%s", point, end);
    if (point < 0x80)
        snprintf(plain, 16, "%c%s", (char)point, end);
    else
        snprintf(plain, 16, "%c%c%s", (char)(0xC0 | point >> 6), (char)(0x80 | (point & 0x3F)), end);
}

WRAPS("Fibonacci hashing multiplies modulo 2^64")
static size_t merge_slot(uint64_t left, uint64_t right, unsigned bits) {
    return (size_t)((left << 32 | right) * 0x9E3779B97F4A7C15u >> (64 - bits));
}

/* Merges that collide on purpose are refused, though each is one that the vocabulary allows. */
static void crowded_merges(void **state) {
    enum { COUNT = 300, BITS = 10, WINDOW = 8 };
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    char *tokens = NULL, *merges = NULL, left[16], right[16], left_plain[16], right_plain[16];
    size_t tokens_size, merges_size;
    FILE *to_tokens = open_memstream(&tokens, &tokens_size), *to_merges = open_memstream(&merges, &merges_size);
    int found = 0;
    (void)state;
    fprintf(to_tokens, ": %d", SMALL_END);
    for (int a = 0; a < 256 && found < COUNT; a++) {
        for (int b = 0; b < 512 && found < COUNT; b++) {
            if (merge_slot((uint64_t)a, (uint64_t)b, BITS) >= WINDOW)
                continue;
            symbol_of(a, left, left_plain);
            symbol_of(b, right, right_plain);
            if (strcmp(left_plain, "h") == 0 || strcmp(left_plain, "l") == 0 || strcmp(left_plain, "#") == 0)
                continue; /* may be there already, or a comment */
            fprintf(to_tokens, ", \"%s%s\": %d", left, right, 518 + found++);
            fprintf(to_merges, "%s %s\n", left_plain, right_plain);
        }
    }
    fputc('}', to_tokens);
    fclose(to_tokens);
    fclose(to_merges);
    assert_int_equal(found, COUNT);
    small_edit(&small, VOCAB_VOCAB_JSON, ": 517}", tokens);
    small_edit(&small, VOCAB_MERGES_TXT, NULL, merges);
    int status = open_small(&small, &tokenizer, NULL, NULL);
    if (status != FAULT_LIMIT)
        fail_msg("status %d: %s", status, status ? fault.message : "opened");
    assert_names(fault.message, "collides with too many other merges");
    free(tokens);
    free(merges);
    small_free(&small);
}

/* J1 for the files beside the vocabulary: cut short at every byte each is refused. */
static void cut_short(void **state) {
    static const struct {
        enum vocab_file_kind kind;
        const char *text;
    } files[] = {
        {VOCAB_TOKENIZER_CONFIG_JSON,
         "{\"bos_token\": " TYPED("!", ", \"rstrip\": false") ", \"eos_token\": \"~\", \"unk_token\": null,"
         " \"extra_special_tokens\": [\"<a>\", " TYPED("<b>", "") "], \"additional_special_tokens\": [\"<c>\"],"
         " \"added_tokens_decoder\": {\"518\": {\"content\": \"<x>\", \"special\": true}}, \"padding_side\": \"right\","
         " \"split_special_tokens\": false, \"model_max_length\": 77, \"colour\": [{\"a\": []}]}"},
        {VOCAB_SPECIAL_TOKENS_MAP_JSON,
         "{\"bos_token\": {\"content\": \"!\"}, \"eos_token\": \"~\", \"additional_special_tokens\": [\"<c>\"],"
         " \"extra_special_tokens\": [{\"content\": \"<d>\"}]}"},
        {VOCAB_ADDED_TOKENS_JSON, "{\"<x>\": 518, \"<y>\": 519}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        for (size_t size = 0; size <= strlen(files[i].text); size++) {
            struct small small = small_pair();
            struct tokenizer *tokenizer;
            small.of[files[i].kind] = strndup(files[i].text, size);
            int status = open_small(&small, &tokenizer, NULL, NULL);
            if (status != (size < strlen(files[i].text) ? FAULT_FORMAT : FAULT_NONE))
                fail_msg("%s cut to %zu bytes: status %d: %s", vocab_file_names[files[i].kind], size, status,
                         status ? fault.message : "opened");
            tokenizer_close(tokenizer);
            small_free(&small);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(side_files), cmocka_unit_test(tokenizer_json),
        cmocka_unit_test(limits),     cmocka_unit_test(flags),
        cmocka_unit_test(listed),     cmocka_unit_test(a_symbol_that_ends_no_word),
        cmocka_unit_test(cut_short),  cmocka_unit_test(crowded_vocabulary),
        cmocka_unit_test(crowded_merges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
