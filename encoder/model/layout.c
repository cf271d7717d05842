/* layout.c - the naming dialects. Source of the names: huggingface/transformers, models/clip/modeling_clip.py (submodules of
 * CLIPTextModel and CLIPTextModelWithProjection). Releases from 5.6 write a plain CLIPTextModel without "text_model.". */
#include "layout.h"

#include <stdio.h>
#include <string.h>

#define TRANSFORMERS_NAMES                                      \
    {                                                           \
        [ROLE_NORM1_GAIN] = "layer_norm1.weight",               \
        [ROLE_NORM1_BIAS] = "layer_norm1.bias",                 \
        [ROLE_Q_WEIGHT] = "self_attn.q_proj.weight",            \
        [ROLE_Q_BIAS] = "self_attn.q_proj.bias",                \
        [ROLE_K_WEIGHT] = "self_attn.k_proj.weight",            \
        [ROLE_K_BIAS] = "self_attn.k_proj.bias",                \
        [ROLE_V_WEIGHT] = "self_attn.v_proj.weight",            \
        [ROLE_V_BIAS] = "self_attn.v_proj.bias",                \
        [ROLE_OUT_WEIGHT] = "self_attn.out_proj.weight",        \
        [ROLE_OUT_BIAS] = "self_attn.out_proj.bias",            \
        [ROLE_NORM2_GAIN] = "layer_norm2.weight",               \
        [ROLE_NORM2_BIAS] = "layer_norm2.bias",                 \
        [ROLE_FC1_WEIGHT] = "mlp.fc1.weight",                   \
        [ROLE_FC1_BIAS] = "mlp.fc1.bias",                       \
        [ROLE_FC2_WEIGHT] = "mlp.fc2.weight",                   \
        [ROLE_FC2_BIAS] = "mlp.fc2.bias",                       \
        [ROLE_TOKEN_EMBEDDING] = "embeddings.token_embedding.weight",       \
        [ROLE_POSITION_EMBEDDING] = "embeddings.position_embedding.weight", \
        [ROLE_FINAL_GAIN] = "final_layer_norm.weight",          \
        [ROLE_FINAL_BIAS] = "final_layer_norm.bias",            \
        [ROLE_PROJECTION] = "text_projection.weight",           \
    }

static const struct layout layouts[] = {
    {.name = "transformers", .tower = "text_model.", .block = "encoder.layers.", .names = TRANSFORMERS_NAMES},
    {.name = "transformers, bare", .tower = "", .block = "encoder.layers.", .names = TRANSFORMERS_NAMES},
};

void layout_spell(const struct layout *layout, enum role role, unsigned block, struct layout_name *out) {
    int size;
    if (role < BLOCK_ROLES)
        size = snprintf(out->bytes, sizeof out->bytes, "%s%s%u.%s", layout->tower, layout->block, block,
                        layout->names[role]);
    else
        size = snprintf(out->bytes, sizeof out->bytes, "%s%s", role == ROLE_PROJECTION ? "" : layout->tower,
                        layout->names[role]);
    out->size = (size_t)size;
}

const struct layout *layout_of(const struct tensor_set *set) {
    struct layout_name name;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        layout_spell(&layouts[i], ROLE_TOKEN_EMBEDDING, 0, &name);
        if (tensor_find(set, name.bytes, name.size) < set->count)
            return &layouts[i];
    }
    return NULL;
}

static int ends_with(const char *name, size_t size, const char *tail) {
    size_t length = strlen(tail);
    return size >= length && memcmp(name + size - length, tail, length) == 0;
}

const char *layout_ignorable(const char *name, size_t size) {
    if (ends_with(name, size, "embeddings.position_ids"))
        return "a buffer of the numbers 0, 1, 2 ... that transformers used to save; positions need no table";
    if (ends_with(name, size, "logit_scale"))
        return "scales similarities of the contrastive training; no hidden state depends on it";
    return NULL;
}
