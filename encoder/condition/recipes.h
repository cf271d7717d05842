/* recipes.h - what a pipeline is conditioned on, as one host makes it: rows of data, each with its source. Knows names,
 * layers and numbers; opens no model and computes nothing.
 *
 * How a row is used: for each tower, tokenize with its tokenizer (chunk.h, pad id by `pad`), run it with its key mask or
 * without, take recipe_layer's layer with its norm as the context and `pooled` as its pooled vector. Contexts stand side by
 * side along the features, first tower first; so do pooled vectors. Then zeros (`context_width`), the size embeddings
 * (`sizes`), and the rule for a negative prompt that is not there.
 */
#ifndef ENCODER_CONDITION_RECIPES_H
#define ENCODER_CONDITION_RECIPES_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"
#include "dialect.h"

#define RECIPE_TOWERS 2
#define RECIPE_SIZES 6

enum recipe_tower_kind { RECIPE_CLIP_L, RECIPE_CLIP_H, RECIPE_CLIP_BIGG };

enum recipe_pooled {
    RECIPE_NO_POOLED,
    RECIPE_RAW,        /* the final norm's row at the first end id */
    RECIPE_PROJECTED,  /* that, projected */
    RECIPE_PROJECTED_IF_ANY, /* projected if the checkpoint has a projection, else raw: SD3's CLIP-L has the identity or none */
};

enum recipe_pad {
    RECIPE_PAD_END,  /* the end id, 49407 */
    RECIPE_PAD_ZERO, /* id 0, which is "!" */
};

/* Whose tokenizer the host has for a tower. The ids of usual prompts are the same in all; those of "wow!!" or "&amp;" not. */
enum recipe_tokens {
    RECIPE_TOKENS_OF_FILES,  /* transformers', as its files say: SDXL's second one cuts "!" out as padding */
    RECIPE_TOKENS_PLAIN_PAD, /* transformers', in which the padding's string is text */
    RECIPE_TOKENS_OPEN_CLIP, /* open_clip's */
};

struct recipe_tower {
    enum recipe_tower_kind kind;
    int layer; /* from the end, -1 the last block's; 0: no context is taken from this tower */
    int norm;  /* the final norm on it */
    enum recipe_pooled pooled;
    enum recipe_pad pad;
    int key_mask;      /* padding is hidden from the tower */
    int second_prompt; /* takes the pipeline's second prompt where one is given */
    enum recipe_tokens tokens;
    unsigned cut_to; /* blocks of a published export that ends where the context is taken: there, that is its last; 0: none */
};

/* What the conditioning is where the caller gives no negative prompt. */
enum recipe_unconditional {
    RECIPE_ENCODES,          /* the empty text's */
    RECIPE_ZEROS_IF_ABSENT,  /* zeros, context and pooled; an empty text that is given is encoded */
    RECIPE_ZEROS_IF_EMPTY,   /* zeros for an empty text too */
    RECIPE_ZEROS_ALWAYS,     /* zeros, whatever the negative prompt says */
    RECIPE_NONE,             /* the pipeline has none, being distilled; a negative prompt that is given is encoded */
};

/* How a host counts "clip skip" c. */
enum recipe_skip {
    RECIPE_NO_SKIP,
    RECIPE_SKIP_MORE,  /* c more blocks than usual: layer - c */
    RECIPE_SKIP_LAYER, /* the c-th block from the end: -c */
    RECIPE_SKIP_INDEX, /* c is the layer itself, from -1 on */
};

enum recipe_size {
    RECIPE_SIZES_END,
    RECIPE_ORIGINAL_HEIGHT,
    RECIPE_ORIGINAL_WIDTH,
    RECIPE_CROP_TOP,
    RECIPE_CROP_LEFT,
    RECIPE_TARGET_HEIGHT,
    RECIPE_TARGET_WIDTH,
    RECIPE_AESTHETIC_SCORE, /* 6 for the positive, 2.5 for the negative, unless the caller says so */
};

struct recipe {
    const char *name; /* "sdxl@diffusers" */
    const char *alias; /* a shorter name for the same, or NULL: "sdxl" */
    const char *source;
    enum dialect_kind dialect; /* what the host reads prompts as */
    int splits;                /* chunk_rules.splits: the host asks compel not to cut long prompts off */
    unsigned tower_count;
    struct recipe_tower towers[RECIPE_TOWERS];
    unsigned context_width; /* zeros on the right up to this width; 0: as wide as the towers make it */
    int second_falls_back;  /* a second prompt that is given and empty counts as absent: Python's `prompt_2 or prompt` */
    enum recipe_unconditional unconditional;
    enum recipe_size sizes[RECIPE_SIZES + 1]; /* behind the pooled vector, 256 numbers each (size_embedding.h); none: END */
    enum recipe_skip skip;
    int skip_norm;         /* a layer that was skipped to takes the final norm */
    int skips_negative;    /* the negative prompt skips too */
    unsigned skip_towers;  /* bit i: tower i skips */
    unsigned skip_asked;   /* towers that skip only if the host's own option for it is on (A1111: sdxl_clip_l_skip) */
    int text_mask;         /* the pipeline wants the attention mask of the tokens beside them */
};

extern const struct recipe recipes[];
extern const size_t recipe_count;

/* NULL if there is none of that name or alias. */
const struct recipe *recipe_find(const char *name, size_t size);
/* The layer that tower `index` gives its context from, and whether the final norm is on it, for the host's own clip skip
 * (`skip`; has_skip 0: none was asked for). `optional` turns skip_asked on. layers: how many blocks the tower has.
 * FAULT_ARGUMENT for a skip that reaches no layer, FAULT_UNSUPPORTED where the host has none. */
int recipe_layer(const struct recipe *recipe, unsigned index, int has_skip, int skip, int optional, int negative, unsigned layers,
                 int *layer, int *norm, struct fault *fault);
/* Floats of size embeddings behind the pooled vector. */
size_t recipe_sizes(const struct recipe *recipe);

#endif
