/* table.h - what the tests of kernels share: running an entry on a worker, guards round results, the list of tables. */
#ifndef TESTS_KERNELS_TABLE_H
#define TESTS_KERNELS_TABLE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../encoder/base/half.h"
#include "../../encoder/base/workers.h"
#include "../../encoder/base/wrap.h"
#include "../../encoder/kernels/bf16.h"
#include "../../encoder/kernels/choose.h"
#include "../../encoder/kernels/cpu.h"
#include "../unit/unit.h"

#define GUARD 0x5A5A5A5Au
#define MARGIN 16 /* floats of guard on each side */

static uint32_t seed = 1;

WRAPS("the generator works modulo 2^32")
static inline float random_float(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(int32_t)seed * 0x1p-31f;
}

/* Runs on a worker, where OpenBLAS finds its scratch; cmocka's jumps stay on the main thread. */
struct job {
    const struct kernels *kernels;
    const struct linear *linear;
    const struct attend *attend;
    size_t scratch;
    void *own_scratch; /* instead of the worker's */
};

/* What the kernels make of a product's input, in a block of just that size; the caller frees it. */
static inline void *prepare_input(const struct kernels *kernels, struct linear *op) {
    op->prepared = NULL;
    if (!kernels->prepare)
        return NULL;
    size_t bytes = kernels->prepared_bytes(kernels, op->depth);
    char *prepared = aligned_alloc(64, (op->groups * bytes + 63) / 64 * 64);
    for (size_t g = 0; prepared && g < op->groups; g++)
        kernels->prepare(kernels, op->x + g * op->depth * LANES, op->depth, prepared + g * bytes);
    op->prepared = prepared;
    return prepared;
}

static inline void run_job(struct worker *worker, void *context) {
    struct job *job = context;
    void *scratch = job->own_scratch ? job->own_scratch : worker->scratch;
    if (job->linear) {
        struct linear op = *job->linear;
        void *prepared = prepare_input(job->kernels, &op);
        job->kernels->linear(job->kernels, &op, scratch);
        free(prepared);
    }
    if (job->attend)
        job->kernels->attend(job->attend, scratch);
}

static inline void run(struct job job) {
    struct workers *pool;
    struct fault fault;
    assert_int_equal(workers_open(&pool, 1, job.scratch, (size_t)128 << 20, &fault), 0);
    workers_run(pool, run_job, &job);
    workers_close(pool);
}

static inline float *guarded(size_t count) {
    float *block = malloc((count + 2 * MARGIN) * sizeof *block);
    uint32_t guard = GUARD;
    assert_non_null(block);
    for (size_t i = 0; i < count + 2 * MARGIN; i++)
        memcpy(block + i, &guard, sizeof guard);
    return block;
}

static inline void check_guards(const float *block, size_t count) {
    for (size_t i = 0; i < MARGIN; i++) {
        assert_int_equal(float_to_bits(block[i]), GUARD);
        assert_int_equal(float_to_bits(block[MARGIN + count + i]), GUARD);
    }
}

/* What this machine has and this process may use. */
static inline unsigned usable_features(void) {
    unsigned features = cpu_features();
    return features & CPU_AMX && !cpu_take_amx() ? features & ~(unsigned)CPU_AMX : features;
}

/* For a machine that is slow (tests/bochs): the tables whose names begin like the environment's TEST_TABLES are tested alone, and
 * of a product's rows every TEST_ROW_STEP-th is summed again. */
static inline int is_wanted(const struct kernels *kernels) {
    const char *wanted = getenv("TEST_TABLES");
    return !wanted || strncmp(kernels->name, wanted, strlen(wanted)) == 0;
}

static inline size_t row_step(void) {
    const char *step = getenv("TEST_ROW_STEP");
    return step && atoi(step) > 1 ? (size_t)atoi(step) : 1;
}

/* Runs `check` on each table that this machine and build have, once: every set in both arithmetics, and where a feature makes
 * another table of a set, without it too. */
static inline void each_table(void (*check)(const struct kernels *kernels)) {
    unsigned tables = 0;
    for (int i = 2 * KERNELS_SCALAR; i < 2 * (KERNELS_AMX + 2); i++) {
        enum kernel_set set = i / 2 > KERNELS_AMX ? KERNELS_AVX512 : (enum kernel_set)(i / 2);
        unsigned features = usable_features();
        struct kernels kernels;
        if (i / 2 > KERNELS_AMX) {
            if (i % 2 == 0 || !(features & CPU_AVX512_BF16))
                continue;
            features &= ~(unsigned)CPU_AVX512_BF16;
        }
        if (kernels_fill(&kernels, set, i % 2 ? ARITHMETIC_BF16 : ARITHMETIC_EXACT, features) != set || !is_wanted(&kernels))
            continue;
        printf("# %s\n", kernels.name);
        check(&kernels);
        tables++;
    }
    assert_true(tables >= 1);
}

/* The epilogues, in double. */
static inline double finish(double r, double y, enum epilogue epilogue) {
    switch (epilogue) {
    case EPILOGUE_ADD:
        return y + r;
    case EPILOGUE_GELU:
        return r * 0.5 * (1 + erf(r / sqrt(2)));
    case EPILOGUE_QUICK_GELU:
        return r / (1 + exp(-1.702 * r));
    case EPILOGUE_STORE:
        break;
    }
    return r;
}

#endif
