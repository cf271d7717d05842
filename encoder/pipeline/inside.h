/* inside.h - what the files of pipeline/ share. For them alone.
 */
#ifndef ENCODER_PIPELINE_INSIDE_H
#define ENCODER_PIPELINE_INSIDE_H

#include "pipeline.h"

#include "../base/arena.h"

#define ROW_NONE UINT32_MAX
#define SIDES 2 /* positive, negative */

/* The states of a row, kept. Owns no memory: pointers lead into the tower's pages. */
struct slot {
    uint64_t hash, used; /* of ids and mask; the call that used it last, 0: never */
    int32_t *ids;        /* [T] */
    unsigned char *mask; /* [T] */
    float *context;      /* [T,D] */
    float *pooled;       /* [its pooled width] */
    int layer, norm;     /* of the context */
    int has_context, has_pooled;
    int is_backed; /* its pages are there */
};

/* What a tower has to give in this call, once for each different row. */
struct row {
    int32_t *ids;        /* [T] */
    unsigned char *mask; /* [T], 1 for a key that is seen */
    int layer, norm;     /* of the context; layer 0: it is not wanted */
    int wants_pooled;
    unsigned flags, negative, chunk; /* as pipeline_window */
    uint64_t hash;
    struct slot *slot;
    uint32_t direct[SIDES]; /* 1 + the window of that side's tensor that the tower itself writes; 0: none */
};

/* One prompt as one tower takes it. */
struct reading {
    struct pipeline_prompt prompt;
    int is_read;
    int layer, norm;     /* layer 0: the tower gives no context */
    size_t windows;      /* when parts are joined */
    int is_plain;        /* its windows are its rows, unchanged */
    uint32_t *rows;      /* [max_windows] of each of chunks.list */
    uint32_t *masked;    /* [max_windows] of each window of each fragment that is left out, in the order of the segments */
    size_t masked_count;
    uint32_t empty, pooled; /* rows, or ROW_NONE */
};

struct tower {
    const struct clip *clip;
    const struct recipe_tower *recipe;
    struct session *session;
    struct chunk_rules rules;
    size_t tokens, width, pooled_width; /* T, D, 0 where it gives no pooled vector */
    enum tap_kind pooled_kind;
    size_t column, pooled_column; /* where its numbers begin in a row of the context, of the pooled vector */
    struct row *rows;             /* [max_windows] */
    size_t row_count;
    int32_t *ids;                 /* [max_windows + 1,T] */
    unsigned char *masks;         /* [max_windows + 1,T] */
    unsigned char **at;           /* [RUN_TAPS,max_windows] */
    uint32_t *pending;            /* [max_windows] rows that the tower runs for */
    struct slot *slots;
    size_t slot_count, slot_bytes;
    char *pages; /* slot_count * slot_bytes */
    struct reading readings[SIDES];
};

#define RUN_TAPS 5 /* two layers to slots, two to tensors, one pooled */

struct pipeline {
    struct pipeline_params params;
    size_t bytes; /* of the mapping that this struct is at the start of */
    size_t total_bytes;
    struct tower towers[RECIPE_TOWERS];
    size_t context_width, pooled_width, vector_width;
    uint64_t calls;
    /* the call under way */
    size_t chunks[SIDES], own_chunks[SIDES];
    int negative_is_zero;
    uint32_t blocks_run, blocks_total;
    const struct pipeline_request *request;
    const char *not_finite; /* a tensor that came out so */
    /* scratch */
    char *text_pages; /* reserved; text_backed of it are there */
    size_t text_bytes, text_backed;
    void *frame_scratch; /* in text_pages */
    double *weights;     /* [T] */
    int32_t *row_ids;    /* [T] */
    float *window;       /* [T,D] one window while it is weighted */
    float *part, *joined; /* [max_windows,T,D] compel's */
    unsigned char *keys;  /* [max_windows,T] compel's, of a fragment that is left out */
    float *shares, *blend; /* [max_windows + 1] of encodings in a part, of parts */
    float *line;         /* the longest row of a tensor */
};

/* reading.c */
/* The text that a side's tower takes: the second one where there is one, and an empty negative where only its second is given. */
struct pipeline_text reading_text(const struct pipeline *p, const struct pipeline_request *request, unsigned side, int second);
void reading_lay_out(struct pipeline *p, struct arena *arena, size_t bytes[SIDES][2], void *scratch[RECIPE_TOWERS][SIDES][2]);
int reading_back(struct pipeline *p, size_t bytes);
int reading_take(struct pipeline *p, const struct pipeline_request *request, struct fault *fault);
/* rows.c */
int rows_take(struct pipeline *p, const struct pipeline_request *request, int wanted[PIPELINE_KINDS][2], struct fault *fault);
/* The row of window k of a side's tensor. *own: the reading's own window, or CHUNK_NONE for the empty prompt's. */
uint32_t rows_of_window(const struct pipeline *p, const struct tower *tower, unsigned side, size_t k, uint32_t *own);
/* cache.c */
size_t slot_bytes_of(const struct tower *tower);
void slots_lay_out(struct tower *tower);
int slots_back(struct tower *tower, size_t count);
/* Gives each row its slot; tower->pending are those that have to be computed, *count of them. */
void slots_assign(struct pipeline *p, struct tower *tower, size_t *count);
/* compose.c: on a worker. */
void compose(struct pipeline *p);
/* weigh.c: the states of window `own` of a reading that is not plain, [T,D]. weigh_join has been called for it. */
void weigh_join(struct pipeline *p, struct tower *tower, struct reading *reading);
const float *weigh_window(struct pipeline *p, struct tower *tower, struct reading *reading, size_t own);

#endif
