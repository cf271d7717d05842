/* misuse_life.c - handles in time: the order of closing, threads, cancelling, forking.
 *
 * Protects: no call hangs, a cancelled or refused session gives the same bits afterwards, sessions do not disturb each
 * other, and what a fork leaves behind is an error and not a wait for threads that are not there. Nothing here sleeps
 * to win a race: threads meet inside progress callbacks.
 */
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include "misuse.h"

/* ---- closing ------------------------------------------------------------------------------------------------ */

static void model_closes_before_its_sessions(void **state) {
    struct encode *e = *state;
    penult_session *const session = e->session;
    penult_open_params params = {.struct_size = sizeof params, .path = model_path};
    penult_error error;
    for (int copy = 0; copy < 2; copy++) {
        penult_model *own = NULL;
        params.access = copy ? PENULT_COPY : PENULT_MAP;
        assert_int_equal(api->model_open(&params, &own, &error), PENULT_OK);
        penult_session *const first = open_session(own), *const second = open_session(own);
        api->model_close(own);
        e->session = first;
        encode_is_right(e);
        api->session_close(first);
        e->session = second;
        encode_is_right(e); /* also: mapped and copied weights give the same bits */
        api->session_close(second);
    }
    e->session = session;
    encode_is_right(e);
}

static void sessions_without_encode(void **state) {
    (void)state;
    for (int round = 0; round < 20; round++) {
        api->session_close(open_session(model));
    }
}

/* ---- progress and cancelling -------------------------------------------------------------------------------- */

struct watch {
    struct encode *encode;
    pthread_t caller;
    uint64_t cancel_at; /* the value of done at which to cancel; 0: never */
    int through_session;
    uint64_t last;
    int calls, wrong; /* an assertion may not leave a callback by longjmp */
    sem_t arrived, go_on;
};

static int32_t watch_progress(void *user, const penult_progress *progress) {
    struct watch *watch = user;
    watch->wrong += !pthread_equal(pthread_self(), watch->caller);
    watch->wrong += progress->struct_size != sizeof *progress || progress->stage != PENULT_STAGE_ENCODE;
    watch->wrong += progress->total != info.layers || progress->done != watch->last + 1;
    watch->last = progress->done;
    watch->calls++;
    if (progress->done != watch->cancel_at) {
        return 0;
    }
    if (watch->through_session) {
        api->session_cancel(watch->encode->session); /* the one call that a callback may make */
        return 0;
    }
    return -7; /* anything but zero */
}

static void progress_counts_and_cancels(void **state) {
    struct encode *e = *state;
    penult_error error;
    for (int through_session = 0; through_session < 2; through_session++) {
        /* After the last block there is nothing left that session_cancel could end. */
        const uint64_t most = through_session ? info.layers - 1 : info.layers;
        for (uint64_t at = 0; at <= most; at++) {
            struct watch watch = {
                .encode = e, .caller = pthread_self(), .cancel_at = at, .through_session = through_session};
            encode_reset(e);
            e->request.progress = watch_progress;
            e->request.user = &watch;
            const int32_t status = encode_run(e, &error);
            assert_int_equal(watch.wrong, 0);
            if (at == 0) {
                assert_int_equal(status, PENULT_OK);
                assert_int_equal(watch.calls, info.layers);
                assert_memory_equal(e->memory, e->right, e->memory_bytes); /* watching changes nothing */
                continue;
            }
            FAILED(PENULT_E_CANCELLED, status, &error, "cancel");
            assert_int_equal(watch.calls, at);
            encode_is_right(e);
        }
    }
}

static void cancel_while_idle(void **state) {
    struct encode *e = *state;
    for (int round = 0; round < 5; round++) {
        api->session_cancel(e->session);
        encode_is_right(e);
    }
}

static int32_t wait_for_the_other(void *user, const penult_progress *progress) {
    struct watch *watch = user;
    if (progress->done == 1) {
        sem_post(&watch->arrived);
        sem_wait(&watch->go_on);
    }
    watch->last = progress->done;
    return 0;
}

static void *cancel_from_here(void *user) {
    struct watch *watch = user;
    sem_wait(&watch->arrived);
    api->session_cancel(watch->encode->session);
    sem_post(&watch->go_on);
    return NULL;
}

static void cancel_from_another_thread(void **state) {
    struct encode *e = *state;
    penult_error error;
    for (int round = 0; round < 20; round++) {
        struct watch watch = {.encode = e};
        pthread_t other;
        sem_init(&watch.arrived, 0, 0);
        sem_init(&watch.go_on, 0, 0);
        encode_reset(e);
        e->request.progress = wait_for_the_other;
        e->request.user = &watch;
        assert_int_equal(pthread_create(&other, NULL, cancel_from_here, &watch), 0);
        FAILED(PENULT_E_CANCELLED, encode_run(e, &error), &error, "cancel");
        assert_int_equal(pthread_join(other, NULL), 0);
        assert_int_equal(watch.last, 1); /* at the next block, not at some later one */
        sem_destroy(&watch.arrived);
        sem_destroy(&watch.go_on);
        encode_is_right(e);
    }
}

struct storm {
    penult_session *session;
    _Atomic int over;
};

static void *cancel_all_the_time(void *user) {
    struct storm *storm = user;
    while (!storm->over) {
        api->session_cancel(storm->session);
    }
    return NULL;
}

static void cancel_at_any_moment(void **state) {
    struct encode *e = *state;
    struct storm storm = {.session = e->session};
    pthread_t other;
    penult_error error;
    assert_int_equal(pthread_create(&other, NULL, cancel_all_the_time, &storm), 0);
    for (int round = 0; round < 200; round++) {
        encode_reset(e);
        const int32_t status = encode_run(e, &error);
        if (status == PENULT_OK) {
            assert_memory_equal(e->memory, e->right, e->memory_bytes);
        } else {
            FAILED(PENULT_E_CANCELLED, status, &error, "cancel");
        }
    }
    storm.over = 1;
    assert_int_equal(pthread_join(other, NULL), 0);
    encode_is_right(e);
}

/* ---- threads ------------------------------------------------------------------------------------------------ */

struct worker {
    struct encode encode; /* a session and memory of its own */
    const unsigned char *right;
    int wrong;
};

static void *encode_and_tokenize(void *user) {
    struct worker *worker = user;
    int32_t ids[CONTEXT];
    for (int round = 0; round < 50; round++) {
        /* No cmocka assertions here: they may only fail on the thread that runs the test. */
        encode_reset(&worker->encode);
        worker->wrong += encode_run(&worker->encode, NULL) != PENULT_OK;
        worker->wrong += memcmp(worker->encode.memory, worker->right, worker->encode.memory_bytes) != 0;
        const penult_token_request request = {
            .struct_size = sizeof request, .text = "a photo of a cat", .text_bytes = 16};
        penult_token_result result = {.struct_size = sizeof result, .ids = ids, .capacity = CONTEXT};
        worker->wrong += api->tokenize(model, &request, &result, NULL) != PENULT_OK;
        worker->wrong += ids[0] != info.start_id || ids[result.end_position] != info.end_id;
        penult_model_info own = {.struct_size = sizeof own};
        worker->wrong += api->model_describe(model, &own, NULL) != PENULT_OK || memcmp(&own, &info, sizeof own) != 0;
    }
    return NULL;
}

static void sessions_on_threads(void **state) {
    struct encode *e = *state;
    enum { THREADS = 4 };
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    memset(workers, 0, sizeof workers);
    for (int number = 0; number < THREADS; number++) {
        penult_session_params params = session_params();
        params.threads = 1 + (uint32_t)number % 3; /* the bits do not depend on it */
        assert_int_equal(api->session_open(model, &params, &workers[number].encode.session, NULL), PENULT_OK);
        workers[number].encode.memory_bytes = e->memory_bytes;
        workers[number].encode.memory = malloc(e->memory_bytes);
        workers[number].right = e->right;
        assert_non_null(workers[number].encode.memory);
    }
    for (int number = 0; number < THREADS; number++) {
        assert_int_equal(pthread_create(&threads[number], NULL, encode_and_tokenize, &workers[number]), 0);
    }
    for (int number = 0; number < THREADS; number++) {
        assert_int_equal(pthread_join(threads[number], NULL), 0);
        assert_int_equal(workers[number].wrong, 0);
        api->session_close(workers[number].encode.session);
        free(workers[number].encode.memory);
    }
}

/* ---- forking ------------------------------------------------------------------------------------------------ */

static int use_in_the_child(void *context) {
    struct encode *e = context;
    penult_error error;
    error_fill(&error);
    if (encode_run(e, &error) != PENULT_E_WRONG_PROCESS || error.status != PENULT_E_WRONG_PROCESS) {
        return 1;
    }
    if (strstr(error.message, "fork") == NULL || memchr(error.message, '\0', sizeof error.message) == NULL) {
        return 2;
    }
    if (((unsigned char *)e->outputs[0].to.data)[0] != 0xa5) {
        return 3;
    }
    api->session_cancel(e->session);
    api->session_close(e->session); /* may only return */
    api->model_close(model);
    /* What the child opens itself works: a fork does not break the library, only the handles. */
    penult_open_params open = {.struct_size = sizeof open, .path = model_path};
    penult_session_params params = session_params();
    if (api->model_open(&open, &model, NULL) != PENULT_OK ||
        api->session_open(model, &params, &e->session, NULL) != PENULT_OK || encode_run(e, NULL) != PENULT_OK) {
        return 4;
    }
    return memcmp(e->memory, e->right, e->memory_bytes) != 0 ? 5 : 0;
}

static void fork_while_idle(void **state) {
    struct encode *e = *state;
    assert_int_equal(in_a_child(use_in_the_child, e), 0);
    encode_is_right(e); /* the parent's threads noticed nothing */
}

struct fork_under_way {
    struct encode inner; /* a request of its own: the one that is under way must stay as it is */
    int result;
};

static int32_t fork_here(void *user, const penult_progress *progress) {
    struct fork_under_way *under_way = user;
    if (progress->done == 2) {
        under_way->result = in_a_child(use_in_the_child, &under_way->inner);
    }
    return 0;
}

static void fork_while_encoding(void **state) {
    struct encode *e = *state;
    struct fork_under_way under_way = {.inner = *e, .result = 99};
    under_way.inner.memory = malloc(e->memory_bytes);
    assert_non_null(under_way.inner.memory);
    encode_reset(&under_way.inner);
    e->request.progress = fork_here;
    e->request.user = &under_way;
    assert_int_equal(encode_run(e, NULL), PENULT_OK);
    assert_int_equal(under_way.result, 0);
    assert_memory_equal(e->memory, e->right, e->memory_bytes);
    encode_is_right(e);
    free(under_way.inner.memory);
}

struct hashing {
    unsigned calls, wrong;
    uint64_t last;
};

static int32_t hash_progress(void *user, const penult_progress *progress) {
    struct hashing *hashing = user;
    hashing->calls++;
    hashing->wrong += progress->struct_size != sizeof *progress || progress->stage != PENULT_STAGE_HASH ||
                      progress->done <= hashing->last || progress->done > progress->total;
    hashing->last = progress->done;
    return 0;
}

/* The fingerprint of values: the same each time, nothing for what is no model, the digest untouched by a refusal. */
static void hash(void **state) {
    uint8_t digests[2][32], kept[32];
    penult_error error;
    struct hashing hashing = {0, 0, 0};
    (void)state;
    memset(kept, 0xA5, sizeof kept);
    memcpy(digests[0], kept, sizeof kept);
    error_fill(&error);
    FAILED(PENULT_E_ARGUMENT, api->model_hash(NULL, digests[0], NULL, NULL, &error), &error, "model", "NULL");
    FAILED(PENULT_E_ARGUMENT, api->model_hash((penult_model *)(void *)kept, digests[0], NULL, NULL, &error), &error, "model", "not a model");
    FAILED(PENULT_E_ARGUMENT, api->model_hash(model, NULL, NULL, NULL, &error), &error, "digest", "NULL");
    assert_int_equal(api->model_hash(NULL, digests[0], NULL, NULL, NULL), PENULT_E_ARGUMENT);
    assert_memory_equal(digests[0], kept, sizeof kept);
    error_fill(&error);
    for (int i = 0; i < 2; i++)
        assert_int_equal(api->model_hash(model, digests[i], i ? hash_progress : NULL, &hashing, &error), PENULT_OK);
    error_untouched(&error);
    assert_memory_equal(digests[0], digests[1], sizeof kept);
    assert_memory_not_equal(digests[0], kept, sizeof kept);
    assert_int_equal(hashing.wrong, 0);
    penult_open_params params = {.struct_size = sizeof params, .path = model_path};
    penult_model *alone;
    params.tokenizer_path = params.path;
    params.path = NULL;
    assert_int_equal(api->model_open(&params, &alone, &error), PENULT_OK);
    FAILED(PENULT_E_ARGUMENT, api->model_hash(alone, digests[0], NULL, NULL, &error), &error, "tokenizer", "weights");
    api->model_close(alone);
}

/* A tower that is not there, flags of a later version. */
static void open_towers(void **state) {
    penult_open_params params = {.struct_size = sizeof params, .path = model_path};
    penult_model *opened = (penult_model *)1;
    penult_error error;
    (void)state;
    params.flags = 2;
    FAILED(PENULT_E_UNSUPPORTED, api->model_open(&params, &opened, &error), &error, "flags", "0x2");
    params.flags = PENULT_OPEN_LIST_TENSORS;
    params.tower = "";
    FAILED(PENULT_E_ARGUMENT, api->model_open(&params, &opened, &error), &error, "params->tower", "empty");
    params.tower = "clip_x";
    FAILED(PENULT_E_NOT_FOUND, api->model_open(&params, &opened, &error), &error, "clip_x", "text");
    assert_null(opened);
    params.tower = "text";
    assert_int_equal(api->model_open(&params, &opened, &error), PENULT_OK);
    api->model_close(opened);
}

#define WITH_SESSION(test) cmocka_unit_test_setup_teardown(test, encode_setup, encode_teardown)

const struct CMUnitTest misuse_life_tests[] = {
    WITH_SESSION(model_closes_before_its_sessions),
    cmocka_unit_test(sessions_without_encode),
    cmocka_unit_test(hash),
    cmocka_unit_test(open_towers),
    WITH_SESSION(progress_counts_and_cancels),
    WITH_SESSION(cancel_while_idle),
    WITH_SESSION(cancel_from_another_thread),
    WITH_SESSION(cancel_at_any_moment),
    WITH_SESSION(sessions_on_threads),
    WITH_SESSION(fork_while_idle),
    WITH_SESSION(fork_while_encoding),
};
const size_t misuse_life_test_count = sizeof misuse_life_tests / sizeof misuse_life_tests[0];
