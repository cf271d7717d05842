/* condition_report.c - what `penult condition` shows people of what it did: tokens in columns, what was cut, what came from the
 * cache, tensors, time and memory. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "condition.h"
#include "say.h"

#define TABLES_MAX 4 /* with more prompts than this, one line each */
#define TEXT_SHOWN 48
#define PROMPT_SHOWN 70

static void show_models(const struct conditioning *conditioning) {
    const struct towers *towers = &conditioning->towers;
    printf("recipe   %s, dialect %s\n", conditioning->info.recipe, conditioning->info.dialect);
    for (uint32_t t = 0; t < towers->recipe.info.tower_count; t++) {
        const penult_model_info *info = &towers->hosts[t].info;
        printf("%-7s  %s: %u blocks of width %u, %s, %s\n", towers->recipe.towers[t].name, towers->settings[t].model, info->layers,
               info->width, host_activation(info->activation), host_dtype(info->dtype));
        if (towers->hashed) {
            printf("         weights %s\n", towers->digests[t]);
        }
    }
    printf("plugin   %s, penult %s; %s\n\n", towers->plugin.plugin_path, towers->plugin.plugin_version, towers->hosts[0].info.kernels);
}

/* ---- tokens ---- */

/* The tokens of a tower's side, which stand together. */
static const penult_condition_token *tokens_of(const struct conditioned *done, uint32_t tower, uint32_t negative, size_t *count) {
    const penult_condition_token *first = NULL;
    *count = 0;
    for (uint64_t i = 0; i < done->result.token_count; i++) {
        if (done->tokens[i].tower == tower && done->tokens[i].negative == negative) {
            first = first != NULL ? first : &done->tokens[i];
            (*count)++;
        }
    }
    return first;
}

static bool same_tokens(const struct conditioning *conditioning, const struct conditioned *done, uint32_t a, uint32_t b,
                        uint32_t negative) {
    size_t count, other;
    const penult_condition_token *x = tokens_of(done, a, negative, &count), *y = tokens_of(done, b, negative, &other);
    struct prompt text = conditioning_text(conditioning, done, a, negative), second = conditioning_text(conditioning, done, b, negative);
    bool same = count == other && text.text == second.text && text.bytes == second.bytes;
    for (size_t i = 0; same && i < count; i++) {
        same = x[i].id == y[i].id && x[i].chunk == y[i].chunk && x[i].row == y[i].row && x[i].begin == y[i].begin &&
               x[i].end == y[i].end && x[i].weight == y[i].weight;
    }
    return same;
}

static void show_token(const penult_condition_token *token, const struct prompt *text) {
    if (token->chunk == PENULT_CHUNK_CUT) {
        printf("  %6s  %4s", "cut", "-");
    } else {
        printf("  %6" PRIu32 "  %4" PRIu32, token->chunk, token->row);
    }
    printf("  %7" PRId32 "  %8.5g  ", token->id, token->weight);
    if (token->begin <= token->end && token->end <= text->bytes) {
        say_text(stdout, text->text + token->begin, (size_t)(token->end - token->begin), TEXT_SHOWN);
    }
    putchar('\n');
}

static void show_tokens(const struct conditioning *conditioning, const struct conditioned *done, uint32_t tower, uint32_t negative) {
    const struct recipe *recipe = &conditioning->towers.recipe;
    struct prompt text = conditioning_text(conditioning, done, tower, negative);
    size_t count, cut = 0;
    const penult_condition_token *tokens = tokens_of(done, tower, negative, &count);
    for (uint32_t t = 0; t < tower; t++) {
        if (same_tokens(conditioning, done, t, tower, negative)) {
            return; /* they stand there already */
        }
    }
    for (size_t i = 0; i < count; i++) {
        cut += tokens[i].chunk == PENULT_CHUNK_CUT;
    }
    printf("%-8s ", negative ? "negative" : "prompt");
    putchar('"');
    say_text(stdout, text.text, text.bytes, PROMPT_SHOWN);
    printf("\": %zu token%s, %zu cut; %s", count, count == 1 ? "" : "s", cut, recipe->towers[tower].name);
    for (uint32_t t = tower + 1; t < recipe->info.tower_count; t++) {
        if (same_tokens(conditioning, done, tower, t, negative)) {
            printf(", %s", recipe->towers[t].name);
        }
    }
    putchar('\n');
    if (count > 0) {
        printf("  %6s  %4s  %7s  %8s  %s\n", "window", "row", "id", "weight", "text");
    }
    for (size_t i = 0; i < count; i++) {
        show_token(&tokens[i], &text);
    }
    putchar('\n');
}

static bool has_tokens(const struct conditioned *done, uint32_t negative) {
    for (uint64_t i = 0; i < done->result.token_count; i++) {
        if (done->tokens[i].negative == negative) {
            return true;
        }
    }
    return false;
}

/* ---- windows ---- */

static void show_windows(const struct conditioning *conditioning, const struct conditioned *done) {
    const penult_condition_result *result = &done->result;
    printf("windows  %u for the prompt", result->chunks);
    if (result->own_chunks < result->chunks) {
        printf(" (%u its own)", result->own_chunks);
    }
    if (result->negative_zero) {
        fputs(", zeros for the negative", stdout);
    } else if (result->negative_chunks > 0) {
        printf(", %u for the negative", result->negative_chunks);
        if (result->negative_own_chunks < result->negative_chunks) {
            printf(" (%u its own)", result->negative_own_chunks);
        }
    }
    printf("; %u rows of the towers, %u of them from the cache\n", result->window_count, result->cached_count);
    for (uint32_t i = 0; i < result->window_count; i++) {
        const penult_condition_window *window = &done->windows[i];
        const char *what = window->flags & PENULT_WINDOW_MASKED  ? "without a fragment"
                           : window->flags & PENULT_WINDOW_PLAIN ? "as typed"
                           : window->flags & PENULT_WINDOW_EMPTY ? "the empty prompt"
                           : window->negative                    ? "negative"
                                                                 : "prompt";
        printf("  %-7s  %-18s  ", conditioning->towers.recipe.towers[window->tower].name, what);
        if (window->flags & (PENULT_WINDOW_MASKED | PENULT_WINDOW_PLAIN | PENULT_WINDOW_EMPTY)) {
            printf("%9s  ", "");
        } else {
            printf("window %-2" PRIu32 "  ", window->chunk);
        }
        if (window->layer != 0) {
            printf("layer %-3" PRId32, window->layer);
        } else {
            printf("%-9s", "pooled");
        }
        printf("  %s\n", window->flags & PENULT_WINDOW_CACHED ? "cache" : "computed");
    }
    putchar('\n');
}

/* ---- tensors ---- */

static void show_tensors(const struct conditioned *done) {
    int name_width = 6, shape_width = 5;
    char shape[96];
    for (size_t i = 0; i < done->tensor_count; i++) {
        tensor_shape_text(&done->tensors[i].tensor, shape, sizeof shape);
        int name_length = (int)strlen(done->tensors[i].tensor.name), shape_length = (int)strlen(shape);
        name_width = name_length > name_width ? name_length : name_width;
        shape_width = shape_length > shape_width ? shape_length : shape_width;
    }
    printf("%-*s  %-*s  %-5s %11s %11s %11s %11s\n", name_width, "tensor", shape_width, "shape", "dtype", "mean", "rms", "min", "max");
    for (size_t i = 0; i < done->tensor_count; i++) {
        const struct tensor *tensor = &done->tensors[i].tensor;
        const struct tensor_summary *summary = &done->tensors[i].summary;
        tensor_shape_text(tensor, shape, sizeof shape);
        printf("%-*s  %-*s  %-5s %11.5g %11.5g %11.5g %11.5g\n", name_width, tensor->name, shape_width, shape,
               host_dtype(tensor->dtype), summary->mean, summary->rms, summary->minimum, summary->maximum);
    }
    putchar('\n');
}

static void show_briefly(const struct conditioning *conditioning, const struct conditioned *done, size_t index) {
    printf("prompt %-4zu \"", index + 1);
    say_text(stdout, done->prompt->text, done->prompt->bytes, TEXT_SHOWN);
    printf("\": %u window%s, %" PRIu64 " cut, %u of %u rows cached, %.1f ms", done->result.chunks,
           done->result.chunks == 1 ? "" : "s", done->result.cut_count, done->result.cached_count, done->result.window_count, done->seconds * 1e3);
    if (done->file > 0) {
        printf(", %s", conditioning->outbox.files[done->file - 1].path);
    }
    putchar('\n');
}

void conditioning_show(const struct conditioning *conditioning) {
    const struct towers *towers = &conditioning->towers;
    char bytes[SAY_COUNT_MAX];
    double open_seconds = 0, seconds = 0;
    uint32_t blocks = 0;
    show_models(conditioning);
    for (size_t i = 0; i < conditioning->prompts.count; i++) {
        const struct conditioned *done = &conditioning->list[i];
        seconds += done->seconds;
        blocks += done->result.blocks_run;
        if (conditioning->prompts.count > TABLES_MAX) {
            show_briefly(conditioning, done, i);
            continue;
        }
        for (uint32_t negative = 0; negative < 2; negative++) {
            for (uint32_t t = 0; t < towers->recipe.info.tower_count && (!negative || has_tokens(done, 1) || conditioning->options->negative); t++) {
                show_tokens(conditioning, done, t, negative);
            }
        }
        show_windows(conditioning, done);
        show_tensors(done);
    }
    for (uint32_t t = 0; t < towers->recipe.info.tower_count; t++) {
        open_seconds += towers->hosts[t].open_seconds;
    }
    printf("time     open %.1f ms, pipeline %.1f ms, ", open_seconds * 1e3, conditioning->pipeline_seconds * 1e3);
    if (towers->hashed) {
        printf("hash %.1f ms, ", conditioning->hash_seconds * 1e3);
    }
    printf("condition %.1f ms (%u blocks had to run)\n", seconds * 1e3, blocks);
    printf("memory   %s bytes beside the weights: room for %u rows a tower, %u kept in the cache\n",
           say_count(bytes, conditioning->info.bytes), conditioning->info.max_windows, conditioning->info.cache_windows);
    for (size_t i = 0; i < conditioning->outbox.count && conditioning->prompts.count <= TABLES_MAX; i++) {
        const struct outbox_file *file = &conditioning->outbox.files[i];
        printf("%s  %s, %s bytes\n", i == 0 ? "wrote  " : "       ", file->path, say_count(bytes, file->bytes));
    }
}
