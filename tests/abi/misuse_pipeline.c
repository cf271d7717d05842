/* misuse_pipeline.c - wrong calls of penult.condition/1 but for plan and condition: the table of recipes, opening, measuring
 * and describing a pipeline, and its tensors.
 *
 * Protects: each wrong argument has its status and a sentence that names it, and out-parameters stay or are NULL.
 */
#include "misuse_condition.h"

const penult_condition_api *condition;

penult_pipeline_params pipeline_params(const char *recipe, penult_named_model *models) {
    const int only_g = strncmp(recipe, "sdxl-refiner", 12) == 0 || strncmp(recipe, "cascade", 7) == 0 || strncmp(recipe, "kand", 4) == 0;
    models[0] = (penult_named_model){only_g ? "clip_g" : strncmp(recipe, "sd2", 3) == 0 ? "clip_h" : "clip_l", model};
    models[1] = (penult_named_model){"clip_g", model};
    return (penult_pipeline_params){.struct_size = sizeof(penult_pipeline_params),
                                    .recipe = recipe,
                                    .model_count = (strncmp(recipe, "sdxl", 4) == 0 || strncmp(recipe, "sd3", 3) == 0) && !only_g ? 2 : 1,
                                    .model_stride = sizeof models[0],
                                    .models = models,
                                    .threads = 2,
                                    .max_windows = 8,
                                    .max_text_bytes = MAX_TEXT_BYTES};
}

penult_pipeline *open_pipeline(const penult_pipeline_params *params) {
    penult_pipeline *pipeline = NULL;
    penult_error error;
    if (condition->pipeline_open(params, &pipeline, &error) != PENULT_OK) {
        fail_msg("%s: %.400s", params->recipe, error.message);
    }
    assert_non_null(pipeline);
    return pipeline;
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

static void table(void **state) {
    (void)state;
    assert_non_null(condition);
    assert_int_equal(condition->struct_size, sizeof *condition);
    assert_int_equal(condition->version, 1);
    assert_null(api->extension("penult.condition/2"));
    assert_null(api->extension("penult.condition"));
    assert_ptr_equal(api->extension(PENULT_CONDITION), condition); /* one table, as long as the library lives */
}

/* Every recipe is found by number, by name and by alias, has towers that are told, and opens. */
static void recipes_are_whole(void **state) {
    (void)state;
    uint32_t count = 0;
    penult_recipe_info found = {.struct_size = sizeof found};
    penult_error error;
    for (; condition->recipe(count, NULL, &found, &error) == PENULT_OK; count++) {
        penult_recipe_info named = {.struct_size = sizeof named};
        assert_int_equal(condition->recipe(0, found.name, &named, &error), PENULT_OK);
        assert_memory_equal(&named, &found, sizeof found);
        if (found.alias) {
            assert_int_equal(condition->recipe(0, found.alias, &named, &error), PENULT_OK);
            assert_string_equal(named.name, found.name);
        }
        assert_true(strlen(found.source) > 10 && strlen(found.dialect) > 4 && found.tower_count >= 1 && found.tower_count <= 2);
        for (uint32_t t = 0; t < found.tower_count; t++) {
            penult_recipe_tower tower = {.struct_size = sizeof tower};
            assert_int_equal(condition->recipe_tower(found.name, t, &tower, &error), PENULT_OK);
            assert_true(strncmp(tower.name, "clip_", 5) == 0 && tower.layer <= 0);
            assert_true(tower.layer < 0 || tower.pooled != PENULT_POOLED_NONE);
        }
        penult_recipe_tower beyond = {.struct_size = sizeof beyond};
        FAILED(PENULT_E_NOT_FOUND, condition->recipe_tower(found.name, found.tower_count, &beyond, &error), &error, "tower",
               found.name);
        penult_named_model models[2];
        penult_pipeline_params params = pipeline_params(found.name, models);
        assert_int_equal(params.model_count, found.tower_count);
        penult_pipeline *pipeline = open_pipeline(&params);
        penult_pipeline_info told = {.struct_size = sizeof told};
        assert_int_equal(condition->pipeline_describe(pipeline, &told, &error), PENULT_OK);
        assert_string_equal(told.recipe, found.name);
        assert_string_equal(told.dialect, found.dialect);
        condition->pipeline_close(pipeline);
    }
    assert_int_equal(count, 13);
}

static void recipe_refusals(void **state) {
    (void)state;
    penult_recipe_info found = {.struct_size = sizeof found};
    penult_recipe_tower tower = {.struct_size = sizeof tower};
    penult_error error;
    FAILED(PENULT_E_NOT_FOUND, condition->recipe(UINT32_MAX, NULL, &found, &error), &error, "4294967295", "13");
    FAILED(PENULT_E_NOT_FOUND, condition->recipe(0, "sdxl@invokeai", &found, &error), &error, "sdxl@invokeai", "sd1");
    FAILED(PENULT_E_NOT_FOUND, condition->recipe(0, "", &found, &error), &error, "\"\"");
    FAILED(PENULT_E_NOT_FOUND, condition->recipe(0, "SDXL\n\xff", &found, &error), &error, "SDXL");
    FAILED(PENULT_E_ARGUMENT, condition->recipe(0, "sdxl", NULL, &error), &error, "info", "NULL");
    FAILED(PENULT_E_ARGUMENT, condition->recipe_tower(NULL, 0, &tower, &error), &error, "recipe", "NULL");
    FAILED(PENULT_E_ARGUMENT, condition->recipe_tower("sdxl", 0, NULL, &error), &error, "info", "NULL");
    FAILED(PENULT_E_NOT_FOUND, condition->recipe_tower("sd9", 0, &tower, &error), &error, "sd9");
    FAILED(PENULT_E_NOT_FOUND, condition->recipe_tower("sdxl", UINT32_MAX, &tower, &error), &error, "4294967295");
    assert_int_equal(condition->recipe(UINT32_MAX, NULL, &found, NULL), PENULT_E_NOT_FOUND);
    const penult_recipe_info untouched = {.struct_size = sizeof untouched};
    assert_memory_equal(&found, &untouched, sizeof found);
}

/* An info struct of another size: written as far as it goes, never beyond. */
static void info_size(int32_t (*call)(void *to, penult_error *error), size_t size) {
    const uint32_t wrong[] = {0, 7, 65537};
    unsigned char room[512];
    penult_error error;
    for (size_t i = 0; i < 3; i++) {
        memset(room, 0x5a, sizeof room);
        memcpy(room, &wrong[i], sizeof wrong[i]);
        FAILED(PENULT_E_ARGUMENT, call(room, &error), &error, "info", "struct_size");
        assert_int_equal(room[4], 0x5a);
    }
    for (uint32_t bytes = 8; bytes <= size + 16; bytes++) {
        memset(room, 0x5a, sizeof room);
        memcpy(room, &bytes, sizeof bytes);
        assert_int_equal(call(room, &error), PENULT_OK);
        assert_memory_equal(room, &bytes, sizeof bytes);
        for (size_t i = size; i < bytes; i++) {
            assert_int_equal(room[i], 0); /* filled in by the library: unknown means zero */
        }
        assert_int_equal(room[bytes], 0x5a);
    }
}

static penult_pipeline *described;
static int32_t tell_recipe(void *to, penult_error *error) {
    return condition->recipe(2, NULL, to, error);
}
static int32_t tell_tower(void *to, penult_error *error) {
    return condition->recipe_tower("sdxl", 1, to, error);
}
static int32_t tell_pipeline(void *to, penult_error *error) {
    return condition->pipeline_describe(described, to, error);
}
static int32_t tell_tensor(void *to, penult_error *error) {
    return condition->tensor(described, 0, 1, to, error);
}

static void info_sizes(void **state) {
    (void)state;
    penult_named_model models[2];
    const penult_pipeline_params params = pipeline_params("sdxl", models);
    described = open_pipeline(&params);
    info_size(tell_recipe, sizeof(penult_recipe_info));
    info_size(tell_tower, sizeof(penult_recipe_tower));
    info_size(tell_pipeline, sizeof(penult_pipeline_info));
    info_size(tell_tensor, sizeof(penult_tensor_info));
    condition->pipeline_close(described);
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static int32_t call_measure(void *sized, penult_error *error, void *user) {
    uint64_t bytes = 7;
    const int32_t status = condition->pipeline_measure(sized, &bytes, error);
    (void)user;
    assert_true(status == PENULT_OK ? bytes > 4096 : bytes == 7);
    return status;
}

static int32_t call_open(void *sized, penult_error *error, void *user) {
    penult_pipeline *opened = (penult_pipeline *)1;
    const int32_t status = condition->pipeline_open(sized, &opened, error);
    (void)user;
    if (status == PENULT_OK) {
        assert_non_null(opened);
        condition->pipeline_close(opened);
    } else {
        assert_null(opened);
    }
    return status;
}

static void open_refused(const penult_pipeline_params *params, int32_t status, const char *first, const char *second) {
    const sized_call calls[2] = {call_measure, call_open};
    for (size_t number = 0; number < 2; number++) {
        penult_pipeline_params copy = *params;
        penult_error error;
        error_fill(&error);
        FAILED(status, calls[number](&copy, &error, NULL), &error, first, second);
        assert_int_equal(calls[number](&copy, NULL, NULL), status);
        assert_memory_equal(&copy, params, sizeof copy);
    }
}

static void open_sizes(void **state) {
    (void)state;
    penult_named_model models[2];
    const penult_pipeline_params right = pipeline_params("sdxl", models);
    /* an older host, which knows nothing behind the models */
    const size_t small = offsetof(penult_pipeline_params, dialect);
    sized_struct("params", &right, sizeof right, small, call_measure, NULL);
    sized_struct("params", &right, sizeof right, small, call_open, NULL);
}

static void open_null(void **state) {
    (void)state;
    penult_named_model models[2];
    penult_pipeline_params params = pipeline_params("sdxl", models);
    penult_error error;
    uint64_t bytes;
    FAILED(PENULT_E_ARGUMENT, condition->pipeline_measure(NULL, &bytes, &error), &error, "params", "NULL");
    FAILED(PENULT_E_ARGUMENT, condition->pipeline_measure(&params, NULL, &error), &error, "bytes", "NULL");
    FAILED(PENULT_E_ARGUMENT, call_open(NULL, &error, NULL), &error, "params", "NULL");
    FAILED(PENULT_E_ARGUMENT, condition->pipeline_open(&params, NULL, &error), &error, "out", "NULL");
    params.recipe = NULL;
    open_refused(&params, PENULT_E_ARGUMENT, "params->recipe", "NULL");
    params.recipe = "sdxl";
    params.models = NULL;
    open_refused(&params, PENULT_E_ARGUMENT, "params->models", "found 0");
    condition->pipeline_close(NULL);
    condition->pipeline_cancel(NULL);
}

static void open_values(void **state) {
    (void)state;
    penult_named_model models[2];
    const penult_pipeline_params right = pipeline_params("sdxl@a1111", models);
    penult_pipeline_params params = right;
#define BAD(field, value, status, first, second)                                                                      \
    params = right;                                                                                                   \
    params.field = value;                                                                                             \
    open_refused(&params, status, first, second)
    BAD(recipe, "sdxl@a1112", PENULT_E_NOT_FOUND, "params->recipe", "sdxl@a1112");
    BAD(recipe, "", PENULT_E_NOT_FOUND, "params->recipe", "\"\"");
    BAD(dialect, "invokeai", PENULT_E_NOT_FOUND, "params->dialect", "invokeai");
    BAD(dialect, "", PENULT_E_NOT_FOUND, "params->dialect", "compel");
    BAD(emphasis, 4, PENULT_E_UNSUPPORTED, "params->emphasis", "4");
    BAD(flags, 16, PENULT_E_UNSUPPORTED, "params->flags", "0x10");
    BAD(flags, PENULT_PIPELINE_SPLIT, PENULT_E_ARGUMENT, "PENULT_PIPELINE_SPLIT", "a1111");
    BAD(kernels, 99, PENULT_E_UNSUPPORTED, "params->kernels", "99");
    BAD(threads, 257, PENULT_E_LIMIT, "threads", "257");
    BAD(max_windows, 1025, PENULT_E_LIMIT, "max_windows", "1024");
    BAD(max_windows, UINT32_MAX, PENULT_E_LIMIT, "max_windows", "4294967295");
    BAD(max_text_bytes, (1u << 24) + 1, PENULT_E_LIMIT, "max_text_bytes", "16777217");
    BAD(max_text_bytes, UINT64_MAX, PENULT_E_LIMIT, "max_text_bytes", "18446744073709551615");
    BAD(model_stride, 0, PENULT_E_ARGUMENT, "params->model_stride", "0");
    BAD(model_stride, 7, PENULT_E_ARGUMENT, "params->model_stride", "7");
    BAD(model_stride, 8, PENULT_E_ARGUMENT, "params->models[0].model", "NULL");
    BAD(model_count, 0, PENULT_E_ARGUMENT, "params->models", "0");
    BAD(model_count, 1, PENULT_E_ARGUMENT, "params->models", "clip_l");
    BAD(model_count, UINT32_MAX, PENULT_E_ARGUMENT, "params->models", "4294967295");
    params = right;
    params.dialect = "plain";
    params.emphasis = PENULT_EMPHASIS_IGNORE;
    open_refused(&params, PENULT_E_ARGUMENT, "params->emphasis", "plain");
}

static void open_models(void **state) {
    (void)state;
    penult_named_model models[2];
    penult_pipeline_params params = pipeline_params("sdxl", models);
    uint64_t blank[16] = {0};
    penult_error error;
    models[0].name = "clip_x";
    open_refused(&params, PENULT_E_MISMATCH, "params->models[0]", "clip_x");
    models[0].name = "";
    open_refused(&params, PENULT_E_MISMATCH, "params->models[0]", "clip_g");
    models[0].name = NULL; /* the model's own name, which is "text" in a folder of its own */
    open_refused(&params, PENULT_E_MISMATCH, "params->models[0]", "text");
    models[0].name = "clip_g";
    open_refused(&params, PENULT_E_ARGUMENT, "two", "clip_g");
    pipeline_params("sdxl", models);
    models[1].model = NULL;
    open_refused(&params, PENULT_E_ARGUMENT, "params->models[1].model", "NULL");
    models[1].model = (penult_model *)(void *)blank;
    open_refused(&params, PENULT_E_ARGUMENT, "params->models[1].model", "not a model");
    penult_open_params alone = {.struct_size = sizeof alone, .tokenizer_path = model_path};
    assert_int_equal(api->model_open(&alone, &models[1].model, &error), PENULT_OK);
    open_refused(&params, PENULT_E_ARGUMENT, "params->models[1].model", "tokenizer alone");
    api->model_close(models[1].model);
    penult_pipeline *pipeline = open_pipeline(&(penult_pipeline_params){
        .struct_size = sizeof params, .recipe = "sd1", .model_count = 1, .model_stride = sizeof models[0], .models = models});
    models[1].model = (penult_model *)(void *)pipeline; /* a handle of another kind */
    open_refused(&params, PENULT_E_ARGUMENT, "params->models[1].model", "not a model");
    condition->pipeline_close(pipeline);

    /* in any order, and in longer elements, whose end must be zero */
    unsigned char longer[2][sizeof models[0] + 12];
    pipeline_params("sdxl", models);
    memset(longer, 0, sizeof longer);
    memcpy(longer[0], &models[1], sizeof models[1]);
    memcpy(longer[1], &models[0], sizeof models[0]);
    params.models = (const penult_named_model *)(const void *)longer;
    params.model_stride = sizeof longer[0];
    assert_int_equal(call_open(&params, NULL, NULL), PENULT_OK);
    longer[1][sizeof longer[0] - 1] = 1;
    open_refused(&params, PENULT_E_UNSUPPORTED, "params->models[1]", "later version");
}

/* What a pipeline takes is told before, and an absurd amount is an error at once. */
static void open_extremes(void **state) {
    (void)state;
    penult_named_model models[2];
    const penult_pipeline_params right = pipeline_params("sdxl", models);
    penult_pipeline_params params = right;
    penult_pipeline_info told = {.struct_size = sizeof told};
    penult_error error;
    uint64_t bytes, most;
    const uint64_t caches[] = {1, 4096, 1 << 20, 0};
    for (size_t i = 0; i < 4; i++) {
        params.cache_bytes = caches[i];
        assert_int_equal(condition->pipeline_measure(&params, &bytes, &error), PENULT_OK);
        penult_pipeline *pipeline = open_pipeline(&params);
        assert_int_equal(condition->pipeline_describe(pipeline, &told, &error), PENULT_OK);
        assert_int_equal(told.bytes, bytes);
        assert_true(i < 2 ? told.cache_windows == 0 : told.cache_windows > 0);
        condition->pipeline_close(pipeline);
    }
    params.flags = PENULT_PIPELINE_NO_CACHE;
    assert_int_equal(condition->pipeline_measure(&params, &most, &error), PENULT_OK);
    assert_true(most < bytes);

    const uint64_t absurd[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2, UINT64_C(1) << 56};
    for (size_t i = 0; i < 4; i++) {
        params = right;
        params.cache_bytes = absurd[i];
        error_fill(&error);
        const int32_t status = call_open(&params, &error, NULL);
        assert_true(status == PENULT_E_LIMIT || status == PENULT_E_NO_MEMORY);
        FAILED(status, status, &error, "memory");
    }
    params = right;
    params.recipe = "sd1"; /* one tower: the cache is all its own */
    params.model_count = 1;
    for (size_t i = 0; i < 4; i++) {
        params.cache_bytes = absurd[i];
        const int32_t status = call_open(&params, &error, NULL);
        assert_true(status == PENULT_E_LIMIT || status == PENULT_E_NO_MEMORY);
    }

    /* the largest of all that is allowed, and the smallest */
    params = right;
    params.max_windows = 1024;
    params.max_text_bytes = 1u << 24;
    params.threads = 1;
    assert_int_equal(call_measure(&params, &error, NULL), PENULT_OK);
    assert_int_equal(call_open(&params, &error, NULL), PENULT_OK);
    params.max_windows = 1;
    params.max_text_bytes = 1;
    assert_int_equal(call_open(&params, &error, NULL), PENULT_OK);
}

/* ---- describing --------------------------------------------------------------------------------------------- */

static void describe_refusals(void **state) {
    (void)state;
    uint64_t blank[16] = {0};
    penult_pipeline_info info_of = {.struct_size = sizeof info_of};
    penult_tensor_info tensor = {.struct_size = sizeof tensor};
    penult_error error;
    penult_named_model models[2];
    const penult_pipeline_params params = pipeline_params("sdxl", models);
    penult_pipeline *pipeline = open_pipeline(&params);
    penult_session *session = open_session(model);
    const struct {
        const void *handle;
        const char *word;
    } wrong[] = {{NULL, "NULL"}, {blank, "not a pipeline"}, {model, "not a pipeline"}, {session, "not a pipeline"}};
    for (size_t i = 0; i < 4; i++) {
        const penult_pipeline *handle = wrong[i].handle;
        FAILED(PENULT_E_ARGUMENT, condition->pipeline_describe(handle, &info_of, &error), &error, "pipeline", wrong[i].word);
        FAILED(PENULT_E_ARGUMENT, condition->tensor(handle, 0, 1, &tensor, &error), &error, "pipeline", wrong[i].word);
        assert_int_equal(condition->tensor(handle, 0, 1, &tensor, NULL), PENULT_E_ARGUMENT);
    }
    condition->pipeline_close((penult_pipeline *)(void *)blank);
    condition->pipeline_cancel((penult_pipeline *)(void *)blank);
    FAILED(PENULT_E_ARGUMENT, condition->pipeline_describe(pipeline, NULL, &error), &error, "info", "NULL");
    FAILED(PENULT_E_ARGUMENT, condition->tensor(pipeline, 0, 1, NULL, &error), &error, "info", "NULL");
    FAILED(PENULT_E_NOT_FOUND, condition->tensor(pipeline, TENSORS, 1, &tensor, &error), &error, "index", "8");
    FAILED(PENULT_E_NOT_FOUND, condition->tensor(pipeline, UINT32_MAX, 1, &tensor, &error), &error, "4294967295");
    FAILED(PENULT_E_ARGUMENT, condition->tensor(pipeline, 0, 0, &tensor, &error), &error, "chunks", "0");
    FAILED(PENULT_E_ARGUMENT, condition->tensor(pipeline, 0, UINT32_MAX, &tensor, &error), &error, "chunks", "4294967295");
    assert_null(tensor.name);

    assert_int_equal(condition->pipeline_describe(pipeline, &info_of, NULL), PENULT_OK);
    assert_int_equal(info_of.tensors, TENSORS);
    assert_int_equal(info_of.context_width, 2 * info.width);
    assert_int_equal(info_of.vector_width, info.projection + 6 * 256);
    assert_int_equal(condition->tensor(pipeline, 1, 3, &tensor, NULL), PENULT_OK);
    assert_string_equal(tensor.name, "negative_prompt_embeds");
    assert_true(tensor.rank == 3 && tensor.shape[0] == 1 && tensor.shape[1] == 3 * CONTEXT && tensor.shape[2] == 2 * info.width);
    api->session_close(session);
    condition->pipeline_close(pipeline);
}

const struct CMUnitTest misuse_pipeline_tests[] = {
    cmocka_unit_test(table),      cmocka_unit_test(recipes_are_whole), cmocka_unit_test(recipe_refusals),
    cmocka_unit_test(open_sizes), cmocka_unit_test(open_null),         cmocka_unit_test(open_values),
    cmocka_unit_test(open_models), cmocka_unit_test(open_extremes),    cmocka_unit_test(info_sizes),
    cmocka_unit_test(describe_refusals),
};
const size_t misuse_pipeline_test_count = sizeof misuse_pipeline_tests / sizeof misuse_pipeline_tests[0];
