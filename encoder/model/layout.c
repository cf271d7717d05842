/* layout.c - the table of layouts. Sources of the names:
 *   transformers   huggingface/transformers models/clip/modeling_clip.py; releases from 5.6 write a plain CLIPTextModel
 *                  without "text_model."
 *   openclip       mlfoundations/open_clip src/open_clip/transformer.py, model.py (custom text: convert_to_custom_text_state_dict)
 *   single files   huggingface/diffusers loaders/single_file_utils.py (CHECKPOINT_KEY_NAMES, convert_ldm_clip_checkpoint,
 *                  convert_open_clip_checkpoint)
 *   ComfyUI        behaviour of its loader and of the node CLIPSave: "clip_l.transformer.", a bare "clip_g.text_projection" in
 *                  older files
 */
#include "layout.h"

#include <stdio.h>
#include <string.h>

static const struct scheme transformers = {
    .block = "encoder.layers.",
    .names = {
        [ROLE_NORM1_GAIN] = "layer_norm1.weight",
        [ROLE_NORM1_BIAS] = "layer_norm1.bias",
        [ROLE_Q_WEIGHT] = "self_attn.q_proj.weight",
        [ROLE_Q_BIAS] = "self_attn.q_proj.bias",
        [ROLE_K_WEIGHT] = "self_attn.k_proj.weight",
        [ROLE_K_BIAS] = "self_attn.k_proj.bias",
        [ROLE_V_WEIGHT] = "self_attn.v_proj.weight",
        [ROLE_V_BIAS] = "self_attn.v_proj.bias",
        [ROLE_OUT_WEIGHT] = "self_attn.out_proj.weight",
        [ROLE_OUT_BIAS] = "self_attn.out_proj.bias",
        [ROLE_NORM2_GAIN] = "layer_norm2.weight",
        [ROLE_NORM2_BIAS] = "layer_norm2.bias",
        [ROLE_FC1_WEIGHT] = "mlp.fc1.weight",
        [ROLE_FC1_BIAS] = "mlp.fc1.bias",
        [ROLE_FC2_WEIGHT] = "mlp.fc2.weight",
        [ROLE_FC2_BIAS] = "mlp.fc2.bias",
        [ROLE_TOKEN_EMBEDDING] = "embeddings.token_embedding.weight",
        [ROLE_POSITION_EMBEDDING] = "embeddings.position_embedding.weight",
        [ROLE_FINAL_GAIN] = "final_layer_norm.weight",
        [ROLE_FINAL_BIAS] = "final_layer_norm.bias",
    },
};

static const struct scheme openclip = {
    .block = "transformer.resblocks.",
    .fused = 1,
    .names = {
        [ROLE_NORM1_GAIN] = "ln_1.weight",
        [ROLE_NORM1_BIAS] = "ln_1.bias",
        [ROLE_Q_WEIGHT] = "attn.in_proj_weight",
        [ROLE_Q_BIAS] = "attn.in_proj_bias",
        [ROLE_K_WEIGHT] = "attn.in_proj_weight",
        [ROLE_K_BIAS] = "attn.in_proj_bias",
        [ROLE_V_WEIGHT] = "attn.in_proj_weight",
        [ROLE_V_BIAS] = "attn.in_proj_bias",
        [ROLE_OUT_WEIGHT] = "attn.out_proj.weight",
        [ROLE_OUT_BIAS] = "attn.out_proj.bias",
        [ROLE_NORM2_GAIN] = "ln_2.weight",
        [ROLE_NORM2_BIAS] = "ln_2.bias",
        [ROLE_FC1_WEIGHT] = "mlp.c_fc.weight",
        [ROLE_FC1_BIAS] = "mlp.c_fc.bias",
        [ROLE_FC2_WEIGHT] = "mlp.c_proj.weight",
        [ROLE_FC2_BIAS] = "mlp.c_proj.bias",
        [ROLE_TOKEN_EMBEDDING] = "token_embedding.weight",
        [ROLE_POSITION_EMBEDDING] = "positional_embedding",
        [ROLE_FINAL_GAIN] = "ln_final.weight",
        [ROLE_FINAL_BIAS] = "ln_final.bias",
    },
};

#define LINEAR {{"text_projection.weight", 0}}
/* Playground v2 and others keep a Linear's weight under OpenCLIP's names. */
#define BARE {{"text_projection", 1}, {"text_projection.weight", 0}}
#define SD2_DOUBT "Stable Diffusion 2 does not use it, and files derived from it hold a dummy"

static const struct layout layouts[] = {
    {"transformers", NULL, "", "text_model.", &transformers, LINEAR, 1, NULL},
    {"transformers, bare", NULL, "", "", &transformers, LINEAR, 1, NULL},
    {"openclip", NULL, "", "", &openclip, BARE, 0, NULL},
    {"openclip, custom text", NULL, "text.", "", &openclip, BARE, 0, NULL},
    {"sdxl single file", "clip_l", "conditioner.embedders.0.transformer.", "text_model.", &transformers, LINEAR, 1, NULL},
    {"sdxl single file", "clip_g", "conditioner.embedders.1.model.", "", &openclip, BARE, 0, NULL},
    {"sdxl refiner single file", "clip_g", "conditioner.embedders.0.model.", "", &openclip, BARE, 0, NULL},
    {"sd1 single file", "clip_l", "cond_stage_model.transformer.", "text_model.", &transformers, LINEAR, 1, NULL},
    {"sd1 single file, bare", "clip_l", "cond_stage_model.transformer.", "", &transformers, LINEAR, 1, NULL},
    {"sd2 single file", "clip_h", "cond_stage_model.model.", "", &openclip, BARE, 0, SD2_DOUBT},
    {"sd3 single file", "clip_l", "text_encoders.clip_l.transformer.", "text_model.", &transformers, LINEAR, 1, NULL},
    {"sd3 single file", "clip_g", "text_encoders.clip_g.transformer.", "text_model.", &transformers, LINEAR, 0, NULL},
    /* here the bare one stands beside "transformer.", see layout_spell_projection */
    {"comfyui save", "clip_l", "clip_l.transformer.", "text_model.", &transformers, {{"text_projection.weight", 0}, {"^text_projection", 1}}, 1, NULL},
    {"comfyui save", "clip_h", "clip_h.transformer.", "text_model.", &transformers, {{"text_projection.weight", 0}, {"^text_projection", 1}}, 0, NULL},
    {"comfyui save", "clip_g", "clip_g.transformer.", "text_model.", &transformers, {{"text_projection.weight", 0}, {"^text_projection", 1}}, 0, NULL},
};

static const char *const wrappers[] = {"", "model.", "module.", "state_dict."};

void layout_spell(const struct found_layout *found, enum role role, unsigned block, struct layout_name *out) {
    const struct layout *layout = found->layout;
    const struct scheme *scheme = layout->scheme;
    int size;
    if (role < BLOCK_ROLES)
        size = snprintf(out->bytes, sizeof out->bytes, "%s%s%s%s%u.%s", found->wrapper, layout->root, layout->inner,
                        scheme->block, block, scheme->names[role]);
    else
        size = snprintf(out->bytes, sizeof out->bytes, "%s%s%s%s", found->wrapper, layout->root, layout->inner,
                        scheme->names[role]);
    out->size = (size_t)size;
}

/* "^name": in place of the root's last part. */
void layout_spell_projection(const struct found_layout *found, unsigned choice, struct layout_name *out) {
    const char *root = found->layout->root, *name = found->layout->projections[choice].name;
    size_t kept = strlen(root);
    if (name[0] == '^') {
        name++;
        kept--; /* its dot */
        while (kept > 0 && root[kept - 1] != '.') /* GCOVR_EXCL_BR_LINE: a root with "^" has two parts */
            kept--;
    }
    out->size = (size_t)snprintf(out->bytes, sizeof out->bytes, "%s%.*s%s", found->wrapper, (int)kept, root, name);
}

size_t layout_find_projection(const struct found_layout *found, const struct tensor_set *set, int *bare) {
    const struct projection_name *choices = found->layout->projections;
    struct layout_name name;
    for (unsigned i = 0; i < sizeof found->layout->projections / sizeof *choices && choices[i].name; i++) {
        layout_spell_projection(found, i, &name);
        size_t index = tensor_find(set, name.bytes, name.size);
        *bare = choices[i].bare;
        if (index < set->count)
            return index;
    }
    return set->count;
}

static int begins_with(const char *name, size_t size, const char *head) {
    size_t length = strlen(head);
    return size >= length && memcmp(name, head, length) == 0;
}

static int all_begin_with(const struct tensor_set *set, const char *head) {
    for (size_t i = 0; i < set->count; i++)
        if (!begins_with(set->items[i].name, set->items[i].name_size, head))
            return 0;
    return 1;
}

size_t layouts_find(const struct tensor_set *set, struct found_layout *out) {
    struct layout_name name;
    size_t count = 0;
    for (size_t w = 0; w < sizeof wrappers / sizeof wrappers[0] && count == 0; w++) {
        if (!all_begin_with(set, wrappers[w]))
            continue;
        for (size_t i = 0; i < sizeof layouts / sizeof layouts[0] && count < LAYOUTS_MOST; i++) {
            struct found_layout found = {&layouts[i], wrappers[w]};
            layout_spell(&found, ROLE_TOKEN_EMBEDDING, 0, &name);
            if (tensor_find(set, name.bytes, name.size) < set->count)
                out[count++] = found;
        }
    }
    return count;
}

uint32_t layout_count_blocks(const struct found_layout *found, const struct tensor_set *set) {
    const struct layout *layout = found->layout;
    char head[LAYOUT_NAME];
    uint64_t most = 0;
    size_t length = (size_t)snprintf(head, sizeof head, "%s%s%s%s", found->wrapper, layout->root, layout->inner, layout->scheme->block);
    for (size_t i = 0; i < set->count; i++) {
        const struct named_tensor *item = &set->items[i];
        uint64_t number = 0;
        size_t at = length;
        if (!begins_with(item->name, item->name_size, head))
            continue;
        for (; at < item->name_size && item->name[at] >= '0' && item->name[at] <= '9'; at++)
            number = number < UINT32_MAX ? number * 10 + (uint64_t)(item->name[at] - '0') : number;
        if (at > length && at < item->name_size && item->name[at] == '.' && number + 1 > most)
            most = number + 1;
    }
    return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

int layout_covers(const struct found_layout *found, const char *name, size_t size) {
    size_t head = strlen(found->wrapper);
    if (!begins_with(name, size, found->wrapper))
        return 0;
    return begins_with(name + head, size - head, found->layout->root) &&
           begins_with(name + head + strlen(found->layout->root), size - head - strlen(found->layout->root), found->layout->inner);
}
