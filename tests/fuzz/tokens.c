/* tokens.c - see tokens.h. Scratch and arrays have exactly the promised sizes, so that a sanitizer sees a step too far. */
#include "tokens.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static const char *const subjects[] = {"the text: ", NULL};

static void check_spans(const struct token_span *spans, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++)
        fuzz_require(spans[i].begin <= spans[i].end && spans[i].end <= size, "a span outside the text");
}

static void check_row(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, const int32_t *row, size_t length,
                      const struct token_frame *frame, size_t size) {
    size_t kept = frame->body_count, first_end = 0;
    fuzz_require(kept + frame->cut_count == count && kept == (count < length - 2 ? count : length - 2), "counts of a row");
    fuzz_require(row[0] == tokenizer_start_id(tokenizer) && row[kept + 1] == tokenizer_end_id(tokenizer), "start and end");
    fuzz_require(kept == 0 || memcmp(row + 1, ids, kept * sizeof *ids) == 0, "a row that is not the body's beginning");
    for (size_t i = kept + 2; i < length; i++)
        fuzz_require(row[i] == tokenizer_pad_id(tokenizer), "padding");
    while (row[first_end] != tokenizer_end_id(tokenizer))
        first_end++;
    fuzz_require(frame->end_position == first_end, "the place of the end");
    fuzz_require(frame->cut_begin <= size && (frame->cut_count > 0 || frame->cut_begin == size), "where the cut begins");
}

/* FAULT_TEXT exactly for what is not UTF-8, naming the first wrong byte. */
static void check_refusal(int status, const struct fault *fault, const char *text, size_t size) {
    size_t invalid = fuzz_utf8(text, size);
    fuzz_require((status == FAULT_TEXT) == (invalid < size) && (status == 0 || status == FAULT_TEXT), "text that is UTF-8 or not");
    if (status == 0)
        return;
    fuzz_refused(status, fault, subjects);
    const char *at = strstr(fault->message, "at byte ");
    fuzz_require(at && strtoull(at + 8, NULL, 10) == invalid, "the offset of the wrong byte");
}

static uint64_t hash_of(const int32_t *ids, const struct token_span *spans, size_t count) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ (uint32_t)ids[i]) * 1099511628211u;
        hash = (hash ^ spans[i].begin) * 1099511628211u;
        hash = (hash ^ spans[i].end) * 1099511628211u;
    }
    return hash;
}

struct tokens tokens_check(const struct tokenizer *tokenizer, const char *text, size_t size, size_t length) {
    size_t most = tokenizer_id_count_limit(size), count = 0;
    void *scratch = malloc(tokenizer_scratch_bytes(tokenizer, size)), *frame_scratch = malloc(tokenizer_frame_scratch_bytes(tokenizer, size));
    int32_t *ids = malloc(most * sizeof *ids), *row = malloc(length * sizeof *row);
    struct token_span *spans = malloc(most * sizeof *spans), *row_spans = malloc(length * sizeof *row_spans);
    struct token_frame frame;
    struct fault fault = {0}, framed_fault = {0};
    fuzz_require(scratch && frame_scratch && ids && row && spans && row_spans, "the test has no memory");
    fuzz_memory_start();
    int status = tokenizer_body(tokenizer, text, size, scratch, ids, spans, &count, &fault);
    int framed = tokenizer_frame(tokenizer, text, size, frame_scratch, length, row, row_spans, &frame, &framed_fault);
    fuzz_require(fuzz_memory_end().requested == 0, "tokenizing takes no memory");
    fuzz_require(status == framed, "whole and framed disagree");
    check_refusal(status, &fault, text, size);
    struct tokens out = {.status = status};
    if (status == 0) {
        fuzz_require(count <= most, "more ids than promised");
        for (size_t i = 0; i < count; i++)
            fuzz_require(ids[i] >= 0 && ids[i] < tokenizer_id_limit(tokenizer), "an id beyond the limit");
        check_spans(spans, count, size);
        check_spans(row_spans, length, size);
        check_row(tokenizer, ids, count, row, length, &frame, size);
        fuzz_require(frame.body_count == 0 || memcmp(row_spans + 1, spans, frame.body_count * sizeof *spans) == 0,
                     "spans of a row that are not the body's");
        out.count = count;
        out.hash = hash_of(ids, spans, count);
    }
    free(scratch);
    free(frame_scratch);
    free(ids);
    free(row);
    free(spans);
    free(row_spans);
    return out;
}
