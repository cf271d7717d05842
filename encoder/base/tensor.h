/* tensor.h - named arrays of numbers that lie somewhere in memory. What a container format hands out and a model takes:
 * neither knows the other. Data is little-endian, row-major and may start at any byte. */
#ifndef ENCODER_BASE_TENSOR_H
#define ENCODER_BASE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "dtype.h"

#define TENSOR_RANK 8

struct tensor {
    const unsigned char *data;
    enum dtype dtype;
    unsigned rank;
    uint64_t shape[TENSOR_RANK];
};

struct named_tensor {
    const char *name; /* not NUL-terminated */
    size_t name_size;
    unsigned file;   /* which of the checkpoint's files holds it */
    uint64_t offset; /* of its first byte in that file */
    uint64_t bytes;
    struct tensor tensor; /* data is NULL until the container's bytes are in memory */
};

/* Sorted by name, no name twice. */
struct tensor_set {
    struct named_tensor *items;
    size_t count;
};

/* Order of names: bytes, then length. */
int tensor_name_compare(const char *a, size_t a_size, const char *b, size_t b_size);
/* Index of the name, or count. */
size_t tensor_find(const struct tensor_set *set, const char *name, size_t name_size);
/* "[1280, 5120]" */
struct shape_text {
    char bytes[TENSOR_RANK * 22 + 3];
};
const char *shape_print(struct shape_text *out, const uint64_t *shape, unsigned rank);

#endif
