/* prompt.c - ids of a text, whole or framed as the tower takes them. Knows no vocabulary.
 */
#include "inside.h"

int tokenizer_body(const struct tokenizer *tokenizer, const char *text, size_t text_bytes, void *scratch, int32_t *ids,
                   struct token_span *spans, size_t *count, struct fault *fault) {
    struct ids body = {.to = ids, .spans = spans, .room = SIZE_MAX, .cut_begin = UINT64_MAX};
    int status = tokenizer_run(tokenizer, text, text_bytes, scratch, &body, fault);
    if (!status)
        *count = body.count;
    return status;
}

int tokenizer_frame(const struct tokenizer *tokenizer, const char *text, size_t text_bytes, void *scratch,
                    size_t length, int32_t *ids, struct token_span *spans, struct token_frame *frame,
                    struct fault *fault) {
    if (length < 2)
        return fault_set(fault, FAULT_ARGUMENT,
                         "a row of %zu ids, expected at least 2: one for the start, one for the end", length);
    struct ids body = {.to = ids + 1, .spans = spans ? spans + 1 : NULL, .room = length - 2, .cut_begin = UINT64_MAX};
    int status = tokenizer_run(tokenizer, text, text_bytes, scratch, &body, fault);
    if (status)
        return status;
    size_t kept = body.count < body.room ? body.count : body.room;
    frame->body_count = kept;
    frame->cut_count = body.count - kept;
    frame->cut_begin = body.cut_begin < text_bytes ? body.cut_begin : text_bytes;
    ids[0] = tokenizer->start_id;
    ids[kept + 1] = tokenizer->end_id;
    for (size_t i = kept + 2; i < length; i++)
        ids[i] = tokenizer->pad_id;
    for (size_t i = kept + 1; i < length && spans; i++)
        spans[i] = (struct token_span){text_bytes, text_bytes};
    if (spans)
        spans[0] = (struct token_span){0, 0};
    size_t first_end = 0;
    while (ids[first_end] != tokenizer->end_id)
        first_end++;
    frame->end_position = first_end;
    return 0;
}

size_t tokenizer_frame_scratch_bytes(const struct tokenizer *tokenizer, size_t text_bytes) {
    return tokenizer_scratch_bytes(tokenizer, text_bytes);
}
