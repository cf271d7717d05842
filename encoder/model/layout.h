/* layout.h - what the tensors of a text tower are called in a file, as data. A further naming dialect is a further table.
 * Knows names, not shapes and not files. */
#ifndef ENCODER_MODEL_LAYOUT_H
#define ENCODER_MODEL_LAYOUT_H

#include <stddef.h>

#include "../base/tensor.h"

/* What a tensor is to the tower. Those of a block first, so that they can index a block's own array. */
enum role {
    ROLE_NORM1_GAIN,
    ROLE_NORM1_BIAS,
    ROLE_Q_WEIGHT,
    ROLE_Q_BIAS,
    ROLE_K_WEIGHT,
    ROLE_K_BIAS,
    ROLE_V_WEIGHT,
    ROLE_V_BIAS,
    ROLE_OUT_WEIGHT,
    ROLE_OUT_BIAS,
    ROLE_NORM2_GAIN,
    ROLE_NORM2_BIAS,
    ROLE_FC1_WEIGHT,
    ROLE_FC1_BIAS,
    ROLE_FC2_WEIGHT,
    ROLE_FC2_BIAS,
    BLOCK_ROLES,
    ROLE_TOKEN_EMBEDDING = BLOCK_ROLES,
    ROLE_POSITION_EMBEDDING,
    ROLE_FINAL_GAIN,
    ROLE_FINAL_BIAS,
    ROLE_PROJECTION,
    ROLES
};

struct layout {
    const char *name;
    const char *tower; /* what stands before every name but the projection's */
    const char *block; /* what stands before a block's number */
    const char *names[ROLES];
};

#define LAYOUT_NAME 256
struct layout_name {
    char bytes[LAYOUT_NAME];
    size_t size;
};

/* The layout of these tensors, or NULL. */
const struct layout *layout_of(const struct tensor_set *set);
/* The name of a role; `block` counts for those below BLOCK_ROLES. */
void layout_spell(const struct layout *layout, enum role role, unsigned block, struct layout_name *out);
/* Why an unused tensor is safe to leave, or NULL if nobody can say. */
const char *layout_ignorable(const char *name, size_t size);

#endif
