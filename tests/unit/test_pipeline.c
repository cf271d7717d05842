/* test_pipeline.c - protects what a pipeline asks of its towers before it opens, where the shipped model cannot be wrong: a copy
 * of its description is changed, never its weights. Uses samples/model.
 */
#include "../../encoder/pipeline/pipeline.h"
#include "unit.h"

static struct clip *clip;
static struct fault fault;

static int open_model(void **state) {
    struct clip_params params = {.path = "samples/model"};
    (void)state;
    return clip_open(&clip, &params, &fault);
}

static int close_model(void **state) {
    (void)state;
    clip_close(clip);
    return 0;
}

static struct pipeline_params params_of(const char *recipe, const struct clip *first, const struct clip *second) {
    return (struct pipeline_params){.recipe = recipe_find(recipe, strlen(recipe)), .clips = {first, second}};
}

static void refused(const char *recipe, const struct clip *first, const struct clip *second, int status, const char *word) {
    struct pipeline_params params = params_of(recipe, first, second);
    assert_non_null(params.recipe);
    assert_int_equal(pipeline_settle(&params, &fault), status);
    assert_int_equal(fault.code, status);
    assert_names(fault.message, word);
}

static void defaults(void **state) {
    struct pipeline_params params = params_of("sdxl", clip, clip);
    (void)state;
    assert_int_equal(pipeline_settle(&params, &fault), 0);
    assert_true(params.max_windows == 8 && params.max_text_bytes == 65536 && params.cache_bytes == PIPELINE_CACHE);
}

static void towers_that_do_not_fit(void **state) {
    struct clip other = *clip;
    (void)state;
    other.tokenizer = NULL;
    refused("sdxl", clip, &other, FAULT_NO_TOKENIZER, "clip_g");
    refused("sdxl", &other, clip, FAULT_NO_TOKENIZER, "clip_l");
    other = *clip;
    other.geometry.projection = 0;
    refused("sdxl", clip, &other, FAULT_MISMATCH, "projection");
    refused("cascade-decoder", &other, NULL, FAULT_MISMATCH, "clip_g");
    other = *clip;
    other.geometry.context = 64;
    refused("sdxl", clip, &other, FAULT_MISMATCH, "64");
    other.geometry.context = 9;
    refused("sd1", &other, NULL, FAULT_UNSUPPORTED, "9 tokens");
    other.geometry.context = CHUNK_LENGTH_LIMIT + 1;
    refused("sd1", &other, NULL, FAULT_UNSUPPORTED, "4097 tokens");
    other = *clip;
    other.geometry.layers = 1;
    refused("sdxl", clip, &other, FAULT_MISMATCH, "layer -2");
}

/* A CLIP-L without a projection is what SD 3 takes too: its vector is then the raw one. */
static void projected_if_any(void **state) {
    struct clip plain = *clip;
    size_t with = 0, without = 0;
    (void)state;
    plain.geometry.projection = 0;
    struct pipeline_params params = params_of("sd3", clip, clip);
    assert_int_equal(pipeline_settle(&params, &fault), 0);
    assert_int_equal(pipeline_measure(&params, &with, &fault), 0);
    params = params_of("sd3", &plain, clip);
    assert_int_equal(pipeline_settle(&params, &fault), 0);
    assert_int_equal(pipeline_measure(&params, &without, &fault), 0);
    assert_true(with > 0 && without > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(towers_that_do_not_fit),
        cmocka_unit_test(projected_if_any),
    };
    return cmocka_run_group_tests_name("pipeline", tests, open_model, close_model);
}
