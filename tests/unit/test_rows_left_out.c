/* test_rows_left_out.c - protects what a pass does not compute: rows behind an end that nobody wants, rows of a last block that
 * is only pooled, prompts that go nowhere. Whatever else is asked for, and whoever is beside it in the batch, a prompt's outputs
 * have the same bits, in every kernel set; and rows_settle leaves out what it should. Uses samples/model. */
#include <stdlib.h>

#include "../../encoder/encoder.h"
#include "../../encoder/kernels/cpu.h"
#include "../../encoder/model/rows.h"
#include "unit.h"

enum { T = 27, B = 9 };

static struct clip *clip;
static struct fault fault;
static int32_t ids[B][T];

static int open_model(void **state) {
    struct clip_params params = {.path = "samples/model"};
    (void)state;
    int status = clip_open(&clip, &params, &fault);
    for (int32_t b = 0; !status && b < B; b++) /* ends at 1, 4, 7, ..: rows of prompts begin at lanes far apart */
        for (int32_t t = 0; t < T; t++)
            ids[b][t] = t == 0 ? tokenizer_start_id(clip->tokenizer) : t <= 3 * b ? 300 + 7 * b + t : clip_end_id(clip);
    return status;
}

static int close_model(void **state) {
    (void)state;
    clip_close(clip);
    return 0;
}

/* What a request may ask for, each bit an output; and the last two: of every other prompt nothing, or the hidden states alone. */
enum { LAST = 1, BEFORE = 2, RAW = 4, PROJECTED = 8, NORMALISED = 16, SKIP = 32, SPARSE = 64, OUTPUTS = 5 };

/* [output][B][T,D], [D] or [P], floats; an output that was not asked for stays zero. */
static size_t room(size_t output) {
    size_t width = clip->geometry.width;
    return output < 2 ? T * width : output == 2 ? width : clip->geometry.projection;
}

static unsigned char *places[OUTPUTS][B];

static void make_taps(struct tap *taps, size_t *count, float *to[OUTPUTS], unsigned wanted, size_t first, size_t prompts) {
    static const enum tap_kind kinds[OUTPUTS] = {TAP_HIDDEN, TAP_HIDDEN, TAP_POOLED_RAW, TAP_POOLED_PROJECTED, TAP_POOLED_NORMALISED};
    *count = 0;
    for (size_t o = 0; o < OUTPUTS; o++) {
        if (!(wanted >> o & 1))
            continue;
        for (size_t b = 0; b < prompts; b++) {
            int left_out = (wanted & SKIP && (first + b) % 2) || (wanted & SPARSE && o < 2 && (first + b) % 2);
            places[o][b] = left_out ? NULL : (unsigned char *)(to[o] + (first + b) * room(o));
        }
        taps[(*count)++] = (struct tap){.kind = kinds[o], .layer = clip->geometry.layers - (o == 1), .dtype = DTYPE_F32,
                                        .row_pitch = clip->geometry.width * sizeof(float), .at = places[o]};
    }
}

static void request(struct session *session, float *to[OUTPUTS], unsigned wanted, size_t first, size_t prompts) {
    size_t tokens, taps;
    assert_int_equal(session_begin(session, &fault), 0);
    for (size_t b = 0; b < prompts; b++)
        session_prompts(session)[b] = (struct session_prompt){.ids = ids[first + b], .id_count = T};
    make_taps(session_taps(session), &taps, to, wanted, first, prompts);
    assert_int_equal(session_tokenize(session, prompts, 1, &tokens, &fault), 0);
    assert_int_equal(session_run(session, prompts, tokens, taps, NULL, NULL, &fault), 0);
    session_end(session);
}

static void make(float *to[OUTPUTS]) {
    for (size_t o = 0; o < OUTPUTS; o++) {
        to[o] = calloc(B * room(o), sizeof(float));
        assert_non_null(to[o]);
    }
}

static void clear(float *to[OUTPUTS]) {
    for (size_t o = 0; o < OUTPUTS; o++)
        memset(to[o], 0, B * room(o) * sizeof(float));
}

static void same(float *found[OUTPUTS], float *expected[OUTPUTS], unsigned wanted) {
    for (size_t o = 0; o < OUTPUTS; o++)
        for (size_t b = 0; b < B; b++) {
            int left_out = (wanted & SKIP && b % 2) || (wanted & SPARSE && o < 2 && b % 2);
            if (wanted >> o & 1 && !left_out)
                assert_memory_equal(found[o] + b * room(o), expected[o] + b * room(o), room(o) * sizeof(float));
        }
}

static void check_set(enum kernel_set set) {
    struct session_params params = {.threads = 2, .max_prompts = B, .kernels = set};
    struct session *session;
    float *expected[OUTPUTS], *found[OUTPUTS];
    assert_int_equal(session_settle(&params, &fault), 0);
    assert_int_equal(session_open(&session, clip, &params, &fault), 0);
    make(expected);
    make(found);
    request(session, expected, LAST | BEFORE | RAW | PROJECTED | NORMALISED, 0, B);
    for (unsigned wanted = 1; wanted < SPARSE * 2; wanted++) {
        if (!(wanted & (SKIP - 1)) || (wanted & SKIP && wanted & SPARSE))
            continue;
        clear(found);
        request(session, found, wanted, 0, B);
        same(found, expected, wanted);
    }
    static const unsigned alone[] = {LAST | PROJECTED, BEFORE | NORMALISED, RAW, PROJECTED | RAW};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        clear(found);
        for (size_t b = 0; b < B; b++)
            request(session, found, alone[i], b, 1);
        same(found, expected, alone[i]);
    }
    for (size_t o = 0; o < OUTPUTS; o++)
        free(expected[o]), free(found[o]);
    session_close(session);
}

static void bits_do_not_depend_on_what_else_is_wanted(void **state) {
    struct kernels kernels;
    (void)state;
    for (int set = KERNELS_SCALAR; set <= KERNELS_AMX; set++)
        if (kernels_fill(&kernels, (enum kernel_set)set, ARITHMETIC_EXACT, cpu_features()) == (enum kernel_set)set)
            check_set((enum kernel_set)set);
}

static void rows_that_are_computed(void **state) {
    static const size_t end[3] = {5, 20, 2};
    unsigned char data[1], *at[3] = {data, NULL, data};
    struct text_rows rows[3];
    struct kernels kernels = {0};
    struct tap taps[2] = {{.kind = TAP_POOLED_RAW, .data = data}, {.kind = TAP_HIDDEN, .at = at}};
    struct text_pass pass = {.kernels = &kernels, .batch = 3, .tokens = 30, .end = end, .taps = taps, .tap_count = 1, .rows = rows};
    (void)state;
    rows_settle(&pass); /* pooled alone: up to each end */
    assert_true(rows[0].count == 6 && rows[1].first == 6 && rows[1].count == 21 && rows[2].first == 27 && rows[2].count == 3);
    assert_true(pass.row_count == 30 && pass.groups == 2 && pass.end_groups == 1 && pass.run == 1);
    pass.tap_count = 2;
    rows_settle(&pass); /* hidden states of the first and the last */
    assert_true(rows[0].count == 30 && rows[1].count == 21 && rows[2].count == 30 && rows[2].first == 51);
    pass.taps = taps + 1;
    pass.tap_count = 1;
    rows_settle(&pass); /* the middle one goes nowhere */
    assert_true(rows[0].count == 30 && rows[1].count == 0 && rows[2].first == 30 && pass.groups == 4);
    kernels.whole_prompts = 1;
    rows_settle(&pass);
    assert_true(rows[1].count == 30 && rows[1].first == 32 && rows[2].first == 64 && pass.groups == 6 && pass.run == 2);
    assert_true(pass.end_groups == 3 && rows_end(&pass, 2) == 32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_do_not_depend_on_what_else_is_wanted),
        cmocka_unit_test(rows_that_are_computed),
    };
    return cmocka_run_group_tests_name("rows left out", tests, open_model, close_model);
}
