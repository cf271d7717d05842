/* encode_plan.c - from --layer, --pooled, --final-norm and --dtype to the tensors that will be filled, checked against
 * the geometry of the model. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "encode.h"
#include "say.h"

static int add(struct encoding *encoding, uint32_t kind, int32_t layer, uint64_t width) {
    const struct options *options = encoding->options;
    struct result *result = &encoding->results[encoding->result_count];
    struct tensor *tensor = &result->tensor;
    bool hidden = kind == PENULT_HIDDEN;
    *result = (struct result){
        .kind = kind,
        .layer = layer,
        .flags = hidden && options->final_norm ? PENULT_FINAL_NORM : 0,
        .tensor = {.dtype = options->dtype != 0 ? options->dtype : PENULT_F32},
    };
    tensor->shape[tensor->rank++] = encoding->prompts.count;
    if (hidden) {
        tensor->shape[tensor->rank++] = encoding->host.info.context;
    }
    tensor->shape[tensor->rank++] = width;
    const char *normed = result->flags & PENULT_FINAL_NORM ? ".final_norm" : "";
    if (hidden) {
        snprintf(tensor->name, sizeof tensor->name, "hidden_states.%d%s", (int)layer, normed);
        snprintf(tensor->tag, sizeof tensor->tag, "hidden%d%s", (int)layer, normed);
    } else {
        const char *word = kind == PENULT_POOLED_RAW         ? "raw"
                           : kind == PENULT_POOLED_PROJECTED ? "projected"
                                                             : "normalised";
        snprintf(tensor->name, sizeof tensor->name, "pooled.%s", word);
        snprintf(tensor->tag, sizeof tensor->tag, "pooled%s%s", options->pooled_count > 1 ? "-" : "",
                 options->pooled_count > 1 ? word : "");
    }
    encoding->result_count++;
    if (!tensor_allocate(tensor)) {
        char shape[96];
        tensor_shape_text(tensor, shape, sizeof shape);
        return say_failed("no memory for %s, %s values", tensor->name, shape);
    }
    return STATUS_OK;
}

static int add_hidden(struct encoding *encoding, int32_t layer) {
    const penult_model_info *info = &encoding->host.info;
    int64_t layers = info->layers;
    if (layer < -(layers + 1) || layer > layers) {
        return say_usage("--layer %d: the model has %lld blocks, so its hidden states are 0 (the embeddings) to %lld, "
                         "or %lld to -1 counted from the end",
                         (int)layer, (long long)layers, (long long)layers, (long long)-(layers + 1));
    }
    return add(encoding, PENULT_HIDDEN, layer, info->width);
}

static int add_pooled(struct encoding *encoding, uint32_t kind) {
    const penult_model_info *info = &encoding->host.info;
    if (kind != PENULT_POOLED_RAW && info->projection == 0) {
        return say_usage("--pooled %s: the model has no text projection; --pooled raw is what it can give",
                         kind == PENULT_POOLED_PROJECTED ? "projected" : "normalised");
    }
    return add(encoding, kind, 0, kind == PENULT_POOLED_RAW ? info->width : info->projection);
}

int encoding_plan(struct encoding *encoding) {
    const struct options *options = encoding->options;
    bool nothing_asked = options->layer_count == 0 && options->pooled_count == 0;
    encoding->results = calloc(options->layer_count + options->pooled_count + 2, sizeof *encoding->results);
    if (encoding->results == NULL) {
        return say_failed("no memory for the list of outputs");
    }
    int status = STATUS_OK;
    if (nothing_asked) {
        status = add_hidden(encoding, PENULTIMATE);
        if (status == STATUS_OK) {
            bool projects = encoding->host.info.projection > 0;
            status = add_pooled(encoding, projects ? PENULT_POOLED_PROJECTED : PENULT_POOLED_RAW);
        }
    }
    for (size_t i = 0; i < options->layer_count && status == STATUS_OK; i++) {
        status = add_hidden(encoding, options->layers[i]);
    }
    for (size_t i = 0; i < options->pooled_count && status == STATUS_OK; i++) {
        status = add_pooled(encoding, options->pooled[i]);
    }
    return status;
}
