/* pipeline.h - several towers under one recipe: prompts in, the tensors of a sampler out. Owns the towers' sessions, the
 * memory of a call and the cache of windows. Knows no ABI type and no file.
 *
 *     texts -> readings: text without signs, tokens, windows     reading.c   (condition/ does the work)
 *           -> rows: what each tower has to give, each once      rows.c
 *           -> states of rows that the cache does not have       run.c       (session.c does the work)
 *           -> weights, joining, the caller's tensors            compose.c, weigh.c
 *
 * One call at a time; nothing is allocated between open and close. */
#ifndef ENCODER_PIPELINE_PIPELINE_H
#define ENCODER_PIPELINE_PIPELINE_H

#include <stddef.h>
#include <stdint.h>

#include "../clip.h"
#include "../condition/chunk.h"
#include "../condition/recipes.h"
#include "../session.h"

#define PIPELINE_WINDOWS 1024             /* max_windows at most */
#define PIPELINE_TEXT ((size_t)1 << 24)   /* max_text_bytes at most */
#define PIPELINE_CACHE ((size_t)16 << 20) /* cache_bytes by default */

enum pipeline_emphasis { EMPHASIS_ORIGINAL, EMPHASIS_NO_NORM, EMPHASIS_IGNORE, EMPHASIS_NONE };

struct pipeline_params {
    const struct recipe *recipe;
    enum dialect_kind dialect;
    enum pipeline_emphasis emphasis; /* of a1111 */
    int splits;                      /* compel: long prompts are not cut off */
    int skip_all;                    /* recipe.skip_asked counts */
    int forgets;                     /* no cache from call to call */
    const struct clip *clips[RECIPE_TOWERS]; /* in the recipe's order; they outlive the pipeline */
    unsigned threads;
    enum kernel_set kernels;
    enum arithmetic arithmetic;
    size_t max_windows, max_text_bytes, cache_bytes; /* 0: 8, 65536, PIPELINE_CACHE */
};

enum pipeline_kind { PIPELINE_CONTEXT, PIPELINE_POOLED, PIPELINE_TIME_IDS, PIPELINE_VECTOR, PIPELINE_TEXT_MASK, PIPELINE_KINDS };

/* As diffusers calls them: [kind][negative]. */
extern const char *const pipeline_names[PIPELINE_KINDS][2];
/* The name of a tower, "clip_g". */
const char *pipeline_tower_name(enum recipe_tower_kind kind);

/* A tensor of the caller's. */
struct pipeline_tensor {
    unsigned char *data; /* NULL: not wanted */
    size_t row_pitch;    /* bytes; of the context alone */
    enum dtype dtype;
};

struct pipeline_text {
    const char *text; /* NULL: not given */
    size_t bytes;
};

/* What stands behind the enum recipe_size, with nothing left to default. */
struct pipeline_sizes {
    uint32_t numbers[RECIPE_AESTHETIC_SCORE]; /* by enum recipe_size, RECIPE_ORIGINAL_HEIGHT at 1 */
    double aesthetic_score;
};

struct pipeline_request {
    struct pipeline_text texts[2][2]; /* [negative][second] */
    struct pipeline_sizes sizes[2];   /* [negative] */
    int has_skip, skip;
    struct pipeline_tensor tensors[PIPELINE_KINDS][2]; /* [kind][negative] */
    int (*progress)(void *user, uint32_t done, uint32_t total); /* or NULL; nonzero cancels */
    void *user;
};

#define PIPELINE_WINDOW_CACHED 1u
#define PIPELINE_WINDOW_EMPTY 2u
#define PIPELINE_WINDOW_MASKED 4u
#define PIPELINE_WINDOW_PLAIN 8u

/* A row that a tower has to give. */
struct pipeline_window {
    unsigned flags;
    unsigned negative, chunk; /* of its first use */
    int layer;                /* from the end; 0: no context was wanted */
};

/* One prompt as one tower takes it; valid until the next call. text.text NULL: it is not read, being zeros or absent. */
struct pipeline_prompt {
    struct dialect_text text;
    struct chunks chunks;
    int unweighted; /* the weights of its segments do not count */
};

struct pipeline;

/* Fills in defaults and checks limits, towers against the recipe among them. */
int pipeline_settle(struct pipeline_params *params, struct fault *fault);
/* For settled params. */
int pipeline_measure(const struct pipeline_params *params, size_t *bytes, struct fault *fault);
int pipeline_open(struct pipeline **out, const struct pipeline_params *params, struct fault *fault);
void pipeline_close(struct pipeline *pipeline);
/* Any thread. */
void pipeline_cancel(struct pipeline *pipeline);

const struct pipeline_params *pipeline_params_of(const struct pipeline *pipeline);
size_t pipeline_bytes(const struct pipeline *pipeline);
size_t pipeline_cache_windows(const struct pipeline *pipeline);
/* T of one window. */
size_t pipeline_tokens(const struct pipeline *pipeline);
/* Numbers in a row of a tensor of that kind; 0: the recipe has none. */
size_t pipeline_width(const struct pipeline *pipeline, enum pipeline_kind kind);

/* pipeline_begin .. pipeline_end bracket one call. */
int pipeline_begin(struct pipeline *pipeline, struct fault *fault);
void pipeline_end(struct pipeline *pipeline);
/* Reads the prompts. wanted[kind][negative]: which tensors rows are counted for. */
int pipeline_read(struct pipeline *pipeline, const struct pipeline_request *request, int wanted[PIPELINE_KINDS][2],
                  struct fault *fault);
/* Runs the towers for what was read and fills the request's tensors. */
int pipeline_run(struct pipeline *pipeline, const struct pipeline_request *request, struct fault *fault);

/* What was read, until pipeline_end. */
const struct pipeline_prompt *pipeline_prompt(const struct pipeline *pipeline, unsigned tower, unsigned negative);
size_t pipeline_window_count(const struct pipeline *pipeline, unsigned tower);
void pipeline_window(const struct pipeline *pipeline, unsigned tower, size_t index, struct pipeline_window *out);
size_t pipeline_chunks(const struct pipeline *pipeline, unsigned negative);
size_t pipeline_own_chunks(const struct pipeline *pipeline, unsigned negative);
/* The negative's context and pooled vector are zeros. */
int pipeline_negative_is_zero(const struct pipeline *pipeline);
uint32_t pipeline_blocks_run(const struct pipeline *pipeline);

#endif
