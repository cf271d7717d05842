/* test_vocab_config.c - protects the reading of tokenizer_config.json, special_tokens_map.json and added_tokens.json:
 * what is refused, and which of them wins.
 */
#include "vocab_edits.h"

/* tokenizer_config.json and its like. */
static void configs(void **state) {
    static const enum vocab_file_kind C = VOCAB_TOKENIZER_CONFIG_JSON, S = VOCAB_SPECIAL_TOKENS_MAP_JSON,
                                      A = VOCAB_ADDED_TOKENS_JSON;
    const struct edit edits[] = {
        {C, NULL, "{\"pad_token\": null}", FAULT_UNSUPPORTED, "pad_token: found null"},
        {C, NULL, "{\"bos_token\": null}", FAULT_UNSUPPORTED, "bos_token: found null"},
        {C, NULL, "{\"bos_token\": 7}", FAULT_FORMAT, "bos_token: found the number"},
        {C, NULL, "{\"bos_token\": \"\"}", FAULT_FORMAT, "bos_token"},
        {C, NULL, "{\"bos_token\": {\"content\": \"!\"}}", FAULT_FORMAT, "\"__type\""},
        {C, NULL, "{\"bos_token\": {\"__type\": \"Token\", \"content\": \"!\"}}", FAULT_UNSUPPORTED, "AddedToken"},
        {C, NULL, "{\"bos_token\": {\"__type\": \"AddedToken\"}}", FAULT_FORMAT, "\"content\""},
        {C, NULL, "{\"bos_token\": {\"__type\": \"AddedToken\", \"content\": \"!\", \"lstrip\": 1}}", FAULT_FORMAT,
         "bos_token, lstrip"},
        {C, NULL, "{\"eos_token\": \"!\", \"eos_token\": \"~\"}", FAULT_FORMAT, "\"eos_token\" a second time"},
        {C, NULL, "{\"image_token\": \"<image>\"}", FAULT_UNSUPPORTED, "image_token"},
        {C, NULL, "{\"split_special_tokens\": true}", FAULT_UNSUPPORTED, "split_special_tokens: found true"},
        {C, NULL, "{\"padding_side\": \"left\"}", FAULT_UNSUPPORTED, "padding_side: found the string \"left\""},
        {C, NULL, "{\"truncation_side\": \"left\"}", FAULT_UNSUPPORTED, "truncation_side"},
        {C, NULL, "{\"tokenizer_class\": \"T5Tokenizer\"}", FAULT_UNSUPPORTED, "T5Tokenizer"},
        {C, NULL, "{\"merges\": []}", FAULT_UNSUPPORTED, "merges"},
        {C, NULL, "{\"extra_special_tokens\": {\"a\": \"b\"}}", FAULT_UNSUPPORTED, "extra_special_tokens"},
        {C, NULL, "{\"added_tokens_decoder\": {\"x\": {\"content\": \"!\"}}}", FAULT_FORMAT, "added_tokens_decoder"},
        {C, NULL, "{\"added_tokens_decoder\": {\"600\": {\"content\": \"<x>\"}}}", FAULT_MISMATCH,
         "\"<x>\": found the id 600, expected 518"},
        {C, NULL, "{\"added_tokens_decoder\": {\"0\": {\"content\": \"!\"}, \"0\": {\"content\": \"<x>\"}}}",
         FAULT_FORMAT, "found the id 0"},
        {C, NULL, "{\"added_tokens_decoder\": []}", FAULT_FORMAT, "added_tokens_decoder"},
        {C, NULL, "[]", FAULT_FORMAT, "tokenizer_config.json"},
        {C, NULL, "{", FAULT_FORMAT, "tokenizer_config.json"},
        {C, NULL, "{} {}", FAULT_FORMAT, "tokenizer_config.json"},
        {S, NULL, "{\"colour\": \"red\"}", FAULT_UNSUPPORTED, "special_tokens_map.json"},
        {S, NULL, "{\"pad_token\": []}", FAULT_FORMAT, "pad_token"},
        {A, NULL, "{\"<x>\": 600}", FAULT_MISMATCH, "\"<x>\": found the id 600, expected 518"},
        {A, NULL, "{\"<x>\": \"518\"}", FAULT_FORMAT, "an added token"},
        {A, NULL, "{\"AB\": 518, \"ab\": 519}", FAULT_UNSUPPORTED, "\"ab\""},
    };
    (void)state;
    CHECK_EDITS(small_pair, edits);
}

static void take_note(void *user, const char *subject, const char *message) {
    snprintf(user, 256, "%s: %s", subject, message);
}

/* A key that changes no id is heeded by nobody, and that is said. */
static void notes(void **state) {
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    char note[256] = "";
    (void)state;
    small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, "{\"model_max_length\": 77, \"colour\": [1, {}]}");
    assert_int_equal(open_small(&small, &tokenizer, take_note, note), 0);
    assert_string_equal(note, "tokenizer_config.json: the key \"colour\" is not heeded");
    tokenizer_close(tokenizer);
    small_free(&small);
}

/* special_tokens_map.json wins over tokenizer_config.json, unless that lists added tokens. */
static void which_file_wins(void **state) {
    static const struct {
        const char *config, *map;
        int32_t pad;
    } cases[] = {
        {NULL, NULL, SMALL_END},
        {"{\"pad_token\": \"!\"}", NULL, 0},
        {"{\"pad_token\": \"!\"}", "{\"pad_token\": \"~\"}", 93},
        {"{\"pad_token\": \"!\"}", "{\"pad_token\": {\"content\": \"~\", \"normalized\": true}}", 93},
        {"{\"pad_token\": \"!\", \"added_tokens_decoder\": {}}", "{\"pad_token\": \"~\"}", 0},
        {"{\"pad_token\": \"<pad>\"}", NULL, 518},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int form = 0; form < 2; form++) {
            struct small small = form ? small_json() : small_pair();
            struct tokenizer *tokenizer;
            small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, cases[i].config);
            small_edit(&small, VOCAB_SPECIAL_TOKENS_MAP_JSON, NULL, cases[i].map);
            if (open_small(&small, &tokenizer, NULL, NULL))
                fail_msg("%s", fault.message);
            assert_int_equal(tokenizer_pad_id(tokenizer), cases[i].pad);
            tokenizer_close(tokenizer);
            small_free(&small);
        }
    }
}

/* Several files may say how <|endoftext|> is to be found, and transformers 5.23 has its own order of listening.
 * Expected: what it does with these files, seen in whether capitals are the token too. */
static void which_flags_win(void **state) {
#define TYPED(flags) "{\"__type\": \"AddedToken\", \"content\": \"<|endoftext|>\"" flags "}"
    static const char listed[] = "{\"<|endoftext|>\": 517}";
    static const struct {
        const char *config, *map, *added;
        int capitals_too;
    } cases[] = {
        {NULL, NULL, NULL, 0},
        /* eos is a string, unk a token that overrules it; pad, a string again, is there already */
        {"{\"unk_token\": " TYPED(", \"normalized\": true") "}", NULL, NULL, 1},
        /* eos is a token; unk, a string, comes later and overrules it */
        {"{\"eos_token\": " TYPED(", \"normalized\": true") "}", NULL, NULL, 0},
        {"{\"pad_token\": " TYPED("") "}", NULL, NULL, 0},
        /* added_tokens.json says "normalized" of whatever it does not know to be special when it is read */
        {NULL, NULL, listed, 1},
        {NULL, "{\"eos_token\": \"<|endoftext|>\"}", listed, 0},
        {NULL, "{\"bos_token\": \"<|startoftext|>\"}", listed, 1},
        {"{\"eos_token\": \"<|endoftext|>\"}", NULL, listed, 0},
        {"{\"eos_token\": " TYPED(", \"normalized\": false") "}", NULL, listed, 1},
        {NULL, "{\"additional_special_tokens\": [\"<|endoftext|>\"]}", listed, 1},
        {NULL, "{\"extra_special_tokens\": [\"<|endoftext|>\"]}", listed, 0},
        {"{\"added_tokens_decoder\": {}}", NULL, listed, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct small small = small_pair();
        struct tokenizer *tokenizer;
        small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, cases[i].config);
        small_edit(&small, VOCAB_SPECIAL_TOKENS_MAP_JSON, NULL, cases[i].map);
        small_edit(&small, VOCAB_ADDED_TOKENS_JSON, NULL, cases[i].added);
        if (open_small(&small, &tokenizer, NULL, NULL))
            fail_msg("case %zu: %s", i, fault.message);
        if (cases[i].capitals_too)
            EXPECT_IDS(tokenizer, "<|EndOfText|>", SMALL_END);
        else
            EXPECT_IDS(tokenizer, "<|EndOfText|>", 27, 347, 68, 77, 67, 78, 69, 83, 68, 87, 339, 91, 285);
        tokenizer_close(tokenizer);
        small_free(&small);
    }
#undef TYPED
}

/* Added tokens: too many, too long. */
static void added_limits(void **state) {
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    char *text = NULL;
    size_t size = 0;
    (void)state;
    FILE *to = open_memstream(&text, &size);
    for (int i = 0; i <= VOCAB_ADDED_LIMIT; i++)
        fprintf(to, "%c\"<%d>\": %d", i ? ',' : '{', i, 518 + i);
    fputc('}', to);
    fclose(to);
    small_edit(&small, VOCAB_ADDED_TOKENS_JSON, NULL, text);
    free(text);
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_LIMIT);
    assert_names(fault.message, "added_tokens.json");
    char long_one[VOCAB_ADDED_BYTES_LIMIT + 32];
    snprintf(long_one, sizeof long_one, "{\"%0*d\": 518}", VOCAB_ADDED_BYTES_LIMIT + 1, 7);
    small_edit(&small, VOCAB_ADDED_TOKENS_JSON, NULL, long_one);
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_LIMIT);
    assert_names(fault.message, "found 1025 bytes");
    small_free(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configs),         cmocka_unit_test(notes),        cmocka_unit_test(which_file_wins),
        cmocka_unit_test(which_flags_win), cmocka_unit_test(added_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
