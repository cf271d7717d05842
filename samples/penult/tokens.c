/* tokens.c - see tokens.h. */
#include "tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "say.h"

#define TEXT_SHOWN 60

/* The sentence of a failed tokenization, naming the prompt where there are several. */
static int refuse(const penult_error *error, size_t number) {
    return number > 0 ? say_failed("prompt %zu: %s", number, error->message) : say_failed("%s", error->message);
}

int tokens_read(struct tokens *tokens, const struct host *host, const struct prompt *prompt, bool body_only,
                size_t number) {
    penult_error error;
    penult_token_request request = {
        .struct_size = sizeof request,
        .flags = body_only ? PENULT_TOKENS_BODY : 0,
        .text = prompt->text,
        .text_bytes = prompt->bytes,
    };
    penult_token_result result = {.struct_size = sizeof result};
    *tokens = (struct tokens){.body_only = body_only};
    /* without arrays it counts */
    if (host->api->tokenize(host->model, &request, &result, &error) != PENULT_OK) {
        return refuse(&error, number);
    }
    tokens->count = result.id_count;
    tokens->ids = calloc(tokens->count + 1, sizeof *tokens->ids);
    tokens->spans = calloc(tokens->count + 1, sizeof *tokens->spans);
    if (tokens->ids == NULL || tokens->spans == NULL) {
        return say_failed("no memory for %zu tokens", tokens->count);
    }
    result.ids = tokens->ids;
    result.spans = tokens->spans;
    result.capacity = tokens->count;
    if (host->api->tokenize(host->model, &request, &result, &error) != PENULT_OK) {
        return refuse(&error, number);
    }
    tokens->body_count = result.body_count;
    tokens->cut_count = result.cut_count;
    tokens->cut_begin = result.cut_begin;
    tokens->end_position = result.end_position;
    return STATUS_OK;
}

void tokens_free(struct tokens *tokens) {
    free(tokens->ids);
    free(tokens->spans);
    *tokens = (struct tokens){0};
}

enum token_kind tokens_kind(const struct tokens *tokens, size_t position) {
    if (tokens->body_only || (position >= 1 && position <= tokens->body_count)) {
        return TOKEN_TEXT;
    }
    /* by position, not by id: CLIP-L pads with its end id, and a prompt may spell any of them */
    return position == 0 ? TOKEN_START : position == tokens->body_count + 1 ? TOKEN_END : TOKEN_PAD;
}

const char *tokens_frame_name(enum token_kind kind) {
    return kind == TOKEN_START ? "<start>" : kind == TOKEN_END ? "<end>" : kind == TOKEN_PAD ? "<pad>" : NULL;
}

static void show_row(const struct tokens *tokens, const struct prompt *prompt, size_t position) {
    const penult_span *span = &tokens->spans[position];
    enum token_kind kind = tokens_kind(tokens, position);
    if (kind != TOKEN_TEXT) {
        printf("  %8zu  %7" PRId32 "  %13s  %s\n", position, tokens->ids[position], "-", tokens_frame_name(kind));
        return;
    }
    char bytes[48];
    if (span->end - span->begin > 1) {
        snprintf(bytes, sizeof bytes, "%" PRIu64 "-%" PRIu64, span->begin, span->end - 1);
    } else {
        snprintf(bytes, sizeof bytes, "%" PRIu64, span->begin);
    }
    printf("  %8zu  %7" PRId32 "  %13s  ", position, tokens->ids[position], bytes);
    if (span->begin <= span->end && span->end <= prompt->bytes) {
        say_text(stdout, prompt->text + span->begin, span->end - span->begin, TEXT_SHOWN);
    }
    putchar('\n');
}

void tokens_show(const struct tokens *tokens, const struct prompt *prompt) {
    printf("  %8s  %7s  %13s  %s\n", "position", "id", "bytes", "text");
    for (size_t position = 0; position < tokens->count; position++) {
        size_t last = tokens->count - 1;
        if (position + 1 < last && tokens_kind(tokens, position) == TOKEN_PAD) {
            char range[48];
            snprintf(range, sizeof range, "%zu-%zu", position, last);
            printf("  %8s  %7" PRId32 "  %13s  <pad> %zu times\n", range, tokens->ids[position], "-",
                   last - position + 1);
            break;
        }
        show_row(tokens, prompt, position);
    }
    if (tokens->cut_count > 0 && tokens->cut_begin <= prompt->bytes) {
        printf("  cut: %" PRIu64 " tokens did not fit; lost from byte %" PRIu64 " on: ", tokens->cut_count,
               tokens->cut_begin);
        say_text(stdout, prompt->text + tokens->cut_begin, prompt->bytes - tokens->cut_begin, TEXT_SHOWN);
        putchar('\n');
    }
}

void tokens_json(const struct tokens *tokens, const struct prompt *prompt, json into) {
    json_add_text(into, "text", prompt->text, prompt->bytes);
    json_add_unsigned(into, "text_bytes", prompt->bytes);
    json_add_unsigned(into, "body_count", tokens->body_count);
    json_add_unsigned(into, "cut_count", tokens->cut_count);
    json_add_unsigned(into, "cut_begin", tokens->cut_begin);
    if (!tokens->body_only) {
        json_add_unsigned(into, "end_position", tokens->end_position);
    }
    json ids = json_add_array(into, "ids");
    for (size_t i = 0; i < tokens->count; i++) {
        json_add_integer(ids, NULL, tokens->ids[i]);
    }
    json rows = json_add_array(into, "tokens");
    for (size_t i = 0; i < tokens->count; i++) {
        const penult_span *span = &tokens->spans[i];
        if (tokens_kind(tokens, i) != TOKEN_TEXT || span->begin > span->end || span->end > prompt->bytes) {
            continue;
        }
        json row = json_add_object(rows, NULL);
        json_add_unsigned(row, "position", i);
        json_add_integer(row, "id", tokens->ids[i]);
        json_add_unsigned(row, "begin", span->begin);
        json_add_unsigned(row, "end", span->end);
        json_add_text(row, "text", prompt->text + span->begin, span->end - span->begin);
    }
}
