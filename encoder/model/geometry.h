/* geometry.h - the shape of a CLIP text tower. Numbers only; where they came from is not known here. */
#ifndef ENCODER_MODEL_GEOMETRY_H
#define ENCODER_MODEL_GEOMETRY_H

#include <stdint.h>

#include "../base/fault.h"

enum activation { ACTIVATION_NONE, ACTIVATION_QUICK_GELU, ACTIVATION_GELU };

/* Shape letters: T context, D width, H heads, L layers, P projection. */
struct geometry {
    uint32_t width, layers, heads, mlp_width, context, vocabulary;
    uint32_t projection; /* 0: none */
    int identity;        /* the projection is the identity, and no tensor */
    enum activation activation;
    double norm_epsilon;
    int32_t end_id; /* of the config; -1: none or the legacy 2 */
    int legacy_end; /* eos_token_id 2: pooling takes the largest id (huggingface/transformers#24773) */
};

/* Every number within limits, heads dividing width. `name` is the file they came from. */
int geometry_check(const struct geometry *geometry, const char *name, struct fault *fault);

/* "gelu", "quick_gelu": the names transformers has for them. */
const char *activation_name(enum activation activation);

#endif
