/* weights.h - the tensors of a text tower, each where it is used. Binding checks every one of them against the geometry.
 * Matrices stay where they lie, in the type they have; vectors and positions (a few MB at most) become float32 copies,
 * because a norm or a bias at an odd address in half precision would cost every row that uses it. */
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
    const struct layout *layout;
    struct matrix token_embedding; /* [vocabulary, D] */
    const float *positions;        /* [T,D] */
    struct block *blocks;          /* [L] */
    const float *final_gain, *final_bias;
    struct matrix projection; /* [P,D]; data NULL: none */
    enum dtype dtype;         /* of the matrices in the blocks; those of the first if they differ */
    uint64_t parameters;
    float *vectors; /* what the pointers above point into */
};

/* `set` has its data in memory. `file` and `config` are names for messages. Every tensor that is missing, wrong or unused is
 * reported; the fault names the first and counts the rest. */
int weights_bind(struct text_weights *out, const struct geometry *geometry, const struct tensor_set *set,
                 const struct kernels *kernels, const char *file, const char *config, const struct report *report,
                 struct fault *fault);
void weights_unbind(struct text_weights *weights);

#endif
