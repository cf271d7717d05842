/* added.h - added tokens: strings that are cut out of the text and are ids by themselves ("<|endoftext|>", and the "!"
 * that SDXL's second tokenizer pads with). Knows neither merges nor files.
 */
#ifndef ENCODER_TEXT_ADDED_H
#define ENCODER_TEXT_ADDED_H

#include <stddef.h>
#include <stdint.h>

struct added_token {
    const char *text; /* lives as long as the set */
    size_t size;      /* at least 1 */
    int32_t id;
    unsigned char single_word; /* counts only where no word character stands beside it */
    unsigned char strip_left;  /* takes the white space before it along */
    unsigned char strip_right;
};

struct added {
    struct added_token *tokens; /* ordered by their bytes */
    size_t count;
    uint32_t first[257]; /* tokens that begin with byte b are first[b] .. first[b + 1] - 1 */
};

/* Orders the tokens and takes them over; NULL with a count of 0 is the empty set. Returns NULL, or a token that is
 * there twice. */
const struct added_token *added_order(struct added *added, struct added_token *tokens, size_t count);

struct added_walk {
    const struct added *added;
    const char *text;
    size_t size;
    size_t at;                       /* where to look for the next token */
    size_t done;                     /* text before it has been handed out */
    size_t space_end;                /* the white space that was last looked through ends here */
    const struct added_token *found; /* a token that waits for the text before it to be handed out */
    size_t found_begin, found_end;
};

/* A stretch of the text: a token, or NULL for what lies between tokens. */
struct added_cut {
    const struct added_token *token;
    size_t begin, end;
};

void added_start(struct added_walk *walk, const struct added *added, const char *text, size_t size);
/* 0 at the end. At each place the longest token counts; stretches come in the order of the text. */
int added_next(struct added_walk *walk, struct added_cut *cut);

#endif
