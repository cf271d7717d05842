/* misuse_condition_recipes.c - every recipe in every dialect, with prompts of each kind: what must hold whatever they mean, and
 * where room, files and numbers end.
 *
 * Protects: plan and condition agree, the cache changes no bit, too few windows are an error that says so and nothing else, zeros
 * stand where a recipe has them, a file that changed is noticed though every window is known. What the numbers are is
 * tests/parity's affair.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "misuse_condition.h"

static const char *const dialects[] = {"plain", "a1111", "comfyui", "compel"};
static const char *const prompts[] = {
    "", "a photo of a cat", "(a:1.3) photo [of] a (cat:0.5) BREAK dawn", "cat++ (a dog)0.5 (sky)0.8",
    "(\"a cat\", \"a dog+\").blend(0.7, 0.3)", "(\"a - b\", c).and(1, 0.5)", "(\"a long, long road. a\", b).blend(1, 2, no_normalize)",
    ("one two three four five six seven, eight nine ten eleven twelve. thirteen (fourteen:1.1) fifteen sixteen seventeen eighteen "
    "nineteen twenty, twentyone twentytwo twentythree twentyfour. twentyfive (twentysix)0.7 twentyseven twentyeight twentynine")};
enum { DIALECTS = 4, PROMPTS_OF = sizeof prompts / sizeof prompts[0], MOST = 10 };

static penult_condition_text text_of(const char *text) {
    return (penult_condition_text){text, text ? strlen(text) : 0};
}

/* All tensors of the pipeline that a request without a negative prompt may want, in memory that is as large as they are. */
struct tensors {
    penult_named_tensor of[MOST];
    uint32_t count;
    size_t bytes;
    unsigned char *memory;
};

static struct tensors tensors_of(const penult_pipeline *pipeline, const penult_condition_result *plan, uint32_t dtype) {
    struct tensors t = {.count = 0};
    penult_tensor_info told = {.struct_size = sizeof told};
    for (uint32_t i = 0; condition->tensor(pipeline, i, 1, &told, NULL) == PENULT_OK; i++) {
        const uint32_t chunks = i % 2 ? plan->negative_chunks : plan->chunks;
        if (chunks == 0) { /* there is no unconditional */
            continue;
        }
        assert_int_equal(condition->tensor(pipeline, i, chunks, &told, NULL), PENULT_OK);
        const uint64_t numbers = told.shape[1] * (told.rank == 3 ? told.shape[2] : 1), bytes = numbers * (dtype == PENULT_F32 ? 4 : 2);
        t.of[t.count++] = (penult_named_tensor){told.name, {.bytes = bytes, .dtype = dtype}};
        t.bytes += bytes;
    }
    t.memory = malloc(t.bytes);
    assert_non_null(t.memory);
    size_t at = 0;
    for (uint32_t i = 0; i < t.count; i++) {
        t.of[i].to.data = t.memory + at;
        at += t.of[i].to.bytes;
    }
    return t;
}

static int32_t run(penult_pipeline *pipeline, penult_condition_request *request, struct tensors *t, penult_condition_result *result,
                   penult_error *error) {
    request->tensor_count = t->count;
    request->tensor_stride = sizeof t->of[0];
    request->tensors = t->of;
    memset(t->memory, 0xa5, t->bytes);
    return condition->condition(pipeline, request, result, error);
}

/* Twice with a cache and once without: one status, the same bits. Returns the status of the plan. */
static int32_t agree(penult_pipeline *const pipelines[2], penult_condition_request *request, uint32_t dtype) {
    penult_condition_result plan = {.struct_size = sizeof plan}, result = plan;
    penult_error error;
    const int32_t status = condition->plan(pipelines[0], request, &plan, &error);
    assert_int_equal(condition->plan(pipelines[1], request, &result, NULL), status);
    if (status != PENULT_OK) {
        FAILED(status, status, &error, "");
        return status;
    }
    struct tensors t = tensors_of(pipelines[0], &plan, dtype);
    unsigned char *first = NULL;
    for (int turn = 0; turn < 3; turn++) {
        result = (penult_condition_result){.struct_size = sizeof result};
        if (run(pipelines[turn == 2], request, &t, &result, &error) != PENULT_OK) {
            fail_msg("%.*s: %.400s", (int)request->prompt.text_bytes, request->prompt.text ? request->prompt.text : "", error.message);
        }
        assert_true(result.chunks == plan.chunks && result.negative_chunks == plan.negative_chunks);
        assert_true(result.token_count == plan.token_count && result.cut_count == plan.cut_count);
        assert_int_equal(result.window_count, plan.window_count);
        assert_int_equal(result.cached_count, turn == 1 ? result.window_count : turn == 2 ? 0 : result.cached_count);
        if (turn == 0) {
            first = malloc(t.bytes);
            assert_non_null(first);
            memcpy(first, t.memory, t.bytes);
        } else {
            assert_memory_equal(t.memory, first, t.bytes);
        }
    }
    free(first);
    free(t.memory);
    return PENULT_OK;
}

static void open_two(penult_pipeline *pipelines[2], const char *recipe, const char *dialect, uint32_t windows, uint32_t flags) {
    for (uint32_t i = 0; i < 2; i++) {
        penult_named_model models[2];
        penult_pipeline_params params = pipeline_params(recipe, models);
        params.dialect = dialect;
        params.threads = 1;
        params.max_windows = windows;
        params.max_text_bytes = 1024;
        params.flags = flags | (i ? PENULT_PIPELINE_NO_CACHE : 0);
        pipelines[i] = open_pipeline(&params);
    }
}

static void close_two(penult_pipeline *const pipelines[2]) {
    condition->pipeline_close(pipelines[0]);
    condition->pipeline_close(pipelines[1]);
}

/* ---- recipes and dialects ----------------------------------------------------------------------------------- */

static void every_recipe(void **state) {
    (void)state;
    penult_recipe_info recipe = {.struct_size = sizeof recipe};
    for (uint32_t r = 0; condition->recipe(r, NULL, &recipe, NULL) == PENULT_OK; r++) {
        penult_pipeline *pipelines[2];
        open_two(pipelines, recipe.name, dialects[r % DIALECTS], 24, 0);
        for (size_t i = 0; i < 4; i++) {
            penult_condition_request request = {.struct_size = sizeof request, .prompt = text_of(prompts[(r + i) % PROMPTS_OF])};
            request.negative = text_of(i == 1 ? "" : i == 2 ? prompts[(r + 3) % PROMPTS_OF] : NULL);
            request.prompt_2 = text_of(i > 1 ? prompts[7] : NULL);
            request.negative_2 = text_of(i == 3 ? "a dog" : NULL);
            assert_int_equal(agree(pipelines, &request, i == 2 ? PENULT_BF16 : PENULT_F32), PENULT_OK);
        }
        close_two(pipelines);
    }
}

static void every_dialect(void **state) {
    (void)state;
    static const char *const recipes[] = {"sd1", "sdxl"};
    unsigned good = 0;
    for (size_t d = 0; d < 2 * DIALECTS; d++) {
        penult_pipeline *pipelines[2];
        const char *dialect = dialects[d / 2];
        open_two(pipelines, recipes[d % 2], dialect, 32, d / 2 == 3 ? PENULT_PIPELINE_SPLIT : 0);
        for (size_t i = 0; i < PROMPTS_OF; i++) {
            penult_condition_request request = {.struct_size = sizeof request, .prompt = text_of(prompts[i]),
                                                .negative = text_of(prompts[(i + 3) % PROMPTS_OF])};
            request.prompt_2 = text_of(i % 3 == 2 ? prompts[(i + 5) % PROMPTS_OF] : NULL);
            good += agree(pipelines, &request, PENULT_F32) == PENULT_OK;
        }
        close_two(pipelines);
    }
    assert_int_equal(good, 2 * DIALECTS * PROMPTS_OF);
}

/* Whatever max_windows is, there is room or an error that names it. */
static void too_few_windows(void **state) {
    (void)state;
    unsigned good = 0, bad = 0;
    for (uint32_t windows = 1; windows <= 10; windows++) {
        for (size_t d = 0; d < DIALECTS; d++) {
            penult_pipeline *pipelines[2];
            open_two(pipelines, "sdxl", dialects[d], windows, d == 3 ? PENULT_PIPELINE_SPLIT : 0);
            for (size_t i = 2; i < PROMPTS_OF; i++) {
                penult_condition_request request = {.struct_size = sizeof request, .prompt = text_of(prompts[i]),
                                                    .negative = text_of("a (dog)0.5, (tree:1.1)")};
                penult_condition_result result = {.struct_size = sizeof result};
                penult_error error;
                const int32_t status = condition->plan(pipelines[0], &request, &result, &error);
                good += status == PENULT_OK;
                bad += status != PENULT_OK;
                if (status != PENULT_OK) {
                    FAILED(PENULT_E_LIMIT, status, &error, "max_windows");
                }
            }
            close_two(pipelines);
        }
    }
    assert_true(good > 50 && bad > 50);
}

static void emphasis_and_skip(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        penult_named_model models[2];
        penult_pipeline_params params = pipeline_params("sdxl@a1111", models);
        params.emphasis = i;
        params.flags = i % 2 ? PENULT_PIPELINE_SKIP_ALL : 0;
        penult_pipeline *pipelines[2] = {open_pipeline(&params), NULL};
        params.flags |= PENULT_PIPELINE_NO_CACHE;
        pipelines[1] = open_pipeline(&params);
        for (int32_t skip = 1; skip <= (int32_t)info.layers; skip++) {
            penult_condition_request request = {.struct_size = sizeof request, .flags = PENULT_CONDITION_CLIP_SKIP, .clip_skip = skip,
                                                .prompt = text_of(prompts[2]), .negative = text_of("(x:0.5)")};
            assert_int_equal(agree(pipelines, &request, PENULT_F32), PENULT_OK);
        }
        close_two(pipelines);
    }
    /* the same prompt on both sides, of which one skips: two layers of one row */
    penult_pipeline *pipelines[2];
    open_two(pipelines, "sd1", "plain", 4, 0);
    penult_condition_request request = {.struct_size = sizeof request, .flags = PENULT_CONDITION_CLIP_SKIP, .clip_skip = 1,
                                        .prompt = text_of("a"), .negative = text_of("a")};
    assert_int_equal(agree(pipelines, &request, PENULT_F32), PENULT_OK);
    close_two(pipelines);
    open_two(pipelines, "flux", NULL, 4, 0);
    penult_condition_result result = {.struct_size = sizeof result};
    penult_error error;
    FAILED(PENULT_E_UNSUPPORTED, condition->plan(pipelines[0], &request, &result, &error), &error, "clip skip", "flux@diffusers");
    request.flags = 0;
    request.clip_skip = 0;
    request.sizes.crop_left = 1;
    FAILED(PENULT_E_ARGUMENT, condition->plan(pipelines[0], &request, &result, &error), &error, "request->sizes", "flux@diffusers");
    /* what has no unconditional wants a negative prompt for it */
    float pooled[128];
    penult_named_tensor tensor = {"negative_pooled_prompt_embeds", {.data = pooled, .bytes = sizeof pooled, .dtype = PENULT_F32}};
    request = (penult_condition_request){.struct_size = sizeof request, .tensor_count = 1, .tensor_stride = sizeof tensor, .tensors = &tensor};
    FAILED(PENULT_E_ARGUMENT, condition->condition(pipelines[0], &request, NULL, &error), &error, "negative_pooled_prompt_embeds",
           "negative prompt");
    request.negative = text_of("");
    assert_int_equal(condition->condition(pipelines[0], &request, NULL, NULL), PENULT_OK);
    close_two(pipelines);
}

/* What stands for sizes that are not given: target for original, original for target, 1024 for both. */
static void sizes_by_default(void **state) {
    struct conditioning *c = *state;
    static const struct {
        uint32_t original, target;
        float wanted[2];
    } cases[] = {{0, 0, {1024, 1024}}, {512, 0, {512, 512}}, {0, 768, {768, 768}}, {512, 768, {512, 768}}};
    for (size_t i = 0; i < 4; i++) {
        float ids[2][6];
        penult_named_tensor of[] = {{"add_time_ids", {.data = ids[0], .bytes = sizeof ids[0], .dtype = PENULT_F32}},
                                    {"negative_add_time_ids", {.data = ids[1], .bytes = sizeof ids[1], .dtype = PENULT_F32}}};
        const penult_condition_sizes sizes = {.original_height = cases[i].original, .original_width = cases[i].original,
                                              .target_height = cases[i].target, .target_width = cases[i].target, .crop_left = 7,
                                              .aesthetic_score = (double)i};
        c->request.tensor_count = 2;
        c->request.tensors = of;
        c->request.flags = PENULT_CONDITION_NEGATIVE_SIZES;
        c->request.sizes = i % 2 ? sizes : (penult_condition_sizes){.crop_top = 3};
        c->request.negative_sizes = sizes;
        assert_int_equal(conditioning_run(c, NULL), PENULT_OK);
        const float wanted[6] = {cases[i].wanted[0], cases[i].wanted[0], 0, 7, cases[i].wanted[1], cases[i].wanted[1]};
        const float other[6] = {1024, 1024, 3, 0, 1024, 1024};
        assert_memory_equal(ids[1], wanted, sizeof wanted);
        assert_memory_equal(ids[0], i % 2 ? wanted : other, sizeof wanted);
    }
}

/* ---- files -------------------------------------------------------------------------------------------------- */

static void copy_file(const char *from_folder, const char *to_folder, const char *name, const unsigned char *end, size_t end_size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", from_folder, name);
    FILE *from = fopen(path, "rb");
    assert_non_null(from);
    unsigned char *bytes = malloc(1 << 22);
    assert_non_null(bytes);
    const size_t size = fread(bytes, 1, 1 << 22, from);
    fclose(from);
    if (end_size) {
        memcpy(bytes + size - end_size, end, end_size);
    }
    snprintf(path, sizeof path, "%s/%s", to_folder, name);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    assert_int_equal(fwrite(bytes, 1, size, to), size);
    assert_int_equal(fclose(to), 0);
    free(bytes);
}

static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};

/* A mapped file that is written to is noticed by a call that needs nothing of it; one whose weights end in NaN has a vector
 * that is none, in the tower that it is the model of. */
static void files_that_are_wrong(void **state) {
    struct conditioning *c = *state;
    penult_pipeline *const kept = c->pipeline;
    penult_error error;
    for (int broken = 0; broken < 2; broken++) {
        char folder[] = P_tmpdir "/penult-misuse-XXXXXX", path[512];
        const unsigned char nan[2] = {0x00, 0x7e}; /* of float16 */
        assert_non_null(mkdtemp(folder));
        for (size_t i = 0; i < 3; i++) {
            copy_file(model_path, folder, files[i], nan, broken && i == 1 ? sizeof nan : 0);
        }
        penult_open_params open = {.struct_size = sizeof open, .path = folder};
        penult_named_model models[2];
        penult_pipeline_params params = pipeline_params("sdxl", models);
        assert_int_equal(api->model_open(&open, &models[1].model, &error), PENULT_OK);
        c->pipeline = open_pipeline(&params);
        api->model_close(models[1].model);
        conditioning_reset(c);
        if (broken) {
            FAILED(PENULT_E_NON_FINITE, conditioning_run(c, &error), &error, "clip_g");
            FAILED(PENULT_E_NON_FINITE, conditioning_run(c, &error), &error, "clip_g"); /* and no window of it is known */
        } else {
            assert_int_equal(conditioning_run(c, &error), PENULT_OK);
            snprintf(path, sizeof path, "%s/model.safetensors", folder);
            assert_int_equal(utimensat(AT_FDCWD, path, (const struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 1}}, 0), 0);
            conditioning_reset(c);
            FAILED(PENULT_E_CHANGED, conditioning_run(c, &error), &error, "model.safetensors");
            c->request.prompt = text_of("another");
            FAILED(PENULT_E_CHANGED, conditioning_run(c, &error), &error, "model.safetensors");
        }
        condition->pipeline_close(c->pipeline);
        for (size_t i = 0; i < 3; i++) {
            snprintf(path, sizeof path, "%s/%s", folder, files[i]);
            unlink(path);
        }
        rmdir(folder);
    }
    c->pipeline = kept;
    conditioning_is_right(c);
}

const struct CMUnitTest misuse_condition_recipes_tests[] = {
    cmocka_unit_test(every_recipe),      cmocka_unit_test(every_dialect), cmocka_unit_test(too_few_windows),
    cmocka_unit_test_setup_teardown(sizes_by_default, conditioning_setup, conditioning_teardown),
    cmocka_unit_test(emphasis_and_skip), cmocka_unit_test_setup_teardown(files_that_are_wrong, conditioning_setup, conditioning_teardown),
};
const size_t misuse_condition_recipes_test_count = sizeof misuse_condition_recipes_tests / sizeof misuse_condition_recipes_tests[0];
