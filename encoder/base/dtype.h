/* dtype.h - the element types that tensors in files can have, and what each takes. The table is safetensors' list
 * (huggingface/safetensors, safetensors/src/tensor.rs, enum Dtype), which holds every type of the other containers. */
#ifndef ENCODER_BASE_DTYPE_H
#define ENCODER_BASE_DTYPE_H

#include <stddef.h>

enum dtype {
    DTYPE_NONE,
    DTYPE_F32, /* results are written as one of the first three */
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F64, /* weights are read as one of the first six */
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    DTYPE_F8_E8M0,
    DTYPE_F8_E4M3FNUZ,
    DTYPE_F8_E5M2FNUZ,
    DTYPE_F6_E2M3,
    DTYPE_F6_E3M2,
    DTYPE_F4,
    DTYPE_C64,
    DTYPE_BOOL,
    DTYPE_U8,
    DTYPE_I8,
    DTYPE_U16,
    DTYPE_I16,
    DTYPE_U32,
    DTYPE_I32,
    DTYPE_U64,
    DTYPE_I64,
    DTYPES
};

const char *dtype_name(enum dtype dtype);
unsigned dtype_bits(enum dtype dtype);
/* DTYPE_NONE for a name that is none. */
enum dtype dtype_from_name(const char *name, size_t size);
/* 1 for the types that hold weights in place: F64, F32, F16, BF16, F8_E4M3, F8_E5M2. */
int dtype_is_weight(enum dtype dtype);

#endif
