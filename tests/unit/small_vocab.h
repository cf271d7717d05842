/* small_vocab.h - a tokenizer of 518 tokens made in memory, for tests that break its files. "hello" is one token; h, e,
 * l and o are its parts. */
#ifndef TESTS_UNIT_SMALL_VOCAB_H
#define TESTS_UNIT_SMALL_VOCAB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../encoder/format/vocab.h"
#include "unit.h"

#define SMALL_START 516
#define SMALL_END 517
#define SMALL_MERGES_JSON "[[\"h\",\"e\"],[\"l\",\"l\"],[\"he\",\"ll\"],[\"hell\",\"o</w>\"]]"

/* The files as text, NULL where there is none. */
struct small {
    char *of[VOCAB_FILES];
};

static inline char *small_join(const char *a, const char *b, const char *c) {
    size_t size = strlen(a) + strlen(b) + strlen(c) + 1;
    char *out = malloc(size);
    snprintf(out, size, "%s%s%s", a, b, c);
    return out;
}

/* Replaces the first `find` in a file; fails if there is none. NULL: the whole file becomes `with`. */
static inline void small_edit(struct small *small, enum vocab_file_kind kind, const char *find, const char *with) {
    char *text = small->of[kind];
    if (!find) {
        free(text);
        small->of[kind] = with ? small_join(with, "", "") : NULL;
        return;
    }
    char *at = strstr(text, find);
    if (!at)
        fail_msg("%s: there is no %s to replace", vocab_file_names[kind], find);
    char *head = strndup(text, (size_t)(at - text));
    small->of[kind] = small_join(head, with, at + strlen(find));
    free(head);
    free(text);
}

static inline int small_is_visible(unsigned byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/* The vocabulary as JSON: 256 symbols in CLIP's order, the same with </w>, four merges, start and end. */
static inline char *small_vocabulary(void) {
    char *out = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&out, &size);
    int id = 0;
    fputc('{', to);
    for (int pass = 0; pass < 4; pass++) {
        unsigned next = 256;
        for (unsigned byte = 0; byte < 256; byte++) {
            unsigned point = small_is_visible(byte) ? byte : next++;
            if (small_is_visible(byte) != (pass % 2 == 0))
                continue;
            fprintf(to, "\"\\u%04x%s\": %d, ", point, pass < 2 ? "" : "</w>", id++);
        }
    }
    fprintf(
        to,
        "\"he\": 512, \"ll\": 513, \"hell\": 514, \"hello</w>\": 515, \"<|startoftext|>\": %d, \"<|endoftext|>\": %d}",
        SMALL_START, SMALL_END);
    fclose(to);
    return out;
}

/* vocab.json and merges.txt. */
static inline struct small small_pair(void) {
    struct small small = {0};
    small.of[VOCAB_VOCAB_JSON] = small_vocabulary();
    small.of[VOCAB_MERGES_TXT] = small_join("#version: 0.2\nh e\nl l\nhe ll\nhell o</w>\n", "", "");
    return small;
}

/* tokenizer.json as transformers 5 writes it. */
static inline struct small small_json(void) {
    static const char head[] =
        "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
        "{\"id\": 516, \"content\": \"<|startoftext|>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false,"
        " \"normalized\": false, \"special\": true},"
        "{\"id\": 517, \"content\": \"<|endoftext|>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false,"
        " \"normalized\": false, \"special\": true}],"
        "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Replace\", "
        "\"pattern\":"
        " {\"Regex\": \"\\\\s+\"}, \"content\": \" \"}, {\"type\": \"Lowercase\"}]},"
        "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\":"
        " \"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{"
        "L}\\\\p{N}]+\"},"
        " \"behavior\": \"Removed\", \"invert\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false,"
        " \"trim_offsets\": true, \"use_regex\": true}]},"
        "\"post_processor\": {\"type\": \"RobertaProcessing\", \"sep\": [\"<|endoftext|>\", 517],"
        " \"cls\": [\"<|startoftext|>\", 516], \"trim_offsets\": false, \"add_prefix_space\": false},"
        "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true},"
        "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<|endoftext|>\","
        " \"continuing_subword_prefix\": \"\", \"end_of_word_suffix\": \"</w>\", \"fuse_unk\": false,"
        " \"byte_fallback\": false, \"ignore_merges\": false, \"vocab\": ";
    struct small small = {0};
    char *vocabulary = small_vocabulary();
    small.of[VOCAB_TOKENIZER_JSON] = small_join(head, vocabulary, ", \"merges\": " SMALL_MERGES_JSON "}}");
    free(vocabulary);
    return small;
}

static inline struct vocab_files small_files(const struct small *small) {
    struct vocab_files files = {0};
    for (int kind = 0; kind < VOCAB_FILES; kind++) {
        if (small->of[kind])
            files.of[kind] = (struct vocab_file){small->of[kind], strlen(small->of[kind])};
    }
    return files;
}

static inline void small_free(struct small *small) {
    for (int kind = 0; kind < VOCAB_FILES; kind++)
        free(small->of[kind]);
}

#endif
