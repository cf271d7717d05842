/* parts.c - see parts.h. */
#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tokens.h"

struct parts parts_of(const uint8_t *data, size_t size, size_t count) {
    struct parts parts = {{NULL}, {0}};
    const char *at = (const char *)data, *end = at + size;
    for (size_t i = 0; i < count; i++) {
        const char *stop = i + 1 < count ? memchr(at, 0, (size_t)(end - at)) : NULL;
        parts.at[i] = at;
        parts.size[i] = (size_t)((stop ? stop : end) - at);
        at = stop ? stop + 1 : end;
    }
    return parts;
}

struct vocab_file part_file(const struct parts *parts, size_t index) {
    char *copy = malloc(parts->size[index] ? parts->size[index] : 1);
    fuzz_require(copy != NULL, "the test has no memory");
    memcpy(copy, parts->at[index], parts->size[index]);
    return (struct vocab_file){copy, parts->size[index]};
}

static unsigned notes;

static void heard(void *user, const char *subject, const char *message) {
    size_t length = strlen(message);
    fuzz_require(user == &notes && subject[0] != '\0' && length > 0, "a note without words");
    fuzz_require(fuzz_utf8(message, length) == length, "a note that is not UTF-8");
    notes++;
}

void parts_open(struct vocab_files *files, const char *text, size_t text_size) {
    parts_open_padded(files, -1, text, text_size);
}

void parts_open_padded(struct vocab_files *files, int32_t default_pad, const char *text, size_t text_size) {
    static const char *const subjects[] = {
        "tokenizer.json: ", "vocab.json: ", "merges.txt: ", "tokenizer_config.json: ", "special_tokens_map.json: ",
        "added_tokens.json: ", "clip.vocab: ", "added tokens: ", "the added token ", "the vocabulary: ", "merge ", "found neither ",
        "bos_token: ", "eos_token: ", "pad_token: ", "a padding of id ", NULL};
    static const char plain[] =
        "Hello w\xC3\xB6rld! <|endoftext|>!! don't a\xCC\x81\xCC\xA3  \xE4\xBD\xA0\xF0\x9F\x98\x80 42 ab AB aa";
    struct tokenizer *tokenizer;
    struct tokenizer_options options = {.default_pad = default_pad};
    struct fault fault = {0};
    size_t total = 0;
    for (int kind = 0; kind < VOCAB_FILES; kind++)
        total += files->of[kind].size;
    fuzz_memory_start();
    int status = tokenizer_open_files(&tokenizer, files, &options, heard, &notes, &fault);
    fuzz_memory_within(total);
    vocab_files_free(files);
    fuzz_require((status == 0) == (tokenizer != NULL), "a status that does not go with the handle");
    if (status) {
        fuzz_refused(status, &fault, subjects);
        return;
    }
    int32_t limit = tokenizer_id_limit(tokenizer);
    fuzz_require(limit > 0 && tokenizer_start_id(tokenizer) >= 0 && tokenizer_start_id(tokenizer) < limit &&
                     tokenizer_end_id(tokenizer) >= 0 && tokenizer_end_id(tokenizer) < limit &&
                     tokenizer_pad_id(tokenizer) >= 0 && tokenizer_pad_id(tokenizer) < limit,
                 "special ids beyond the limit");
    tokens_check(tokenizer, plain, sizeof plain - 1, 9);
    tokens_check(tokenizer, text, text_size, 2 + text_size % (TOKENS_LENGTH - 1));
    tokenizer_close(tokenizer);
}

/* ---- mutation ---- */

static const char *const keys[] = {
    "bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token", "content", "normalized",
    "lstrip", "rstrip", "single_word", "special", "__type", "id", "added_tokens", "added_tokens_decoder",
    "additional_special_tokens", "extra_special_tokens", "model_max_length", "split_special_tokens", "padding_side",
    "tokenizer_class", "add_prefix_space", "do_lower_case", "errors", "version", "truncation", "padding", "direction",
    "normalizer", "normalizers", "pre_tokenizer", "pretokenizers", "post_processor", "sep", "cls", "decoder", "model", "type",
    "vocab", "merges", "unk_token", "end_of_word_suffix", "pattern", "Regex", "trim_offsets", "ab", "ab</w>", "<|endoftext|>",
    "0", "4", "\\u0021", NULL};
static const char *const values[] = {
    "\"!\"", "\"<|endoftext|>\"", "\"<|startoftext|>\"", "\"a\"", "\" \"", "\"A\"", "\"\\u00e9\"", "\"e\\u0301\"",
    "\"CLIPTokenizer\"", "\"CLIPTokenizerFast\"", "{\"__type\":\"AddedToken\",\"content\":\"x\"}",
    "{\"content\":\"b\",\"lstrip\":true,\"normalized\":true,\"rstrip\":true,\"single_word\":true,\"special\":false}",
    "{\"4\":{\"content\":\"!\",\"lstrip\":false,\"normalized\":false,\"rstrip\":false,\"single_word\":false,\"special\":true}}",
    "[\"x\",\"y\"]", "\"a b\"", "[\"a\",\"b\"]", "\"Right\"", "\"Left\"", "true", "false", "null", NULL};
const struct json_words parts_words = {keys, values};

/* A line of merges is deleted, doubled, or made of two words that stand anywhere in the input. */
static size_t change_merges(char *text, size_t size, size_t room, uint32_t *random) {
    size_t at = fuzz_below(random, size + 1), end;
    char line[256];
    while (at > 0 && at <= size && text[at - 1] != '\n')
        at--;
    const char *stop = memchr(text + at, '\n', size - at);
    end = stop ? (size_t)(stop - text) + 1 : size;
    size_t length = end - at < sizeof line ? end - at : sizeof line;
    memcpy(line, text + at, length);
    switch (fuzz_below(random, 4)) {
    case 0:
        return json_splice(text, size, room, at, end - at, "", 0);
    case 1:
        return json_splice(text, size, room, at, 0, line, length);
    case 2:
        return json_splice(text, size, room, fuzz_below(random, size + 1), 0, line, length);
    default: {
        static const char *const lines[] = {"a b\n", "ab c</w>\n", "b a</w>\n", "#version: 0.2\n", "a  b\n", " a\n", "a b\r\n", "\n"};
        const char *word = lines[fuzz_below(random, sizeof lines / sizeof lines[0])];
        return json_splice(text, size, room, at, 0, word, strlen(word));
    }
    }
}

size_t parts_mutate(uint8_t *data, size_t size, size_t room, unsigned seed, size_t count, size_t merges,
                    const struct json_words *words) {
    static char part[1 << 16];
    uint32_t random = fuzz_seed(seed);
    struct parts parts = parts_of(data, size, count);
    size_t which = fuzz_below(&random, count);
    if (size == 0 || room > sizeof part || room < 64 || which + 1 == count || fuzz_below(&random, 3) == 0)
        return LLVMFuzzerMutate(data, size, room);
    size_t own = parts.size[which], begin = (size_t)(parts.at[which] - (const char *)data), others = size - own;
    memcpy(part, parts.at[which], own);
    size_t changed = which == merges ? change_merges(part, own, room - others, &random)
                                     : json_mutate(part, own, room - others, &random, words);
    return json_splice((char *)data, size, room, begin, own, part, changed);
}
