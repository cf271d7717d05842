/* weights.h - the tensors of a text tower, each where it is used. Binding checks every one of them against the geometry;
 * filling, when their bytes are in memory, puts them in place. Matrices stay where they lie, in the type they have; vectors and positions (a few MB at most) become float32 copies,
 * because a norm or a bias at an odd address in half precision would cost every row that uses it. A projection that the file
 * holds as x P becomes a copy of its transpose in its own type, so that every layout computes with the same bits. */
#ifndef ENCODER_MODEL_WEIGHTS_H
#define ENCODER_MODEL_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"
#include "../base/report.h"
#include "../base/tensor.h"
#include "../kernels/kernels.h"
#include "geometry.h"
#include "layout.h"

/* [rows, columns] in place; used as x W^T (torch.nn.Linear) or by row (an embedding). */
struct matrix {
    const unsigned char *data;
    enum dtype dtype;
    size_t pitch; /* bytes from row to row */
    float scale;  /* what each value is multiplied with; 0: nothing */
};

struct block {
    struct matrix q, k, v, out; /* [D,D] */
    struct matrix fc1;          /* [M,D] */
    struct matrix fc2;          /* [D,M] */
    const float *norm1_gain, *norm1_bias, *norm2_gain, *norm2_bias; /* [D] */
    const float *q_bias, *k_bias, *v_bias, *out_bias, *fc2_bias;    /* [D] */
    const float *fc1_bias;                                          /* [M] */
};

struct text_weights {
    struct geometry geometry;
    struct found_layout layout;
    struct matrix token_embedding; /* [vocabulary, D] */
    const float *positions;        /* [T,D] */
    struct block *blocks;          /* [L] */
    const float *final_gain, *final_bias;
    struct matrix projection; /* [P,D]; data NULL: none, or the identity (geometry.identity) */
    enum dtype dtype;         /* of the matrices in the blocks; those of the first if they differ */
    uint64_t parameters;
    float *vectors;            /* what the pointers above point into */
    unsigned char *transposed; /* what projection points into, if the file has it the other way */
};

/* Where tensors come from. `file` and `config` are names for messages. */
struct weights_source {
    const struct tensor_set *set;
    const char *file, *config;
    const struct report *report;
};

/* Needs no data. Sets the byte in `used` of every tensor of the set that is called for. Every one that is missing or wrong is
 * reported; the fault names the first and counts the rest. */
int weights_bind(struct text_weights *out, const struct geometry *geometry, const struct found_layout *layout,
                 const struct weights_source *source, unsigned char *used, struct fault *fault);
/* The same set, with data where it was marked. */
int weights_fill(struct text_weights *weights, const struct weights_source *source, const struct kernels *kernels,
                 struct fault *fault);
void weights_unbind(struct text_weights *weights);

#endif
