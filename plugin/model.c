/* model.c - opening, describing and closing models: ABI structs in, engine calls, ABI structs out. */
#include <stdio.h>
#include <string.h>

#include "handles.h"
#include "place.h"
#include "status.h"
#include "structs.h"

static void report(void *user, const struct finding *found) {
    const penult_open_params *params = user;
    penult_report finding = {
        .struct_size = sizeof finding, .severity = (uint32_t)found->severity, .subject = found->subject,
        .message = found->message, .kind = (uint32_t)found->kind, .tensors = found->tensors, .bytes = found->bytes};
    params->report(params->user, &finding);
}

static int progress(void *user, uint64_t done, uint64_t total) {
    const penult_open_params *params = user;
    penult_progress step = {.struct_size = sizeof step, .stage = PENULT_STAGE_OPEN, .done = done, .total = total};
    return params->progress(params->user, &step) != 0;
}

static int check_params(const penult_open_params *own, struct fault *fault) {
    const struct {
        const char *name, *value;
    } strings[] = {{"path", own->path}, {"tokenizer_path", own->tokenizer_path}, {"tower", own->tower}};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        if (strings[i].value && !strings[i].value[0])
            return fault_set(fault, FAULT_ARGUMENT, "params->%s is an empty string", strings[i].name);
    if (own->access != PENULT_MAP && own->access != PENULT_COPY)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->access is %u, expected PENULT_MAP or PENULT_COPY", own->access);
    if (own->activation > PENULT_GELU)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->activation is %u, expected 0, PENULT_QUICK_GELU or PENULT_GELU",
                         own->activation);
    if (own->reserved)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->reserved is %u, expected 0", own->reserved);
    if (own->flags & ~PENULT_OPEN_LIST_TENSORS)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->flags is %#x, expected 0 or PENULT_OPEN_LIST_TENSORS", own->flags);
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
_Static_assert((int)REPORT_FORMAT == PENULT_ABOUT_FORMAT && (int)REPORT_UNEXPECTED == PENULT_ABOUT_UNEXPECTED, "same numbers");
_Static_assert((int)DTYPE_F32 == PENULT_F32 && (int)DTYPE_F8_E5M2 == PENULT_F8_E5M2, "same numbers");
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
        .tower = own.tower,
        .heads = own.heads,
        .list_tensors = (own.flags & PENULT_OPEN_LIST_TENSORS) != 0,
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
        .dtype = (uint32_t)clip->weights.dtype,
        .start_id = tokenizer ? tokenizer_start_id(tokenizer) : -1,
        .end_id = clip_end_id(clip),
        .pad_id = tokenizer ? tokenizer_pad_id(tokenizer) : -1,
        .access = clip->checkpoint.copied ? PENULT_COPY : PENULT_MAP,
        .parameters = clip->weights.parameters,
        .bytes_file = clip->checkpoint.bytes,
        .bytes_mapped = clip->checkpoint.bytes_loaded,
        .bytes_used = clip->bytes_used,
        .tensors_used = (uint32_t)clip->tensors_used,
        .files = clip->checkpoint.file_count,
        .norm_epsilon = g->norm_epsilon,
    };
    if (clip->weights.layout.layout)
        snprintf(own.layout, sizeof own.layout, "%s", clip->weights.layout.layout->name);
    snprintf(own.tower, sizeof own.tower, "%s", clip->tower);
    clip_kernels_name(clip, own.kernels);
    struct_out(info, &own, sizeof own);
    return PENULT_OK;
}

struct hashing {
    int32_t (*progress)(void *user, const penult_progress *progress);
    void *user;
};

static int show_hashing(void *user, uint64_t done, uint64_t total) {
    const struct hashing *hashing = user;
    penult_progress step = {.struct_size = sizeof step, .stage = PENULT_STAGE_HASH, .done = done, .total = total};
    return hashing->progress(hashing->user, &step) != 0;
}

int32_t model_hash(const penult_model *model, uint8_t *digest, int32_t (*progress_of)(void *user, const penult_progress *progress),
                   void *user, penult_error *error) {
    struct hashing hashing = {progress_of, user};
    struct fault fault;
    unsigned char own[SHA256_BYTES];
    if (!is_model(model))
        fault_set(&fault, FAULT_ARGUMENT, "model is %s", model ? "not a model" : "NULL");
    else if (!model->clip->geometry.width)
        fault_set(&fault, FAULT_ARGUMENT, "the model is only a tokenizer: it has no weights to hash");
    else if (!digest)
        fault_set(&fault, FAULT_ARGUMENT, "digest is NULL");
    else if (clip_hash(model->clip, progress_of ? show_hashing : NULL, &hashing, own, &fault) == 0) {
        memcpy(digest, own, sizeof own);
        return PENULT_OK;
    }
    return status_of(&fault, error);
}
