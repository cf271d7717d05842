/* recipes.c - the table of recipes as the ABI shows it, and the table of the extension's functions. */
#include <string.h>

#include "condition.h"
#include "status.h"
#include "structs.h"

_Static_assert((int)RECIPE_ENCODES == PENULT_UNCONDITIONAL_ENCODES && (int)RECIPE_NONE == PENULT_UNCONDITIONAL_NONE, "same numbers");
_Static_assert((int)RECIPE_ZEROS_IF_EMPTY == PENULT_UNCONDITIONAL_ZERO_IF_EMPTY, "same numbers");
_Static_assert((int)RECIPE_NO_SKIP == PENULT_SKIP_NONE && (int)RECIPE_SKIP_INDEX == PENULT_SKIP_INDEX, "same numbers");

static uint32_t pooled_of(enum recipe_pooled pooled) {
    switch (pooled) {
    case RECIPE_RAW:
        return PENULT_POOLED_RAW;
    case RECIPE_PROJECTED:
        return PENULT_POOLED_PROJECTED;
    case RECIPE_PROJECTED_IF_ANY:
        return PENULT_POOLED_PROJECTED_IF_ANY;
    case RECIPE_NO_POOLED:
    default:
        return PENULT_POOLED_NONE;
    }
}

/* NULL with a fault. */
static const struct recipe *find(uint32_t index, const char *name, struct fault *fault) {
    struct fault_text quoted;
    const struct recipe *found = name ? recipe_find(name, strlen(name)) : index < recipe_count ? &recipes[index] : NULL;
    if (!found && name)
        fault_set(fault, FAULT_NOT_FOUND, "recipe: found \"%s\", expected a name of the table, as \"%s\"",
                  fault_quote(&quoted, name, strlen(name)), recipes[0].name);
    else if (!found)
        fault_set(fault, FAULT_NOT_FOUND, "index is %u, but there are %zu recipes", index, recipe_count);
    return found;
}

int32_t condition_recipe(uint32_t index, const char *name, penult_recipe_info *info, penult_error *error) {
    struct fault fault;
    const struct recipe *recipe = struct_size_check(info, sizeof *info, "info", &fault) ? NULL : find(index, name, &fault);
    if (!recipe)
        return status_of(&fault, error);
    penult_recipe_info own = {
        .tower_count = recipe->tower_count,
        .name = recipe->name,
        .alias = recipe->alias,
        .source = recipe->source,
        .dialect = dialects[recipe->dialect].name,
        .context_width = recipe->context_width,
        .unconditional = (uint32_t)recipe->unconditional,
        .skip = (uint32_t)recipe->skip,
        .skip_negative = (uint32_t)recipe->skips_negative,
        .text_mask = (uint32_t)recipe->text_mask,
    };
    while (recipe->sizes[own.time_ids] != RECIPE_SIZES_END)
        own.time_ids++;
    struct_out(info, &own, sizeof own);
    return PENULT_OK;
}

int32_t condition_recipe_tower(const char *name, uint32_t tower, penult_recipe_tower *info, penult_error *error) {
    const struct recipe *recipe = NULL;
    struct fault fault;
    int status = struct_size_check(info, sizeof *info, "info", &fault);
    if (!status && !name)
        status = fault_set(&fault, FAULT_ARGUMENT, "recipe is NULL");
    if (!status)
        recipe = find(0, name, &fault);
    if (recipe && tower >= recipe->tower_count) {
        fault_set(&fault, FAULT_NOT_FOUND, "tower is %u, but %s has %u", tower, recipe->name, recipe->tower_count);
        recipe = NULL;
    }
    if (!recipe)
        return status_of(&fault, error);
    const struct recipe_tower *row = &recipe->towers[tower];
    penult_recipe_tower own = {
        .layer = row->layer,
        .name = pipeline_tower_name(row->kind),
        .final_norm = (uint32_t)row->norm,
        .pooled = pooled_of(row->pooled),
        .pads_with_zero = row->pad == RECIPE_PAD_ZERO,
        .key_mask = (uint32_t)row->key_mask,
        .second_prompt = (uint32_t)row->second_prompt,
        .skips = recipe->skip_towers >> tower & 1 ? 1 : recipe->skip_asked >> tower & 1 ? 2 : 0,
        .tokenizer_mode = row->tokens == RECIPE_TOKENS_OPEN_CLIP ? PENULT_TOKENIZER_OPEN_CLIP : PENULT_TOKENIZER_TRANSFORMERS,
        .pad_in_text = row->tokens == RECIPE_TOKENS_PLAIN_PAD ? PENULT_PAD_IS_TEXT : PENULT_PAD_AS_FILES_SAY,
        .cut_to = row->cut_to,
    };
    struct_out(info, &own, sizeof own);
    return PENULT_OK;
}

const penult_condition_api condition_api = {
    .struct_size = sizeof(penult_condition_api),
    .version = 1,
    .recipe = condition_recipe,
    .recipe_tower = condition_recipe_tower,
    .pipeline_measure = condition_pipeline_measure,
    .pipeline_open = condition_pipeline_open,
    .pipeline_close = condition_pipeline_close,
    .pipeline_describe = condition_pipeline_describe,
    .tensor = condition_tensor,
    .plan = condition_plan,
    .condition = condition_run,
    .pipeline_cancel = condition_pipeline_cancel,
};
