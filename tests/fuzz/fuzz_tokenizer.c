/* fuzz_tokenizer.c - libFuzzer target for the tokenizer. The first byte of the input picks what the rest is:
 *
 *     0  a tokenizer.json
 *     1  vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json, added_tokens.json, with NULs between
 *     2  the last three of these, beside the shipped vocabulary; then a NUL and a text
 *     3  a text for the shipped tokenizer
 *
 * Whatever opens tokenizes a text. Scratch and ids have exactly the promised sizes, so that the sanitizers see a step
 * too far. Run from the repository's root.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../encoder/format/vocab.h"
#include "../../encoder/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "fuzz_tokenizer: %s\n", what);
        abort();
    }
}

/* Whole and framed rows must tell the same story. */
static void tokenize(const struct tokenizer *tokenizer, const char *text, size_t size) {
    struct fault fault;
    size_t most = tokenizer_id_count_limit(size), count = 0;
    void *scratch = malloc(tokenizer_scratch_bytes(size));
    int32_t *ids = malloc(most * sizeof *ids), row[9];
    struct token_span *spans = malloc(most * sizeof *spans), row_spans[9];
    struct token_frame frame;
    int status = tokenizer_body(tokenizer, text, size, scratch, ids, spans, &count, &fault);
    int framed = tokenizer_frame(tokenizer, text, size, scratch, 9, row, row_spans, &frame, &fault);
    require(status == framed && (status == 0 || status == FAULT_TEXT), "status");
    if (status == 0) {
        require(count <= most && frame.body_count + frame.cut_count == count, "counts");
        require(frame.cut_begin <= size && frame.end_position < 9, "frame");
        for (size_t i = 0; i < count; i++) {
            require(ids[i] >= 0 && ids[i] < tokenizer_id_limit(tokenizer), "id");
            require(spans[i].begin <= spans[i].end && spans[i].end <= size, "span");
        }
        require(frame.body_count == 0 || memcmp(row + 1, ids, frame.body_count * sizeof *ids) == 0, "row");
    }
    free(scratch);
    free(ids);
    free(spans);
}

/* Copies what stands before the next NUL into a block of its own. */
static const uint8_t *take(struct vocab_file *file, const uint8_t *data, const uint8_t *end) {
    const uint8_t *stop = memchr(data, 0, (size_t)(end - data));
    if (!stop)
        stop = end;
    size_t size = (size_t)(stop - data);
    char *copy = malloc(size + 1);
    memcpy(copy, data, size);
    *file = (struct vocab_file){copy, size};
    return stop < end ? stop + 1 : end;
}

static struct vocab_files shipped;
static struct tokenizer *shipped_tokenizer;

static void open_shipped(void) {
    struct fault fault;
    require(vocab_files_read(&shipped, "samples/model/tokenizer.json", &fault) == 0, "samples/model");
    require(tokenizer_open(&shipped_tokenizer, "samples/model", NULL, NULL, &fault) == 0, "samples/model");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char plain[] =
        "Hello w\xC3\xB6rld! <|endoftext|>!! don't a\xCC\x81\xCC\xA3  \xE4\xBD\xA0\xF0\x9F\x98\x80 42";
    if (!shipped_tokenizer)
        open_shipped();
    if (size == 0)
        return 0;
    const uint8_t *end = data + size;
    int what = *data++ & 3;
    if (what == 3) {
        tokenize(shipped_tokenizer, (const char *)data, (size_t)(end - data));
        return 0;
    }
    struct vocab_files files = {0};
    static const int first[3] = {VOCAB_TOKENIZER_JSON, VOCAB_VOCAB_JSON, VOCAB_TOKENIZER_CONFIG_JSON};
    int last = what == 0 ? VOCAB_TOKENIZER_JSON : VOCAB_ADDED_TOKENS_JSON;
    for (int kind = first[what]; kind <= last && data < end; kind++)
        data = take(&files.of[kind], data, end);
    if (what == 2)
        files.of[VOCAB_TOKENIZER_JSON] = shipped.of[VOCAB_TOKENIZER_JSON];
    struct tokenizer *tokenizer;
    struct fault fault = {0};
    int status = tokenizer_open_files(&tokenizer, &files, NULL, NULL, &fault);
    require((status == 0) == (tokenizer != NULL), "handle");
    require(status == 0 || (status == fault.code && fault.message[0]), "a fault without words");
    if (tokenizer) {
        tokenize(tokenizer, plain, sizeof plain - 1);
        tokenize(tokenizer, (const char *)data, (size_t)(end - data));
    }
    tokenizer_close(tokenizer);
    if (what == 2)
        files.of[VOCAB_TOKENIZER_JSON] = (struct vocab_file){0};
    vocab_files_free(&files);
    return 0;
}
