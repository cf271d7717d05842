/* encode_report.c - what `penult encode` shows of what happened: for people, and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "encode.h"
#include "say.h"

#define TABLES_MAX 4 /* with more prompts than this, one line each */
#define FIRST_VALUES 4
#define PROMPT_SHOWN 70

static void show_model(const struct encoding *encoding) {
    const penult_model_info *info = &encoding->host.info;
    char parameters[SAY_COUNT_MAX];
    printf("model    %s: CLIP text tower, %u blocks of width %u, %u heads, %s, %s; %s parameters\n",
           encoding->options->model, info->layers, info->width, info->heads, host_activation(info->activation),
           host_dtype(info->dtype), say_count(parameters, info->parameters));
    printf("plugin   %s, penult %s; %s\n\n", encoding->host.plugin_path, encoding->host.plugin_version, info->kernels);
}

static void show_prompt(const struct encoding *encoding, size_t number) {
    const struct prompt *prompt = &encoding->prompts.list[number];
    const struct tokens *tokens = &encoding->tokens[number];
    if (encoding->prompts.count > 1) {
        printf("prompt %-3zu", number);
    } else {
        fputs("prompt   ", stdout);
    }
    putchar('"');
    say_text(stdout, prompt->text, prompt->bytes, PROMPT_SHOWN);
    printf("\": %" PRIu64 " tokens kept, %" PRIu64 " cut\n", tokens->body_count, tokens->cut_count);
    if (encoding->prompts.count <= TABLES_MAX) {
        tokens_show(tokens, prompt);
        putchar('\n');
    }
}

static void show_results(const struct encoding *encoding) {
    int name_width = 6, shape_width = 5;
    for (size_t i = 0; i < encoding->result_count; i++) {
        char shape[96];
        int name_length = (int)strlen(encoding->results[i].tensor.name);
        tensor_shape_text(&encoding->results[i].tensor, shape, sizeof shape);
        name_width = name_length > name_width ? name_length : name_width;
        shape_width = (int)strlen(shape) > shape_width ? (int)strlen(shape) : shape_width;
    }
    printf("%-*s  %-*s  %-5s  %-40s %10s %10s %10s\n", name_width, "output", shape_width, "shape", "dtype",
           "first values", "min", "max", "rms");
    for (size_t i = 0; i < encoding->result_count; i++) {
        const struct tensor *tensor = &encoding->results[i].tensor;
        struct tensor_summary summary = tensor_summarise(tensor);
        char shape[96], first[96] = "";
        size_t used = 0;
        tensor_shape_text(tensor, shape, sizeof shape);
        for (uint64_t k = 0; k < FIRST_VALUES && k < tensor->count; k++) {
            used += (size_t)snprintf(first + used, sizeof first - used, "%10.5g", (double)tensor_value(tensor, k));
        }
        printf("%-*s  %-*s  %-5s  %-40s %10.5g %10.5g %10.5g\n", name_width, tensor->name, shape_width, shape,
               host_dtype(tensor->dtype), first, summary.minimum, summary.maximum, summary.rms);
        if (summary.not_finite > 0) {
            printf("  %" PRIu64 " of these values are not finite: %s is too small for them\n", summary.not_finite,
                   host_dtype(tensor->dtype));
        }
    }
}

static void show_files(const struct encoding *encoding) {
    for (size_t i = 0; i < encoding->outbox.count; i++) {
        const struct outbox_file *file = &encoding->outbox.files[i];
        char bytes[SAY_COUNT_MAX];
        printf("%s  %s, %s bytes: %s\n", i == 0 ? "wrote  " : "       ", file->path, say_count(bytes, file->bytes),
               encoding->notes[i].holds);
    }
    if (encoding->names_added) {
        puts("         (what each file holds was added to the name that you gave, because there are several)");
    }
}

void encoding_show(const struct encoding *encoding) {
    show_model(encoding);
    for (size_t i = 0; i < encoding->prompts.count; i++) {
        show_prompt(encoding, i);
    }
    if (encoding->prompts.count > TABLES_MAX) {
        putchar('\n');
    }
    show_results(encoding);
    printf("\ntime     open %.1f ms, session %.1f ms, encode %.1f ms (%u of %u blocks had to run)\n",
           encoding->host.open_seconds * 1e3, encoding->session_seconds * 1e3, encoding->encode_seconds * 1e3,
           encoding->blocks_run, encoding->host.info.layers);
    show_files(encoding);
}

static const char *kind_name(uint32_t kind) {
    return kind == PENULT_HIDDEN ? "hidden" : kind == PENULT_POOLED_RAW ? "pooled_raw"
           : kind == PENULT_POOLED_PROJECTED ? "pooled_projected" : "pooled_normalised";
}

static void result_json(const struct result *result, json into) {
    const struct tensor *tensor = &result->tensor;
    struct tensor_summary summary = tensor_summarise(tensor);
    json_add_string(into, "name", tensor->name);
    json_add_string(into, "kind", kind_name(result->kind));
    if (result->kind == PENULT_HIDDEN) {
        json_add_integer(into, "layer", result->layer);
        json_add_bool(into, "final_norm", (result->flags & PENULT_FINAL_NORM) != 0);
    }
    json_add_string(into, "dtype", host_dtype(tensor->dtype));
    json shape = json_add_array(into, "shape");
    for (unsigned i = 0; i < tensor->rank; i++) {
        json_add_unsigned(shape, NULL, tensor->shape[i]);
    }
    json first = json_add_array(into, "first");
    for (uint64_t i = 0; i < FIRST_VALUES && i < tensor->count; i++) {
        json_add_real(first, NULL, (double)tensor_value(tensor, i));
    }
    json_add_real(into, "min", summary.minimum);
    json_add_real(into, "max", summary.maximum);
    json_add_real(into, "rms", summary.rms);
    json_add_unsigned(into, "not_finite", summary.not_finite);
}

char *encoding_json(const struct encoding *encoding) {
    bool failed;
    json root = json_begin(&failed);
    json_add_string(root, "command", "encode");
    host_json(&encoding->host, encoding->options, root);
    json prompts = json_add_array(root, "prompts");
    for (size_t i = 0; i < encoding->prompts.count; i++) {
        tokens_json(&encoding->tokens[i], &encoding->prompts.list[i], json_add_object(prompts, NULL));
    }
    json outputs = json_add_array(root, "outputs");
    for (size_t i = 0; i < encoding->result_count; i++) {
        result_json(&encoding->results[i], json_add_object(outputs, NULL));
    }
    json files = json_add_array(root, "files");
    for (size_t i = 0; i < encoding->outbox.count; i++) {
        json file = json_add_object(files, NULL);
        json_add_string(file, "path", encoding->outbox.files[i].path);
        json_add_string(file, "format", encoding->notes[i].format);
        json_add_string(file, "holds", encoding->notes[i].holds);
        json_add_unsigned(file, "bytes", encoding->outbox.files[i].bytes);
    }
    json_add_integer(root, "blocks_run", encoding->blocks_run);
    json seconds = json_add_object(root, "seconds");
    json_add_real(seconds, "open", encoding->host.open_seconds);
    json_add_real(seconds, "session", encoding->session_seconds);
    json_add_real(seconds, "encode", encoding->encode_seconds);
    char *text = json_text(root, true);
    json_end(root);
    if (text == NULL) {
        say_failed("no memory for the JSON of the result");
    }
    return text;
}
