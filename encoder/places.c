/* places.c - looks for weights by the names that libraries give them: transformers' (with diffusers' variants), then OpenCLIP's. */
#include "places.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"

static const char *const weights[] = {
    "model.safetensors",
    "model.safetensors.index.json",
    "model.fp16.safetensors",
    "model.safetensors.index.fp16.json",
    "model.bf16.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_model.safetensors.index.json",
};

static const struct {
    const char *encoder;
    const char *tokenizers[2]; /* the first that is there */
} pipeline[PLACES_MOST] = {
    {"text_encoder", {"tokenizer", NULL}},
    {"text_encoder_2", {"tokenizer_2", "tokenizer"}},
    {"text_encoder_3", {"tokenizer_3", NULL}},
};

static const char *weights_in(const char *directory) {
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        if (file_exists(directory, weights[i]))
            return weights[i];
    return NULL;
}

/* The first `head_size` bytes of head, and tail behind them with a slash between, if there is one. */
static char *joined(const char *head, size_t head_size, const char *tail) {
    size_t tail_size = tail ? strlen(tail) : 0;
    int slash = tail && head_size > 0 && head[head_size - 1] != '/';
    char *out = memory_array(head_size + tail_size + 2, 1);
    if (!out)
        return NULL;
    memcpy(out, head, head_size);
    if (slash)
        out[head_size++] = '/';
    if (tail)
        memcpy(out + head_size, tail, tail_size);
    return out;
}

/* Takes the strings. */
static int add(struct places *out, char *directory, char *name, char *tokenizer, const char *label, struct fault *fault) {
    struct place *place = &out->of[out->count++];
    *place = (struct place){directory, name, tokenizer, label, 0};
    if (!directory || !name || !tokenizer)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for the paths of a model");
    place->has_config = file_exists(directory, "config.json");
    return 0;
}

/* A file that is named as a library names the weights of a directory belongs to the config.json beside it; what another file
 * there is, no config.json can say. */
static int file_place(struct places *out, const char *path, struct fault *fault) {
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t head = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    char *directory = head ? joined(path, head, NULL) : joined(".", 1, NULL);
    int status = add(out, directory, joined(name, strlen(name), NULL),
                     directory ? joined(directory, strlen(directory), NULL) : NULL, NULL, fault);
    int own = 0;
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        own |= strcmp(name, weights[i]) == 0;
    out->of[0].has_config &= own;
    return status;
}

static int pipeline_places(struct places *out, const char *path, struct fault *fault) {
    size_t size = strlen(path);
    int status = 0;
    for (size_t i = 0; !status && i < PLACES_MOST; i++) {
        const char *name = NULL, *beside = NULL;
        char *directory = joined(path, size, pipeline[i].encoder);
        if (!directory)
            return fault_set(fault, FAULT_NO_MEMORY, "no memory for the paths of a model");
        if (!(name = weights_in(directory))) {
            memory_free(directory);
            continue;
        }
        for (size_t j = 0; !beside && j < 2 && pipeline[i].tokenizers[j]; j++)
            beside = file_exists(path, pipeline[i].tokenizers[j]) ? pipeline[i].tokenizers[j] : NULL;
        status = add(out, directory, joined(name, strlen(name), NULL), joined(path, size, beside ? beside : pipeline[i].encoder),
                     pipeline[i].encoder, fault);
    }
    return status;
}

int places_find(struct places *out, const char *path, struct fault *fault) {
    size_t size = strlen(path), shown = size > 200 ? size - 200 : 0;
    *out = (struct places){.count = 0};
    int status = file_find_directory(path, fault);
    if (status == FAULT_UNSUPPORTED) /* something else is there: opening it says whether it is a file */
        return file_place(out, path, fault);
    if (status)
        return status;
    const char *name = weights_in(path);
    if (name)
        return add(out, joined(path, size, NULL), joined(name, strlen(name), NULL), joined(path, size, NULL), NULL, fault);
    status = pipeline_places(out, path, fault);
    if (!status && out->count == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%s: found neither model.safetensors, nor an index of its shards, nor "
                         "open_clip_model.safetensors, nor those in text_encoder or text_encoder_2", path + shown);
    return status;
}

void places_free(struct places *places) {
    for (size_t i = 0; i < places->count; i++) {
        memory_free(places->of[i].directory);
        memory_free(places->of[i].name);
        memory_free(places->of[i].tokenizer);
    }
    places->count = 0;
}
