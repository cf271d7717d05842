/* test_rows_left_out.c - protects what a pass does not compute: rows behind an end that nobody wants, rows of a last block that
 * is only pooled, prompts that go nowhere, and twice what prompts have in common. Whatever else is asked for, and whoever is beside it in the batch, a prompt's outputs
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
static unsigned char masks[B][T];
static int masked;

static int open_model(void **state) {
    struct clip_params params = {.path = "samples/model"};
    (void)state;
    int status = clip_open(&clip, &params, &fault);
    return status;
}

/* Ends at 1, 4, 7, ..: rows of prompts begin at lanes far apart. They have the start in common; or `alike` each some more with those
 * before it, the last two everything, and of the masks every other hides the same key, one another one. */
static void write_ids(int alike) {
    masked = alike;
    for (int32_t b = 0; b < B; b++)
        for (int32_t t = 0; t < T; t++) {
            int32_t like = alike && b == B - 1 ? b - 1 : b, own = alike && t <= 2 * like - 2 ? 0 : 7 * like;
            ids[b][t] = t == 0 ? tokenizer_start_id(clip->tokenizer) : t <= 3 * like ? 300 + own + t : clip_end_id(clip);
            masks[b][t] = t != (b == 5 ? 2 : 3) || like % 2 == 0;
        }
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
        session_prompts(session)[b] = (struct session_prompt){.ids = ids[first + b], .id_count = T, .key_mask = masked ? masks[first + b] : NULL};
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
    for (unsigned wanted = 1; wanted < SPARSE * 2; wanted += masked ? 7 : 1) {
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
        for (int alike = 0; alike < 2; alike++) {
            write_ids(alike);
            if (kernels_fill(&kernels, (enum kernel_set)set, ARITHMETIC_EXACT, cpu_features()) == (enum kernel_set)set)
                check_set((enum kernel_set)set);
        }
}

/* A pass over three prompts, with room for their rows. */
struct small {
    struct kernels kernels;
    int32_t ids[3][30];
    const unsigned char *key_mask[3];
    struct text_rows rows[3];
    uint32_t row[3 * 30], buckets[128];
    struct text_node nodes[3 * 30];
    struct text_pass pass;
};

static struct small *make_small(const size_t *end, const struct tap *taps) {
    struct small *s = calloc(1, sizeof *s);
    assert_non_null(s);
    for (int32_t b = 0; b < 3; b++)
        for (int32_t t = 0; t < 30; t++)
            s->ids[b][t] = 100 * b + t;
    s->pass = (struct text_pass){.kernels = &s->kernels, .batch = 3, .tokens = 30, .ids = s->ids[0], .end = end,
                                 .key_mask = s->key_mask, .taps = taps, .tap_count = 1, .rows = s->rows, .row = s->row,
                                 .nodes = s->nodes, .buckets = s->buckets};
    return s;
}

static void rows_that_are_computed(void **state) {
    static const size_t end[3] = {5, 20, 2};
    unsigned char data[1], *at[3] = {data, NULL, data};
    struct tap taps[2] = {{.kind = TAP_POOLED_RAW, .data = data}, {.kind = TAP_HIDDEN, .at = at}};
    struct small *s = make_small(end, taps);
    struct text_pass *pass = &s->pass;
    const struct text_rows *rows = s->rows;
    const uint32_t *first = s->row; /* of prompt 0; prompt 1's is 30 further, prompt 2's 60 */
    (void)state;
    rows_settle(pass); /* pooled alone: up to each end */
    assert_true(rows[0].count == 6 && first[30] == 6 && rows[1].count == 21 && first[60] == 27 && rows[2].count == 3);
    assert_true(pass->row_count == 30 && pass->groups == 2 && pass->end_groups == 1 && pass->run == 1);
    pass->tap_count = 2;
    rows_settle(pass); /* hidden states of the first and the last */
    assert_true(rows[0].count == 30 && rows[1].count == 21 && rows[2].count == 30 && first[60] == 51);
    pass->taps = taps + 1;
    pass->tap_count = 1;
    rows_settle(pass); /* the middle one goes nowhere */
    assert_true(rows[0].count == 30 && rows[1].count == 0 && first[60] == 30 && pass->groups == 4);
    s->kernels.whole_prompts = 1;
    rows_settle(pass);
    assert_true(rows[1].count == 30 && first[30] == 32 && first[60] == 64 && pass->groups == 6 && pass->run == 2);
    assert_true(pass->end_groups == 3 && rows_end(pass, 2) == 32);
    free(s);
}

static void rows_in_common_are_computed_once(void **state) {
    static const unsigned char mask[30] = {1, 1, 0, 1}, other[30] = {1, 1, 0, 0};
    static const size_t end[3] = {9, 5, 19};
    unsigned char data[1];
    struct tap tap = {.kind = TAP_POOLED_RAW, .data = data};
    struct small *s = make_small(end, &tap);
    (void)state;
    for (size_t t = 0; t < 6; t++) /* the second is the first's beginning, whole */
        s->ids[1][t] = s->ids[0][t];
    for (size_t t = 0; t < 8; t++) /* the third has less of the first in common, and then its own */
        s->ids[2][t] = s->ids[0][t];
    rows_settle(&s->pass);
    assert_true(s->rows[0].own == 0 && s->rows[1].own == 6 && s->rows[1].count == 6 && s->rows[2].own == 8);
    assert_true(s->row[30 + 5] == 5 && s->row[60 + 7] == 7 && s->row[60 + 8] == 10 && s->row[60 + 19] == 21 && s->pass.row_count == 22);
    s->ids[1][0]++; /* the same ids behind another beginning are other rows */
    rows_settle(&s->pass);
    assert_true(s->rows[1].own == 0 && s->row[30] == 10 && s->pass.row_count == 28);
    s->ids[1][0]--;
    s->key_mask[0] = mask; /* up to where masks differ */
    s->key_mask[2] = other;
    rows_settle(&s->pass);
    assert_true(s->rows[1].own == 2 && s->rows[2].own == 3 && s->pass.row_count == 10 + 4 + 17);
    s->kernels.whole_prompts = 1;
    rows_settle(&s->pass);
    assert_true(s->rows[1].own == 0 && s->rows[2].own == 0 && s->pass.row_count == 96);
    free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_do_not_depend_on_what_else_is_wanted),
        cmocka_unit_test(rows_that_are_computed),
        cmocka_unit_test(rows_in_common_are_computed_once),
    };
    return cmocka_run_group_tests_name("rows left out", tests, open_model, close_model);
}
