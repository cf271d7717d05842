/* clip.c - opens a model: tower, geometry, weights, kernels, tokenizer, each checked against the others; or a tokenizer alone.
 * The one place where files, names and arithmetic meet. */
#include "clip.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "config.h"
#include "kernels/choose.h"
#include "kernels/cpu.h"
#include "model/shapes.h"
#include "model/strangers.h"
#include "tokenizer_place.h"
#include "towers.h"

#define TOKENIZER_CONTEXT 77 /* of every CLIP text tower but those that were stretched */

/* ---- weights ---- */

/* The geometry: from config.json, or from the shapes where there is none. */
static int read_geometry(struct clip *clip, const struct clip_params *params, const struct tower *tower, struct fault *fault) {
    const struct place *place = &clip->places.of[tower->place];
    if (!place->has_config)
        return shapes_read(&clip->geometry, &tower->layout, &clip->checkpoint.set, params->activation, params->heads,
                           clip->checkpoint.name, &params->report, fault);
    int status = config_read(&clip->geometry, place->directory, params->activation, &params->report, fault);
    if (status || !params->heads)
        return status;
    clip->geometry.heads = params->heads;
    report_say(&params->report, REPORT_NOTE, "num_attention_heads", "overridden by the host: %u", params->heads);
    return geometry_check(&clip->geometry, "config.json", fault);
}

static void count_used(struct clip *clip, const unsigned char *used, const struct report *report) {
    const struct tensor_set *set = &clip->checkpoint.set;
    for (size_t i = 0; i < set->count; i++) {
        clip->tensors_used += used[i];
        clip->bytes_used += used[i] ? set->items[i].bytes : 0;
    }
    report_find(report, (struct finding){.severity = REPORT_NOTE, .kind = REPORT_USED, .subject = clip->tower,
                                         .tensors = clip->tensors_used, .bytes = clip->bytes_used},
                "%llu tensors in use, %llu of %llu bytes in the file%s", (unsigned long long)clip->tensors_used,
                (unsigned long long)clip->bytes_used, (unsigned long long)clip->checkpoint.bytes,
                clip->checkpoint.file_count == 1 ? "" : "s");
}

static void list_used(const struct clip *clip, const unsigned char *used, const struct report *report) {
    const struct tensor_set *set = &clip->checkpoint.set;
    for (size_t i = 0; i < set->count; i++) {
        const struct named_tensor *item = &set->items[i];
        struct fault_text quoted;
        struct shape_text shape;
        if (used[i])
            report_find(report, (struct finding){.severity = REPORT_NOTE, .kind = REPORT_USED, .tensors = 1, .bytes = item->bytes,
                                                 .subject = fault_quote(&quoted, item->name, item->name_size)},
                        "%s %s", dtype_name(item->tensor.dtype), shape_print(&shape, item->tensor.shape, item->tensor.rank));
    }
}

static int bind_weights(struct clip *clip, const struct clip_params *params, const struct tower *tower,
                        const struct found_layout *beside, size_t beside_count, unsigned char *used, struct fault *fault) {
    struct checkpoint *c = &clip->checkpoint;
    struct weights_source source = {.set = &c->set, .file = c->name, .report = &params->report,
                                    .config = clip->places.of[tower->place].has_config ? "config.json" : "the layout"};
    int status = weights_bind(&clip->weights, &clip->geometry, &tower->layout, &source, used, fault);
    if (status != FAULT_NO_MEMORY)
        strangers_report(&c->set, used, beside, beside_count, tower->index, source.config, &params->report);
    if (status)
        return status;
    count_used(clip, used, &params->report);
    if (params->list_tensors)
        list_used(clip, used, &params->report);
    status = checkpoint_load(c, used, params->copy, params->progress, params->user, fault);
    return status ? status : weights_fill(&clip->weights, &source, &clip->kernels, fault);
}

static int open_tower(struct clip *clip, const struct clip_params *params, struct towers *towers, struct fault *fault) {
    const struct tower *tower = &towers->of[towers->chosen];
    const struct layout *layout = tower->layout.layout;
    struct found_layout beside[LAYOUTS_MOST];
    size_t beside_count = towers_beside(towers, beside);
    towers_settle(towers);
    clip->checkpoint = towers->checkpoints[tower->place]; /* handed over */
    clip->places = towers->places;
    towers->checkpoints[tower->place] = (struct checkpoint){0};
    towers->places.count = 0;
    snprintf(clip->tower, sizeof clip->tower, "%s", tower->name);
    report_find(&params->report, (struct finding){.severity = REPORT_NOTE, .kind = REPORT_LAYOUT, .subject = layout->name},
                "%s is read by it%s%s", clip->tower, tower->layout.wrapper[0] ? ", behind the prefix " : "", tower->layout.wrapper);
    int status = read_geometry(clip, params, tower, fault);
    if (status)
        return status;
    unsigned char *used = memory_array(clip->checkpoint.set.count, 1);
    if (!used)
        return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory to bind it", clip->checkpoint.name);
    status = bind_weights(clip, params, tower, beside, beside_count, used, fault);
    memory_free(used);
    checkpoint_forget(&clip->checkpoint);
    clip->place = tower->place;
    return status;
}

static int open_weights(struct clip *clip, const struct clip_params *params, struct fault *fault) {
    struct towers *towers = memory_array(1, sizeof *towers); /* too large for a host's small stack */
    if (!towers)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for a list of towers");
    int status = towers_open(towers, params->path, params->tower, &params->report, fault);
    if (!status)
        status = open_tower(clip, params, towers, fault);
    towers_close(towers);
    memory_free(towers);
    return status;
}

/* ---- tokenizer ---- */

/* A vocabulary that says nothing of padding is padded as the tower's own tokenizer would: with "!" for OpenCLIP's H and G,
 * with the end for L; and with "!" where the pad is to be cut out of texts, which is meant for that one alone. */
static int32_t default_pad(const struct geometry *geometry, enum pad_in_text pad_in_text) {
    return geometry->width >= 1024 || pad_in_text == PAD_IS_SPECIAL ? 0 : -1;
}

static int open_tokenizer(struct clip *clip, const struct clip_params *params, struct fault *fault) {
    struct report report = params->report;
    struct tokenizer_place place = {
        .given = params->tokenizer_path,
        .beside = params->path ? clip->places.of[clip->place].tokenizer : NULL,
        .own = params->own_directory,
        .rows = clip->geometry.vocabulary,
        .rows_from = clip->places.count && clip->places.of[clip->place].has_config ? "config.json's vocab_size"
                                                                                  : "the token embedding's height",
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
    int status = kernels_choose(&clip->kernels, KERNELS_AVX512, ARITHMETIC_EXACT, &rejected, fault);
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
    int status;
    if (params->path) {
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
    checkpoint_close(&clip->checkpoint);
    places_free(&clip->places);
    memory_free(clip);
}

int clip_check(const struct clip *clip, struct fault *fault) {
    return checkpoint_check(&clip->checkpoint, fault);
}

int clip_hash(const struct clip *clip, int (*progress)(void *user, uint64_t done, uint64_t total), void *user,
              unsigned char digest[SHA256_BYTES], struct fault *fault) {
    int status = clip_check(clip, fault);
    if (!status)
        status = weights_digest(&clip->weights, &clip->kernels, progress, user, digest, fault);
    return status ? status : clip_check(clip, fault);
}

void clip_kernels_name(const struct clip *clip, char name[sizeof((struct kernels *)0)->name]) {
    struct kernels kernels = clip->kernels;
    if (kernels.name[0] && cpu_features() & CPU_AMX) /* without a tower there are none */
        kernels_fill(&kernels, KERNELS_BEST, ARITHMETIC_EXACT, cpu_features());
    memcpy(name, kernels.name, sizeof kernels.name);
}

int32_t clip_end_id(const struct clip *clip) {
    return clip->tokenizer ? tokenizer_end_id(clip->tokenizer) : clip->geometry.end_id;
}
