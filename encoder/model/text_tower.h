/* text_tower.h - the forward pass of a CLIP text tower over a batch, on a pool of workers.
 *
 *     ids -> embedding + position -> x, the rows of all prompts, packed (kernels/packed.h)
 *     x -> block x L; after each: taps, checkpoint
 *     tap -> (final norm?) -> hidden [B,T,D]
 *     last x -> end-of-text row -> final norm -> projection -> pooled [B,P]
 *
 * What nobody asked for is not computed: blocks after the last output, rows that no output needs (rows.h), and in the last
 * block all rows but the ends if it is only pooled; and what prompts begin with in common is computed once. A row's bits are the same whatever is left out beside it.
 *
 * A key mask hides keys from attention and nothing else: a hidden token's own row is computed like any other, and the end
 * row is where it is.
 *
 * Knows no file, no text and no ABI. Formulas: huggingface/transformers models/clip/modeling_clip.py, which computes what
 * openai/CLIP clip/model.py does. */
#ifndef ENCODER_MODEL_TEXT_TOWER_H
#define ENCODER_MODEL_TEXT_TOWER_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"
#include "../base/workers.h"
#include "weights.h"

enum tap_kind { TAP_HIDDEN, TAP_POOLED_RAW, TAP_POOLED_PROJECTED, TAP_POOLED_NORMALISED };

/* Something that is wanted, and where it goes. */
struct tap {
    enum tap_kind kind;
    uint32_t layer; /* TAP_HIDDEN: 0 the embeddings, l the output of block l */
    int final_norm; /* TAP_HIDDEN */
    unsigned char *data; /* first row of prompt 0; used where `at` is NULL */
    size_t batch_pitch, row_pitch; /* bytes */
    enum dtype dtype;
    unsigned char *const *at; /* NULL, or [B]: first row of each prompt; NULL in it: that prompt goes nowhere. Workers read it */
};

/* A prompt's rows among the packed ones. */
struct text_rows {
    size_t count; /* of tokens that have a row: all, up to the end, or none */
    size_t own;   /* of those, the first ones whose rows were an earlier prompt's already, of this pass or kept */
};

/* A row as the path to it: it is the same for all prompts that begin with the same ids and the same bits of their masks. */
struct text_node {
    uint32_t before; /* row of the token before, NO_ROW for none */
    uint32_t key;    /* the id, and whether the mask hides it */
    uint32_t next;   /* another row with the same hash */
};
#define NO_ROW UINT32_MAX

struct kept_slot;

/* One pass. The buffers are the session's: tower_buffers says how many floats each takes. */
struct text_pass {
    const struct text_weights *weights;
    const struct kernels *kernels;
    size_t batch, tokens;      /* B, T */
    const int32_t *ids;        /* [B,T], each within the vocabulary */
    const size_t *end;         /* [B] row that pooling takes; read only where a pooled tap is */
    const unsigned char *const *key_mask; /* [B], each [T] of 0 and 1 that begins with 1, or NULL: all keys are seen */
    const struct tap *taps;
    size_t tap_count;
    /* called on the caller's thread when `done` of `total` blocks are computed; nonzero stops the pass */
    int (*checkpoint)(void *user, uint32_t done, uint32_t total);
    void *user;
    struct text_rows *rows;  /* [B], filled by rows_settle, as are: */
    uint32_t *row;           /* [B,T] where each token's row is, of those that have one; a prompt's own follow each other */
    struct text_node *nodes; /* [rows, kept ones included] */
    uint32_t *buckets;       /* [bucket_count] the first row of each hash */
    size_t bucket_count;     /* a power of two, for the rows that this pass may have */
    struct kept_slot *kept;  /* [kept_count] prompts of earlier passes (kept.h) */
    size_t kept_count, kept_from; /* their first row among those of x and wide, behind all that a pass can compute */
    uint64_t kept_passes;
    uint32_t kept_blocks, kept_layers; /* what this pass needs of them */
    size_t row_count, groups, run, end_groups; /* rows to compute; groups of them, of one whole prompt (kernels.h: linear.run), of ends */
    /* packed activations */
    float *x;      /* D wide: the residual stream */
    float *low;    /* D wide: what x is too short for (kernels.h: EPILOGUE_ADD) */
    float *h;      /* D wide: normed input, then the heads' output */
    float *wide;   /* 3D wide: q k v side by side; or M wide: the MLP's inside */
    float *ends_x; /* D wide, a row for each prompt: x, then the normed end */
    float *ends_low; /* D wide, a row for each prompt */
    float *ends_h; /* D wide, a row for each prompt */
    float *pooled; /* P wide, a row for each prompt */
    void *prepared; /* what the kernels make of a product's input, if they do (kernels.h: prepare) */
    _Atomic uint32_t not_finite; /* 1 + index of a tap that came out so */
};

/* A token as part of a path: text_node. */
static inline uint32_t text_key(const struct text_pass *pass, size_t prompt, size_t token) {
    const unsigned char *mask = pass->key_mask[prompt];
    uint32_t hidden = mask && !mask[token];
    return (uint32_t)pass->ids[prompt * pass->tokens + token] * 2 + hidden;
}

struct tower_buffers {
    size_t rows, nodes, buckets; /* of row, of nodes, of buckets */
    size_t x, stream, wide, ends, pooled; /* floats of x, of low and h each, of wide, of each of ends_, of pooled */
    size_t kept, kept_from; /* slots, and the first row of them */
    size_t kept_attended, kept_hidden; /* floats of each (kept.h) */
    size_t prepared_bytes;
    size_t worker_bytes; /* scratch of one worker */
};

/* For at most `batch` prompts of at most the geometry's context, and `kept` that stay from pass to pass. 0 if a product overflows. */
int tower_measure(const struct geometry *geometry, const struct kernels *kernels, size_t batch, size_t kept,
                  struct tower_buffers *out);
/* Blocks that these taps need. */
uint32_t tower_depth(const struct geometry *geometry, const struct tap *taps, size_t count);
/* 0, or FAULT_CANCELLED or FAULT_NON_FINITE. */
int tower_run(struct workers *pool, struct text_pass *pass, struct fault *fault);

#endif
