/* encode.c - `penult encode`: prompts to tensors, to files, to a report. Batches of prompts share one pass; Ctrl-C ends
 * it between two blocks. */
#include "encode.h"

#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "interrupt.h"
#include "say.h"

/* Prompts per pass: enough to read the weights once for several, few enough that scratch stays small. */
#define BATCH 8
#define DEFAULT_TEXT_BYTES 65536

struct pass {
    struct encoding *encoding;
    size_t first, count;
};

static int32_t show_pass(void *user, const penult_progress *progress) {
    const struct pass *pass = user;
    struct encoding *encoding = pass->encoding;
    uint64_t all = encoding->prompts.count;
    uint64_t done = progress->total * pass->first + progress->done * pass->count;
    progress_show(&encoding->host.progress, "encoding", done / (progress->total > 0 ? progress->total : 1), all,
                  all == 1 ? "prompt" : "prompts");
    return interrupt_pending();
}

static int read_tokens(struct encoding *encoding) {
    const struct prompts *prompts = &encoding->prompts;
    encoding->tokens = calloc(prompts->count + 1, sizeof *encoding->tokens);
    encoding->ids = (struct tensor){
        .name = "input_ids", .dtype = TENSOR_I32, .rank = 2, .shape = {prompts->count, encoding->host.info.context}};
    if (encoding->tokens == NULL || !tensor_allocate(&encoding->ids)) {
        return say_failed("no memory for the tokens of %zu prompts", prompts->count);
    }
    for (size_t i = 0; i < prompts->count; i++) {
        struct tokens *tokens = &encoding->tokens[i];
        int status = tokens_read(tokens, &encoding->host, &prompts->list[i], false, prompts->count > 1 ? i + 1 : 0);
        if (status != STATUS_OK) {
            return status;
        }
        int32_t *row = (int32_t *)encoding->ids.data + i * encoding->ids.shape[1];
        for (size_t k = 0; k < tokens->count && k < encoding->ids.shape[1]; k++) {
            row[k] = tokens->ids[k];
        }
    }
    return STATUS_OK;
}

/* One request: prompts first to first + count - 1, into their places in every tensor. */
static int32_t encode_pass(struct pass *pass, penult_session *session, penult_output *outputs, penult_error *error) {
    struct encoding *encoding = pass->encoding;
    penult_prompt prompts[BATCH] = {{0}};
    for (size_t i = 0; i < pass->count; i++) {
        const struct prompt *prompt = &encoding->prompts.list[pass->first + i];
        prompts[i].text = prompt->text;
        prompts[i].text_bytes = prompt->bytes;
    }
    for (size_t i = 0; i < encoding->result_count; i++) {
        const struct result *result = &encoding->results[i];
        uint64_t per_prompt = result->tensor.bytes / encoding->prompts.count;
        outputs[i] = (penult_output){
            .kind = result->kind,
            .layer = result->layer,
            .flags = result->flags,
            .to = {.data = (char *)result->tensor.data + pass->first * per_prompt,
                   .bytes = pass->count * per_prompt,
                   .dtype = result->tensor.dtype},
        };
    }
    penult_text_request request = {
        .struct_size = sizeof request,
        .prompt_count = (uint32_t)pass->count,
        .prompt_stride = sizeof prompts[0],
        .prompts = prompts,
        .output_count = (uint32_t)encoding->result_count,
        .output_stride = sizeof outputs[0],
        .outputs = outputs,
        .progress = show_pass,
        .user = pass,
    };
    penult_text_result result = {.struct_size = sizeof result};
    int32_t status = encoding->host.api->encode_text(session, &request, &result, error);
    encoding->blocks_run = result.blocks_run;
    return status;
}

static int run_session(struct encoding *encoding, penult_session *session) {
    penult_error error;
    penult_output *outputs = calloc(encoding->result_count + 1, sizeof *outputs);
    int32_t status = PENULT_OK;
    if (outputs == NULL) {
        return say_failed("no memory for the list of outputs");
    }
    struct pass pass = {.encoding = encoding};
    progress_begin(&encoding->host.progress, encoding->options->quiet);
    while (pass.first < encoding->prompts.count && status == PENULT_OK && !interrupt_pending()) {
        size_t left = encoding->prompts.count - pass.first;
        pass.count = left < BATCH ? left : BATCH;
        status = encode_pass(&pass, session, outputs, &error);
        pass.first += pass.count;
    }
    progress_end(&encoding->host.progress);
    free(outputs);
    if (interrupt_pending()) {
        return say_failed("interrupted; nothing was written");
    }
    return status == PENULT_OK ? STATUS_OK : say_failed("%s", error.message);
}

static int run(struct encoding *encoding) {
    const penult_api *api = encoding->host.api;
    penult_error error;
    penult_session *session;
    penult_session_params params = {
        .struct_size = sizeof params,
        .threads = encoding->options->threads,
        .kernels = encoding->options->kernels,
        .arithmetic = encoding->options->arithmetic,
        .max_prompts = encoding->prompts.count < BATCH ? (uint32_t)encoding->prompts.count : BATCH,
        .max_text_bytes = DEFAULT_TEXT_BYTES,
    };
    for (size_t i = 0; i < encoding->prompts.count; i++) {
        if (encoding->prompts.list[i].bytes > params.max_text_bytes) {
            params.max_text_bytes = encoding->prompts.list[i].bytes;
        }
    }
    double began = progress_clock();
    if (api->session_open(encoding->host.model, &params, &session, &error) != PENULT_OK) {
        return say_failed("%s", error.message);
    }
    double opened = progress_clock();
    int status = run_session(encoding, session);
    encoding->session_seconds = opened - began;
    encoding->encode_seconds = progress_clock() - opened;
    api->session_close(session);
    return status;
}

/* Everything that can fail comes before the files get their names. */
static int finish(struct encoding *encoding) {
    const struct options *options = encoding->options;
    char *text = NULL;
    int status = encoding_write_files(encoding);
    if (status == STATUS_OK) {
        status = encoding_write_pictures(encoding);
    }
    if (status == STATUS_OK && interrupt_pending()) {
        status = say_failed("interrupted; nothing was written");
    }
    if (status == STATUS_OK && options->json && (text = encoding_json(encoding)) == NULL) {
        status = STATUS_FAILED;
    }
    if (status == STATUS_OK && !outbox_commit(&encoding->outbox)) {
        status = STATUS_FAILED;
    }
    if (status == STATUS_OK && options->json) {
        puts(text);
    } else if (status == STATUS_OK && !options->quiet) {
        encoding_show(encoding);
    }
    free(text);
    return status;
}

static int encode(struct encoding *encoding) {
    const struct options *options = encoding->options;
    int status = encoding_check_files(options);
    if (status == STATUS_OK) {
        status = prompts_read(&encoding->prompts, options);
    }
    if (status == STATUS_OK) {
        status = host_open(&encoding->host, options);
    }
    if (status == STATUS_OK) {
        status = encoding_plan(encoding);
    }
    if (status == STATUS_OK) {
        status = read_tokens(encoding);
    }
    if (status == STATUS_OK) {
        status = run(encoding);
    }
    if (status == STATUS_OK) {
        status = finish(encoding);
    }
    return status;
}

int command_encode(const struct options *options) {
    struct encoding encoding = {.options = options};
    interrupt_watch();
    int status = encode(&encoding);
    outbox_free(&encoding.outbox);
    free(encoding.notes);
    for (size_t i = 0; i < encoding.result_count; i++) {
        tensor_free(&encoding.results[i].tensor);
    }
    free(encoding.results);
    tensor_free(&encoding.ids);
    for (size_t i = 0; encoding.tokens != NULL && i < encoding.prompts.count; i++) {
        tokens_free(&encoding.tokens[i]);
    }
    free(encoding.tokens);
    prompts_free(&encoding.prompts);
    host_close(&encoding.host);
    if (status != STATUS_OK) {
        interrupt_finish();
    }
    return status;
}
