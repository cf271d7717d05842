/* condition_json.c - what `penult condition` did, as JSON. */
#include <string.h>

#include "condition.h"
#include "json.h"
#include "say.h"

static void add_tokens(json into, const struct conditioning *conditioning, const struct conditioned *done) {
    json list = json_add_array(into, "tokens");
    for (uint64_t i = 0; i < done->result.token_count; i++) {
        const penult_condition_token *token = &done->tokens[i];
        struct prompt text = conditioning_text(conditioning, done, token->tower, token->negative);
        bool is_cut = token->chunk == PENULT_CHUNK_CUT;
        json row = json_add_object(list, NULL);
        json_add_string(row, "tower", conditioning->towers.recipe.towers[token->tower].name);
        json_add_bool(row, "negative", token->negative != 0);
        json_add_integer(row, "id", token->id);
        json_add_exact(row, "weight", token->weight);
        json_add_bool(row, "cut", is_cut);
        if (!is_cut) {
            json_add_unsigned(row, "chunk", token->chunk);
            json_add_unsigned(row, "row", token->row);
        }
        json_add_unsigned(row, "begin", token->begin);
        json_add_unsigned(row, "end", token->end);
        if (token->begin <= token->end && token->end <= text.bytes) {
            json_add_text(row, "text", text.text + token->begin, (size_t)(token->end - token->begin));
        }
    }
}

static void add_windows(json into, const struct conditioning *conditioning, const struct conditioned *done) {
    json list = json_add_array(into, "windows");
    for (uint32_t i = 0; i < done->result.window_count; i++) {
        const penult_condition_window *window = &done->windows[i];
        json row = json_add_object(list, NULL);
        json_add_string(row, "tower", conditioning->towers.recipe.towers[window->tower].name);
        json_add_bool(row, "negative", window->negative != 0);
        json_add_unsigned(row, "chunk", window->chunk);
        json_add_integer(row, "layer", window->layer);
        json_add_bool(row, "cached", (window->flags & PENULT_WINDOW_CACHED) != 0);
        json_add_bool(row, "empty", (window->flags & PENULT_WINDOW_EMPTY) != 0);
        json_add_bool(row, "masked", (window->flags & PENULT_WINDOW_MASKED) != 0);
        json_add_bool(row, "plain", (window->flags & PENULT_WINDOW_PLAIN) != 0);
    }
}

static void add_tensors(json into, const struct conditioned *done) {
    json list = json_add_array(into, "tensors");
    for (size_t i = 0; i < done->tensor_count; i++) {
        const struct tensor *tensor = &done->tensors[i].tensor;
        const struct tensor_summary *summary = &done->tensors[i].summary;
        json row = json_add_object(list, NULL);
        json_add_string(row, "name", tensor->name);
        json_add_string(row, "dtype", host_dtype(tensor->dtype));
        json shape = json_add_array(row, "shape");
        for (unsigned k = 0; k < tensor->rank; k++) {
            json_add_unsigned(shape, NULL, tensor->shape[k]);
        }
        json_add_real(row, "mean", summary->mean);
        json_add_real(row, "rms", summary->rms);
        json_add_real(row, "min", summary->minimum);
        json_add_real(row, "max", summary->maximum);
    }
}

static void add_prompt(json into, const struct conditioning *conditioning, const struct conditioned *done) {
    const penult_condition_result *result = &done->result;
    json_add_text(into, "prompt", done->prompt->text, done->prompt->bytes);
    json_add_unsigned(into, "chunks", result->chunks);
    json_add_unsigned(into, "own_chunks", result->own_chunks);
    json_add_unsigned(into, "negative_chunks", result->negative_chunks);
    json_add_unsigned(into, "negative_own_chunks", result->negative_own_chunks);
    json_add_bool(into, "negative_zero", result->negative_zero != 0);
    json_add_unsigned(into, "cut", result->cut_count);
    json_add_unsigned(into, "cached", result->cached_count);
    json_add_unsigned(into, "blocks_run", result->blocks_run);
    json_add_real(into, "seconds", done->seconds);
    if (done->file > 0) {
        json_add_string(into, "file", conditioning->outbox.files[done->file - 1].path);
        json_add_unsigned(into, "file_bytes", conditioning->outbox.files[done->file - 1].bytes);
    }
    add_tokens(into, conditioning, done);
    add_windows(into, conditioning, done);
    add_tensors(into, done);
}

static void add_given(json into, const char *key, const char *text) {
    if (text != NULL) {
        json_add_string(into, key, text);
    } else {
        json_add_null(into, key);
    }
}

char *conditioning_json(const struct conditioning *conditioning) {
    const struct options *options = conditioning->options;
    const struct towers *towers = &conditioning->towers;
    double open_seconds = 0;
    bool failed;
    json root = json_begin(&failed);
    json_add_string(root, "command", "condition");
    host_plugin_json(&towers->plugin, root);
    json_add_string(root, "recipe", conditioning->info.recipe);
    json_add_string(root, "dialect", conditioning->info.dialect);
    json_add_string(root, "kernels", manifest_kernels(options->kernels));
    json_add_string(root, "arithmetic", manifest_arithmetic(options->arithmetic));
    add_given(root, "prompt_2", options->prompt_2);
    add_given(root, "negative", options->negative);
    add_given(root, "negative_2", options->negative_2);
    json list = json_add_array(root, "towers");
    for (uint32_t t = 0; t < towers->recipe.info.tower_count; t++) {
        json tower = json_add_object(list, NULL);
        json_add_string(tower, "name", towers->recipe.towers[t].name);
        add_given(tower, "values", towers->hashed ? towers->digests[t] : NULL);
        host_model_json(&towers->hosts[t], &towers->settings[t], tower);
        open_seconds += towers->hosts[t].open_seconds;
    }
    json pipeline = json_add_object(root, "pipeline");
    json_add_unsigned(pipeline, "tokens", conditioning->info.tokens);
    json_add_unsigned(pipeline, "context_width", conditioning->info.context_width);
    json_add_unsigned(pipeline, "pooled_width", conditioning->info.pooled_width);
    json_add_unsigned(pipeline, "vector_width", conditioning->info.vector_width);
    json_add_unsigned(pipeline, "max_windows", conditioning->info.max_windows);
    json_add_unsigned(pipeline, "cache_windows", conditioning->info.cache_windows);
    json_add_unsigned(pipeline, "bytes", conditioning->info.bytes);
    json prompts = json_add_array(root, "prompts");
    for (size_t i = 0; i < conditioning->prompts.count; i++) {
        add_prompt(json_add_object(prompts, NULL), conditioning, &conditioning->list[i]);
    }
    json seconds = json_add_object(root, "seconds");
    json_add_real(seconds, "open", open_seconds);
    json_add_real(seconds, "pipeline", conditioning->pipeline_seconds);
    json_add_real(seconds, "hash", conditioning->hash_seconds);
    char *text = json_text(root, true);
    json_end(root);
    if (text == NULL) {
        say_failed("no memory for the JSON of the result");
    }
    return text;
}
