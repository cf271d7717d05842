/* test_vocab.c - protects the opening of a tokenizer: what vocabulary, merges and tokenizer.json may say, and what is
 * refused, with which code and words. All in memory. (A cycle of merges cannot be written: what a merge makes is spelt
 * as its parts are.)
 */
#include "vocab_edits.h"

/* Both forms open, and give the same ids. */
static void both_forms(void **state) {
    struct small forms[2] = {small_pair(), small_json()};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tokenizer *tokenizer;
        if (open_small(&forms[i], &tokenizer, NULL, NULL))
            fail_msg("%s", fault.message);
        assert_int_equal(tokenizer_start_id(tokenizer), SMALL_START);
        assert_int_equal(tokenizer_end_id(tokenizer), SMALL_END);
        assert_int_equal(tokenizer_pad_id(tokenizer), SMALL_END);
        assert_int_equal(tokenizer_id_limit(tokenizer), 518);
        EXPECT_IDS(tokenizer, "Hello hell! <|endoftext|>", 515, 512, 75, 331, 256, SMALL_END);
        tokenizer_close(tokenizer);
        small_free(&forms[i]);
    }
}

/* T1: ids and tokens of the vocabulary. */
static void vocabularies(void **state) {
    static const struct edit edits[] = {
        {VOCAB_VOCAB_JSON, "endoftext|>\": 517", "endoftext|>\": 518", FAULT_FORMAT, "found 518, expected 0 to 517"},
        {VOCAB_VOCAB_JSON, "endoftext|>\": 517", "endoftext|>\": 516", FAULT_FORMAT, "found the id 516"},
        {VOCAB_VOCAB_JSON, ": 517", ": -1", FAULT_FORMAT, "found -1"},
        {VOCAB_VOCAB_JSON, ": 517", ": 2147483648", FAULT_FORMAT, "found 2147483648"},
        {VOCAB_VOCAB_JSON, ": 517", ": 9223372036854775808", FAULT_FORMAT, "9223372036854775808"},
        {VOCAB_VOCAB_JSON, ": 517", ": 517.0", FAULT_FORMAT, "517.0"},
        {VOCAB_VOCAB_JSON, ": 517", ": \"517\"", FAULT_FORMAT, "<|endoftext|>"},
        {VOCAB_VOCAB_JSON, ": 517", ": null", FAULT_FORMAT, "<|endoftext|>"},
        {VOCAB_VOCAB_JSON, ": 517", ": {}", FAULT_FORMAT, "an integer"},
        {VOCAB_VOCAB_JSON, "\"he\": 512", "\"h\": 512", FAULT_FORMAT, "the token \"h\" twice"},
        {VOCAB_VOCAB_JSON, "\"he\": 512", "\"\": 512", FAULT_FORMAT, "an empty token"},
        {VOCAB_VOCAB_JSON, NULL, "{}", FAULT_FORMAT, "an empty vocabulary"},
        {VOCAB_VOCAB_JSON, NULL, "[]", FAULT_FORMAT, "vocab.json"},
        {VOCAB_VOCAB_JSON, NULL, "", FAULT_FORMAT, "vocab.json"},
        {VOCAB_VOCAB_JSON, ": 517}", ": 517} x", FAULT_FORMAT, "vocab.json"},
        {VOCAB_VOCAB_JSON, NULL, NULL, FAULT_NOT_FOUND, "vocab.json and merges.txt"},
        {VOCAB_MERGES_TXT, NULL, NULL, FAULT_NOT_FOUND, "vocab.json and merges.txt"},
        /* tokens that look like bytes mean nothing here */
        {VOCAB_VOCAB_JSON, ": 517}", ": 517, \"<0x-1>\": 518, \"<0xGG>\": 519}", FAULT_NONE, ""},
        /* no end token: it is added behind the vocabulary, as the reference does */
        {VOCAB_VOCAB_JSON, ", \"<|endoftext|>\": 517", "", FAULT_NONE, ""},
    };
    (void)state;
    CHECK_EDITS(small_pair, edits);
}

/* T2: merges. */
static void merges(void **state) {
    static const struct edit edits[] = {
        {VOCAB_MERGES_TXT, "he ll\n", "he lx\n", FAULT_MISMATCH, "merge 2, \"he\" + \"lx\": the second is not"},
        {VOCAB_MERGES_TXT, "he ll\n", "hx ll\n", FAULT_MISMATCH, "the first is not"},
        {VOCAB_MERGES_TXT, "he ll\n", "ll he\n", FAULT_MISMATCH, "what they make is not"},
        {VOCAB_MERGES_TXT, "he ll\n", "he ll\nhe ll\n", FAULT_FORMAT, "a second time"},
        {VOCAB_MERGES_TXT, "he ll\n", "he l l\n", FAULT_FORMAT, "line 4: found \"he l l\""},
        {VOCAB_MERGES_TXT, "he ll\n", "hell\n", FAULT_FORMAT, "line 4"},
        {VOCAB_MERGES_TXT, "he ll\n", "\nhe ll\n", FAULT_FORMAT, "line 4"},
        {VOCAB_MERGES_TXT, "he ll\n", "he ll \n", FAULT_FORMAT, "line 4"},
        {VOCAB_MERGES_TXT, "he ll\n", " hell\n", FAULT_FORMAT, "line 4"},
        {VOCAB_MERGES_TXT, "he ll\n", "hell \n", FAULT_FORMAT, "line 4"},
        {VOCAB_MERGES_TXT, "he ll\n", "he\tll\n", FAULT_FORMAT, "he\\x09ll"},
        {VOCAB_MERGES_TXT, NULL, "#version: 0.2\r\nh e\r\nl l\r\nhe ll\r\nhell o</w>", FAULT_NONE, ""},
        {VOCAB_MERGES_TXT, "#version: 0.2\n", "", FAULT_NONE, ""},
        {VOCAB_MERGES_TXT, NULL, "", FAULT_NONE, ""},
    };
    (void)state;
    CHECK_EDITS(small_pair, edits);
}

/* A million rules: refused by number, not by running out of something. */
static void too_many_merges(void **state) {
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    size_t lines = VOCAB_MERGES_LIMIT + 1;
    char *text = malloc(lines * 4 + 1);
    (void)state;
    for (size_t i = 0; i < lines; i++)
        memcpy(text + 4 * i, "h e\n", 5);
    free(small.of[VOCAB_MERGES_TXT]);
    small.of[VOCAB_MERGES_TXT] = text;
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_LIMIT);
    assert_names(fault.message, "merges.txt");
    small_free(&small);
}

/* tokenizer.json must say what CLIPTokenizer does; what it says otherwise is named. */
static void tokenizer_json(void **state) {
    static const enum vocab_file_kind T = VOCAB_TOKENIZER_JSON;
    const struct edit edits[] = {
        {T, "\"1.0\"", "\"2.0\"", FAULT_UNSUPPORTED, "version: found the string \"2.0\", expected 1.0"},
        {T, "\"NFC\"", "\"NFKC\"", FAULT_UNSUPPORTED, "normalizer.normalizers[0].type: found the string \"NFKC\""},
        {T, "\"Replace\"", "\"Prepend\"", FAULT_UNSUPPORTED, "normalizer.normalizers[1].type"},
        {T, "\"\\\\s+\"", "\"\\\\s\"", FAULT_UNSUPPORTED, "normalizer.normalizers[1].pattern.Regex"},
        {T, "\"content\": \" \"", "\"content\": \"_\"", FAULT_UNSUPPORTED, "normalizer.normalizers[1].content"},
        {T, ", {\"type\": \"Lowercase\"}", "", FAULT_UNSUPPORTED,
         "found no normalizer.normalizers[2].type, expected Lowercase"},
        {T, "{\"type\": \"Lowercase\"}", "{\"type\": \"Lowercase\"}, {\"type\": \"StripAccents\"}", FAULT_UNSUPPORTED,
         "normalizer.normalizers[3].type: found the string \"StripAccents\""},
        {T, "{\"type\": \"Lowercase\"}", "{\"type\": \"Lowercase\"}, {}", FAULT_UNSUPPORTED,
         "normalizer.normalizers[3]"},
        {T, "\"normalizer\": {", "\"normalizer\": null, \"x\": {", FAULT_UNSUPPORTED, "normalizer: found null"},
        {T, "\"normalizer\": {", "\"x\": {}, \"normalizer\": {", FAULT_UNSUPPORTED, "x: found }"},
        {T, "[\\\\p{N}]|", "[\\\\p{N}]+|", FAULT_UNSUPPORTED, "pre_tokenizer.pretokenizers[0].pattern.Regex"},
        {T, "\"Removed\"", "\"Isolated\"", FAULT_UNSUPPORTED, "pre_tokenizer.pretokenizers[0].behavior"},
        {T, "\"invert\": true", "\"invert\": false", FAULT_UNSUPPORTED,
         "pre_tokenizer.pretokenizers[0].invert: found false"},
        {T, "\"ByteLevel\", \"add_prefix_space\": false", "\"ByteLevel\", \"add_prefix_space\": true",
         FAULT_UNSUPPORTED, "pre_tokenizer.pretokenizers[1].add_prefix_space"},
        {T, "\"use_regex\": true", "\"use_regex\": false", FAULT_UNSUPPORTED,
         "pre_tokenizer.pretokenizers[1].use_regex"},
        {T, "\"RobertaProcessing\"", "\"TemplateProcessing\"", FAULT_UNSUPPORTED, "post_processor.type"},
        {T, "\"<|endoftext|>\", 517]", "\"<|endoftext|>\", 516]", FAULT_MISMATCH, "post_processor.sep"},
        {T, "[\"<|startoftext|>\", 516]", "[\"!\", 0]", FAULT_MISMATCH, "post_processor.cls"},
        {T, "\"BPE\"", "\"WordPiece\"", FAULT_UNSUPPORTED, "model.type: found the string \"WordPiece\", expected BPE"},
        {T, "\"dropout\": null", "\"dropout\": 0.1", FAULT_UNSUPPORTED, "model.dropout"},
        {T, "\"continuing_subword_prefix\": \"\"", "\"continuing_subword_prefix\": \"##\"", FAULT_UNSUPPORTED,
         "model.continuing_subword_prefix"},
        {T, "\"end_of_word_suffix\": \"</w>\"", "\"end_of_word_suffix\": \"\"", FAULT_UNSUPPORTED,
         "model.end_of_word_suffix"},
        {T, "\"fuse_unk\": false", "\"fuse_unk\": true", FAULT_UNSUPPORTED, "model.fuse_unk"},
        {T, "\"byte_fallback\": false", "\"byte_fallback\": true", FAULT_UNSUPPORTED, "model.byte_fallback"},
        {T, "\"ignore_merges\": false", "\"ignore_merges\": true", FAULT_UNSUPPORTED, "model.ignore_merges"},
        {T, "\"ignore_merges\": false", "\"ignore_merges\": false, \"new_key\": 1", FAULT_UNSUPPORTED, "model.new_key"},
        {T, "\"padding\": null", "\"padding\": {\"direction\": \"Left\"}", FAULT_UNSUPPORTED, "padding"},
        {T, "\"truncation\": null", "\"truncation\": {\"direction\": \"Left\"}", FAULT_UNSUPPORTED, "truncation"},
        {T, "\"padding\": null", "\"padding\": {\"direction\": \"Right\", \"pad_id\": 3}", FAULT_NONE, ""},
        {T, "\"vocab\": {", "\"vocab\": [{", FAULT_FORMAT, "tokenizer.json"},
        {T, "\"merges\": [", "\"ignore\": [", FAULT_UNSUPPORTED, "model.ignore[0][0]"},
        {T, "[\"h\",\"e\"]", "[\"h\"]", FAULT_FORMAT, "a merge"},
        {T, "[\"h\",\"e\"]", "[\"h\",\"e\",\"l\"]", FAULT_FORMAT, "a merge"},
        {T, "[\"h\",\"e\"]", "\"h e l\"", FAULT_FORMAT, "a merge"},
        {T, "[\"h\",\"e\"]", "7", FAULT_FORMAT, "a merge"},
        {T, "\"model\": {", "\"model\": {\"vocab\": {}, ", FAULT_FORMAT, "\"vocab\" a second time"},
        {T, "\"added_tokens\": [", "\"added_token\": [", FAULT_UNSUPPORTED, "added_token[0].id"},
        {T, "\"id\": 517, \"content\": \"<|endoftext|>\"", "\"id\": 518, \"content\": \"<|endoftext|>\"",
         FAULT_MISMATCH, "\"<|endoftext|>\": found the id 518, expected 517"},
        {T, "\"id\": 517, \"content\"", "\"content\"", FAULT_FORMAT, "no key \"id\""},
        {T, "\"id\": 517, \"content\"", "\"id\": 517, \"id\": 517, \"content\"", FAULT_FORMAT, "\"id\" a second time"},
        {T, "\"id\": 517, ", "\"id\": 517, \"colour\": 1, ", FAULT_UNSUPPORTED, "the keys of an added token"},
        {T, NULL, "{\"a\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", FAULT_FORMAT,
         ""},
    };
    (void)state;
    CHECK_EDITS(small_json, edits);
}

/* What transformers 4 wrote: merges as strings, the shorter pattern, no "type" and none of the newer keys. */
static void older_tokenizer_json(void **state) {
    struct small small = small_json();
    struct tokenizer *tokenizer;
    (void)state;
    small_edit(&small, VOCAB_TOKENIZER_JSON, SMALL_MERGES_JSON, "[\"h e\",\"l l\",\"he ll\",\"hell o</w>\"]");
    small_edit(&small, VOCAB_TOKENIZER_JSON, "<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|", "");
    small_edit(&small, VOCAB_TOKENIZER_JSON, ", \"use_regex\": true", "");
    small_edit(&small, VOCAB_TOKENIZER_JSON, "\"type\": \"BPE\", ", "");
    small_edit(&small, VOCAB_TOKENIZER_JSON, " \"byte_fallback\": false, \"ignore_merges\": false,", "");
    if (open_small(&small, &tokenizer, NULL, NULL))
        fail_msg("%s", fault.message);
    EXPECT_IDS(tokenizer, "hello <|ENDOFTEXT|>!!", 515, 27, 347, 68, 77, 67, 78, 69, 83, 68, 87, 339, 91, 285, 0, 256);
    tokenizer_close(tokenizer);
    small_free(&small);
}

/* A byte without a symbol is the unknown token; without one of those the vocabulary is refused. */
static void missing_symbols(void **state) {
    struct small small = small_pair();
    struct tokenizer *tokenizer;
    (void)state;
    small_edit(&small, VOCAB_VOCAB_JSON, "\"\\u0061\": 64", "\"<unused>\": 64");
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), 0);
    EXPECT_IDS(tokenizer, "ab", SMALL_END, 321);
    tokenizer_close(tokenizer);
    small_edit(&small, VOCAB_TOKENIZER_CONFIG_JSON, NULL, "{\"unk_token\": \"<unk>\"}");
    assert_int_equal(open_small(&small, &tokenizer, NULL, NULL), FAULT_MISMATCH);
    assert_names(fault.message, "byte 0x61");
    small_free(&small);
}

/* J1: every file cut short at every byte is refused, and nothing leaks or is read behind its end (under ASan). */
static void truncated_files(void **state) {
    struct small forms[2] = {small_pair(), small_json()};
    static const enum vocab_file_kind kinds[2] = {VOCAB_VOCAB_JSON, VOCAB_TOKENIZER_JSON};
    (void)state;
    for (int i = 0; i < 2; i++) {
        size_t whole = strlen(forms[i].of[kinds[i]]);
        for (size_t size = 0; size < whole; size++) {
            struct vocab_files files = small_files(&forms[i]);
            struct tokenizer *tokenizer;
            char *copy = malloc(size + 1); /* its own block, so that a read behind its end is seen */
            memcpy(copy, forms[i].of[kinds[i]], size);
            files.of[kinds[i]] = (struct vocab_file){copy, size};
            int status = tokenizer_open_files(&tokenizer, &files, NULL, NULL, NULL, &fault);
            if (status != FAULT_FORMAT)
                fail_msg("%s cut to %zu bytes: status %d", vocab_file_names[kinds[i]], size, status);
            free(copy);
        }
        small_free(&forms[i]);
    }
}

/* Directories and single files. */
static void paths(void **state) {
    struct tokenizer *tokenizer;
    (void)state;
    assert_int_equal(tokenizer_is_in("samples/model"), 1);
    assert_int_equal(tokenizer_is_in("samples/penult"), 0);
    assert_int_equal(tokenizer_open(&tokenizer, "samples/penult", NULL, NULL, NULL, &fault), FAULT_NOT_FOUND);
    assert_names(fault.message, "vocab.json");
    assert_null(tokenizer);
    assert_int_equal(tokenizer_open(&tokenizer, "samples/model/tokenizer.json", NULL, NULL, NULL, &fault), 0);
    tokenizer_close(tokenizer);
    assert_int_equal(tokenizer_open(&tokenizer, "samples/model/vocab.json", NULL, NULL, NULL, &fault), FAULT_UNSUPPORTED);
    tokenizer_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms),      cmocka_unit_test(vocabularies),    cmocka_unit_test(merges),
        cmocka_unit_test(too_many_merges), cmocka_unit_test(tokenizer_json),  cmocka_unit_test(older_tokenizer_json),
        cmocka_unit_test(missing_symbols), cmocka_unit_test(truncated_files), cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
