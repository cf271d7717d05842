/* tokens.h - tokenizes with scratch and ids of exactly the sizes that are promised, between guard bytes. */
#ifndef TESTS_UNIT_TOKENS_H
#define TESTS_UNIT_TOKENS_H

#include <stdlib.h>

#include "../../encoder/text/tokenizer.h"
#include "unit.h"

static struct fault fault;

/* Returns the status. The caller frees ids and spans. */
static inline int body_of(const struct tokenizer *tokenizer, const char *text, size_t size, int32_t **ids,
                          struct token_span **spans, size_t *count) {
    enum { GUARD = 64 };
    size_t scratch_bytes = tokenizer_scratch_bytes(tokenizer, size), most = tokenizer_id_count_limit(size);
    unsigned char *scratch = malloc(scratch_bytes + GUARD);
    memset(scratch, 0xA5, scratch_bytes + GUARD);
    *ids = malloc((most + 1) * sizeof **ids);
    *spans = malloc((most + 1) * sizeof **spans);
    (*ids)[most] = -77;
    int status = tokenizer_body(tokenizer, text, size, scratch, *ids, *spans, count, &fault);
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(scratch[scratch_bytes + i], 0xA5);
    assert_int_equal((*ids)[most], -77);
    free(scratch);
    return status;
}

#endif
