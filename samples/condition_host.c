/* condition_host.c - a diffusion host in C: load the plugin, open SDXL's two towers, have a prompt and its negative conditioned,
 * and sample with them. The sampler is a real loop, guidance and all; the UNet in it is a few sums, so that nothing but Penult
 * is needed. Built and run by `make test`; api/penult_condition.h is the manual.
 *
 *     cc -Iapi samples/condition_host.c -o condition_host -ldl -lm
 *     ./condition_host build/penult.so clip_l clip_g "a photo of a cat" "blurry"        a path for each tower
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../api/penult_condition.h"
#include "../api/penult_load.h"

#define STEPS 20
#define GUIDANCE 7.0f
#define LATENT (4 * 16 * 16)

/* What a UNet takes beside latent and time: context [1,T,C], vector [1,V] ("y" in sgm), pooled [1,P] for those that make the
 * vector themselves. */
struct conditioning {
    float *context, *pooled, *vector;
    size_t tokens, width, pooled_width, vector_width;
};

static int fail(const char *message) {
    fprintf(stderr, "condition_host: %s\n", message);
    return 1;
}

/* A buffer for the tensor of that name, where the pipeline has it, and how it is asked for. */
static int take(const penult_condition_api *condition, penult_pipeline *pipeline, const char *name, uint32_t chunks, float **data,
                size_t shape[2], penult_named_tensor *out) {
    penult_tensor_info info = {.struct_size = sizeof info};
    penult_error error;
    for (uint32_t i = 0; condition->tensor(pipeline, i, chunks, &info, &error) == PENULT_OK; i++) {
        if (strcmp(info.name, name) != 0) {
            continue;
        }
        shape[0] = info.rank == 3 ? (size_t)info.shape[1] : 1;
        shape[1] = (size_t)info.shape[info.rank - 1];
        size_t bytes = shape[0] * shape[1] * sizeof **data;
        *data = malloc(bytes);
        *out = (penult_named_tensor){name, {.data = *data, .bytes = bytes, .dtype = PENULT_F32}};
        return *data != NULL;
    }
    return 0;
}

/* Positive and negative in one call: all their windows go through each tower in one batch. A host keeps the pipeline: for the
 * next prompt the negative then comes out of its cache. */
static int condition_prompts(const penult_condition_api *condition, penult_pipeline *pipeline, const char *prompt,
                             const char *negative, struct conditioning out[2]) {
    static const char *const names[2][3] = {{"prompt_embeds", "pooled_prompt_embeds", "vector"},
                                            {"negative_prompt_embeds", "negative_pooled_prompt_embeds", "negative_vector"}};
    penult_named_tensor tensors[6];
    penult_error error;
    penult_condition_result result = {.struct_size = sizeof result};
    penult_condition_request request = {
        .struct_size = sizeof request,
        .prompt = {prompt, strlen(prompt)},
        .negative = {negative, negative != NULL ? strlen(negative) : 0}, /* none: SDXL's is zeros */
        .sizes = {.target_height = 1024, .target_width = 1024},
        .tensor_count = 6, .tensor_stride = sizeof tensors[0], .tensors = tensors,
    };
    /* how many windows the prompts come to, and with that the sizes of the tensors */
    if (condition->plan(pipeline, &request, &result, &error) != PENULT_OK) {
        return fail(error.message);
    }
    for (int side = 0; side < 2; side++) {
        struct conditioning *to = &out[side];
        float **const data[3] = {&to->context, &to->pooled, &to->vector};
        size_t shapes[3][2];
        for (int i = 0; i < 3; i++) {
            if (!take(condition, pipeline, names[side][i], result.chunks, data[i], shapes[i], &tensors[side * 3 + i])) {
                return fail("no memory for a tensor, or the recipe does not have it");
            }
        }
        to->tokens = shapes[0][0];
        to->width = shapes[0][1];
        to->pooled_width = shapes[1][1];
        to->vector_width = shapes[2][1];
    }
    if (condition->condition(pipeline, &request, &result, &error) != PENULT_OK) {
        return fail(error.message);
    }
    printf("%llu tokens, %llu cut; context 1 x %zu x %zu, pooled 1 x %zu, vector 1 x %zu; negative %s\n",
           (unsigned long long)result.token_count, (unsigned long long)result.cut_count, out[0].tokens, out[0].width,
           out[0].pooled_width, out[0].vector_width, result.negative_zero ? "zeros" : "encoded");
    return 0;
}

/* Stands for the UNet: noise that depends on latent, time, context and vector. */
static void predict_noise(const float *latent, float time, const struct conditioning *c, float *noise) {
    float shift = 0;
    for (size_t i = 0; i < c->vector_width; i++) {
        shift += c->vector[i] * cosf((float)i + time) / (float)c->vector_width;
    }
    for (size_t i = 0; i < LATENT; i++) {
        const float *token = c->context + (i % c->tokens) * c->width;
        noise[i] = latent[i] * time + 0.1f * tanhf(token[i % c->width]) + shift;
    }
}

static void sample(const struct conditioning conditioning[2], float *latent) {
    float positive[LATENT], negative[LATENT];
    for (int step = 0; step < STEPS; step++) {
        float time = 1.0f - (float)step / STEPS;
        predict_noise(latent, time, &conditioning[0], positive);
        predict_noise(latent, time, &conditioning[1], negative);
        for (size_t i = 0; i < LATENT; i++) { /* classifier-free guidance (Ho and Salimans 2022), a step of Euler's */
            latent[i] -= (negative[i] + GUIDANCE * (positive[i] - negative[i])) / STEPS;
        }
    }
}

static int run(const penult_api *api, char **paths, const char *prompt, const char *negative) {
    static const char *const towers[2] = {"clip_l", "clip_g"};
    const penult_condition_api *condition = api->extension(PENULT_CONDITION);
    penult_named_model models[2];
    penult_pipeline *pipeline;
    penult_error error;
    struct conditioning conditioning[2] = {{0}};
    if (condition == NULL) {
        return fail("this penult has no " PENULT_CONDITION);
    }
    for (int t = 0; t < 2; t++) {
        penult_open_params open = {.struct_size = sizeof open, .path = paths[t]};
        models[t].name = towers[t];
        if (api->model_open(&open, &models[t].model, &error) != PENULT_OK) {
            return fail(error.message);
        }
    }
    penult_pipeline_params params = {.struct_size = sizeof params, .recipe = "sdxl", .model_count = 2,
                                     .model_stride = sizeof models[0], .models = models};
    if (condition->pipeline_open(&params, &pipeline, &error) != PENULT_OK) {
        return fail(error.message);
    }
    for (int t = 0; t < 2; t++) {
        api->model_close(models[t].model); /* the pipeline keeps its own reference */
    }
    int failed = condition_prompts(condition, pipeline, prompt, negative, conditioning);
    condition->pipeline_close(pipeline);
    if (!failed) {
        float latent[LATENT];
        for (size_t i = 0; i < LATENT; i++) {
            latent[i] = sinf((float)(i * i)); /* stands for noise */
        }
        sample(conditioning, latent);
        printf("%d steps, guidance %g: latent %g %g %g %g ...\n", STEPS, (double)GUIDANCE, (double)latent[0], (double)latent[1],
               (double)latent[2], (double)latent[3]);
    }
    for (int side = 0; side < 2; side++) {
        free(conditioning[side].context);
        free(conditioning[side].pooled);
        free(conditioning[side].vector);
    }
    return failed;
}

int main(int argc, char **argv) {
    struct penult_library library;
    char why[512];
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: condition_host PLUGIN CLIP_L CLIP_G PROMPT [NEGATIVE]\n");
        return 2;
    }
    if (penult_load(&library, argv[1], why, sizeof why) != 0) {
        return fail(why);
    }
    int failed = run(library.api, argv + 2, argv[4], argc == 6 ? argv[5] : NULL);
    penult_unload(&library);
    return failed;
}
