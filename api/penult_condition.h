/* penult_condition.h - the extension "penult.condition/1": prompts to what a pipeline's sampler takes.
 *
 * penult.h gives hidden states; a sampler takes tensors that are made of them, in a way that differs from pipeline to
 * pipeline and from host to host. Here a recipe has a name ("sdxl@diffusers"), a pipeline is opened for it from models
 * that the host opened with penult.h, and one call fills named tensors in the host's own buffers.
 *
 *     const penult_condition_api *condition = api->extension(PENULT_CONDITION);
 *     penult_named_model models[] = { { "clip_l", clip_l }, { "clip_g", clip_g } };
 *     penult_pipeline_params params = { .struct_size = sizeof params, .recipe = "sdxl",
 *         .model_count = 2, .model_stride = sizeof models[0], .models = models };
 *     penult_pipeline *pipeline;
 *     if (condition->pipeline_open(&params, &pipeline, &error) != PENULT_OK) ...
 *     penult_named_tensor out[] = {
 *         { "prompt_embeds",          { .data = context, .bytes = sizeof context, .dtype = PENULT_F32 } },
 *         { "negative_prompt_embeds", { .data = zeros,   .bytes = sizeof zeros,   .dtype = PENULT_F32 } },
 *         { "vector",                 { .data = vector,  .bytes = sizeof vector,  .dtype = PENULT_F32 } } };
 *     penult_condition_request request = { .struct_size = sizeof request,
 *         .prompt = { .text = "a photo of a cat", .text_bytes = 16 }, .target_height = 1024, .target_width = 1024,
 *         .tensor_count = 3, .tensor_stride = sizeof out[0], .tensors = out };
 *     condition->condition(pipeline, &request, NULL, &error);
 *
 * Everything that penult.h says about shapes, threads, memory, growth, errors, guest manners and numbers holds here too.
 *
 * WORDS. A window is one row of a tower: 77 tokens, start, end and padding among them. A prompt longer than that becomes
 * n windows, as the dialect's host cuts it, which stand one behind the other along the tokens: T = 77 n. Positive and
 * negative have the same n, as that host brings them to it; in comfyui alone they may differ, where it runs the UNet twice
 * instead. C is the width of a pipeline's context: its towers' widths side by side, first tower first.
 *
 * TENSORS. Row-major. Which a recipe has, `tensor` tells; the names are diffusers' where it has one.
 *
 *     prompt_embeds                  [1,T,C]  hidden states: the sampler's cross-attention context
 *     negative_prompt_embeds         [1,T,C]  of the negative prompt, or of what stands for one that is absent
 *     pooled_prompt_embeds           [1,P]    pooled vectors of the towers that give one, side by side
 *     negative_pooled_prompt_embeds  [1,P]
 *     add_time_ids                   [1,k]    SDXL: original height, width, crop top, left, target height, width (k = 6); its
 *                                             refiner: the first four and the aesthetic score (k = 5)
 *     negative_add_time_ids          [1,k]
 *     vector                         [1,V]    pooled vector, then each of the k numbers as 128 cosines and 128 sines: what
 *                                             the UNet adds to its time embedding ("y" in sgm): 2816 for SDXL, 2560 for the
 *                                             refiner
 *     negative_vector                [1,V]
 *     text_mask                      [1,T]    Kandinsky's prior: 1 for start, prompt and end, 0 for padding
 *     negative_text_mask             [1,T]
 *
 * EXACTNESS. A tensor has the bits of penult.h's own encode of the same rows; where a dialect weights them, the host's
 * formula follows in float32, one rounding for each operation, before the tensor's own dtype is rounded to.
 */
#ifndef PENULT_CONDITION_H
#define PENULT_CONDITION_H

#include "penult.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PENULT_CONDITION "penult.condition/1"

/* ---- recipes ------------------------------------------------------------------------------------------------ */

/* pooled of a recipe's tower, besides PENULT_POOLED_RAW and _PROJECTED: */
#define PENULT_POOLED_NONE 0u
#define PENULT_POOLED_PROJECTED_IF_ANY 16u /* projected where the checkpoint has a projection, else raw: SD 3's CLIP-L */

/* unconditional: what the conditioning is where no negative prompt is given */
#define PENULT_UNCONDITIONAL_ENCODES 0u         /* the empty prompt's */
#define PENULT_UNCONDITIONAL_ZERO_IF_ABSENT 1u  /* zeros, context and pooled; an empty prompt that is given is encoded */
#define PENULT_UNCONDITIONAL_ZERO_IF_EMPTY 2u   /* zeros for an empty prompt too */
#define PENULT_UNCONDITIONAL_ZERO_ALWAYS 3u     /* zeros, whatever the negative prompt says */
#define PENULT_UNCONDITIONAL_NONE 4u            /* the pipeline has none: negative tensors need a negative prompt */

/* skip: how the host counts its "clip skip" c */
#define PENULT_SKIP_NONE 0u  /* it has none */
#define PENULT_SKIP_MORE 1u  /* c blocks more than the recipe leaves out; c >= 0 (diffusers) */
#define PENULT_SKIP_LAYER 2u /* the output of the c-th block from the end, the last being 1; c >= 1 (A1111) */
#define PENULT_SKIP_INDEX 3u /* c is the layer itself, -1 the last block's; c <= -1 (ComfyUI's "stop at clip layer") */

/* A row of the table. Strings live as long as the library. */
typedef struct penult_recipe_info {
    uint32_t struct_size;
    uint32_t tower_count;
    const char *name;       /* "sdxl@diffusers": what it is, and as which host makes it */
    const char *alias;      /* "sdxl", which means the same; NULL: none */
    const char *source;     /* the repository, commit and place that it was read from */
    const char *dialect;    /* how its host reads weights in prompts: "plain", "a1111", "comfyui" or "compel" */
    uint32_t context_width; /* zeros on the right up to this width; 0: as wide as the towers make it */
    uint32_t unconditional; /* a PENULT_UNCONDITIONAL_ value */
    uint32_t skip;          /* a PENULT_SKIP_ value */
    uint32_t skip_negative; /* 1: the negative prompt skips too */
    uint32_t time_ids;      /* k: how many numbers add_time_ids has; 0: there are none */
    uint32_t text_mask;     /* 1: there is a text_mask */
} penult_recipe_info;

/* A tower of a recipe. */
typedef struct penult_recipe_tower {
    uint32_t struct_size;
    int32_t layer;       /* its context, counted from the end; 0: none is taken from it */
    const char *name;    /* "clip_l", "clip_h", "clip_g": the name that a model for it is given under */
    uint32_t final_norm; /* 1: on its context */
    uint32_t pooled;     /* a PENULT_POOLED_ value */
    uint32_t pads_with_zero; /* 1: rows are filled up with id 0 ("!"), 0: with the end id, 49407 */
    uint32_t key_mask;   /* 1: the tower does not see the padding */
    uint32_t second_prompt; /* 1: takes the second prompt where one is given */
    uint32_t skips;      /* clip skip moves its layer: 1 always, 2 with PENULT_PIPELINE_SKIP_ALL, 0 never */
    uint32_t tokenizer_mode; /* how the host reads text for it: what to open its model with, as penult_open_params has it */
    uint32_t pad_in_text;
    uint32_t cut_to;     /* blocks of a published export that ends at `layer`: of a model with so many the last is taken; 0: none */
    uint32_t reserved;
} penult_recipe_tower;

/* ---- opening a pipeline ------------------------------------------------------------------------------------- */

typedef struct penult_pipeline penult_pipeline;

/* name: the tower that the model is for, as penult_recipe_tower.name; NULL: what penult_model_info.tower calls it. */
typedef struct penult_named_model {
    const char *name;
    penult_model *model;
} penult_named_model;

/* emphasis: what becomes of weights in the a1111 dialect, by that host's own words (modules/sd_emphasis.py) */
#define PENULT_EMPHASIS_ORIGINAL 0u /* states times weights, then times mean before / mean after */
#define PENULT_EMPHASIS_NO_NORM 1u  /* without the second step */
#define PENULT_EMPHASIS_IGNORE 2u   /* signs are read and weights are not */
#define PENULT_EMPHASIS_NONE 3u     /* brackets are text */

/* flags of pipeline_params */
#define PENULT_PIPELINE_NO_CACHE 1u /* forget every window when the call ends */
#define PENULT_PIPELINE_SKIP_ALL 2u /* A1111's option sdxl_clip_l_skip: clip skip also moves a tower that skips only if asked */
#define PENULT_PIPELINE_SPLIT 4u    /* compel: long prompts become several windows (truncate_long_prompts=False); in
                                       "sdxl@compel" they do so without it, as CompelForSDXL has it */
#define PENULT_PIPELINE_BF16 8u     /* sessions compute in PENULT_ARITHMETIC_BF16 (penult.h); since 0.4 */

/* recipe     a name or an alias of the table: `recipe` lists it.
 * models     model_count elements, one for each tower of the recipe, in any order. Each must have a tokenizer, and reads text by
 *            its own: penult_recipe_tower says how the recipe's host does. The pipeline keeps a reference of each: the host
 *            may close them.
 * dialect    NULL: the recipe's own; else the name of another.
 * emphasis   a PENULT_EMPHASIS_ value; others than 0 only in the a1111 dialect.
 * threads    of each tower's session; 0: the CPUs this process may use. Towers run one after the other.
 * max_windows  how many different rows a tower may have in one call: windows of the positive and the negative prompt, the empty
 *            prompt's where weights are counted from it, compel's masked ones. All go through the tower in one batch. 0: 8. At
 *            most 1024. Memory goes with it: some 2.4 MB for bigG and 1.4 MB for CLIP-L each.
 * kernels    a PENULT_KERNELS_ set; 0: the best.
 * max_text_bytes  the longest prompt; 0: 65536. At most 2^24.
 * cache_bytes  the largest memory for windows seen in earlier calls; 0: 16 MiB. A window is known again by its model, its ids, its
 *            key mask and what was wanted of it; it then costs a copy, and has the same bits. */
typedef struct penult_pipeline_params {
    uint32_t struct_size;
    uint32_t flags;
    const char *recipe;
    uint32_t model_count;
    uint32_t model_stride; /* sizeof(penult_named_model) */
    const penult_named_model *models;
    const char *dialect;
    uint32_t emphasis;
    uint32_t threads;
    uint32_t max_windows;
    uint32_t kernels;
    uint64_t max_text_bytes;
    uint64_t cache_bytes;
} penult_pipeline_params;

typedef struct penult_pipeline_info {
    uint32_t struct_size;
    uint32_t tokens;        /* of a window: 77 */
    const char *recipe;     /* its name in full; both strings live as long as the library */
    const char *dialect;
    uint32_t context_width; /* C */
    uint32_t pooled_width;  /* P; 0: no tower gives one */
    uint32_t vector_width;  /* V; 0: there is none */
    uint32_t tensors;       /* how many `tensor` tells of */
    uint32_t max_windows;
    uint32_t cache_windows; /* windows that the cache has room for, of each tower */
    uint64_t bytes;         /* private memory of the pipeline, sessions and cache included */
} penult_pipeline_info;

/* ---- conditioning ------------------------------------------------------------------------------------------- */

/* text NULL with text_bytes 0: not given. An empty text that is given has a pointer. Need not be NUL-terminated. */
typedef struct penult_condition_text {
    const char *text;
    uint64_t text_bytes;
} penult_condition_text;

/* A tensor that is wanted, and where it goes. name as under TENSORS. `to`: row_pitch, from token to token, counts for the
 * contexts alone; batch_pitch is 0 or at least as long as the tensor, which is one prompt's. */
typedef struct penult_named_tensor {
    const char *name;
    penult_buffer to;
} penult_named_tensor;

/* Numbers of SDXL's add_time_ids. */
typedef struct penult_condition_sizes {
    uint32_t original_height, original_width;
    uint32_t crop_top, crop_left;
    uint32_t target_height, target_width;
    double aesthetic_score;
} penult_condition_sizes;

/* flags of a condition request */
#define PENULT_CONDITION_CLIP_SKIP 1u      /* clip_skip counts */
#define PENULT_CONDITION_NEGATIVE_SIZES 2u /* negative_sizes counts; without it the negative's are the positive's, but for the
                                              aesthetic score */

/* prompt           not given: the empty text.
 * prompt_2         for the towers that take a second prompt; not given: `prompt`. Diffusers takes one that is empty for one
 *                  that is not given, and so do its recipes; negative_2 likewise.
 * negative         not given: see penult_recipe_info.unconditional.
 * negative_2       not given: `negative`. Given without `negative`, which then is the empty text: what diffusers makes of it.
 * sizes            a recipe without time ids wants zeros. original 0: as target. target 0: as original; both 0: 1024 (diffusers'
 *                  default_sample_size of SDXL, 128, times 8). aesthetic_score 0: 6.0, and 2.5 for the negative (diffusers
 *                  StableDiffusionXLImg2ImgPipeline, sgm sampling.py).
 * clip_skip        as the recipe's host counts it: penult_recipe_info.skip.
 * tensors          those that are wanted, tensor_count of them, at least 1, none twice: the tower runs for no others.
 * progress         called after each block, with all blocks of all towers as `total`; nonzero cancels. May be NULL. */
typedef struct penult_condition_request {
    uint32_t struct_size;
    uint32_t flags;
    penult_condition_text prompt;
    penult_condition_text prompt_2;
    penult_condition_text negative;
    penult_condition_text negative_2;
    penult_condition_sizes sizes;
    penult_condition_sizes negative_sizes;
    int32_t clip_skip;
    uint32_t tensor_count;
    uint32_t tensor_stride; /* sizeof(penult_named_tensor) */
    uint32_t reserved;
    const penult_named_tensor *tensors;
    int32_t (*progress)(void *user, const penult_progress *progress);
    void *user;
} penult_condition_request;

#define PENULT_CHUNK_CUT UINT32_MAX /* chunk of a token that the dialect's host cuts off */

/* A token of a prompt, before windows are filled up or repeated. */
typedef struct penult_condition_token {
    int32_t id;
    uint32_t tower;    /* index in the recipe */
    uint32_t negative; /* 1: of the negative prompt */
    uint32_t chunk;    /* the prompt's window that it is in; PENULT_CHUNK_CUT: none */
    uint32_t row;      /* its row there, start being row 0 */
    uint32_t reserved;
    uint64_t begin;    /* bytes of the prompt that it stands for */
    uint64_t end;
    double weight;     /* as the dialect reads it, 1 for none */
} penult_condition_token;

/* flags of a window */
#define PENULT_WINDOW_CACHED 1u /* came from the pipeline's cache */
#define PENULT_WINDOW_EMPTY 2u  /* the empty prompt's: what the shorter of two prompts is filled up with, what weights are counted
                                   from */
#define PENULT_WINDOW_MASKED 4u /* compel's encoding without one fragment, for a weight below 1 */
#define PENULT_WINDOW_PLAIN 8u  /* the prompt as typed, signs and all, which compel takes the pooled vector from */

/* A row that a tower had to give, each once, however often it is used. */
typedef struct penult_condition_window {
    uint32_t tower;
    uint32_t flags;
    uint32_t negative; /* of its first use */
    uint32_t chunk;    /* of its first use; 0 for what is no window of a prompt */
    int32_t layer;     /* of its context; 0: only a pooled vector was wanted */
    uint32_t reserved;
} penult_condition_window;

/* What was done. Arrays are the caller's, of the capacity given, or NULL; the counts say how many there are, and as many as
 * fit are filled in. */
typedef struct penult_condition_result {
    uint32_t struct_size;
    uint32_t token_stride;
    penult_condition_token *tokens; /* by tower, positive first, in the order of the text */
    uint64_t token_capacity;
    uint64_t token_count;  /* out */
    uint64_t cut_count;    /* out: tokens that were cut off */
    penult_condition_window *windows;
    uint32_t window_stride;
    uint32_t window_capacity;
    uint32_t window_count;   /* out: rows that the towers had to give */
    uint32_t cached_count;   /* out: of them, from the cache */
    uint32_t chunks;         /* out: windows of prompt_embeds, T / 77 */
    uint32_t negative_chunks;
    uint32_t own_chunks;     /* out: before the shorter was filled up or repeated */
    uint32_t negative_own_chunks;
    uint32_t blocks_run;     /* out: blocks computed, of all towers */
    uint32_t negative_zero;  /* out: 1: the negative's context and pooled vector are zeros, by the recipe's rule */
} penult_condition_result;

/* One of a pipeline's tensors. name lives as long as the library. */
typedef struct penult_tensor_info {
    uint32_t struct_size;
    uint32_t rank;
    const char *name;
    uint64_t shape[4]; /* `rank` of them */
} penult_tensor_info;

/* ---- the table ---------------------------------------------------------------------------------------------- */

typedef struct penult_condition_api {
    uint32_t struct_size;
    uint32_t version; /* 1 */

    /* [any-thread] Row `index` of the table, from 0; or the row of that name or alias, with index 0. PENULT_E_NOT_FOUND behind the
     * last, or for a name that there is not. */
    int32_t (*recipe)(uint32_t index, const char *name, penult_recipe_info *info, penult_error *error);

    /* [any-thread] Tower `tower` of that row. PENULT_E_NOT_FOUND behind the last. */
    int32_t (*recipe_tower)(const char *recipe, uint32_t tower, penult_recipe_tower *info, penult_error *error);

    /* [any-thread] The bytes of private memory that pipeline_open would take. Errors: as there. */
    int32_t (*pipeline_measure)(const penult_pipeline_params *params, uint64_t *bytes, penult_error *error);

    /* [open/close] Takes all memory and starts all threads that conditioning will use. *out is NULL on failure.
     * Errors: ARGUMENT, UNSUPPORTED, NOT_FOUND (a recipe, a dialect), MISMATCH (towers of different context lengths), LIMIT,
     * NO_TOKENIZER, NO_MEMORY. */
    int32_t (*pipeline_open)(const penult_pipeline_params *params, penult_pipeline **out, penult_error *error);

    /* [open/close] Ends the pipeline's sessions and drops its models. NULL is nothing. */
    void (*pipeline_close)(penult_pipeline *pipeline);

    /* [any-thread] Fills info. Error: ARGUMENT. */
    int32_t (*pipeline_describe)(const penult_pipeline *pipeline, penult_pipeline_info *info, penult_error *error);

    /* [any-thread] The pipeline's tensor `index`, with its shape for prompts of that many windows. PENULT_E_NOT_FOUND behind the
     * last. */
    int32_t (*tensor)(const penult_pipeline *pipeline, uint32_t index, uint32_t chunks, penult_tensor_info *info, penult_error *error);

    /* [session-thread] What `condition` would do, without the towers: tokens, windows (none of them cached) and chunks, from which
     * the sizes of the tensors follow. The request's tensors are not looked at; what would be wanted for all of them is told.
     * Errors: ARGUMENT, UNSUPPORTED, FORMAT (where the host itself refuses the prompt), TEXT, LIMIT, NO_MEMORY, WRONG_PROCESS. */
    int32_t (*plan)(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                    penult_error *error);

    /* [session-thread] Fills every tensor asked for. result may be NULL. Allocates nothing; a text longer than all before it has
     * memory backed that was reserved at open (NO_MEMORY, before anything is computed). Outputs are untouched for every error
     * that is found before the first block.
     * Errors: those of plan, and CANCELLED, NON_FINITE (the weights', or a prompt's: "(a:1e999)"), CHANGED, IO. */
    int32_t (*condition)(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                         penult_error *error);

    /* [any-thread] The call in progress, if there is one, ends at its next block with PENULT_E_CANCELLED. */
    void (*pipeline_cancel)(penult_pipeline *pipeline);
} penult_condition_api;

#ifdef __cplusplus
}
#endif
#endif
