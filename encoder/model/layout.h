/* layout.h - what the tensors of a text tower are called in a file, as data. A naming dialect is a scheme (what a block's
 * tensors are called); a layout is a scheme at a place in a file (what stands before the names). Told apart by names and
 * shapes, never by a file's name. Knows no file and no arithmetic. */
#ifndef ENCODER_MODEL_LAYOUT_H
#define ENCODER_MODEL_LAYOUT_H

#include <stddef.h>

#include "../base/tensor.h"
#include "geometry.h"

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

struct scheme {
    const char *block; /* what stands before a block's number */
    const char *names[ROLE_PROJECTION];
    int fused; /* q, k and v are rows [0,D), [D,2D), [2D,3D) of one tensor, whose name stands at each of the three */
};

/* Where a projection may be, tried in order. Bare: a matrix P[D,P] used as x P; else the weight of a Linear, [P,D]. */
struct projection_name {
    const char *name; /* after the root */
    int bare;
};

struct layout {
    const char *name;  /* for people */
    const char *tower; /* what the file itself calls the tower, or NULL: its width says */
    const char *root;  /* before every name */
    const char *inner; /* and then before all but the projection's */
    const struct scheme *scheme;
    struct projection_name projections[2];
    int identity;       /* a tower 768 wide without a projection has the identity (SD3 in diffusers writes it out) */
    const char *doubt;  /* why the projection may not be what it says, or NULL */
};

/* A layout at its place: everything may stand behind one more prefix ("model."), as trainers write it. */
struct found_layout {
    const struct layout *layout;
    const char *wrapper;
};

#define LAYOUT_NAME 256
struct layout_name {
    char bytes[LAYOUT_NAME];
    size_t size;
};

/* Text towers in these tensors, in the order of the table; `out` has room for LAYOUTS_MOST. */
#define LAYOUTS_MOST 8
size_t layouts_find(const struct tensor_set *set, struct found_layout *out);
/* The name of a role; `block` counts for those below BLOCK_ROLES; not ROLE_PROJECTION. */
void layout_spell(const struct found_layout *found, enum role role, unsigned block, struct layout_name *out);
/* The index of the tower's projection in the set and whether it is bare, or set->count. */
size_t layout_find_projection(const struct found_layout *found, const struct tensor_set *set, int *bare);
void layout_spell_projection(const struct found_layout *found, unsigned choice, struct layout_name *out);
/* 1 + the largest number of a block in the set; 0: none. UINT32_MAX: beyond 32 bits. */
uint32_t layout_count_blocks(const struct found_layout *found, const struct tensor_set *set);
/* 1 if the name stands below the layout's root. */
int layout_covers(const struct found_layout *found, const char *name, size_t size);

#endif
