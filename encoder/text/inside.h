/* inside.h - what a tokenizer is made of. For tokenizer.c and prompt.c only. */
#ifndef ENCODER_TEXT_INSIDE_H
#define ENCODER_TEXT_INSIDE_H

#include "added.h"
#include "bpe.h"
#include "ids.h"

struct tokenizer {
    struct bpe bpe;
    struct added as_written; /* looked for in the text as it came, before anything else */
    struct added cleaned;    /* looked for in clean text; their own text has been cleaned too */
    char *added_bytes;       /* what both point into */
    int32_t start_id, end_id, pad_id, id_limit;
    const char *source; /* the file that the vocabulary came from */
    int pads_by_default;
    enum tokenizer_mode mode;
};

/* Finds all ids of the text. */
int tokenizer_run(const struct tokenizer *tokenizer, const char *text, size_t text_bytes, void *scratch,
                  struct ids *ids, struct fault *fault);

#endif
