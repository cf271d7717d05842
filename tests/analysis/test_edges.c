/* test_edges.c - protects the boundary where the other tests of the ABI do not reach: pitches whose products overflow, a handle of
 * the wrong kind, a session that is called from its own callback, paths that would not print, a table of another version.
 *
 *     test_edges PLUGIN MODEL
 *
 * Each is a status and a sentence, and the session computes as before. Knows penult.h. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../memory/host.h"

#define TEXT "a castle at dawn"

static penult_model *model;
static penult_session *session;
static struct batch batch;
static uint64_t right;

static void refused(int32_t wanted, int32_t status, const penult_error *error, const char *words) {
    int good = status == wanted && (wanted == PENULT_OK || strstr(error->message, words));
    check(good, "%s: %s%s%.200s", words, status_name(status), status ? ", " : "", status ? error->message : "");
}

/* One output changed, then the whole request as it was: refused, and the next encode is right. */
static void encode_with(penult_output output, uint32_t prompts, int32_t wanted, const char *words) {
    penult_text_request request = batch.request;
    penult_prompt same[3] = {batch.prompts[0], batch.prompts[0], batch.prompts[0]};
    penult_error error;
    request.outputs = &output;
    request.output_count = 1;
    request.prompts = same;
    request.prompt_count = prompts;
    refused(wanted, api->encode_text(session, &request, NULL, &error), &error, words);
}

static void pitches(void) {
    penult_output hidden = batch.outputs[0], changed;
    changed = hidden, changed.to.row_pitch = UINT64_MAX / 2;
    encode_with(changed, 1, PENULT_E_ARGUMENT, "to.row_pitch");
    changed = hidden, changed.to.row_pitch = UINT64_MAX / 76;
    encode_with(changed, 1, PENULT_E_ARGUMENT, "to.row_pitch");
    changed = hidden, changed.to.batch_pitch = UINT64_MAX;
    encode_with(changed, 3, PENULT_E_ARGUMENT, "to.batch_pitch");
    changed = hidden, changed.to.batch_pitch = UINT64_MAX - 100;
    encode_with(changed, 2, PENULT_E_ARGUMENT, "to.batch_pitch");
    changed = hidden, changed.to.dtype = 4;
    encode_with(changed, 1, PENULT_E_UNSUPPORTED, "to.dtype is 4");
    changed = hidden, changed.to.batch_pitch = 4;
    encode_with(changed, 2, PENULT_E_ARGUMENT, "overlap");
}

static void counts_and_strides(void) {
    penult_text_request request = batch.request;
    penult_error error;
    request.output_count = 1025;
    refused(PENULT_E_LIMIT, api->encode_text(session, &request, NULL, &error), &error, "output_count is 1025");
    request = batch.request, request.output_stride = 70000;
    refused(PENULT_E_ARGUMENT, api->encode_text(session, &request, NULL, &error), &error, "output_stride is 70000");
    request = batch.request, request.struct_size = 70000;
    refused(PENULT_E_ARGUMENT, api->encode_text(session, &request, NULL, &error), &error, "struct_size is 70000");
}

/* What is not the handle that was meant has another first word. */
static void wrong_handles(void) {
    uint64_t nothing[64] = {0}, bytes;
    penult_model *no_model = (penult_model *)(void *)nothing;
    penult_session *no_session = (penult_session *)(void *)nothing, *opened = NULL;
    penult_model_info info = {.struct_size = sizeof info};
    penult_token_request tokens = {.struct_size = sizeof tokens};
    penult_token_result result = {.struct_size = sizeof result};
    penult_session_params params = {.struct_size = sizeof params};
    penult_error error;
    refused(PENULT_E_ARGUMENT, api->encode_text(no_session, &batch.request, NULL, &error), &error, "session is not a session");
    refused(PENULT_E_ARGUMENT, api->encode_text((penult_session *)(void *)model, &batch.request, NULL, &error), &error,
            "session is not a session");
    refused(PENULT_E_ARGUMENT, api->model_describe(no_model, &info, &error), &error, "model is not a model");
    refused(PENULT_E_ARGUMENT, api->tokenize(no_model, &tokens, &result, &error), &error, "model is not a model");
    refused(PENULT_E_ARGUMENT, api->session_measure(no_model, &params, &bytes, &error), &error, "model is not a model");
    refused(PENULT_E_ARGUMENT, api->session_open(no_model, &params, &opened, &error), &error, "model is not a model");
    api->session_cancel(no_session);
    api->session_close(no_session);
    api->model_close(no_model);
    params.kernels = 6;
    refused(PENULT_E_UNSUPPORTED, api->session_open(model, &params, &opened, &error), &error, "params->kernels is 6");
    params.kernels = 0, params.arithmetic = 2;
    refused(PENULT_E_UNSUPPORTED, api->session_open(model, &params, &opened, &error), &error, "params->arithmetic is 2");
    check(opened == NULL, "no session came of it");
}

static void paths(void) {
    static const struct {
        const char *path, *tokenizer, *words;
        int32_t status;
    } cases[] = {
        {"", NULL, "params->path is an empty string", PENULT_E_ARGUMENT},
        {"x", "", "params->tokenizer_path is an empty string", PENULT_E_ARGUMENT},
        {"no\nsuch\x7f\x80thing", NULL, "no?such??thing", PENULT_E_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        penult_open_params params = {
            .struct_size = sizeof params, .path = cases[i].path, .tokenizer_path = cases[i].tokenizer};
        penult_model *opened = model;
        penult_error error;
        refused(cases[i].status, api->model_open(&params, &opened, &error), &error, cases[i].words);
        check(opened == NULL, "and no model");
    }
}

static void tokens(void) {
    penult_token_request request = {
        .struct_size = sizeof request, .flags = PENULT_TOKENS_BODY, .text = "a\xff", .text_bytes = 2};
    int32_t ids[1];
    penult_token_result result = {.struct_size = sizeof result, .ids = ids, .capacity = 1};
    penult_error error;
    refused(PENULT_E_TEXT, api->tokenize(model, &request, &result, &error), &error, "at byte 1");
    request.flags = 0;
    refused(PENULT_E_TEXT, api->tokenize(model, &request, &result, &error), &error, "at byte 1");
    request = (penult_token_request){
        .struct_size = sizeof request, .flags = PENULT_TOKENS_BODY, .text = TEXT, .text_bytes = strlen(TEXT)};
    refused(PENULT_E_LIMIT, api->tokenize(model, &request, &result, &error), &error, "result->capacity is 1");
    check(result.id_count > 1, "id_count says how many there are: %llu", (unsigned long long)result.id_count);
}

/* The callback may not call into its session, but a host that does must not hang or be heeded. */
static int32_t call_again(void *user, const penult_progress *progress) {
    penult_error *error = user;
    (void)progress;
    api->encode_text(session, &batch.request, NULL, error);
    return 0;
}

static void inside_a_callback(void) {
    penult_text_request request = batch.request;
    penult_error inner = {0}, error;
    request.progress = call_again;
    request.user = &inner;
    int32_t status = api->encode_text(session, &request, NULL, &error);
    refused(PENULT_E_ARGUMENT, inner.status, &inner, "another encode is under way");
    check(status == PENULT_OK && batch_bits(&batch) == right, "and the encode around it has its own bits");
}

/* A loader that speaks another version is told so by NULL. */
static void other_versions(const char *plugin) {
    void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, PENULT_ENTRY_NAME) : NULL;
    const penult_entry_point *(*entry)(void);
    if (!symbol)
        give_up("%s", dlerror());
    memcpy(&entry, &symbol, sizeof entry);
    check(entry()->get_api(PENULT_ABI_VERSION) == api, "the table of this version is the loader's");
    check(entry()->get_api(PENULT_ABI_VERSION + 1) == NULL && entry()->get_api(0) == NULL, "no table for another version");
    check(api->extension("penult.nothing/1") == NULL, "no extension of another name");
    dlclose(library);
}

int main(int argc, char **argv) {
    penult_error error;
    if (argc != 3)
        give_up("usage: test_edges PLUGIN MODEL");
    host_load(argv);
    model = host_open(argv[2], NULL, PENULT_MAP);
    session = host_session(model, 2, 3, 0);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
    right = batch_bits(&batch);
    pitches();
    counts_and_strides();
    wrong_handles();
    paths();
    tokens();
    inside_a_callback();
    other_versions(argv[1]);
    memset(batch.memory, 0xA5, batch.bytes);
    int32_t status = api->encode_text(session, &batch.request, NULL, &error);
    check(status == PENULT_OK && batch_bits(&batch) == right, "after all of it the same request gives the same bits");
    api->session_close(session);
    api->model_close(model);
    batch_free(&batch);
    return done();
}
