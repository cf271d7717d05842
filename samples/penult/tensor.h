/* tensor.h - an array with a name, ready to be filled by the plugin and written to a file. */
#ifndef SAMPLES_PENULT_TENSOR_H
#define SAMPLES_PENULT_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* dtype: PENULT_F32, PENULT_F16, PENULT_BF16, or this for ids. */
#define TENSOR_I32 100u
#define TENSOR_RANK_MAX 3

/* name: in files that hold several. tag: in the name of a file that holds one. */
struct tensor {
    char name[48];
    char tag[48];
    uint32_t dtype;
    unsigned rank;
    uint64_t shape[TENSOR_RANK_MAX];
    uint64_t count; /* values */
    uint64_t bytes;
    void *data;
};

/* What a person wants to know of the values. Non-finite values take no part but are counted. */
struct tensor_summary {
    double minimum, maximum, mean, rms;
    uint64_t not_finite;
};

/* Allocates for dtype, rank and shape, which are set. False if that is no size or no memory; tensor_free in any case.
 * */
bool tensor_allocate(struct tensor *tensor);
void tensor_free(struct tensor *tensor);

uint64_t tensor_item_bytes(uint32_t dtype);

/* Value `index` of a float tensor. */
float tensor_value(const struct tensor *tensor, uint64_t index);

struct tensor_summary tensor_summarise(const struct tensor *tensor);

/* "1 x 77 x 1280" */
void tensor_shape_text(const struct tensor *tensor, char *text, size_t size);

#endif
