/* clip.c - opens a directory: config, weights, kernels, tokenizer, each checked against the others. The one place where
 * files, names and arithmetic meet. */
#include "clip.h"

#include <string.h>

#include "base/memory.h"
#include "config.h"
#include "format/safetensors.h"
#include "kernels/choose.h"

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

static void note(void *user, const char *subject, const char *message) {
    report_say(user, REPORT_NOTE, subject, "%s", message);
}

static int open_tokenizer(struct clip *clip, const struct clip_params *params, struct fault *fault) {
    struct report report = params->report;
    const char *path = params->tokenizer_path;
    if (!path && !tokenizer_is_in(params->path)) {
        report_say(&report, REPORT_WARNING, "tokenizer", "none beside the weights: this model takes ids only");
        return 0;
    }
    int status = tokenizer_open(&clip->tokenizer, path ? path : params->path, note, &report, fault);
    if (status)
        return status;
    uint32_t limit = (uint32_t)tokenizer_id_limit(clip->tokenizer);
    if (limit > clip->geometry.vocabulary)
        return fault_set(fault, FAULT_MISMATCH, "the tokenizer has ids up to %u, but config.json's vocab_size is %u: they "
                         "belong to different models", limit - 1, clip->geometry.vocabulary);
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
    int status = file_find_directory(params->path, fault);
    if (!status)
        status = open_all(clip, params, fault);
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
