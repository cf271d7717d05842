/* kernels.h - the arithmetic: one table of functions, filled bottom-up (scalar, then what does better), kept by value.
 * Compiles alone: knows numbers and shapes, no tower and no file.
 *
 * kernels_scalar is the specification: plain loops in float32, one order of operations per result, whatever the rows or
 * columns around it. Every other entry is tested against it and against double (tests/kernels).
 * Scratch is the caller's, 64-byte aligned; nothing here allocates. */
#ifndef ENCODER_KERNELS_KERNELS_H
#define ENCODER_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../base/dtype.h"
#include "packed.h"

/* Columns of one call of `linear`: a panel of weights that is widened once and stays in cache. Always the same blocks
 * whatever the batch and the threads, because OpenBLAS's bits change with the shape of a call. */
#define KERNEL_PANEL 64

/* EXACT: as close to the true product as float32 is, whatever the weights are stored as. BF16: activations and weights are
 * rounded to bfloat16 before they meet, their products summed in float32; what "bf16 inference" means elsewhere, but that the
 * residual stream, norms and attention stay float32. */
enum arithmetic { ARITHMETIC_EXACT, ARITHMETIC_BF16 };

enum epilogue {
    EPILOGUE_STORE,      /* y = r */
    EPILOGUE_ADD,        /* y + low = y + low + r: the residual stream */
    EPILOGUE_GELU,       /* y = r (1 + erf(r / sqrt 2)) / 2 */
    EPILOGUE_QUICK_GELU  /* y = r / (1 + exp(-1.702 r)) */
};

/* r[column, row] = W[columns, depth] x[depth, row] + bias[column], then the epilogue into y; x and y are packed (packed.h).
 * The product is taken this way round, W x^T, because then weights are read as they lie, row by row, and what comes out is
 * again packed: nothing is transposed between the embedding and the output. */
struct linear {
    const float *x;       /* [groups][depth][LANES] */
    const void *prepared; /* what prepare made of each group, one after the other; NULL where the table has no prepare */
    size_t groups;
    size_t run; /* groups of one prompt, where the table asks for whole_prompts; `groups` is a multiple of it */
    const unsigned char *weight; /* any alignment */
    size_t weight_pitch;         /* bytes from row to row */
    const unsigned char *next_weight; /* of the panel that this worker probably comes to next, or NULL; it is only fetched */
    enum dtype dtype;            /* of the weights: F32, F16, BF16, F64, F8_E4M3, F8_E5M2 */
    float scale;                 /* what each weight is multiplied with when it is widened; 0: nothing */
    const float *bias;           /* [columns] or NULL */
    float *y;                    /* feature 0 of these columns in the first group */
    size_t y_width;              /* features of a group of y */
    float *low;                  /* EPILOGUE_ADD: as y; what y was too short for, less than its last bit */
    size_t depth, columns;       /* columns <= KERNEL_PANEL */
    enum epilogue epilogue;
};

/* One head of causal self-attention over one prompt's rows of packed activations.
 * out[i] = sum over j <= i with mask[j] of softmax_j(q[i].k[j] * scale) v[j] */
struct attend {
    const float *in;  /* packed, in_width features: q, k and v are each head_width of them, from these on */
    size_t in_width, q, k, v;
    float *out;       /* packed, out_width features: head_width of them are written, from out_at on */
    size_t out_width, out_at;
    const unsigned char *mask; /* [tokens] 1: the key is seen, 0: it is not; mask[0] is 1. NULL: all are seen */
    const uint32_t *row; /* [tokens] where each token's row is; those from `own` on follow each other */
    size_t own;          /* the first token whose result is wanted; those before are other prompts' too */
    size_t tokens, head_width;
    float scale;
};

struct kernels {
    char name[96];
    size_t blas_bytes; /* address space each worker must hold for `linear` (worker.blas); 0: none */
    /* `linear` must always see a prompt's rows whole and from the start of a group, because its bits change with the shape
     * of a call and a row's place in it. 0: a row's bits are its own, wherever it lies. */
    int whole_prompts;
    enum arithmetic arithmetic;
    /* NULL, or what makes of a group what `linear` multiplies with: once, for all panels. Then prepared_bytes of a group. */
    void (*prepare)(const struct kernels *kernels, const float *x, size_t depth, void *to);
    size_t (*prepared_bytes)(const struct kernels *kernels, size_t depth);
    void (*linear)(const struct kernels *kernels, const struct linear *op, void *scratch);
    size_t (*linear_scratch)(size_t groups, size_t depth); /* bytes it uses for at most so many groups (of a run) and depth */
    void (*attend)(const struct attend *op, void *scratch);
    /* y = (x - mean) / sqrt(variance + epsilon) * gain + bias for each row of a group [width][LANES]; y may be x */
    void (*layer_norm)(const float *x, float *y, const float *gain, const float *bias, size_t width, double epsilon);
    /* count elements of a weight type, from any alignment; F64 is rounded to nearest */
    void (*widen)(const unsigned char *from, enum dtype dtype, float *to, size_t count);
    /* to any alignment; nonzero if a result is not finite */
    int (*narrow)(const float *from, enum dtype dtype, unsigned char *to, size_t count);
};

/* Each fills the whole table. */
void kernels_scalar(struct kernels *kernels);
void kernels_avx2(struct kernels *kernels);
void kernels_avx512(struct kernels *kernels);
/* Over the table of AVX-512: AMX's tiles behind `linear`, for either arithmetic; AVX-512's products of bfloat16, for BF16. */
void kernels_amx(struct kernels *kernels, enum arithmetic arithmetic);
void kernels_avx512_bf16(struct kernels *kernels);
/* Makes a filled table of float32 products round what it multiplies. */
void kernels_rounding(struct kernels *kernels);
/* Puts OpenBLAS's single-precision GEMM behind `linear` of a filled table; 0 where the plugin was built without it. */
int kernels_openblas(struct kernels *kernels);

/* Bytes of scratch that `attend` of that shape uses. */
size_t kernels_attend_scratch(size_t tokens, size_t head_width);

#endif
