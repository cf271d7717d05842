/* formats.h - tensors in the three file formats. Each writer puts a whole file on a stream and leaves the checking of
 * the stream to the caller; what it says itself it says through say.h. */
#ifndef SAMPLES_PENULT_FORMATS_H
#define SAMPLES_PENULT_FORMATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "tensor.h"

/* The longest header of write_npy. */
#define NPY_HEADER_MAX 256

/* One line of the __metadata__ of a safetensors file. */
struct metadata {
    const char *key;
    const char *value;
};

/* The bytes before the data of a .npy file, format version 1.0 of NumPy's description; a multiple of 64. There is no
 * bf16 in NumPy: the caller has made sure that it does not come here. */
size_t npy_header(const struct tensor *tensor, char header[NPY_HEADER_MAX]);

/* numpy.load reads these. */
bool write_npy(FILE *to, const struct tensor *tensor);
bool write_npz(FILE *to, const struct tensor *const *tensors, size_t count);

/* safetensors.numpy.load_file and the like read this. */
bool write_safetensors(FILE *to, const struct tensor *const *tensors, size_t count, const struct metadata *metadata,
                       size_t metadata_count);

#endif
