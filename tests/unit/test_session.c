/* test_session.c - protects what the engine's callers build on: key masks through a whole tower in every kernel set, outputs
 * that go prompt by prompt to places of their own, and jobs on a session's workers. Uses samples/model.
 */
#include <math.h>
#include <stdlib.h>

#include "../../encoder/encoder.h"
#include "../../encoder/kernels/cpu.h"
#include "unit.h"

#define MODEL "samples/model"
#define GUARD 0xA5

enum { T = 9, B = 3, PADDING = 7 /* the first token behind the end */ };

static struct clip *clip;
static struct fault fault;

static int open_model(void **state) {
    struct clip_params params = {.path = MODEL};
    (void)state;
    return clip_open(&clip, &params, &fault);
}

static int close_model(void **state) {
    (void)state;
    clip_close(clip);
    return 0;
}

static struct session *open_session(enum kernel_set kernels) {
    struct session_params params = {.threads = 2, .max_prompts = B, .kernels = kernels};
    struct session *session;
    assert_int_equal(session_settle(&params, &fault), 0);
    assert_int_equal(session_open(&session, clip, &params, &fault), 0);
    return session;
}

/* Everything a request of these tests gives: hidden states before the last norm, all of them normed, and pooled vectors. */
struct results {
    float *hidden, *normed, *pooled; /* [B,T,D], [B,T,D], [B,P] */
};

static size_t D(void) {
    return clip->geometry.width;
}

static size_t P(void) {
    return clip->geometry.projection;
}

static struct results make_results(void) {
    struct results r = {malloc(B * T * D() * sizeof(float)), malloc(B * T * D() * sizeof(float)), malloc(B * P() * sizeof(float))};
    assert_true(r.hidden && r.normed && r.pooled);
    memset(r.hidden, GUARD, B * T * D() * sizeof(float));
    memset(r.normed, GUARD, B * T * D() * sizeof(float));
    memset(r.pooled, GUARD, B * P() * sizeof(float));
    return r;
}

static void free_results(struct results r) {
    free(r.hidden);
    free(r.normed);
    free(r.pooled);
}

/* Prompts of five ids of text each, an end, and the end again for padding. */
static void put_prompts(struct session *session, int32_t ids[B][T], const unsigned char *const masks[B]) {
    for (int32_t b = 0; b < B; b++) {
        for (int32_t t = 0; t < T; t++)
            ids[b][t] = t == 0 ? tokenizer_start_id(clip->tokenizer) : t < PADDING - 1 ? 300 + 10 * b + t : clip_end_id(clip);
        session_prompts(session)[b] =
            (struct session_prompt){.ids = ids[b], .id_count = T, .key_mask = masks ? masks[b] : NULL};
    }
}

static void put_taps(struct session *session, struct results r) {
    struct tap *taps = session_taps(session);
    size_t row = D() * sizeof(float);
    taps[0] = (struct tap){.kind = TAP_HIDDEN, .layer = clip->geometry.layers, .data = (unsigned char *)r.hidden,
                           .batch_pitch = T * row, .row_pitch = row, .dtype = DTYPE_F32};
    taps[1] = taps[0];
    taps[1].final_norm = 1;
    taps[1].data = (unsigned char *)r.normed;
    taps[2] = (struct tap){.kind = TAP_POOLED_PROJECTED, .data = (unsigned char *)r.pooled, .batch_pitch = P() * sizeof(float),
                           .dtype = DTYPE_F32};
}

static void run(struct session *session) {
    size_t tokens = 0;
    assert_int_equal(session_tokenize(session, B, 1, &tokens, &fault), 0);
    assert_int_equal(tokens, T);
    if (session_run(session, B, T, 3, NULL, NULL, &fault))
        fail_msg("%s", fault.message);
}

static struct results encode(struct session *session, const unsigned char *const masks[B]) {
    int32_t ids[B][T];
    struct results r = make_results();
    assert_int_equal(session_begin(session, &fault), 0);
    put_prompts(session, ids, masks);
    put_taps(session, r);
    run(session);
    session_end(session);
    return r;
}

static void same_rows(const float *a, const float *b, size_t rows) {
    assert_memory_equal(a, b, rows * D() * sizeof *a);
}

/* ---- key masks ---- */

/* A mask that hides what stands behind the end changes no row up to it, nor what is pooled, in any bit; a row behind it does
 * change; and a prompt does not see its neighbour's mask. */
static void padding_may_be_hidden(void **state) {
    static const unsigned char padding[T] = {1, 1, 1, 1, 1, 1, 1, 0, 0}, all[T] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    (void)state;
    for (int set = KERNELS_SCALAR; set <= KERNELS_AMX; set++) {
        struct session *session = open_session((enum kernel_set)set);
        struct results plain = encode(session, NULL);
        struct results masked = encode(session, (const unsigned char *const[B]){NULL, padding, all});
        struct results again = encode(session, NULL);
        same_rows(masked.hidden, plain.hidden, T + PADDING);
        same_rows(masked.normed, plain.normed, T + PADDING);
        same_rows(masked.hidden + 2 * T * D(), plain.hidden + 2 * T * D(), T);
        for (size_t t = PADDING; t < T; t++)
            assert_memory_not_equal(masked.hidden + (T + t) * D(), plain.hidden + (T + t) * D(), D() * sizeof(float));
        assert_memory_equal(masked.pooled, plain.pooled, B * P() * sizeof(float));
        same_rows(again.hidden, plain.hidden, B * T); /* a mask does not outlive its request */
        free_results(plain);
        free_results(masked);
        free_results(again);
        session_close(session);
    }
}

/* A hidden token's id may be any: no other row depends on it. Its own row is computed, and does. */
static void a_hidden_token_is_seen_by_no_other(void **state) {
    static const unsigned char mask[T] = {1, 1, 0, 1, 0, 1, 1, 1, 0};
    const unsigned char *const masks[B] = {mask, mask, mask};
    struct session *session = open_session(KERNELS_BEST);
    int32_t ids[B][T];
    (void)state;
    struct results one = encode(session, masks), other = make_results();
    assert_int_equal(session_begin(session, &fault), 0);
    put_prompts(session, ids, masks);
    put_taps(session, other);
    for (size_t b = 0; b < B; b++)
        ids[b][2] = ids[b][4] = 7;
    run(session);
    session_end(session);
    for (size_t row = 0; row < B * T; row++) {
        int changed = memcmp(one.hidden + row * D(), other.hidden + row * D(), D() * sizeof(float)) != 0;
        assert_int_equal(changed, row % T == 2 || row % T == 4);
    }
    assert_memory_equal(one.pooled, other.pooled, B * P() * sizeof(float));
    free_results(one);
    free_results(other);
    session_close(session);
}

/* The sets agree under a mask as they do without one: the difference is that of float32 sums. */
static void every_set_agrees_with_scalar(void **state) {
    static const unsigned char mask[B][T] = {{1, 0, 0, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 0, 0, 0}, {1}};
    const unsigned char *const masks[B] = {mask[0], mask[1], mask[2]};
    struct session *scalar = open_session(KERNELS_SCALAR);
    struct results expected = encode(scalar, masks), plain = encode(scalar, NULL);
    (void)state;
    for (int set = KERNELS_OPENBLAS; set <= KERNELS_AMX; set++) {
        struct session *session = open_session((enum kernel_set)set);
        struct results found = encode(session, masks);
        double error = 0, size = 0, effect = 0;
        for (size_t i = 0; i < B * T * D(); i++) {
            error += pow((double)found.normed[i] - (double)expected.normed[i], 2);
            effect += pow((double)plain.normed[i] - (double)expected.normed[i], 2);
            size += pow((double)expected.normed[i], 2);
        }
        assert_true(error <= 1e-10 * size);
        assert_true(effect >= 1e-4 * size);
        free_results(found);
        session_close(session);
    }
    free_results(expected);
    free_results(plain);
    session_close(scalar);
}

static void masks_that_cannot_be(void **state) {
    static const unsigned char two[T] = {1, 1, 1, 2, 1, 1, 1, 1, 1}, last[T] = {1, 1, 1, 1, 1, 1, 1, 1, 255},
                               none[T] = {0, 1, 1, 1, 1, 1, 1, 1, 1}, right[T] = {1};
    struct session *session = open_session(KERNELS_BEST);
    int32_t ids[B][T];
    size_t tokens;
    (void)state;
    assert_int_equal(session_begin(session, &fault), 0);
    put_prompts(session, ids, (const unsigned char *const[B]){NULL, right, two});
    assert_int_equal(session_tokenize(session, B, 1, &tokens, &fault), FAULT_ARGUMENT);
    assert_names(fault.message, "prompt 2: key_mask[3] is 2, expected 0 or 1");
    put_prompts(session, ids, (const unsigned char *const[B]){NULL, last, two});
    assert_int_equal(session_tokenize(session, B, 1, &tokens, &fault), FAULT_ARGUMENT);
    assert_names(fault.message, "prompt 1: key_mask[8] is 255, expected 0 or 1");
    put_prompts(session, ids, (const unsigned char *const[B]){none, NULL, NULL});
    assert_int_equal(session_tokenize(session, B, 1, &tokens, &fault), FAULT_ARGUMENT);
    assert_names(fault.message, "prompt 0: key_mask hides token 0, which leaves rows without any key");
    put_prompts(session, ids, (const unsigned char *const[B]){right, NULL, NULL});
    assert_int_equal(session_tokenize(session, B, 1, &tokens, &fault), 0);
    session_end(session);
    session_close(session);
}

/* A text has a mask of the whole context; and what a prompt pointed to may be gone when the pass runs. */
static void masks_of_texts_are_copied(void **state) {
    size_t context = clip->geometry.context, tokens = 0, bytes = context * D() * sizeof(float);
    struct session *session = open_session(KERNELS_BEST);
    float *found[2] = {malloc(bytes), malloc(bytes)};
    (void)state;
    assert_non_null(found[0]);
    assert_non_null(found[1]);
    for (int gone = 0; gone < 2; gone++) {
        unsigned char *mask = malloc(context); /* exactly as long as it must be */
        char text[] = "a cat";
        assert_non_null(mask);
        memset(mask, 1, context);
        mask[1] = mask[context - 1] = 0;
        assert_int_equal(session_begin(session, &fault), 0);
        session_prompts(session)[0] = (struct session_prompt){.text = text, .text_bytes = sizeof text - 1, .key_mask = mask};
        session_taps(session)[0] =
            (struct tap){.kind = TAP_HIDDEN, .layer = 2, .data = (unsigned char *)found[gone], .batch_pitch = bytes,
                         .row_pitch = D() * sizeof(float), .dtype = DTYPE_F32};
        assert_int_equal(session_tokenize(session, 1, 0, &tokens, &fault), 0);
        assert_int_equal(tokens, context);
        if (gone) {
            memset(mask, GUARD, context);
            memset(text, GUARD, sizeof text);
        }
        assert_int_equal(session_run(session, 1, tokens, 1, NULL, NULL, &fault), 0);
        session_end(session);
        free(mask);
    }
    assert_memory_equal(found[0], found[1], bytes);
    free(found[0]);
    free(found[1]);
    session_close(session);
}

/* ---- outputs with a place for each prompt ---- */

static void every_prompt_goes_to_its_place(void **state) {
    size_t row = D() * sizeof(float), pitch = row + 24, room = T * pitch;
    struct session *session = open_session(KERNELS_BEST);
    struct results packed = encode(session, NULL), unused = make_results(), untouched = make_results();
    unsigned char *there = malloc(B * room + 1), *expected = malloc(B * room + 1);
    float pooled[256];
    int32_t ids[B][T];
    (void)state;
    assert_non_null(there);
    assert_non_null(expected);
    assert_true(P() <= 256);
    memset(there, GUARD, B * room + 1);
    memset(expected, GUARD, B * room + 1);
    /* backwards, at an odd address, the middle one nowhere; normed the other way about, without the first */
    unsigned char *const hidden_at[B] = {there + 2 * room + 1, NULL, there + 1};
    unsigned char *const normed_at[B] = {NULL, there + room + 1, NULL};
    unsigned char *const pooled_at[B] = {NULL, NULL, (unsigned char *)pooled}, *const nowhere[B] = {NULL, NULL, NULL};
    for (size_t t = 0; t < T; t++) {
        memcpy(expected + 2 * room + 1 + t * pitch, packed.hidden + t * D(), row);
        memcpy(expected + 1 + t * pitch, packed.hidden + (2 * T + t) * D(), row);
        memcpy(expected + room + 1 + t * pitch, packed.normed + (T + t) * D(), row);
    }
    assert_int_equal(session_begin(session, &fault), 0);
    put_prompts(session, ids, NULL);
    put_taps(session, unused);
    struct tap *taps = session_taps(session);
    taps[0].at = hidden_at;
    taps[1].at = normed_at;
    taps[2].at = pooled_at;
    taps[0].row_pitch = taps[1].row_pitch = pitch;
    run(session);
    assert_memory_equal(there, expected, B * room + 1);
    assert_memory_equal(pooled, packed.pooled + 2 * P(), P() * sizeof(float));
    for (size_t i = 0; i < 3; i++)
        taps[i].at = nowhere;
    run(session);
    session_end(session);
    assert_memory_equal(there, expected, B * room + 1);
    assert_memory_equal(unused.hidden, untouched.hidden, B * T * row); /* `at` instead of `data`, not besides */
    assert_memory_equal(unused.normed, untouched.normed, B * T * row);
    assert_memory_equal(unused.pooled, untouched.pooled, B * P() * sizeof(float));
    free_results(packed);
    free_results(unused);
    free_results(untouched);
    free(there);
    free(expected);
    session_close(session);
}

/* ---- the session's other services ---- */

struct work {
    _Atomic unsigned workers, units;
    _Atomic int on_the_hosts_thread;
};

static void work_unit(struct worker *worker, size_t unit, void *context) {
    struct work *work = context;
    (void)worker;
    work->units += (unsigned)unit;
}

static void work_job(struct worker *worker, void *context) {
    struct work *work = context;
    work->workers++;
    if (worker_self() != worker)
        work->on_the_hosts_thread = 1;
    worker_each(worker, 10, work_unit, work);
}

static void work_is_done_by_workers(void **state) {
    struct session *session = open_session(KERNELS_BEST);
    struct work work = {0};
    (void)state;
    assert_int_equal(session_begin(session, &fault), 0);
    session_work(session, work_job, &work);
    session_end(session);
    assert_int_equal(work.workers, 2);
    assert_int_equal(work.units, 45);
    assert_int_equal(work.on_the_hosts_thread, 0);
    session_close(session);
}

static void a_session_knows_its_model(void **state) {
    struct session *session = open_session(KERNELS_BEST);
    (void)state;
    assert_int_equal(session_check(session, &fault), 0);
    session_close(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_may_be_hidden),
        cmocka_unit_test(a_hidden_token_is_seen_by_no_other),
        cmocka_unit_test(every_set_agrees_with_scalar),
        cmocka_unit_test(masks_that_cannot_be),
        cmocka_unit_test(masks_of_texts_are_copied),
        cmocka_unit_test(every_prompt_goes_to_its_place),
        cmocka_unit_test(work_is_done_by_workers),
        cmocka_unit_test(a_session_knows_its_model),
    };
    return cmocka_run_group_tests_name("session", tests, open_model, close_model);
}
