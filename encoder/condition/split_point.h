/* split_point.h - where compel cuts a text that is too long for one window, and what single signs are as tokens. Beside
 * chunk.c, for it alone.
 */
#ifndef ENCODER_CONDITION_SPLIT_POINT_H
#define ENCODER_CONDITION_SPLIT_POINT_H

#include "chunk.h"

/* The id of one sign that is a word by itself (",</w>"), -1 if it is not one token. scratch and ids have room for a text of
 * one byte, at least. */
int32_t split_point_id(const struct tokenizer *tokenizer, char sign, void *scratch, int32_t *ids);

/* How many of the `count` tokens a window takes when more follow them. scratch and ids have room for the text. */
size_t split_point(const struct tokenizer *tokenizer, const struct dialect_text *text, const struct chunk_token *tokens, size_t count,
                   void *scratch, int32_t *ids);

#endif
