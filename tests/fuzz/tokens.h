/* tokens.h - what must be true of a text and its ids, for the targets that have a tokenizer. Knows no file format. */
#ifndef PENULT_TESTS_TOKENS_H
#define PENULT_TESTS_TOKENS_H

#include "../../encoder/text/tokenizer.h"

#define TOKENS_LENGTH 77 /* the longest row */

/* What came out: for the one who compares two tokenizers. */
struct tokens {
    int status;
    size_t count;
    uint64_t hash; /* of ids and spans */
};

/* Tokenizes the text whole and framed to a row of `length`, 2 to TOKENS_LENGTH, and ends the process where the two, the
 * text or the tokenizer disagree. */
struct tokens tokens_check(const struct tokenizer *tokenizer, const char *text, size_t size, size_t length);

#endif
