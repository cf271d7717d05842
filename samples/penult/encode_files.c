/* encode_files.c - which --out gets which tensors, under which names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encode.h"
#include "formats.h"
#include "say.h"

static const char layers_meaning[] =
    "hidden_states.N: negative N counts from the end (-1: output of the last block, -2: of the one before it, the "
    "penultimate), else 0: the embeddings, N: output of block N; before the final layer norm unless the name ends in "
    ".final_norm";

static const char *extension(const char *path) {
    const char *name = strrchr(path, '/');
    const char *dot = strrchr(name != NULL ? name : path, '.');
    return dot != NULL ? dot : "";
}

int encoding_check_files(const struct options *options) {
    for (size_t i = 0; i < options->out_count; i++) {
        const char *end = extension(options->outs[i]);
        bool numpy = strcmp(end, ".npy") == 0 || strcmp(end, ".npz") == 0;
        if (!numpy && strcmp(end, ".safetensors") != 0) {
            return say_usage("--out %s: the name must end in .safetensors, .npy or .npz, which says what is written",
                             options->outs[i]);
        }
        if (numpy && options->dtype == PENULT_BF16) {
            return say_usage("--out %s: NumPy's files have no bf16; write .safetensors, or ask for --dtype f32 or f16",
                             options->outs[i]);
        }
    }
    if (options->heatmap != NULL && strcmp(extension(options->heatmap), ".png") != 0) {
        return say_usage("--heatmap %s: the name must end in .png", options->heatmap);
    }
    if (options->heatmap != NULL && options->layer_count == 0 && options->pooled_count > 0) {
        return say_usage("--heatmap draws hidden states, and only pooled outputs are asked for; add --layer -2");
    }
    return STATUS_OK;
}

char *encoding_add_word(const char *path, const char *word) {
    char *name;
    size_t stem = strlen(path) - strlen(extension(path));
    if (asprintf(&name, "%.*s.%s%s", (int)stem, path, word, extension(path)) < 0) {
        say_failed("no memory for the name of %s", path);
        return NULL;
    }
    return name;
}

FILE *encoding_open_file(struct encoding *encoding, const char *path, const char *format, const char *holds) {
    struct file_note *grown = realloc(encoding->notes, (encoding->outbox.count + 1) * sizeof *grown);
    if (grown == NULL) {
        say_failed("no memory for the list of files");
        return NULL;
    }
    encoding->notes = grown;
    struct file_note *note = &grown[encoding->outbox.count];
    snprintf(note->format, sizeof note->format, "%s", format);
    snprintf(note->holds, sizeof note->holds, "%s", holds);
    return outbox_open(&encoding->outbox, path);
}

static bool write_single(struct encoding *encoding, const char *path, const struct tensor *tensor) {
    FILE *to = encoding_open_file(encoding, path, "npy", tensor->name);
    if (to == NULL) {
        return false;
    }
    bool written = write_npy(to, tensor);
    return outbox_close(&encoding->outbox) && written;
}

/* A .npy file holds one tensor: with several, each gets a file with its tag in the name. */
static bool write_npy_files(struct encoding *encoding, const char *path) {
    if (encoding->result_count == 1) {
        return write_single(encoding, path, &encoding->results[0].tensor);
    }
    bool written = true;
    for (size_t i = 0; written && i < encoding->result_count; i++) {
        const struct tensor *tensor = &encoding->results[i].tensor;
        char *name = encoding_add_word(path, tensor->tag);
        written = name != NULL && write_single(encoding, name, tensor);
        free(name);
    }
    encoding->names_added = true;
    return written;
}

/* The ids first: with every value of at least its own size before it, no tensor is out of alignment. */
static bool write_all(struct encoding *encoding, const char *path, const char *format) {
    char holds[256] = "input_ids", name[256];
    size_t count = encoding->result_count + 1;
    const struct tensor **tensors = calloc(count, sizeof *tensors); /* NOLINT(bugprone-sizeof-expression): of pointers */
    if (tensors == NULL) {
        say_failed("no memory for the list of tensors");
        return false;
    }
    tensors[0] = &encoding->ids;
    size_t used = strlen(holds);
    for (size_t i = 1; i < count; i++) {
        tensors[i] = &encoding->results[i - 1].tensor;
        int length = snprintf(holds + used, sizeof holds - used, ", %s", tensors[i]->name);
        used = used + (size_t)length < sizeof holds ? used + (size_t)length : sizeof holds - 1;
    }
    host_model_name(encoding->options->model, 1, name, sizeof name);
    const struct metadata metadata[] = {
        {"penult", encoding->host.plugin_version},
        {"model", name},
        {"layers", layers_meaning},
    };
    FILE *to = encoding_open_file(encoding, path, format, holds);
    bool written = to != NULL;
    if (written) {
        written = strcmp(format, "npz") == 0
                      ? write_npz(to, tensors, count)
                      : write_safetensors(to, tensors, count, metadata, sizeof metadata / sizeof metadata[0]);
        written = outbox_close(&encoding->outbox) && written;
    }
    free(tensors);
    return written;
}

int encoding_write_files(struct encoding *encoding) {
    for (size_t i = 0; i < encoding->options->out_count; i++) {
        const char *path = encoding->options->outs[i];
        const char *format = extension(path) + 1;
        bool written = strcmp(format, "npy") == 0 ? write_npy_files(encoding, path) : write_all(encoding, path, format);
        if (!written) {
            return STATUS_FAILED;
        }
    }
    return STATUS_OK;
}
