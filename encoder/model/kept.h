/* kept.h - rows that a session keeps from one pass to the next. Attention is causal, so that a prompt that begins as a kept one did
 * has those rows in common with it: what attention reads of them, K and V of each block, and their hidden states are brought
 * back, and nothing of them is computed. Where the kernels want whole prompts nothing is kept. Knows no block's arithmetic.
 *
 * A slot holds one prompt, packed, each row at the lane of its token; in a pass its rows lie behind all that can be computed, at
 * places of their own: bringing them back is a copy of whole groups. */
#ifndef ENCODER_MODEL_KEPT_H
#define ENCODER_MODEL_KEPT_H

#include "text_tower.h"

struct kept_slot {
    size_t tokens;    /* the first ones, whose rows are there: */
    uint32_t blocks;  /* K and V of so many blocks, */
    uint32_t layers;  /* and so many hidden states, the embeddings being one */
    uint64_t used;    /* the last pass that had a prompt here; 0: none */
    int taken;        /* by a prompt of this pass: */
    size_t prompt, prefix; /* which, and how many of its first tokens it takes from here */
    uint32_t *key;    /* [context] (text_key) */
    float *attended;  /* [L][groups][2 D][LANES] K and V */
    float *hidden;    /* [L + 1][groups][D][LANES] */
};

/* On the caller's thread: a pass begins, of so many blocks; a prompt looks for a slot, of whose tokens it may take `limit`: NULL
 * where there is none left; a pass has come to its end, `layers` of its hidden states whole; what is kept must not be used. */
void kept_begin(struct text_pass *pass, uint32_t blocks);
const struct kept_slot *kept_choose(struct text_pass *pass, size_t prompt, size_t limit);
void kept_end(struct text_pass *pass, uint32_t layers);
void kept_forget(struct text_pass *pass);

/* Where a slot's token is among the rows of a pass, and whether a row is of that kind. */
static inline uint32_t kept_row(const struct text_pass *pass, const struct kept_slot *slot, size_t token) {
    size_t groups = packed_groups(pass->weights->geometry.context);
    return (uint32_t)(pass->kept_from + (size_t)(slot - pass->kept) * groups * LANES + token);
}

static inline int kept_is(const struct text_pass *pass, uint32_t row) {
    return pass->kept_count && row >= pass->kept_from;
}

/* Called by every worker, when the others' rows are computed: what is kept is brought to its rows, and what is new taken over, rows
 * included that a prompt has from another one's slot. K and V of a block, before attention; hidden states of a layer. */
void kept_attended(struct worker *worker, struct text_pass *pass, uint32_t block);
void kept_hidden(struct worker *worker, struct text_pass *pass, uint32_t layer);

#endif
