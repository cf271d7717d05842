/* model.c - opening, describing and closing models: ABI structs in, engine calls, ABI structs out. */
#include <stdio.h>
#include <string.h>

#include "handles.h"
#include "place.h"
#include "status.h"
#include "structs.h"

static void report(void *user, enum report_severity severity, const char *subject, const char *message) {
    const penult_open_params *params = user;
    penult_report finding = {
        .struct_size = sizeof finding, .severity = (uint32_t)severity, .subject = subject, .message = message};
    params->report(params->user, &finding);
}

static int progress(void *user, uint64_t done, uint64_t total) {
    const penult_open_params *params = user;
    penult_progress step = {.struct_size = sizeof step, .stage = PENULT_STAGE_OPEN, .done = done, .total = total};
    return params->progress(params->user, &step) != 0;
}

static int check_params(const penult_open_params *own, struct fault *fault) {
    if (own->path && !own->path[0])
        return fault_set(fault, FAULT_ARGUMENT, "params->path is an empty string");
    if (own->tokenizer_path && !own->tokenizer_path[0])
        return fault_set(fault, FAULT_ARGUMENT, "params->tokenizer_path is an empty string");
    if (own->access != PENULT_MAP && own->access != PENULT_COPY)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->access is %u, expected PENULT_MAP or PENULT_COPY", own->access);
    if (own->activation > PENULT_GELU)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->activation is %u, expected 0, PENULT_QUICK_GELU or PENULT_GELU",
                         own->activation);
    if (own->reserved)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->reserved is %u, expected 0", own->reserved);
    if (own->tokenizer_mode > PENULT_TOKENIZER_OPEN_CLIP)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->tokenizer_mode is %u, expected PENULT_TOKENIZER_TRANSFORMERS or "
                         "PENULT_TOKENIZER_OPEN_CLIP", own->tokenizer_mode);
    if (own->pad_in_text > PENULT_PAD_IS_SPECIAL)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->pad_in_text is %u, expected a PENULT_PAD_ value",
                         own->pad_in_text);
    if (own->pad_in_text == PENULT_PAD_IS_SPECIAL && own->tokenizer_mode == PENULT_TOKENIZER_OPEN_CLIP)
        return fault_set(fault, FAULT_ARGUMENT, "params->pad_in_text is PENULT_PAD_IS_SPECIAL, but open_clip's tokenizer has "
                         "no padding token");
    return 0;
}

_Static_assert((int)ACTIVATION_QUICK_GELU == PENULT_QUICK_GELU && (int)ACTIVATION_GELU == PENULT_GELU, "same numbers");
_Static_assert((int)TOKENIZER_OPEN_CLIP == PENULT_TOKENIZER_OPEN_CLIP && (int)PAD_IS_SPECIAL == PENULT_PAD_IS_SPECIAL &&
                   (int)PAD_IS_TEXT == PENULT_PAD_IS_TEXT, "same numbers");
_Static_assert((int)REPORT_NOTE == PENULT_REPORT_NOTE && (int)REPORT_ERROR == PENULT_REPORT_ERROR, "same numbers");

int32_t model_open(const penult_open_params *params, penult_model **out, penult_error *error) {
    penult_open_params own;
    struct fault fault;
    if (!out) {
        fault_set(&fault, FAULT_ARGUMENT, "out is NULL");
        return status_of(&fault, error);
    }
    *out = NULL;
    if (struct_in(&own, sizeof own, params, "params", &fault) || check_params(&own, &fault))
        return status_of(&fault, error);
    struct clip_params engine = {
        .path = own.path,
        .tokenizer_path = own.tokenizer_path,
        .activation = (enum activation)own.activation,
        .tokenizer_mode = (enum tokenizer_mode)own.tokenizer_mode,
        .pad_in_text = (enum pad_in_text)own.pad_in_text,
        .copy = own.access == PENULT_COPY,
        .report = {own.report ? report : NULL, &own},
        .progress = own.progress ? progress : NULL,
        .user = &own,
    };
    penult_model *model = memory_array(1, sizeof *model);
    if (!model) {
        fault_set(&fault, FAULT_NO_MEMORY, "no memory for a model");
        return status_of(&fault, error);
    }
    char *directory = NULL;
    int status = plugin_directory(&directory, &fault);
    engine.own_directory = directory;
    if (!status)
        status = clip_open(&model->clip, &engine, &fault);
    memory_free(directory);
    if (status) {
        memory_free(model);
        return status_of(&fault, error);
    }
    model->magic = MODEL_MAGIC;
    atomic_init(&model->references, 1);
    *out = model;
    return PENULT_OK;
}

int is_model(const penult_model *model) {
    return model && model->magic == MODEL_MAGIC;
}

void model_release(penult_model *model) {
    if (atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1)
        return;
    model->magic = 0;
    clip_close(model->clip);
    memory_free(model);
}

void model_close(penult_model *model) {
    if (is_model(model))
        model_release(model);
}

static uint32_t abi_dtype(enum dtype dtype) {
    return dtype == DTYPE_F32    ? PENULT_F32
           : dtype == DTYPE_F16  ? PENULT_F16
           : dtype == DTYPE_NONE ? 0
                                 : PENULT_BF16; /* weights are one of these */
}

int32_t model_describe(const penult_model *model, penult_model_info *info, penult_error *error) {
    struct fault fault;
    if (!is_model(model)) {
        fault_set(&fault, FAULT_ARGUMENT, "model is %s", model ? "not a model" : "NULL");
        return status_of(&fault, error);
    }
    if (struct_size_check(info, sizeof *info, "info", &fault))
        return status_of(&fault, error);
    const struct clip *clip = model->clip;
    const struct geometry *g = &clip->geometry;
    const struct tokenizer *tokenizer = clip->tokenizer;
    penult_model_info own = {
        .width = g->width,
        .layers = g->layers,
        .heads = g->heads,
        .mlp_width = g->mlp_width,
        .context = g->context,
        .vocabulary = g->vocabulary,
        .projection = g->projection,
        .activation = (uint32_t)g->activation,
        .dtype = abi_dtype(clip->weights.dtype),
        .start_id = tokenizer ? tokenizer_start_id(tokenizer) : -1,
        .end_id = clip_end_id(clip),
        .pad_id = tokenizer ? tokenizer_pad_id(tokenizer) : -1,
        .access = clip->copied ? PENULT_COPY : PENULT_MAP,
        .parameters = clip->weights.parameters,
        .bytes_file = clip->file.bytes,
        .bytes_mapped = clip->file.bytes,
        .norm_epsilon = g->norm_epsilon,
    };
    if (clip->weights.layout)
        snprintf(own.layout, sizeof own.layout, "%s", clip->weights.layout->name);
    snprintf(own.kernels, sizeof own.kernels, "%s", clip->kernels.name);
    struct_out(info, &own, sizeof own);
    return PENULT_OK;
}
