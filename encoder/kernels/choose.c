/* choose.c - picks the table, and compares it with the scalar kernels before it is trusted: our use of OpenBLAS leans on its
 * insides (openblas.c), releases of it had kernels that were wrong for some shapes, and a CPU can be told to lie. */
#include "choose.h"

#include <stdint.h>
#include <string.h>

#include "../base/memory.h"
#include "../base/workers.h"
#include "../base/wrap.h"
#include "cpu.h"

enum { GROUPS = 5, ROWS = GROUPS * LANES, COLUMNS = KERNEL_PANEL, DEPTH = 320 };

/* One check: inputs, and both results. In one block, because a worker's stack is not for it. */
struct check {
    const struct kernels *trusted, *tested;
    void *prepared;
    float x[ROWS * DEPTH];
    float weight[COLUMNS * DEPTH];
    float expected[ROWS * COLUMNS], found[ROWS * COLUMNS];
    int wrong;
};

/* Numerical Recipes' generator: any spread of values will do */
WRAPS("the generator works modulo 2^32")
static uint32_t next(uint32_t seed) {
    return seed * 1664525u + 1013904223u;
}

static void fill(float *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        seed = next(seed);
        values[i] = (float)(int32_t)seed * 0x1p-31f;
    }
}

static void product(const struct check *check, const struct kernels *kernels, struct linear *op, float *y, void *scratch) {
    for (size_t g = 0; kernels->prepare && g < GROUPS; g++)
        kernels->prepare(kernels, op->x + g * DEPTH * LANES, DEPTH,
                         (char *)check->prepared + g * kernels->prepared_bytes(kernels, DEPTH));
    op->prepared = kernels->prepare ? check->prepared : NULL;
    op->y = y;
    kernels->linear(kernels, op, scratch);
}

static void compare(struct worker *worker, void *context) {
    struct check *check = context;
    struct linear op = {
        .x = check->x,
        .groups = GROUPS,
        .run = GROUPS,
        .weight = (const unsigned char *)check->weight,
        .weight_pitch = DEPTH * sizeof(float),
        .dtype = DTYPE_F32,
        .y_width = COLUMNS,
        .depth = DEPTH,
        .columns = COLUMNS,
        .epilogue = EPILOGUE_STORE,
    };
    fill(check->x, ROWS * DEPTH, 1);
    fill(check->weight, COLUMNS * DEPTH, 2);
    product(check, check->trusted, &op, check->expected, worker->scratch);
    product(check, check->tested, &op, check->found, worker->scratch);
    /* sums of 320 products of values below 1: a right kernel is within 1e-5, a wrong one is far off */
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        float difference = check->found[i] - check->expected[i];
        check->wrong |= !(difference < 1e-4f && difference > -1e-4f);
    }
}

#if defined(__x86_64__)
/* 0: none of x86's own sets is allowed. */
static enum kernel_set fill_x86(struct kernels *out, enum kernel_set limit, enum arithmetic arithmetic, unsigned features) {
    if (limit >= KERNELS_AVX512 && features & CPU_AVX512) {
        kernels_avx512(out);
        if (limit >= KERNELS_AMX && features & CPU_AMX) {
            kernels_amx(out, arithmetic);
            return KERNELS_AMX;
        }
        if (arithmetic == ARITHMETIC_BF16 && features & CPU_AVX512_BF16)
            kernels_avx512_bf16(out);
        return KERNELS_AVX512;
    }
    if (limit >= KERNELS_AVX2 && features & CPU_AVX2) {
        kernels_avx2(out);
        return KERNELS_AVX2;
    }
    return KERNELS_BEST;
}
#endif

enum kernel_set kernels_fill(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, unsigned features) {
    enum kernel_set set = KERNELS_BEST, limit = most == KERNELS_BEST ? KERNELS_AMX : most;
#if defined(__x86_64__)
    set = fill_x86(out, limit, arithmetic, features);
#endif
    (void)features;
    if (set == KERNELS_BEST) {
        kernels_scalar(out);
        set = limit >= KERNELS_OPENBLAS && kernels_openblas(out) ? KERNELS_OPENBLAS : KERNELS_SCALAR;
    }
    if (out->arithmetic != arithmetic)
        kernels_rounding(out);
    return set;
}

static size_t prepared_bytes(const struct kernels *kernels) {
    return kernels->prepare ? GROUPS * kernels->prepared_bytes(kernels, DEPTH) : 0;
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* 1 if the tested table agrees with the trusted one, 0 if not, -1 for want of memory or of a thread. */
static int agrees(const struct kernels *trusted, const struct kernels *tested, struct fault *fault) {
    struct workers *pool;
    size_t bytes = sizeof(struct check) + larger(prepared_bytes(trusted), prepared_bytes(tested));
    struct check *check = memory_pages(bytes, memory_page_size(), MEMORY_NOW);
    if (!check) {
        fault_set(fault, FAULT_NO_MEMORY, "no memory to check the kernels");
        return -1;
    }
    size_t scratch = larger(trusted->linear_scratch(GROUPS, DEPTH), tested->linear_scratch(GROUPS, DEPTH));
    int status = workers_open(&pool, 1, scratch, tested->blas_bytes, fault);
    if (!status) {
        check->trusted = trusted;
        check->tested = tested;
        check->prepared = check + 1;
        workers_run(pool, compare, check);
        workers_close(pool);
    }
    int wrong = check->wrong;
    memory_release(check, bytes);
    return status ? -1 : !wrong;
}

int kernels_choose(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, int *rejected, struct fault *fault) {
    struct kernels scalar;
    *rejected = 0;
    kernels_scalar(&scalar);
    if (arithmetic == ARITHMETIC_BF16)
        kernels_rounding(&scalar);
    for (;;) {
        enum kernel_set set = kernels_fill(out, most, arithmetic, cpu_features());
        int verdict = set == KERNELS_SCALAR ? 1 : agrees(&scalar, out, fault);
        if (verdict == 1)
            return 0;
        if (verdict < 0)
            return fault->code; /* not a lower set: a moment's want of memory must not change the bits */
        *rejected = 1;
        most = set - 1;
    }
}
