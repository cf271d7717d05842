/* manifest.c - the conditioning file: tensors, and in one string of the metadata everything that they follow from.
 * samples/FILES.md has the layout, conditioning_file.h its reader. */
#include <stdlib.h>
#include <string.h>

#include "condition.h"
#include "conditioning_file.h"
#include "formats.h"
#include "json.h"
#include "say.h"

const char *manifest_emphasis(uint32_t emphasis) {
    static const char *const words[] = {"original", "no-norm", "ignore", "none"};
    return emphasis < sizeof words / sizeof words[0] ? words[emphasis] : "unknown";
}

const char *manifest_arithmetic(uint32_t arithmetic) {
    return arithmetic == PENULT_ARITHMETIC_BF16 ? "bf16" : "exact";
}

const char *manifest_kernels(uint32_t kernels) {
    static const char *const words[] = {"best", "scalar", "openblas", "avx2", "avx512", "amx"};
    return kernels < sizeof words / sizeof words[0] ? words[kernels] : "unknown";
}

const char *manifest_pad_in_text(uint32_t pad_in_text) {
    return pad_in_text == PENULT_PAD_IS_TEXT ? "text" : pad_in_text == PENULT_PAD_IS_SPECIAL ? "special" : "files";
}

static void add_pair(json into, const char *key, const uint32_t pair[2], bool zero_is_none) {
    if (zero_is_none && pair[0] == 0) {
        json_add_null(into, key);
        return;
    }
    json list = json_add_array(into, key);
    json_add_unsigned(list, NULL, pair[0]);
    json_add_unsigned(list, NULL, pair[1]);
}

static void add_sizes(json into, const char *key, const struct size_options *sizes) {
    if (!sizes->given) {
        json_add_null(into, key);
        return;
    }
    json object = json_add_object(into, key);
    add_pair(object, "original", sizes->original, true);
    add_pair(object, "crop", sizes->crop, false);
    add_pair(object, "target", sizes->target, true);
    if (sizes->score == 0) {
        json_add_null(object, "score");
    } else {
        json_add_exact(object, "score", sizes->score);
    }
}

static void add_string(json into, const char *key, const char *string) {
    if (string != NULL) {
        json_add_string(into, key, string);
    } else {
        json_add_null(into, key);
    }
}

/* Columns, not rows: a reader makes arrays of them. */
static void add_tokens(json into, const char *key, const struct conditioned *done, uint32_t tower, uint32_t negative) {
    json object = json_add_object(into, key);
    json ids = json_add_array(object, "id"), weights = json_add_array(object, "weight");
    json chunks = json_add_array(object, "chunk"), rows = json_add_array(object, "row");
    json begins = json_add_array(object, "begin"), ends = json_add_array(object, "end");
    for (uint64_t i = 0; i < done->result.token_count; i++) {
        const penult_condition_token *token = &done->tokens[i];
        if (token->tower != tower || token->negative != negative) {
            continue;
        }
        bool is_cut = token->chunk == PENULT_CHUNK_CUT;
        json_add_integer(ids, NULL, token->id);
        json_add_exact(weights, NULL, token->weight);
        if (is_cut) {
            json_add_null(chunks, NULL);
            json_add_null(rows, NULL);
        } else {
            json_add_unsigned(chunks, NULL, token->chunk);
            json_add_unsigned(rows, NULL, token->row);
        }
        json_add_unsigned(begins, NULL, token->begin);
        json_add_unsigned(ends, NULL, token->end);
    }
}

static void add_towers(json into, const struct conditioning *conditioning, const struct conditioned *done) {
    const struct towers *towers = &conditioning->towers;
    json list = json_add_array(into, "towers");
    for (uint32_t t = 0; t < towers->recipe.info.tower_count; t++) {
        const penult_model_info *info = &towers->hosts[t].info;
        char model[256];
        json tower = json_add_object(list, NULL);
        host_model_name(towers->settings[t].model, 1, model, sizeof model);
        json_add_string(tower, "name", towers->recipe.towers[t].name);
        json_add_string(tower, "model", model);
        add_string(tower, "weights", towers->hashed ? towers->digests[t] : NULL);
        json_add_unsigned(tower, "width", info->width);
        json_add_unsigned(tower, "projection", info->projection);
        json_add_bool(tower, "second_prompt", towers->recipe.towers[t].second_prompt != 0);
        json_add_string(tower, "activation", host_activation(info->activation));
        json_add_string(tower, "computed_with", info->kernels);
        add_tokens(tower, "tokens", done, t, 0);
        add_tokens(tower, "negative_tokens", done, t, 1);
    }
}

static char *manifest_text(const struct conditioning *conditioning, const struct conditioned *done) {
    const struct options *options = conditioning->options;
    const penult_condition_result *result = &done->result;
    bool failed;
    json root = json_begin(&failed);
    json_add_unsigned(root, "format", CONDITIONING_FORMAT);
    json_add_string(root, "penult", conditioning->towers.plugin.plugin_version);
    json_add_string(root, "recipe", conditioning->info.recipe);
    json_add_string(root, "dialect", conditioning->info.dialect);
    add_string(root, "emphasis", strcmp(conditioning->info.dialect, "a1111") == 0 ? manifest_emphasis(options->emphasis) : NULL);
    if (options->has_clip_skip) {
        json_add_integer(root, "clip_skip", options->clip_skip);
    } else {
        json_add_null(root, "clip_skip");
    }
    json_add_bool(root, "split", options->split);
    json_add_bool(root, "skip_all", options->skip_all);
    json_add_text(root, "prompt", done->prompt->text, done->prompt->bytes);
    add_string(root, "prompt_2", options->prompt_2);
    add_string(root, "negative", options->negative);
    add_string(root, "negative_2", options->negative_2);
    add_sizes(root, "sizes", &options->sizes[0]);
    add_sizes(root, "negative_sizes", &options->sizes[1]);
    json_add_string(root, "dtype", host_dtype(done->tensors[0].tensor.dtype));
    json_add_string(root, "kernels", manifest_kernels(options->kernels));
    json_add_string(root, "arithmetic", manifest_arithmetic(options->arithmetic));
    json_add_bool(root, "open_clip", options->tokenizer_mode == PENULT_TOKENIZER_OPEN_CLIP);
    json_add_string(root, "pad_in_text", manifest_pad_in_text(options->pad_in_text));
    json_add_unsigned(root, "window", conditioning->info.tokens);
    json_add_unsigned(root, "chunks", result->chunks);
    json_add_unsigned(root, "own_chunks", result->own_chunks);
    json_add_unsigned(root, "negative_chunks", result->negative_chunks);
    json_add_unsigned(root, "negative_own_chunks", result->negative_own_chunks);
    json_add_bool(root, "negative_zero", result->negative_zero != 0);
    json_add_unsigned(root, "cut", result->cut_count);
    add_towers(root, conditioning, done);
    json tensors = json_add_object(root, "tensors");
    for (size_t i = 0; i < done->tensor_count; i++) {
        const struct tensor *tensor = &done->tensors[i].tensor;
        json shape = json_add_array(tensors, tensor->name);
        for (unsigned k = 0; k < tensor->rank; k++) {
            json_add_unsigned(shape, NULL, tensor->shape[k]);
        }
    }
    char *text = json_text(root, false);
    json_end(root);
    return text;
}

int manifest_write(const struct conditioning *conditioning, const struct conditioned *done, FILE *to) {
    const struct tensor *tensors[TENSORS_MAX];
    size_t number = conditioning_number(conditioning, (size_t)(done - conditioning->list));
    const char *zero = memchr(done->prompt->text, '\0', done->prompt->bytes);
    for (size_t i = 0; i < done->tensor_count; i++) {
        tensors[i] = &done->tensors[i].tensor;
    }
    if (zero != NULL) {
        return say_failed("prompt %zu has a NUL at byte %zu, which no string of a conditioning file can hold",
                          number > 0 ? number : 1, (size_t)(zero - done->prompt->text));
    }
    char *text = manifest_text(conditioning, done);
    if (text == NULL) {
        return say_failed("no memory for the manifest of a conditioning file");
    }
    if (strlen(text) > CONDITIONING_MANIFEST_MAX) {
        say_failed("the manifest of prompt %zu has %zu bytes, and a conditioning file's has at most %d", number > 0 ? number : 1,
                   strlen(text), CONDITIONING_MANIFEST_MAX);
        free(text);
        return STATUS_FAILED;
    }
    const struct metadata metadata[] = {
        {"penult", conditioning->towers.plugin.plugin_version},
        {CONDITIONING_KEY, text},
    };
    bool written = write_safetensors(to, tensors, done->tensor_count, metadata, sizeof metadata / sizeof metadata[0]);
    free(text);
    return written || ferror(to) ? STATUS_OK : STATUS_FAILED; /* of the stream the outbox speaks */
}
