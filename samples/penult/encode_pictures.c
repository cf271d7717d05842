/* encode_pictures.c - --heatmap: one picture per prompt and hidden state. Turns what the command knows into labels and
 * titles; the drawing is samples/picture's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../picture/heatmap.h"
#include "../picture/png_file.h"
#include "encode.h"
#include "say.h"

/* The labels [T] of a prompt's rows. */
static void label_rows(const struct tokens *tokens, const struct prompt *prompt, struct heatmap_label *labels,
                       size_t rows) {
    for (size_t i = 0; i < rows; i++) {
        enum token_kind kind = i < tokens->count ? tokens_kind(tokens, i) : TOKEN_PAD;
        const char *name = tokens_frame_name(kind);
        labels[i] = (struct heatmap_label){.text = name, .bytes = name != NULL ? strlen(name) : 0, .muted = true};
        if (kind == TOKEN_TEXT && tokens->spans[i].begin <= tokens->spans[i].end &&
            tokens->spans[i].end <= prompt->bytes) {
            labels[i] = (struct heatmap_label){.text = prompt->text + tokens->spans[i].begin,
                                               .bytes = tokens->spans[i].end - tokens->spans[i].begin};
        }
    }
}

static void write_subtitle(const struct encoding *encoding, const struct result *result, char *text, size_t size) {
    const penult_model_info *info = &encoding->host.info;
    int64_t from_front = result->layer < 0 ? result->layer + (int64_t)info->layers + 1 : result->layer;
    char block[64] = "the embeddings", model[256];
    host_model_name(encoding->options->model, 2, model, sizeof model);
    if (from_front > 0) {
        snprintf(block, sizeof block, "output of block %lld of %u", (long long)from_front, info->layers);
    }
    snprintf(text, size,
             "Hidden state at layer %d (%s%s), %s the final layer norm. Model: %s, %u blocks of width %u, %s.",
             (int)result->layer, block, from_front + 1 == info->layers ? ", the penultimate" : "",
             result->flags & PENULT_FINAL_NORM ? "after" : "before", model, info->layers, info->width,
             host_activation(info->activation));
}

/* The name of a picture: hidden state and prompt are added where there are several. */
static char *picture_name(const struct encoding *encoding, const struct result *result, size_t prompt, bool several) {
    char word[96], number[32] = "";
    bool many = encoding->prompts.count > 1;
    if (many) {
        snprintf(number, sizeof number, "%s%zu", several ? "." : "", prompt);
    }
    snprintf(word, sizeof word, "%s%s", several ? result->tensor.tag : "", number);
    return several || many ? encoding_add_word(encoding->options->heatmap, word) : strdup(encoding->options->heatmap);
}

static bool write_picture(struct encoding *encoding, const char *path, const struct canvas *canvas, const char *holds) {
    char why[256] = "";
    FILE *to = encoding_open_file(encoding, path, "png", holds);
    if (to == NULL) {
        return false;
    }
    bool written = png_file_write(to, canvas, why, sizeof why);
    if (!written && !ferror(to)) {
        say_failed("%s could not be written: %s", path, why);
    }
    return outbox_close(&encoding->outbox) && written;
}

static bool draw(struct encoding *encoding, const struct result *result, size_t number, bool several, float *values,
                 struct heatmap_label *labels) {
    const struct prompt *prompt = &encoding->prompts.list[number];
    char subtitle[512], why[256], holds[96];
    struct canvas canvas;
    uint64_t count = result->tensor.count / encoding->prompts.count;
    char *title = malloc(prompt->bytes + 2);
    char *path = picture_name(encoding, result, number, several);
    if (title == NULL || path == NULL) {
        free(title);
        free(path);
        say_failed("no memory for a picture");
        return false;
    }
    title[0] = '"';
    memcpy(title + 1, prompt->text, prompt->bytes);
    title[prompt->bytes + 1] = '"';
    for (uint64_t i = 0; i < count; i++) {
        values[i] = tensor_value(&result->tensor, number * count + i);
    }
    label_rows(&encoding->tokens[number], prompt, labels, result->tensor.shape[1]);
    write_subtitle(encoding, result, subtitle, sizeof subtitle);
    struct heatmap heatmap = {
        .values = values,
        .rows = result->tensor.shape[1],
        .columns = result->tensor.shape[2],
        .labels = labels,
        .title = title,
        .title_bytes = prompt->bytes + 2,
        .subtitle = subtitle,
    };
    bool drawn = heatmap_draw(&heatmap, &canvas, NULL, why, sizeof why);
    if (drawn) {
        snprintf(holds, sizeof holds, "picture of %s", result->tensor.name);
        drawn = write_picture(encoding, path, &canvas, holds);
        canvas_free(&canvas);
    } else {
        say_failed("%s could not be drawn: %s", path, why);
    }
    free(title);
    free(path);
    return drawn;
}

int encoding_write_pictures(struct encoding *encoding) {
    size_t hidden = 0;
    bool drawn = true;
    if (encoding->options->heatmap == NULL) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < encoding->result_count; i++) {
        hidden += encoding->results[i].kind == PENULT_HIDDEN;
    }
    size_t rows = encoding->host.info.context;
    float *values = calloc(rows * encoding->host.info.width + 1, sizeof *values);
    struct heatmap_label *labels = calloc(rows + 1, sizeof *labels);
    if (values == NULL || labels == NULL) {
        drawn = false;
        say_failed("no memory for a picture");
    }
    for (size_t i = 0; drawn && i < encoding->result_count; i++) {
        for (size_t k = 0; drawn && k < encoding->prompts.count && encoding->results[i].kind == PENULT_HIDDEN; k++) {
            drawn = draw(encoding, &encoding->results[i], k, hidden > 1, values, labels);
        }
    }
    encoding->names_added = encoding->names_added || hidden > 1 || encoding->prompts.count > 1;
    free(values);
    free(labels);
    return drawn ? STATUS_OK : STATUS_FAILED;
}
