/* offsets_condition.c - the shape of penult_condition.h's penult.condition/1, pinned as offsets.c pins penult.h. If this file
 * stops compiling, the header broke the extension: change the header, not the numbers. Knows nothing but penult_condition.h.
 */
#include "penult_condition.h"

#ifdef __cplusplus
#define PIN(condition, name) static_assert(condition, name);
#else
#define PIN(condition, name) _Static_assert(condition, name);
#endif

#define SIZE(type, bytes) PIN(sizeof(type) == bytes, "size of " #type)
#define AT(type, member, offset, bytes)                                                                               \
    PIN(offsetof(type, member) == offset, "offset of " #type "." #member)                                             \
    PIN(sizeof(((type *)0)->member) == bytes, "size of " #type "." #member)
#define VALUE(name, value) PIN(name == value, "value of " #name)

SIZE(penult_recipe_info, 64)
AT(penult_recipe_info, struct_size, 0, 4)
AT(penult_recipe_info, tower_count, 4, 4)
AT(penult_recipe_info, name, 8, 8)
AT(penult_recipe_info, alias, 16, 8)
AT(penult_recipe_info, source, 24, 8)
AT(penult_recipe_info, dialect, 32, 8)
AT(penult_recipe_info, context_width, 40, 4)
AT(penult_recipe_info, unconditional, 44, 4)
AT(penult_recipe_info, skip, 48, 4)
AT(penult_recipe_info, skip_negative, 52, 4)
AT(penult_recipe_info, time_ids, 56, 4)
AT(penult_recipe_info, text_mask, 60, 4)

SIZE(penult_recipe_tower, 56)
AT(penult_recipe_tower, struct_size, 0, 4)
AT(penult_recipe_tower, layer, 4, 4)
AT(penult_recipe_tower, name, 8, 8)
AT(penult_recipe_tower, final_norm, 16, 4)
AT(penult_recipe_tower, pooled, 20, 4)
AT(penult_recipe_tower, pads_with_zero, 24, 4)
AT(penult_recipe_tower, key_mask, 28, 4)
AT(penult_recipe_tower, second_prompt, 32, 4)
AT(penult_recipe_tower, skips, 36, 4)
AT(penult_recipe_tower, tokenizer_mode, 40, 4)
AT(penult_recipe_tower, pad_in_text, 44, 4)
AT(penult_recipe_tower, cut_to, 48, 4)
AT(penult_recipe_tower, reserved, 52, 4)

SIZE(penult_named_model, 16)
AT(penult_named_model, name, 0, 8)
AT(penult_named_model, model, 8, 8)

SIZE(penult_pipeline_params, 72)
AT(penult_pipeline_params, struct_size, 0, 4)
AT(penult_pipeline_params, flags, 4, 4)
AT(penult_pipeline_params, recipe, 8, 8)
AT(penult_pipeline_params, model_count, 16, 4)
AT(penult_pipeline_params, model_stride, 20, 4)
AT(penult_pipeline_params, models, 24, 8)
AT(penult_pipeline_params, dialect, 32, 8)
AT(penult_pipeline_params, emphasis, 40, 4)
AT(penult_pipeline_params, threads, 44, 4)
AT(penult_pipeline_params, max_windows, 48, 4)
AT(penult_pipeline_params, kernels, 52, 4)
AT(penult_pipeline_params, max_text_bytes, 56, 8)
AT(penult_pipeline_params, cache_bytes, 64, 8)

SIZE(penult_pipeline_info, 56)
AT(penult_pipeline_info, struct_size, 0, 4)
AT(penult_pipeline_info, tokens, 4, 4)
AT(penult_pipeline_info, recipe, 8, 8)
AT(penult_pipeline_info, dialect, 16, 8)
AT(penult_pipeline_info, context_width, 24, 4)
AT(penult_pipeline_info, pooled_width, 28, 4)
AT(penult_pipeline_info, vector_width, 32, 4)
AT(penult_pipeline_info, tensors, 36, 4)
AT(penult_pipeline_info, max_windows, 40, 4)
AT(penult_pipeline_info, cache_windows, 44, 4)
AT(penult_pipeline_info, bytes, 48, 8)

SIZE(penult_condition_text, 16)
AT(penult_condition_text, text, 0, 8)
AT(penult_condition_text, text_bytes, 8, 8)

SIZE(penult_named_tensor, 48)
AT(penult_named_tensor, name, 0, 8)
AT(penult_named_tensor, to, 8, 40)

SIZE(penult_condition_sizes, 32)
AT(penult_condition_sizes, original_height, 0, 4)
AT(penult_condition_sizes, original_width, 4, 4)
AT(penult_condition_sizes, crop_top, 8, 4)
AT(penult_condition_sizes, crop_left, 12, 4)
AT(penult_condition_sizes, target_height, 16, 4)
AT(penult_condition_sizes, target_width, 20, 4)
AT(penult_condition_sizes, aesthetic_score, 24, 8)

SIZE(penult_condition_request, 176)
AT(penult_condition_request, struct_size, 0, 4)
AT(penult_condition_request, flags, 4, 4)
AT(penult_condition_request, prompt, 8, 16)
AT(penult_condition_request, prompt_2, 24, 16)
AT(penult_condition_request, negative, 40, 16)
AT(penult_condition_request, negative_2, 56, 16)
AT(penult_condition_request, sizes, 72, 32)
AT(penult_condition_request, negative_sizes, 104, 32)
AT(penult_condition_request, clip_skip, 136, 4)
AT(penult_condition_request, tensor_count, 140, 4)
AT(penult_condition_request, tensor_stride, 144, 4)
AT(penult_condition_request, reserved, 148, 4)
AT(penult_condition_request, tensors, 152, 8)
AT(penult_condition_request, progress, 160, 8)
AT(penult_condition_request, user, 168, 8)

SIZE(penult_condition_token, 48)
AT(penult_condition_token, id, 0, 4)
AT(penult_condition_token, tower, 4, 4)
AT(penult_condition_token, negative, 8, 4)
AT(penult_condition_token, chunk, 12, 4)
AT(penult_condition_token, row, 16, 4)
AT(penult_condition_token, reserved, 20, 4)
AT(penult_condition_token, begin, 24, 8)
AT(penult_condition_token, end, 32, 8)
AT(penult_condition_token, weight, 40, 8)

SIZE(penult_condition_window, 24)
AT(penult_condition_window, tower, 0, 4)
AT(penult_condition_window, flags, 4, 4)
AT(penult_condition_window, negative, 8, 4)
AT(penult_condition_window, chunk, 12, 4)
AT(penult_condition_window, layer, 16, 4)
AT(penult_condition_window, reserved, 20, 4)

SIZE(penult_condition_result, 88)
AT(penult_condition_result, struct_size, 0, 4)
AT(penult_condition_result, token_stride, 4, 4)
AT(penult_condition_result, tokens, 8, 8)
AT(penult_condition_result, token_capacity, 16, 8)
AT(penult_condition_result, token_count, 24, 8)
AT(penult_condition_result, cut_count, 32, 8)
AT(penult_condition_result, windows, 40, 8)
AT(penult_condition_result, window_stride, 48, 4)
AT(penult_condition_result, window_capacity, 52, 4)
AT(penult_condition_result, window_count, 56, 4)
AT(penult_condition_result, cached_count, 60, 4)
AT(penult_condition_result, chunks, 64, 4)
AT(penult_condition_result, negative_chunks, 68, 4)
AT(penult_condition_result, own_chunks, 72, 4)
AT(penult_condition_result, negative_own_chunks, 76, 4)
AT(penult_condition_result, blocks_run, 80, 4)
AT(penult_condition_result, negative_zero, 84, 4)

SIZE(penult_tensor_info, 48)
AT(penult_tensor_info, struct_size, 0, 4)
AT(penult_tensor_info, rank, 4, 4)
AT(penult_tensor_info, name, 8, 8)
AT(penult_tensor_info, shape, 16, 32)

SIZE(penult_condition_api, 88)
AT(penult_condition_api, struct_size, 0, 4)
AT(penult_condition_api, version, 4, 4)
AT(penult_condition_api, recipe, 8, 8)
AT(penult_condition_api, recipe_tower, 16, 8)
AT(penult_condition_api, pipeline_measure, 24, 8)
AT(penult_condition_api, pipeline_open, 32, 8)
AT(penult_condition_api, pipeline_close, 40, 8)
AT(penult_condition_api, pipeline_describe, 48, 8)
AT(penult_condition_api, tensor, 56, 8)
AT(penult_condition_api, plan, 64, 8)
AT(penult_condition_api, condition, 72, 8)
AT(penult_condition_api, pipeline_cancel, 80, 8)

VALUE(PENULT_POOLED_NONE, 0)
VALUE(PENULT_POOLED_PROJECTED_IF_ANY, 16)
VALUE(PENULT_UNCONDITIONAL_ENCODES, 0)
VALUE(PENULT_UNCONDITIONAL_ZERO_IF_ABSENT, 1)
VALUE(PENULT_UNCONDITIONAL_ZERO_IF_EMPTY, 2)
VALUE(PENULT_UNCONDITIONAL_ZERO_ALWAYS, 3)
VALUE(PENULT_UNCONDITIONAL_NONE, 4)
VALUE(PENULT_SKIP_NONE, 0)
VALUE(PENULT_SKIP_MORE, 1)
VALUE(PENULT_SKIP_LAYER, 2)
VALUE(PENULT_SKIP_INDEX, 3)
VALUE(PENULT_EMPHASIS_ORIGINAL, 0)
VALUE(PENULT_EMPHASIS_NO_NORM, 1)
VALUE(PENULT_EMPHASIS_IGNORE, 2)
VALUE(PENULT_EMPHASIS_NONE, 3)
VALUE(PENULT_PIPELINE_NO_CACHE, 1)
VALUE(PENULT_PIPELINE_SKIP_ALL, 2)
VALUE(PENULT_PIPELINE_SPLIT, 4)
VALUE(PENULT_PIPELINE_BF16, 8)
VALUE(PENULT_CONDITION_CLIP_SKIP, 1)
VALUE(PENULT_CONDITION_NEGATIVE_SIZES, 2)
VALUE(PENULT_CHUNK_CUT, 4294967295)
VALUE(PENULT_WINDOW_CACHED, 1)
VALUE(PENULT_WINDOW_EMPTY, 2)
VALUE(PENULT_WINDOW_MASKED, 4)
VALUE(PENULT_WINDOW_PLAIN, 8)

/* Each slot assigned to a pointer of the pinned type, as in offsets.c. Never called. */
void condition_slots_have_their_types(const penult_condition_api *api, penult_condition_request *request);
void condition_slots_have_their_types(const penult_condition_api *api, penult_condition_request *request) {
    int32_t (*recipe)(uint32_t, const char *, penult_recipe_info *, penult_error *) = api->recipe;
    int32_t (*recipe_tower)(const char *, uint32_t, penult_recipe_tower *, penult_error *) = api->recipe_tower;
    int32_t (*measure)(const penult_pipeline_params *, uint64_t *, penult_error *) = api->pipeline_measure;
    int32_t (*open)(const penult_pipeline_params *, penult_pipeline **, penult_error *) = api->pipeline_open;
    void (*close)(penult_pipeline *) = api->pipeline_close;
    int32_t (*describe)(const penult_pipeline *, penult_pipeline_info *, penult_error *) = api->pipeline_describe;
    int32_t (*tensor)(const penult_pipeline *, uint32_t, uint32_t, penult_tensor_info *, penult_error *) = api->tensor;
    int32_t (*plan)(penult_pipeline *, const penult_condition_request *, penult_condition_result *, penult_error *) = api->plan;
    int32_t (*condition)(penult_pipeline *, const penult_condition_request *, penult_condition_result *, penult_error *) =
        api->condition;
    void (*cancel)(penult_pipeline *) = api->pipeline_cancel;
    int32_t (*progress)(void *, const penult_progress *) = request->progress;
    (void)recipe, (void)recipe_tower, (void)measure, (void)open, (void)close, (void)describe, (void)tensor, (void)plan;
    (void)condition, (void)cancel, (void)progress;
}
