/* test_kept.c - protects rows that stay from one encode to the next: whatever was encoded before, whole, cancelled, masked, with other
 * outputs or in other company, a prompt's outputs have the bits of a session that keeps nothing, in every kernel set and arithmetic;
 * and rows that are there are not computed again, nor those used that are not. Uses samples/model. */
#include <stdlib.h>

#include "../../encoder/encoder.h"
#include "../../encoder/kernels/cpu.h"
#include "../../encoder/model/kept.h"
#include "../../encoder/model/rows.h"
#include "unit.h"

enum { T = 40, B = 3, TAPS = 5 };

static struct clip *clip;
static struct fault fault;
static int32_t ids[B][T];
static unsigned char masks[B][T];
static int masked[B];
static uint32_t state_of_random = 1;

static uint32_t below(uint32_t limit) {
    state_of_random = (uint32_t)(((uint64_t)state_of_random * 1664525u + 1013904223u) & UINT32_MAX);
    return (state_of_random >> 8) % limit;
}

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

/* A prompt that is written on: from some id on other ids, another end, sometimes another mask, sometimes all of it new. */
static void edit(size_t b) {
    uint32_t from = below(4) ? below(T - 2) + 1 : 1, end = from + below(T - from);
    ids[b][0] = tokenizer_start_id(clip->tokenizer);
    for (uint32_t t = from; t < T; t++)
        ids[b][t] = t < end ? (int32_t)(300 + below(3)) : clip_end_id(clip);
    ids[b][T - 1] = clip_end_id(clip);
    if (below(4) == 0)
        masked[b] = !masked[b];
    if (below(3) == 0)
        masks[b][1 + below(T - 1)] ^= 1;
}

static int cancelled_at(void *user, uint32_t done, uint32_t total) {
    (void)total;
    return done == *(uint32_t *)user;
}

static size_t room(const struct tap *tap) {
    size_t D = clip->geometry.width, P = clip->geometry.projection;
    return tap->kind == TAP_HIDDEN ? T * D : tap->kind == TAP_POOLED_RAW ? D : P;
}

/* What is wanted: bits of `wanted` are outputs, the last of them leaves the first prompt out. */
static size_t make_taps(struct tap *taps, unsigned char *places[TAPS][B], float *to, unsigned wanted, size_t prompts) {
    const struct geometry *g = &clip->geometry;
    const struct tap all[TAPS] = {{.kind = TAP_HIDDEN, .layer = g->layers}, {.kind = TAP_HIDDEN, .layer = g->layers - 1},
                                  {.kind = TAP_POOLED_PROJECTED}, {.kind = TAP_POOLED_RAW}, {.kind = TAP_HIDDEN}};
    size_t count = 0, at = 0;
    for (size_t i = 0; i < TAPS; i++) {
        if (!(wanted >> i & 1))
            continue;
        for (size_t b = 0; b < prompts; b++, at += room(&all[i]))
            places[i][b] = wanted >> TAPS & 1 && prompts > 1 && b == 0 ? NULL : (unsigned char *)(to + at);
        taps[count] = all[i];
        taps[count].dtype = DTYPE_F32;
        taps[count].row_pitch = g->width * sizeof(float);
        taps[count++].at = places[i];
    }
    return count;
}

static int encode(struct session *session, float *to, unsigned wanted, size_t prompts, uint32_t stop_at) {
    unsigned char *places[TAPS][B];
    size_t tokens, taps;
    assert_int_equal(session_begin(session, &fault), 0);
    for (size_t b = 0; b < prompts; b++)
        session_prompts(session)[b] = (struct session_prompt){.ids = ids[b], .id_count = T, .key_mask = masked[b] ? masks[b] : NULL};
    taps = make_taps(session_taps(session), places, to, wanted, prompts);
    assert_int_equal(session_tokenize(session, prompts, 1, &tokens, &fault), 0);
    int status = session_run(session, prompts, tokens, taps, cancelled_at, &stop_at, &fault);
    session_end(session);
    return status;
}

static struct session *open_session(enum kernel_set set, enum arithmetic arithmetic, size_t kept) {
    struct session_params params = {.threads = 2, .max_prompts = B, .kernels = set, .arithmetic = arithmetic, .kept_prompts = kept};
    struct session *session;
    assert_int_equal(session_settle(&params, &fault), 0);
    assert_int_equal(session_open(&session, clip, &params, &fault), 0);
    return session;
}

static void walk(enum kernel_set set, enum arithmetic arithmetic, size_t kept) {
    struct session *plain = open_session(set, arithmetic, 0), *keeping = open_session(set, arithmetic, kept);
    size_t floats = TAPS * B * T * (size_t)clip->geometry.width;
    float *expected = calloc(floats, sizeof *expected), *found = calloc(floats, sizeof *found);
    assert_true(expected && found && clip->geometry.projection <= T * clip->geometry.width);
    for (size_t b = 0; b < B; b++) {
        memset(masks[b], 1, T);
        edit(b);
    }
    for (int step = 0; step < (set < KERNELS_AVX2 ? 15 : 60); step++) { /* the others are slow */
        static const unsigned usual[] = {6, 6, 2, 4, 1};
        unsigned wanted = below(3) ? usual[below(5)] : 1 + below((2u << TAPS) - 1);
        wanted = wanted & ((1u << TAPS) - 1) ? wanted : 2;
        size_t prompts = 1 + below(B);
        edit(below(B));
        memset(found, 0, floats * sizeof *found);
        memset(expected, 0, floats * sizeof *expected);
        if (below(4) == 0) {
            uint32_t at = 1 + below(clip->geometry.layers);
            int status = encode(keeping, found, wanted, prompts, at);
            assert_true(status == FAULT_CANCELLED || status == 0);
            if (below(2))
                edit(below(B));
            memset(found, 0, floats * sizeof *found);
        }
        assert_int_equal(encode(plain, expected, wanted, prompts, UINT32_MAX), 0);
        assert_int_equal(encode(keeping, found, wanted, prompts, UINT32_MAX), 0);
        if (memcmp(found, expected, floats * sizeof *found) != 0)
            fail_msg("kernel set %d, %zu kept, step %d: %zu prompts, outputs %#x have other bits", (int)set, kept, step, prompts, wanted);
    }
    free(expected);
    free(found);
    session_close(plain);
    session_close(keeping);
}

static void bits_of_a_session_that_keeps_nothing(void **state) {
    struct kernels kernels;
    (void)state;
    for (int set = KERNELS_SCALAR; set <= KERNELS_AMX; set++)
        for (int arithmetic = 0; arithmetic < 2; arithmetic++)
            if (kernels_fill(&kernels, (enum kernel_set)set, (enum arithmetic)arithmetic, cpu_features()) == (enum kernel_set)set)
                for (size_t kept = 1; kept <= 4; kept += kept)
                    walk((enum kernel_set)set, (enum arithmetic)arithmetic, kept);
}

/* Two slots and a pass over at most three prompts: which rows it computes, without computing them. */
struct small {
    struct kernels kernels;
    struct text_weights weights;
    const unsigned char *key_mask[B];
    struct text_rows rows[B];
    uint32_t row[B * T], buckets[128], keys[2][T];
    struct text_node nodes[B * T + LANES + 2 * 48];
    struct kept_slot slots[2];
    struct text_pass pass;
};

enum { KEPT_FROM = 128, SLOT = 48, BLOCKS = 2 };

static struct small *make_small(const size_t *end, const struct tap *taps, size_t batch) {
    struct small *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->weights.geometry.context = T;
    s->slots[0].key = s->keys[0];
    s->slots[1].key = s->keys[1];
    s->pass = (struct text_pass){.weights = &s->weights, .kernels = &s->kernels, .batch = batch, .tokens = T, .ids = ids[0], .end = end,
                                 .key_mask = s->key_mask, .taps = taps, .tap_count = 1, .rows = s->rows, .row = s->row,
                                 .nodes = s->nodes, .buckets = s->buckets, .kept = s->slots, .kept_count = 2, .kept_from = KEPT_FROM};
    for (int32_t b = 0; b < B; b++)
        for (int32_t t = 0; t < T; t++)
            ids[b][t] = t == 0 ? 1 : 100 * b + t;
    return s;
}

static size_t computed(struct small *s, uint32_t blocks, int ends) {
    kept_begin(&s->pass, blocks);
    rows_settle(&s->pass);
    if (ends)
        kept_end(&s->pass, blocks + 1);
    return s->pass.row_count;
}

static void rows_that_are_there_are_not_computed(void **state) {
    unsigned char data[1], *at[B] = {data, data, data};
    static const size_t end[B] = {20, 20, 20};
    struct tap hidden = {.kind = TAP_HIDDEN, .layer = 2, .at = at}, pooled = {.kind = TAP_POOLED_RAW, .at = at};
    struct small *s = make_small(end, &hidden, 1);
    (void)state;
    assert_int_equal(computed(s, BLOCKS, 1), T);
    assert_int_equal(computed(s, BLOCKS, 1), 0); /* the same again: all of it is there */
    assert_true(s->rows[0].own == T && s->row[17] == KEPT_FROM + 17);
    ids[0][25]++;
    assert_int_equal(computed(s, BLOCKS, 1), T - 25);
    assert_true(s->rows[0].own == 25 && s->row[24] == KEPT_FROM + 24 && s->row[25] == 0 && s->row[T - 1] == T - 26);
    ids[0][25]--; /* what was kept is the new one */
    assert_int_equal(computed(s, BLOCKS, 1), T - 25);
    ids[0][30]++;
    assert_int_equal(computed(s, BLOCKS, 0), T - 30); /* does not come to its end: what is there is what it had in common, */
    assert_int_equal(computed(s, BLOCKS, 0), T - 30);
    ids[0][30]--; /* and not what it has begun to write over */
    assert_int_equal(computed(s, BLOCKS, 1), T - 30);
    assert_int_equal(computed(s, BLOCKS + 1, 0), T); /* of more blocks there is no K and V */
    free(s);

    s = make_small(end, &hidden, 1);
    computed(s, BLOCKS, 1);
    hidden.layer = 3; /* nor a later hidden state */
    assert_int_equal(computed(s, BLOCKS, 0), T);
    hidden.layer = 2;
    free(s);

    s = make_small(end, &pooled, 1);
    assert_int_equal(computed(s, BLOCKS, 1), 21);
    assert_int_equal(computed(s, BLOCKS, 1), 1); /* pooling takes more than is kept of the row at the end */
    kept_forget(&s->pass);
    assert_int_equal(computed(s, BLOCKS, 1), 21);
    free(s);
}

static void each_prompt_has_its_slot(void **state) {
    unsigned char data[1], *at[B] = {data, data, data};
    static const size_t end[B] = {20, 20, 20};
    static const unsigned char mask[T] = {1, 1, 1, 0, 1};
    struct tap hidden = {.kind = TAP_HIDDEN, .layer = 2, .at = at};
    struct small *s = make_small(end, &hidden, 2);
    (void)state;
    assert_int_equal(computed(s, BLOCKS, 1), T + T - 1); /* they have the start in common */
    assert_true(s->slots[0].prompt == 0 && s->slots[1].prompt == 1);
    ids[1][39]++;
    assert_int_equal(computed(s, BLOCKS, 1), 1);
    assert_true(s->row[T + 38] == KEPT_FROM + SLOT + 38 && s->row[T + 39] == 0 && s->row[T] == KEPT_FROM); /* and have it still */
    int32_t first[T];
    memcpy(first, ids[0], sizeof first); /* the other way round they find theirs */
    memcpy(ids[0], ids[1], sizeof first);
    memcpy(ids[1], first, sizeof first);
    assert_int_equal(computed(s, BLOCKS, 1), 0);
    assert_true(s->slots[0].prompt == 1 && s->slots[1].prompt == 0);
    s->pass.batch = 1; /* a stranger takes the place of the one that was longest not used */
    assert_int_equal(computed(s, BLOCKS, 1), 0);
    for (int t = 1; t < T; t++)
        ids[0][t] = 7000 + t;
    assert_int_equal(computed(s, BLOCKS, 1), T);
    assert_true(s->slots[0].taken && !s->slots[1].taken);
    s->key_mask[0] = mask; /* rows from the first other bit of the mask on are others */
    assert_int_equal(computed(s, BLOCKS, 1), T - 3);
    s->pass.batch = 3; /* more prompts than slots */
    s->key_mask[0] = NULL;
    computed(s, BLOCKS, 1);
    computed(s, BLOCKS, 1);
    assert_true(s->rows[2].own == 1);
    free(s);
}

/* A row that pooling takes is computed, though the same is kept for a prompt that ends later. */
static void an_end_that_is_kept_for_another(void **state) {
    unsigned char data[1], *at[B] = {data, data, data};
    static const size_t end[B] = {20, 10, 20};
    struct tap pooled = {.kind = TAP_POOLED_RAW, .at = at};
    struct small *s = make_small(end, &pooled, 1);
    (void)state;
    computed(s, BLOCKS, 1);
    memcpy(ids[1], ids[0], sizeof ids[1]);
    s->pass.batch = 2;
    assert_int_equal(computed(s, BLOCKS, 1), 2);
    assert_true(s->rows[0].own == 20 && s->rows[1].own == 10 && s->rows[1].count == 11);
    free(s);
}

static void what_it_costs_is_measured(void **state) {
    struct session_params params = {.threads = 1, .max_prompts = 1, .kernels = KERNELS_SCALAR};
    const struct geometry *g = &clip->geometry;
    size_t without, with, tokens = packed_groups(g->context) * LANES;
    (void)state;
    assert_int_equal(session_settle(&params, &fault), 0);
    assert_int_equal(session_measure(clip, &params, &without, &fault), 0);
    params.kept_prompts = 3;
    assert_int_equal(session_measure(clip, &params, &with, &fault), 0);
    size_t rows = 3 * 4 * g->width * (3 * (size_t)g->layers + 1) * tokens;
    assert_true(with - without >= rows && with - without < rows + 3 * 8 * 4 * tokens * g->width);
    params.kept_prompts = 65;
    assert_int_equal(session_settle(&params, &fault), FAULT_LIMIT);
    params.kept_prompts = 3;
    params.kernels = KERNELS_OPENBLAS; /* keeps nothing */
    assert_int_equal(session_measure(clip, &params, &with, &fault), 0);
    params.kept_prompts = 0;
    assert_int_equal(session_measure(clip, &params, &without, &fault), 0);
    assert_int_equal(with, without);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_of_a_session_that_keeps_nothing),
        cmocka_unit_test(rows_that_are_there_are_not_computed),
        cmocka_unit_test(each_prompt_has_its_slot),
        cmocka_unit_test(an_end_that_is_kept_for_another),
        cmocka_unit_test(what_it_costs_is_measured),
    };
    return cmocka_run_group_tests_name("kept", tests, open_model, close_model);
}
