/* pipeline.c - opening, describing and closing pipelines: which model is which tower, whose references are kept. */
#include <string.h>

#include "condition.h"
#include "status.h"
#include "structs.h"

_Static_assert((int)EMPHASIS_ORIGINAL == PENULT_EMPHASIS_ORIGINAL && (int)EMPHASIS_NONE == PENULT_EMPHASIS_NONE, "same numbers");

static int take_recipe(const penult_pipeline_params *own, struct pipeline_params *out, struct fault *fault) {
    struct fault_text quoted;
    if (!own->recipe)
        return fault_set(fault, FAULT_ARGUMENT, "params->recipe is NULL");
    out->recipe = recipe_find(own->recipe, strlen(own->recipe));
    if (!out->recipe)
        return fault_set(fault, FAULT_NOT_FOUND, "params->recipe: found \"%s\", expected a name of the table, as \"%s\"",
                         fault_quote(&quoted, own->recipe, strlen(own->recipe)), recipes[0].name);
    out->dialect = out->recipe->dialect;
    if (own->dialect)
        out->dialect = dialect_find(own->dialect, strlen(own->dialect));
    if (own->dialect && out->dialect == DIALECTS)
        return fault_set(fault, FAULT_NOT_FOUND, "params->dialect: found \"%s\", expected plain, a1111, comfyui or compel",
                         fault_quote(&quoted, own->dialect, strlen(own->dialect)));
    if (own->emphasis > PENULT_EMPHASIS_NONE)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->emphasis is %u, expected a PENULT_EMPHASIS_ value", own->emphasis);
    if (own->emphasis && out->dialect != DIALECT_A1111)
        return fault_set(fault, FAULT_ARGUMENT, "params->emphasis is %u, but the dialect is %s, and only a1111 has a choice",
                         own->emphasis, dialects[out->dialect].name);
    if (own->flags & ~(PENULT_PIPELINE_NO_CACHE | PENULT_PIPELINE_SKIP_ALL | PENULT_PIPELINE_SPLIT | PENULT_PIPELINE_BF16))
        return fault_set(fault, FAULT_UNSUPPORTED, "params->flags is %#x, expected PENULT_PIPELINE_ flags", own->flags);
    if (own->flags & PENULT_PIPELINE_SPLIT && out->dialect != DIALECT_COMPEL)
        return fault_set(fault, FAULT_ARGUMENT, "params->flags has PENULT_PIPELINE_SPLIT, but the dialect is %s, and only compel has a "
                         "choice", dialects[out->dialect].name);
    if (own->kernels > PENULT_KERNELS_AMX)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->kernels is %u, expected 0 or a PENULT_KERNELS_ set", own->kernels);
    return 0;
}

static const char *name_of(const penult_named_model *named) {
    return named->name ? named->name : named->model->clip->tower;
}

/* The model for each tower of the recipe, and every model for one. */
static int take_models(const penult_pipeline_params *own, struct pipeline_params *out, penult_model *models[RECIPE_TOWERS],
                       struct fault *fault) {
    const struct recipe *recipe = out->recipe;
    struct fault_text quoted;
    if (!own->models || own->model_count != recipe->tower_count)
        return fault_set(fault, FAULT_ARGUMENT, "params->models: found %u, expected one for each of the %u towers of %s, the first "
                         "of them %s", own->models ? own->model_count : 0, recipe->tower_count, recipe->name,
                         pipeline_tower_name(recipe->towers[0].kind));
    int status = stride_check(own->model_stride, "params->model_stride", fault);
    for (uint32_t i = 0; i < own->model_count && !status; i++) {
        penult_named_model named;
        unsigned t = 0;
        status = element_in(&named, sizeof named, own->models, own->model_stride, i, "params->models", fault);
        if (status)
            return status;
        if (!is_model(named.model) || !named.model->clip->geometry.width)
            return fault_set(fault, FAULT_ARGUMENT, "params->models[%u].model is %s", i,
                             !named.model ? "NULL" : is_model(named.model) ? "a tokenizer alone, expected a tower" : "not a model");
        const char *name = name_of(&named);
        while (t < recipe->tower_count && strcmp(pipeline_tower_name(recipe->towers[t].kind), name) != 0)
            t++;
        if (t == recipe->tower_count)
            return fault_set(fault, FAULT_MISMATCH, "params->models[%u]: found \"%s\", expected the tower %s%s%s of %s; a name says "
                             "which one a model is for", i, fault_quote(&quoted, name, strlen(name)),
                             pipeline_tower_name(recipe->towers[0].kind), t > 1 ? " or " : "",
                             t > 1 ? pipeline_tower_name(recipe->towers[1].kind) : "", recipe->name);
        if (models[t])
            return fault_set(fault, FAULT_ARGUMENT, "params->models has two for the tower %s", name);
        models[t] = named.model;
        out->clips[t] = named.model->clip;
    }
    return status;
}

static int take_params(const penult_pipeline_params *theirs, struct pipeline_params *out, penult_model *models[RECIPE_TOWERS],
                       struct fault *fault) {
    penult_pipeline_params own;
    *out = (struct pipeline_params){0};
    int status = struct_in(&own, sizeof own, theirs, "params", fault);
    if (!status)
        status = take_recipe(&own, out, fault);
    if (!status)
        status = take_models(&own, out, models, fault);
    if (status)
        return status;
    out->emphasis = (enum pipeline_emphasis)own.emphasis;
    out->splits = out->dialect == DIALECT_COMPEL && (out->recipe->splits || own.flags & PENULT_PIPELINE_SPLIT);
    out->skip_all = (own.flags & PENULT_PIPELINE_SKIP_ALL) != 0;
    out->forgets = (own.flags & PENULT_PIPELINE_NO_CACHE) != 0;
    out->threads = own.threads;
    out->kernels = (enum kernel_set)own.kernels;
    out->arithmetic = own.flags & PENULT_PIPELINE_BF16 ? ARITHMETIC_BF16 : ARITHMETIC_EXACT;
    out->max_windows = own.max_windows;
    out->max_text_bytes = own.max_text_bytes < SIZE_MAX ? (size_t)own.max_text_bytes : SIZE_MAX;
    out->cache_bytes = own.cache_bytes < SIZE_MAX ? (size_t)own.cache_bytes : SIZE_MAX;
    return pipeline_settle(out, fault);
}

int32_t condition_pipeline_measure(const penult_pipeline_params *params, uint64_t *bytes, penult_error *error) {
    penult_model *models[RECIPE_TOWERS] = {0};
    struct pipeline_params own;
    struct fault fault;
    size_t total = 0;
    int status = take_params(params, &own, models, &fault);
    if (!status && !bytes)
        status = fault_set(&fault, FAULT_ARGUMENT, "bytes is NULL");
    if (!status)
        status = pipeline_measure(&own, &total, &fault);
    if (status)
        return status_of(&fault, error);
    *bytes = total;
    return PENULT_OK;
}

int32_t condition_pipeline_open(const penult_pipeline_params *params, penult_pipeline **out, penult_error *error) {
    penult_model *models[RECIPE_TOWERS] = {0};
    struct pipeline_params own;
    struct fault fault;
    if (!out) {
        fault_set(&fault, FAULT_ARGUMENT, "out is NULL");
        return status_of(&fault, error);
    }
    *out = NULL;
    if (take_params(params, &own, models, &fault))
        return status_of(&fault, error);
    penult_pipeline *pipeline = memory_array(1, sizeof *pipeline);
    if (!pipeline) {
        fault_set(&fault, FAULT_NO_MEMORY, "no memory for a pipeline");
        return status_of(&fault, error);
    }
    if (pipeline_open(&pipeline->pipeline, &own, &fault)) {
        memory_free(pipeline);
        return status_of(&fault, error);
    }
    pipeline->magic = PIPELINE_MAGIC;
    for (unsigned t = 0; t < own.recipe->tower_count; t++) {
        pipeline->models[t] = models[t];
        atomic_fetch_add_explicit(&models[t]->references, 1, memory_order_relaxed);
    }
    *out = pipeline;
    return PENULT_OK;
}

int is_pipeline(const penult_pipeline *pipeline) {
    return pipeline && pipeline->magic == PIPELINE_MAGIC;
}

void condition_pipeline_close(penult_pipeline *pipeline) {
    if (!is_pipeline(pipeline))
        return;
    pipeline->magic = 0;
    pipeline_close(pipeline->pipeline);
    for (unsigned t = 0; t < RECIPE_TOWERS; t++)
        if (pipeline->models[t])
            model_release(pipeline->models[t]);
    memory_free(pipeline);
}

void condition_pipeline_cancel(penult_pipeline *pipeline) {
    if (is_pipeline(pipeline))
        pipeline_cancel(pipeline->pipeline);
}

int tensor_named(const struct pipeline *pipeline, const char *name, uint32_t index, enum pipeline_kind *kind, unsigned *negative) {
    uint32_t at = 0;
    for (int k = 0; k < PIPELINE_KINDS; k++) {
        for (unsigned side = 0; side < 2; side++) {
            if (!pipeline_width(pipeline, (enum pipeline_kind)k))
                continue;
            if (name ? strcmp(name, pipeline_names[k][side]) == 0 : at == index) {
                *kind = (enum pipeline_kind)k;
                *negative = side;
                return 1;
            }
            at++;
        }
    }
    return 0;
}

static int check_pipeline(const penult_pipeline *pipeline, struct fault *fault) {
    if (!is_pipeline(pipeline))
        return fault_set(fault, FAULT_ARGUMENT, "pipeline is %s", pipeline ? "not a pipeline" : "NULL");
    return 0;
}

int32_t condition_pipeline_describe(const penult_pipeline *handle, penult_pipeline_info *info, penult_error *error) {
    struct fault fault;
    enum pipeline_kind kind;
    unsigned negative;
    if (check_pipeline(handle, &fault) || struct_size_check(info, sizeof *info, "info", &fault))
        return status_of(&fault, error);
    const struct pipeline *pipeline = handle->pipeline;
    const struct pipeline_params *params = pipeline_params_of(pipeline);
    penult_pipeline_info own = {
        .tokens = (uint32_t)pipeline_tokens(pipeline),
        .recipe = params->recipe->name,
        .dialect = dialects[params->dialect].name,
        .context_width = (uint32_t)pipeline_width(pipeline, PIPELINE_CONTEXT),
        .pooled_width = (uint32_t)pipeline_width(pipeline, PIPELINE_POOLED),
        .vector_width = (uint32_t)pipeline_width(pipeline, PIPELINE_VECTOR),
        .max_windows = (uint32_t)params->max_windows,
        .cache_windows = (uint32_t)pipeline_cache_windows(pipeline),
        .bytes = pipeline_bytes(pipeline),
    };
    while (tensor_named(pipeline, NULL, own.tensors, &kind, &negative))
        own.tensors++;
    struct_out(info, &own, sizeof own);
    return PENULT_OK;
}

int32_t condition_tensor(const penult_pipeline *handle, uint32_t index, uint32_t chunks, penult_tensor_info *info,
                         penult_error *error) {
    struct fault fault;
    enum pipeline_kind kind = PIPELINE_KINDS;
    unsigned negative = 0;
    int status = check_pipeline(handle, &fault);
    if (!status)
        status = struct_size_check(info, sizeof *info, "info", &fault);
    if (!status && !tensor_named(handle->pipeline, NULL, index, &kind, &negative))
        status = fault_set(&fault, FAULT_NOT_FOUND, "index is %u: the pipeline has no such tensor", index);
    if (!status && (chunks == 0 || chunks > 4 * PIPELINE_WINDOWS))
        status = fault_set(&fault, FAULT_ARGUMENT, "chunks is %u, expected 1 to %d", chunks, 4 * PIPELINE_WINDOWS);
    if (status)
        return status_of(&fault, error);
    size_t width = pipeline_width(handle->pipeline, kind), tokens = pipeline_tokens(handle->pipeline);
    penult_tensor_info own = {.rank = kind == PIPELINE_CONTEXT ? 3 : 2, .name = pipeline_names[kind][negative],
                              .shape = {1, kind == PIPELINE_TEXT_MASK ? chunks * tokens : width}};
    if (kind == PIPELINE_CONTEXT) {
        own.shape[1] = chunks * tokens;
        own.shape[2] = width;
    }
    struct_out(info, &own, sizeof own);
    return PENULT_OK;
}
