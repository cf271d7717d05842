/* split.h - clean text to pieces: the patterns of CLIP's tokenizers as a scanner. Knows no id.
 */
#ifndef ENCODER_TEXT_SPLIT_H
#define ENCODER_TEXT_SPLIT_H

#include <stddef.h>

struct split {
    const char *text; /* valid UTF-8 */
    size_t end;
    size_t at;
    size_t fence; /* no piece reaches over this byte; 0: none */
};

/* The next piece is text[*begin..*end); 0 if there is none. Start with at = 0 (or wherever the text begins), fence = 0.
 */
int split_next(struct split *split, size_t *begin, size_t *end);

/* The same by open_clip's pattern, whose special strings are others. */
enum split_kind { SPLIT_NONE, SPLIT_PIECE, SPLIT_START, SPLIT_END };
enum split_kind split_next_open_clip(struct split *split, size_t *begin, size_t *end);

#endif
