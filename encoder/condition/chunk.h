/* chunk.h - text of a dialect to tokens, cut into windows as that dialect's host cuts them. Knows ids; knows no tensor.
 *
 * A window is a row of the tower: [start] + tokens + [end] + padding. Nothing is lost silently: every token of the prompt is
 * in the list, with the bytes it came from; those that a host cuts off have no window.
 *
 *     plain     the first window alone; the rest is cut off, as diffusers does
 *     a1111     windows are filled; at the end of one, what follows a comma at most `backtrack` tokens back goes to the next;
 *               BREAK ends one, even an empty one
 *     comfyui   a segment of `word` tokens or more is cut anywhere, a shorter one goes to the next window whole
 *     compel    each part by itself: the first window alone, or with `splits` all of it, cut behind the last full stop of a
 *               window, else the last , ; : else the last word, else anywhere
 */
#ifndef ENCODER_CONDITION_CHUNK_H
#define ENCODER_CONDITION_CHUNK_H

#include "../text/tokenizer.h"
#include "dialect.h"

#define CHUNK_NONE UINT32_MAX
#define CHUNK_LENGTH_LIMIT 4096

struct chunk_rules {
    enum dialect_kind kind;
    uint32_t length;    /* of a row, start and end among it: 77 for every published CLIP. At least 2 + word */
    uint32_t backtrack; /* a1111: comma_padding_backtrack, 0 for none */
    uint32_t word;      /* comfyui: max_word_length */
    int splits;         /* compel: truncate_long_prompts=False */
    int32_t pad_id;     /* the recipe's: some hosts pad one tokenizer in two ways */
};

/* A host's own settings, for rows of 77. */
struct chunk_rules chunk_rules_of(enum dialect_kind kind, int32_t pad_id);

struct chunk_token {
    int32_t id;
    uint32_t segment;     /* of the dialect_text: its weight is the token's */
    uint32_t chunk, row;  /* CHUNK_NONE, 0: cut off */
    uint32_t begin, end;  /* bytes of the prompt */
    uint32_t text_begin, text_end; /* bytes of dialect_text.text, which the host's signs are not in */
};

/* Tokens first .. first + count - 1 of the list. */
struct chunk {
    uint32_t first, count;
    uint32_t part; /* of the dialect_text. All windows of a part follow each other */
};

struct chunks {
    const struct chunk_token *tokens; /* all of the prompt's, in its order, also those that were cut off */
    size_t token_count;
    size_t cut_count;
    uint32_t cut_begin; /* the first byte of the prompt whose token was cut off; UINT32_MAX: nothing was */
    const struct chunk *list;
    size_t count; /* at least 1 for each part */
};

/* Scratch for a prompt of at most that many bytes; SIZE_MAX above DIALECT_TEXT_LIMIT. Little of it is touched by a prompt
 * of usual length: it is room for the worst text. */
size_t chunks_scratch_bytes(const struct tokenizer *tokenizer, size_t prompt_bytes);
/* scratch is aligned as malloc aligns, and must not be dialect_parse's, whose results are still read. *out points into it. */
int chunks_cut(const struct chunk_rules *rules, const struct tokenizer *tokenizer, const struct dialect_text *text, void *scratch,
               struct chunks *out, struct fault *fault);

/* Window k as a row of rules->length: ids for the tower, and the weight of each row (1 for start, end and padding; compel's
 * are rounded to float32 as it does). weights may be NULL. In a1111 everything behind the first end id is padding, also
 * where somebody typed that id. */
void chunks_row(const struct chunk_rules *rules, const struct tokenizer *tokenizer, const struct dialect_text *text,
                const struct chunks *chunks, size_t k, int32_t *ids, double *weights);
/* The row of an empty prompt: what weights are counted from, and what the shorter of two prompts is filled up with. */
void chunks_empty_row(const struct chunk_rules *rules, const struct tokenizer *tokenizer, int32_t *ids);

/* Whether any row that chunks_row gives has another weight than 1: only then do ComfyUI and compel change anything. */
int chunks_weighted(const struct dialect_text *text, const struct chunks *chunks);

/* compel counts a weight below 1 twice: once like any other, once by mixing with an encoding that does not see the segment.
 * The keys of that encoding, for all windows of the segment's part: mask[windows of the part * length], 1 or 0. Returns 0,
 * and writes nothing, where compel makes none: the segment has no tokens, or all of them were cut off. */
int chunks_mask_without(const struct chunk_rules *rules, const struct dialect_text *text, const struct chunks *chunks,
                        size_t segment, unsigned char *mask);

/* Positive and negative to one number of windows. Window k of a prompt that has `own` is chunks_source(kind, own, k):
 * one of its own, or CHUNK_NONE for the empty prompt's. chunks_equal returns the number for both, or 0 where the host
 * leaves them as they are and runs the tower's user twice (ComfyUI, where the common multiple is above four times the
 * shorter). */
size_t chunks_equal(enum dialect_kind kind, size_t positive, size_t negative);
uint32_t chunks_source(enum dialect_kind kind, size_t own, size_t k);

#endif
