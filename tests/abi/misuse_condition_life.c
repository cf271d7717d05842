/* misuse_condition_life.c - pipelines in time: the order of closing, overlapping calls, cancelling, forking, and what stays of
 * a request that came to an error.
 *
 * Protects: no call hangs, and whatever happened to a call, the next one gives the bits of a pipeline that nothing happened
 * to. Nothing here sleeps to win a race: threads meet inside progress callbacks.
 */
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include "misuse_condition.h"

/* A pipeline that remembers nothing, so that each call runs the towers. */
static penult_pipeline *forgetful(void) {
    penult_named_model models[2];
    penult_pipeline_params params = pipeline_params("sdxl", models);
    params.flags = PENULT_PIPELINE_NO_CACHE;
    return open_pipeline(&params);
}

static void model_closes_first(void **state) {
    struct conditioning *c = *state;
    penult_pipeline *const pipeline = c->pipeline;
    penult_open_params params = {.struct_size = sizeof params, .path = model_path};
    for (int copy = 0; copy < 2; copy++) {
        penult_model *own[2];
        penult_named_model models[2];
        params.access = copy ? PENULT_COPY : PENULT_MAP;
        for (int i = 0; i < 2; i++) {
            assert_int_equal(api->model_open(&params, &own[i], NULL), PENULT_OK);
        }
        penult_pipeline_params of = pipeline_params("sdxl", models);
        models[0].model = own[0];
        models[1].model = own[1];
        c->pipeline = open_pipeline(&of);
        memset(models, 0x5a, sizeof models); /* nothing of the params is kept */
        memset(&of, 0x5a, sizeof of);
        api->model_close(own[0]);
        api->model_close(own[1]);
        conditioning_is_right(c);
        condition->pipeline_close(c->pipeline);
    }
    c->pipeline = pipeline;
    for (int round = 0; round < 10; round++) {
        condition->pipeline_close(forgetful()); /* without a call in between */
    }
    conditioning_is_right(c);
}

/* ---- overlapping, cancelling -------------------------------------------------------------------------------- */

struct watch {
    struct conditioning *c;
    uint32_t cancel_at; /* the value of done at which to cancel; 0: never */
    int how;            /* 0: by the callback's answer, 1: by pipeline_cancel in it, 2: from another thread */
    uint32_t last, calls, wrong;
    int overlaps; /* another thread calls while this one is inside */
    sem_t arrived, go_on;
    pthread_t caller;
};

static int32_t on_progress(void *user, const penult_progress *progress) {
    struct watch *watch = user;
    watch->calls++;
    watch->wrong += !pthread_equal(pthread_self(), watch->caller) || progress->struct_size != sizeof *progress ||
                    progress->stage != PENULT_STAGE_ENCODE || progress->done != watch->last + 1 ||
                    progress->done > progress->total;
    watch->last = (uint32_t)progress->done;
    if (progress->done != watch->cancel_at) {
        return 0;
    }
    if (watch->how == 1) {
        condition->pipeline_cancel(watch->c->pipeline);
    } else if (watch->how == 2) {
        sem_post(&watch->arrived);
        sem_wait(&watch->go_on);
    }
    return watch->how == 0;
}

static void *other_thread(void *user) {
    struct watch *watch = user;
    sem_wait(&watch->arrived);
    if (watch->overlaps) {
        /* no assertions here: they may only fail on the thread that runs the test */
        penult_condition_result result = {.struct_size = sizeof result};
        penult_condition_request request = watch->c->request;
        request.progress = NULL;
        watch->wrong += condition->condition(watch->c->pipeline, &request, NULL, NULL) != PENULT_E_ARGUMENT;
        watch->wrong += condition->plan(watch->c->pipeline, &request, &result, NULL) != PENULT_E_ARGUMENT;
        watch->wrong += result.token_count != 0;
        penult_pipeline_info told = {.struct_size = sizeof told};
        watch->wrong += condition->pipeline_describe(watch->c->pipeline, &told, NULL) != PENULT_OK;
    } else {
        condition->pipeline_cancel(watch->c->pipeline);
    }
    sem_post(&watch->go_on);
    return NULL;
}

static int32_t watched(struct watch *watch, penult_error *error) {
    pthread_t other;
    watch->caller = pthread_self();
    watch->last = watch->calls = watch->wrong = 0;
    sem_init(&watch->arrived, 0, 0);
    sem_init(&watch->go_on, 0, 0);
    conditioning_reset(watch->c);
    watch->c->request.progress = on_progress;
    watch->c->request.user = watch;
    if (watch->how == 2) {
        assert_int_equal(pthread_create(&other, NULL, other_thread, watch), 0);
    }
    const int32_t status = conditioning_run(watch->c, error);
    if (watch->how == 2) {
        assert_int_equal(pthread_join(other, NULL), 0);
    }
    sem_destroy(&watch->arrived);
    sem_destroy(&watch->go_on);
    assert_int_equal(watch->wrong, 0);
    return status;
}

static void progress_counts_and_cancels(void **state) {
    struct conditioning *c = *state;
    penult_pipeline *const kept = c->pipeline;
    penult_error error;
    c->pipeline = forgetful();
    struct watch watch = {.c = c};
    assert_int_equal(watched(&watch, &error), PENULT_OK);
    const uint32_t blocks = watch.calls;
    /* clip_l gives its context one block before the end, clip_g a pooled vector too */
    assert_int_equal(blocks, 2 * info.layers - 1);
    assert_int_equal(c->result.blocks_run, blocks);
    assert_memory_equal(c->memory, c->right, c->memory_bytes);
    for (watch.how = 0; watch.how < 3; watch.how++) {
        /* after a tower's last block there is nothing left of it that a cancel from outside could end, but the next one's */
        for (watch.cancel_at = 1; watch.cancel_at < blocks; watch.cancel_at++) {
            FAILED(PENULT_E_CANCELLED, watched(&watch, &error), &error, "cancel");
            assert_true(watch.last <= watch.cancel_at + 1);
            conditioning_is_right(c);
        }
    }
    condition->pipeline_close(c->pipeline);
    c->pipeline = kept;
}

/* A cancelled call leaves nothing half made in the cache. */
static void cancelled_windows_are_not_known(void **state) {
    struct conditioning *c = *state;
    penult_pipeline *const kept = c->pipeline;
    penult_named_model models[2];
    const penult_pipeline_params params = pipeline_params("sdxl", models);
    penult_error error;
    c->pipeline = open_pipeline(&params);
    struct watch watch = {.c = c};
    for (watch.cancel_at = 1; watch.cancel_at < info.layers; watch.cancel_at++) {
        FAILED(PENULT_E_CANCELLED, watched(&watch, &error), &error, "cancel");
    }
    conditioning_is_right(c);
    conditioning_is_right(c);
    assert_int_equal(c->result.cached_count, 4);
    condition->pipeline_close(c->pipeline);
    c->pipeline = kept;
}

static void calls_that_overlap(void **state) {
    struct conditioning *c = *state;
    penult_pipeline *const kept = c->pipeline;
    penult_error error;
    c->pipeline = forgetful();
    struct watch watch = {.c = c, .how = 2, .overlaps = 1};
    for (watch.cancel_at = 1; watch.cancel_at < 2 * info.layers; watch.cancel_at++) {
        assert_int_equal(watched(&watch, &error), PENULT_OK);
        assert_memory_equal(c->memory, c->right, c->memory_bytes);
    }
    conditioning_is_right(c);
    condition->pipeline_close(c->pipeline);
    c->pipeline = kept;
}

struct storm {
    penult_pipeline *pipeline;
    _Atomic int over;
    unsigned planned, wrong; /* by the other thread */
};

static void *cancel_all_the_time(void *user) {
    struct storm *storm = user;
    while (!storm->over) {
        condition->pipeline_cancel(storm->pipeline);
    }
    return NULL;
}

static void cancel_at_any_moment(void **state) {
    struct conditioning *c = *state;
    struct storm storm = {.pipeline = c->pipeline};
    pthread_t other;
    unsigned good = 0;
    assert_int_equal(pthread_create(&other, NULL, cancel_all_the_time, &storm), 0);
    for (int round = 0; round < 500; round++) {
        penult_error error;
        conditioning_reset(c);
        c->request.prompt.text_bytes = 1 + (uint64_t)round % 16; /* sixteen windows: some of them forgotten meanwhile */
        const int32_t status = conditioning_run(c, &error);
        good += status == PENULT_OK;
        if (status != PENULT_OK) {
            FAILED(PENULT_E_CANCELLED, status, &error, "cancel");
        }
    }
    storm.over = 1;
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_true(good > 0);
    conditioning_is_right(c);
}

static void plan_many_times(penult_pipeline *pipeline, unsigned *planned, unsigned *wrong) {
    const penult_condition_request request = {.struct_size = sizeof request};
    for (int round = 0; round < 20000; round++) {
        penult_condition_result result = {.struct_size = sizeof result};
        const int32_t status = condition->plan(pipeline, &request, &result, NULL);
        *planned += status == PENULT_OK;
        *wrong += status != PENULT_OK && status != PENULT_E_ARGUMENT;
    }
}

static void *plan_too(void *user) {
    struct storm *storm = user;
    plan_many_times(storm->pipeline, &storm->planned, &storm->wrong);
    return NULL;
}

/* Two threads on one pipeline are a mistake of the host's, and each of their calls succeeds or is refused; but none
 * leaves the pipeline taken. */
static void overlapping_at_any_moment(void **state) {
    struct conditioning *c = *state;
    struct storm storm = {.pipeline = c->pipeline};
    pthread_t other;
    unsigned planned = 0, wrong = 0;
    assert_int_equal(pthread_create(&other, NULL, plan_too, &storm), 0);
    plan_many_times(c->pipeline, &planned, &wrong);
    assert_int_equal(pthread_join(other, NULL), 0);
    /* on a busy machine one of them may be held up inside its call for as long as the other calls */
    assert_true(planned + storm.planned > 0);
    assert_int_equal(wrong + storm.wrong, 0);
    conditioning_is_right(c);
}

/* ---- errors of the numbers ---------------------------------------------------------------------------------- */

static void numbers_that_are_none(void **state) {
    struct conditioning *c = *state;
    penult_pipeline *const kept = c->pipeline;
    static const struct {
        const char *dialect, *prompt;
    } cases[] = {{"comfyui", "(a:1e999) cat"}, {"comfyui", "(a:nan) cat"}, {"a1111", "(a:1e999)"}, {"compel", "(a)1e39 cat"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        penult_named_model models[2];
        penult_pipeline_params params = pipeline_params("sdxl", models);
        penult_error error;
        params.dialect = cases[i].dialect;
        c->pipeline = open_pipeline(&params);
        conditioning_reset(c);
        c->request.prompt = (penult_condition_text){cases[i].prompt, strlen(cases[i].prompt)};
        const int32_t status = conditioning_run(c, &error);
        if (status != PENULT_OK) {
            FAILED(PENULT_E_NON_FINITE, status, &error, "prompt_embeds");
        }
        conditioning_is_right(c);
        condition->pipeline_close(c->pipeline);
    }
    c->pipeline = kept;
    /* sizes that float16 has no number for */
    c->tensors[4].to.dtype = PENULT_F16;
    c->request.sizes.original_height = 70000;
    penult_error error;
    FAILED(PENULT_E_NON_FINITE, conditioning_run(c, &error), &error, "add_time_ids");
    conditioning_is_right(c);
}

/* ---- forking ------------------------------------------------------------------------------------------------ */

static int use_in_the_child(void *context) {
    struct conditioning *c = context;
    penult_error error;
    error_fill(&error);
    if (conditioning_run(c, &error) != PENULT_E_WRONG_PROCESS || strstr(error.message, "fork") == NULL) {
        return 1;
    }
    if (conditioning_plan(c, &error) != PENULT_E_WRONG_PROCESS) {
        return 2;
    }
    if (((unsigned char *)c->tensors[0].to.data)[0] != 0xa5) {
        return 3;
    }
    /* AddressSanitizer keeps what it knows of the stacks of threads that a fork did not take along: theirs is given back last,
     * or new memory would lie there */
    penult_pipeline *const old = c->pipeline;
    penult_model *const old_model = model;
    penult_open_params open = {.struct_size = sizeof open, .path = model_path};
    if (api->model_open(&open, &model, NULL) != PENULT_OK) {
        return 4;
    }
    penult_named_model models[2];
    const penult_pipeline_params params = pipeline_params("sdxl", models);
    if (condition->pipeline_open(&params, &c->pipeline, NULL) != PENULT_OK || conditioning_run(c, NULL) != PENULT_OK) {
        return 5;
    }
    condition->pipeline_cancel(old);
    condition->pipeline_close(old); /* may only return */
    api->model_close(old_model);
    return memcmp(c->memory, c->right, c->memory_bytes) != 0 ? 6 : 0;
}

static void fork_while_idle(void **state) {
    struct conditioning *c = *state;
    assert_int_equal(in_a_child(use_in_the_child, c), 0);
    conditioning_is_right(c); /* the parent's threads noticed nothing */
}

#define WITH_PIPELINE(test) cmocka_unit_test_setup_teardown(test, conditioning_setup, conditioning_teardown)

const struct CMUnitTest misuse_condition_life_tests[] = {
    WITH_PIPELINE(model_closes_first),     WITH_PIPELINE(progress_counts_and_cancels),
    WITH_PIPELINE(cancelled_windows_are_not_known), WITH_PIPELINE(calls_that_overlap),
    WITH_PIPELINE(cancel_at_any_moment),   WITH_PIPELINE(overlapping_at_any_moment), WITH_PIPELINE(numbers_that_are_none),
    WITH_PIPELINE(fork_while_idle),
};
const size_t misuse_condition_life_test_count = sizeof misuse_condition_life_tests / sizeof misuse_condition_life_tests[0];
