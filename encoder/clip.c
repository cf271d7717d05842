/* clip.c - opens a directory: config, weights, kernels, tokenizer, each checked against the others; or a tokenizer alone.
 * The one place where files, names and arithmetic meet. */
#include "clip.h"

#include <string.h>

#include "base/memory.h"
#include "config.h"
#include "format/safetensors.h"
#include "kernels/choose.h"
#include "tokenizer_place.h"

#define TOKENIZER_CONTEXT 77 /* of every CLIP text tower but those that were stretched */
#define WEIGHTS_FILE "model.safetensors"
#define COPY_STEP ((size_t)8 << 20)

/* All of the file into private pages, in steps that a progress bar can show and a host can stop. */
static int copy_file(struct clip *clip, const struct clip_params *params, struct fault *fault) {
    size_t bytes = (size_t)clip->file.bytes;
    unsigned char *pages = memory_pages(bytes, memory_page_size(), MEMORY_AS_TOUCHED);
    if (!pages)
        return fault_set(fault, FAULT_NO_MEMORY, WEIGHTS_FILE ": no memory for a copy of its %zu bytes", bytes);
    clip->bytes = pages;
    for (size_t done = 0; done < bytes;) {
        size_t step = bytes - done < COPY_STEP ? bytes - done : COPY_STEP;
        int status = file_read(&clip->file, done, pages + done, step, WEIGHTS_FILE, fault);
        if (status)
            return status;
        done += step;
        if (params->progress && params->progress(params->user, done, bytes))
            return fault_set(fault, FAULT_CANCELLED, WEIGHTS_FILE ": cancelled after %zu of %zu bytes", done, bytes);
    }
    return file_check(&clip->file, WEIGHTS_FILE, fault);
}

static int open_weights(struct clip *clip, const struct clip_params *params, struct fault *fault) {
    struct safetensors container;
    int status = file_open(&clip->file, params->path, WEIGHTS_FILE, fault);
    if (status)
        return status;
    status = safetensors_open(&container, &clip->file, WEIGHTS_FILE, fault);
    if (status)
        return status;
    clip->copied = params->copy;
    status = params->copy ? copy_file(clip, params, fault) : file_map(&clip->file, WEIGHTS_FILE, &clip->bytes, fault);
    for (size_t i = 0; !status && i < container.set.count; i++)
        container.set.items[i].tensor.data = clip->bytes + container.set.items[i].offset;
    if (!status)
        status = weights_bind(&clip->weights, &clip->geometry, &container.set, &clip->kernels, WEIGHTS_FILE, "config.json",
                              &params->report, fault);
    safetensors_close(&container);
    if (params->copy)
        file_close(&clip->file);
    return status;
}

/* A vocabulary that says nothing of padding is padded as the tower's own tokenizer would: with "!" for OpenCLIP's H and G,
 * with the end for L; and with "!" where the pad is to be cut out of texts, which is meant for that one alone. */
static int32_t default_pad(const struct geometry *geometry, enum pad_in_text pad_in_text) {
    return geometry->width >= 1024 || pad_in_text == PAD_IS_SPECIAL ? 0 : -1;
}

static int open_tokenizer(struct clip *clip, const struct clip_params *params, struct fault *fault) {
    struct report report = params->report;
    struct tokenizer_place place = {
        .given = params->tokenizer_path,
        .beside = params->path,
        .own = params->own_directory,
        .rows = clip->geometry.vocabulary,
        .rows_from = "config.json's vocab_size",
        .needed = params->path == NULL,
    };
    struct tokenizer_options options = {params->tokenizer_mode, params->pad_in_text, default_pad(&clip->geometry, params->pad_in_text)};
    int status = tokenizer_find(&clip->tokenizer, &place, &options, &report, fault);
    if (status || !clip->tokenizer)
        return status;
    int32_t end = tokenizer_end_id(clip->tokenizer);
    if (clip->geometry.end_id >= 0 && clip->geometry.end_id != end)
        report_say(&report, REPORT_WARNING, "eos_token_id", "config.json says %d, the tokenizer's end id is %d; pooling "
                   "takes the tokenizer's", clip->geometry.end_id, end);
    return 0;
}

static int open_all(struct clip *clip, const struct clip_params *params, struct fault *fault) {
    int rejected;
    int status = config_read(&clip->geometry, params->path, params->activation, &params->report, fault);
    if (!status)
        status = kernels_choose(&clip->kernels, KERNELS_BEST, &rejected, fault);
    if (!status && rejected)
        report_say(&params->report, REPORT_WARNING, "kernels", "the fastest that this CPU has gave wrong numbers in their "
                   "check and are not used");
    if (!status)
        status = open_weights(clip, params, fault);
    if (!status)
        status = open_tokenizer(clip, params, fault);
    return status;
}

int clip_open(struct clip **out, const struct clip_params *params, struct fault *fault) {
    struct clip *clip = memory_array(1, sizeof *clip);
    *out = NULL;
    if (!clip)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for a model");
    clip->file.descriptor = -1;
    int status = 0;
    if (params->path) {
        status = file_find_directory(params->path, fault);
        if (!status)
            status = open_all(clip, params, fault);
    } else {
        clip->geometry.context = TOKENIZER_CONTEXT;
        clip->geometry.end_id = -1;
        status = open_tokenizer(clip, params, fault);
    }
    if (status)
        clip_close(clip);
    else
        *out = clip;
    return status;
}

void clip_close(struct clip *clip) {
    if (!clip)
        return;
    weights_unbind(&clip->weights);
    tokenizer_close(clip->tokenizer);
    if (clip->copied)
        memory_release((void *)(uintptr_t)clip->bytes, (size_t)clip->file.bytes);
    else
        file_unmap(clip->bytes, clip->file.bytes);
    file_close(&clip->file);
    memory_free(clip);
}

int clip_check(const struct clip *clip, struct fault *fault) {
    return clip->copied ? 0 : file_check(&clip->file, WEIGHTS_FILE, fault);
}

int32_t clip_end_id(const struct clip *clip) {
    return clip->tokenizer ? tokenizer_end_id(clip->tokenizer) : clip->geometry.end_id;
}
