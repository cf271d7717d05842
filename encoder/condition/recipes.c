/* recipes.c - the table. Repositories at the commits that were read; spec.md 2.5, 4.7 and 7 have the findings behind it.
 */
#include "recipes.h"

#include <string.h>

#include "size_embedding.h"

/* A tower that gives context alone, pooled alone, or both. */
#define L_CONTEXT(layer, norm, tokens) {RECIPE_CLIP_L, layer, norm, RECIPE_NO_POOLED, RECIPE_PAD_END, 0, 0, tokens, 0}
#define G_BOTH(layer, norm, pad, key_mask, second, tokens) \
    {RECIPE_CLIP_BIGG, layer, norm, RECIPE_PROJECTED, pad, key_mask, second, tokens, 0}

#define SIX_SIZES \
    {RECIPE_ORIGINAL_HEIGHT, RECIPE_ORIGINAL_WIDTH, RECIPE_CROP_TOP, RECIPE_CROP_LEFT, RECIPE_TARGET_HEIGHT, RECIPE_TARGET_WIDTH}
#define FIVE_SIZES \
    {RECIPE_ORIGINAL_HEIGHT, RECIPE_ORIGINAL_WIDTH, RECIPE_CROP_TOP, RECIPE_CROP_LEFT, RECIPE_AESTHETIC_SCORE}

/* SDXL's base is the same in every host, but for what an absent negative prompt is and how blocks are skipped. */
#define SDXL_BASE(l_tokens, g_tokens)                                                               \
    .tower_count = 2, .towers = {L_CONTEXT(-2, 0, l_tokens), G_BOTH(-2, 0, RECIPE_PAD_ZERO, 0, 1, g_tokens)}, .sizes = SIX_SIZES

const struct recipe recipes[] = {
    {
        .name = "sd1@diffusers",
        .alias = "sd1",
        .source = "diffusers 58eb52c, StableDiffusionPipeline.encode_prompt; CompVis/stable-diffusion 21f890f",
        .dialect = DIALECT_PLAIN,
        .tower_count = 1,
        .towers = {L_CONTEXT(-1, 1, RECIPE_TOKENS_OF_FILES)},
        .unconditional = RECIPE_ENCODES,
        .skip = RECIPE_SKIP_MORE,
        .skip_norm = 1,
        .skip_towers = 1,
    },
    {
        .name = "sd2@diffusers",
        .alias = "sd2",
        .source = "diffusers 58eb52c, StableDiffusionPipeline.encode_prompt, whose text encoder is an export of 23 blocks of what "
                  "Stability-AI/stablediffusion cf1d67a, FrozenOpenCLIPEmbedder, layer penultimate, takes of 24",
        .dialect = DIALECT_PLAIN,
        .tower_count = 1,
        .towers = {{RECIPE_CLIP_H, -2, 1, RECIPE_NO_POOLED, RECIPE_PAD_ZERO, 0, 0, RECIPE_TOKENS_OF_FILES, 23}},
        .unconditional = RECIPE_ENCODES,
        .skip = RECIPE_SKIP_MORE,
        .skip_norm = 1,
        .skip_towers = 1,
    },
    {
        .name = "sdxl@diffusers",
        .alias = "sdxl",
        .source = "diffusers 58eb52c, StableDiffusionXLPipeline.encode_prompt, force_zeros_for_empty_prompt",
        .dialect = DIALECT_PLAIN,
        SDXL_BASE(RECIPE_TOKENS_OF_FILES, RECIPE_TOKENS_OF_FILES),
        .second_falls_back = 1,
        .unconditional = RECIPE_ZEROS_IF_ABSENT,
        .skip = RECIPE_SKIP_MORE,
        .skip_towers = 3,
    },
    {
        .name = "sdxl@sgm",
        .source = "Stability-AI/generative-models 0ad7de9, GeneralConditioner, sd_xl_base.yaml, sampling.py: "
                  "force_uc_zero_embeddings of txt",
        .dialect = DIALECT_PLAIN,
        SDXL_BASE(RECIPE_TOKENS_OF_FILES, RECIPE_TOKENS_OPEN_CLIP),
        .unconditional = RECIPE_ZEROS_ALWAYS,
    },
    {
        .name = "sdxl@comfyui",
        .source = "ComfyUI, sdxl_clip.SDXLClipModel, sd1_clip, model_base.SDXL.encode_adm",
        .dialect = DIALECT_COMFYUI,
        SDXL_BASE(RECIPE_TOKENS_OF_FILES, RECIPE_TOKENS_PLAIN_PAD),
        .unconditional = RECIPE_ENCODES,
        .skip = RECIPE_SKIP_INDEX,
        .skips_negative = 1,
        .skip_towers = 3,
    },
    {
        .name = "sdxl@a1111",
        .source = "AUTOMATIC1111 sd_hijack_clip, sd_hijack_open_clip, sd_models_xl, as Forge dfdcbab has them",
        .dialect = DIALECT_A1111,
        SDXL_BASE(RECIPE_TOKENS_OF_FILES, RECIPE_TOKENS_OPEN_CLIP),
        .unconditional = RECIPE_ZEROS_IF_EMPTY,
        .skip = RECIPE_SKIP_LAYER,
        .skips_negative = 1,
        .skip_asked = 1,
    },
    {
        .name = "sdxl@compel",
        .source = "compel 2.5.1, convenience_wrappers.CompelForSDXL, whose tensors go to diffusers 58eb52c; the tower with "
                  "fewer windows is filled up with the empty prompt's",
        .dialect = DIALECT_COMPEL,
        .splits = 1,
        SDXL_BASE(RECIPE_TOKENS_OF_FILES, RECIPE_TOKENS_OF_FILES),
        .unconditional = RECIPE_ZEROS_IF_ABSENT,
    },
    {
        .name = "sdxl-refiner@diffusers",
        .alias = "sdxl-refiner",
        .source = "diffusers 58eb52c, StableDiffusionXLImg2ImgPipeline, which without a first tower gives the second the first "
                  "prompt and looks at no second; sgm 0ad7de9, sd_xl_refiner.yaml",
        .dialect = DIALECT_PLAIN,
        .tower_count = 1,
        .towers = {G_BOTH(-2, 0, RECIPE_PAD_ZERO, 0, 0, RECIPE_TOKENS_OF_FILES)},
        .unconditional = RECIPE_ENCODES,
        .sizes = FIVE_SIZES,
        .skip = RECIPE_SKIP_MORE,
        .skip_towers = 1,
    },
    {
        .name = "sd3@diffusers",
        .alias = "sd3",
        .source = "diffusers 58eb52c, StableDiffusion3Pipeline.encode_prompt; Stability-AI/sd3-ref 883b836",
        .dialect = DIALECT_PLAIN,
        .tower_count = 2,
        .towers = {{RECIPE_CLIP_L, -2, 0, RECIPE_PROJECTED_IF_ANY, RECIPE_PAD_END, 0, 0, RECIPE_TOKENS_OF_FILES, 0},
                   G_BOTH(-2, 0, RECIPE_PAD_ZERO, 0, 1, RECIPE_TOKENS_OF_FILES)},
        .context_width = 4096,
        .second_falls_back = 1,
        .unconditional = RECIPE_ENCODES,
        .skip = RECIPE_SKIP_MORE,
        .skip_towers = 3,
    },
    {
        .name = "flux@diffusers",
        .alias = "flux",
        .source = "black-forest-labs/flux 802fb47, HFEmbedder; diffusers 58eb52c, FluxPipeline",
        .dialect = DIALECT_PLAIN,
        .tower_count = 1,
        .towers = {{RECIPE_CLIP_L, 0, 0, RECIPE_RAW, RECIPE_PAD_END, 0, 0, RECIPE_TOKENS_OF_FILES, 0}},
        .unconditional = RECIPE_NONE,
    },
    {
        .name = "cascade-prior@diffusers",
        .alias = "cascade-prior",
        .source = "diffusers 58eb52c, StableCascadePriorPipeline.encode_prompt; Stability-AI/StableCascade 7a7d341",
        .dialect = DIALECT_PLAIN,
        .tower_count = 1,
        .towers = {G_BOTH(-1, 0, RECIPE_PAD_END, 1, 0, RECIPE_TOKENS_OF_FILES)},
        .unconditional = RECIPE_ENCODES,
    },
    {
        .name = "cascade-decoder@diffusers",
        .alias = "cascade-decoder",
        .source = "diffusers 58eb52c, StableCascadeDecoderPipeline.encode_prompt: the pooled vector alone",
        .dialect = DIALECT_PLAIN,
        .tower_count = 1,
        .towers = {G_BOTH(0, 0, RECIPE_PAD_END, 1, 0, RECIPE_TOKENS_OF_FILES)},
        .unconditional = RECIPE_ENCODES,
    },
    {
        .name = "kandinsky2.2-prior@diffusers",
        .alias = "kandinsky2.2-prior",
        .source = "diffusers 58eb52c, KandinskyV22PriorPipeline._encode_prompt; ai-forever/Kandinsky-2 aeefc1c",
        .dialect = DIALECT_PLAIN,
        .tower_count = 1,
        .towers = {G_BOTH(-1, 1, RECIPE_PAD_END, 0, 0, RECIPE_TOKENS_OF_FILES)},
        .unconditional = RECIPE_ENCODES,
        .text_mask = 1,
    },
};
const size_t recipe_count = sizeof recipes / sizeof *recipes;

static int is_name(const char *name, const char *wanted, size_t size) {
    return name && strlen(name) == size && memcmp(name, wanted, size) == 0;
}

const struct recipe *recipe_find(const char *name, size_t size) {
    for (size_t i = 0; i < recipe_count; i++) {
        if (is_name(recipes[i].name, name, size) || is_name(recipes[i].alias, name, size))
            return &recipes[i];
    }
    return NULL;
}

int recipe_layer(const struct recipe *recipe, unsigned index, int has_skip, int skip, int optional, int negative, unsigned layers,
                 int *layer, int *norm, struct fault *fault) {
    const struct recipe_tower *tower = &recipe->towers[index];
    int usual = tower->layer + (tower->cut_to == layers); /* in a published export that leaves out what is behind it */
    unsigned moved = recipe->skip_towers | (optional ? recipe->skip_asked : 0);
    *layer = usual;
    *norm = tower->norm;
    if (!has_skip)
        return 0;
    if (recipe->skip == RECIPE_NO_SKIP)
        return fault_set(fault, FAULT_UNSUPPORTED, "clip skip %d: %s has none, expected none to be asked for", skip, recipe->name);
    /* counted from -1; an index is one already */
    int64_t wanted = recipe->skip == RECIPE_SKIP_INDEX ? (int64_t)skip
                     : recipe->skip == RECIPE_SKIP_LAYER ? -(int64_t)skip
                                                         : (int64_t)usual - skip;
    int backwards = recipe->skip == RECIPE_SKIP_MORE && skip < 0;
    if (backwards || wanted > -1 || wanted < -(int64_t)layers)
        return fault_set(fault, FAULT_ARGUMENT, "clip skip %d: found no such layer in a tower of %u, as %s counts them", skip, layers,
                         recipe->name);
    if ((moved >> index & 1) && (!negative || recipe->skips_negative)) {
        *layer = (int)wanted;
        *norm = wanted == usual ? tower->norm : recipe->skip_norm;
    }
    return 0;
}

size_t recipe_sizes(const struct recipe *recipe) {
    size_t count = 0;
    while (recipe->sizes[count] != RECIPE_SIZES_END)
        count++;
    return count * SIZE_EMBEDDING;
}
