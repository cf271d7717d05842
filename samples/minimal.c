/* minimal.c - the smallest host in C: load the plugin, open a model, encode a prompt, look at the result.
 *     cc samples/minimal.c -o build/minimal -ldl && build/minimal build/penult.so samples/model "a photo of a cat" */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../api/penult_load.h"

int main(int argc, char **argv) {
    struct penult_library library;
    penult_error error;
    penult_model *model;
    penult_session *session;
    char why[512];
    if (argc != 4) {
        fprintf(stderr, "usage: minimal PLUGIN MODEL PROMPT\n");
        return 2;
    }
    if (penult_load(&library, argv[1], why, sizeof why) != 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    const penult_api *api = library.api;
    penult_open_params open = {.struct_size = sizeof open, .path = argv[2]};
    penult_session_params params = {.struct_size = sizeof params};
    penult_model_info info = {.struct_size = sizeof info};
    if (api->model_open(&open, &model, &error) != PENULT_OK || api->model_describe(model, &info, &error) != PENULT_OK ||
        api->session_open(model, &params, &session, &error) != PENULT_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }

    size_t bytes = (size_t)info.context * info.width * sizeof(float);
    float *hidden = malloc(bytes);
    penult_prompt prompt = {.text = argv[3], .text_bytes = strlen(argv[3])};
    penult_output penultimate = {
        .kind = PENULT_HIDDEN, .layer = -2, .to = {.data = hidden, .bytes = bytes, .dtype = PENULT_F32}};
    penult_text_request request = {
        .struct_size = sizeof request,
        .prompt_count = 1, .prompt_stride = sizeof prompt, .prompts = &prompt,
        .output_count = 1, .output_stride = sizeof penultimate, .outputs = &penultimate,
    };
    if (hidden == NULL || api->encode_text(session, &request, NULL, &error) != PENULT_OK) {
        fprintf(stderr, "%s\n", hidden == NULL ? "no memory" : error.message);
        return 1;
    }
    printf("hidden state -2: 1 x %u x %u\n%g %g %g %g ...\n", info.context, info.width, (double)hidden[0],
           (double)hidden[1], (double)hidden[2], (double)hidden[3]);

    api->session_close(session);
    api->model_close(model);
    penult_unload(&library);
    free(hidden);
    return 0;
}
