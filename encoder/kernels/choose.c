/* choose.c - fills the table bottom-up, and compares OpenBLAS with the scalar kernel before it is trusted: our use of it
 * leans on its insides (openblas.c), and releases of it had kernels that were wrong for some shapes. */
#include "choose.h"

#include <stdint.h>
#include <string.h>

#include "../base/memory.h"
#include "../base/workers.h"

enum { ROWS = 77, COLUMNS = KERNEL_PANEL, DEPTH = 320 };

/* One check: inputs, and both results. In one block, because a worker's stack is not for it. */
struct check {
    const struct kernels *trusted, *tested;
    float x[ROWS * DEPTH];
    float weight[COLUMNS * DEPTH];
    float expected[ROWS * COLUMNS], found[ROWS * COLUMNS];
    int wrong;
};

static void fill(float *values, size_t count, uint32_t seed) {
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u; /* Numerical Recipes' generator: any spread of values will do */
        values[i] = (float)(int32_t)seed * 0x1p-31f;
    }
}

static void compare(struct worker *worker, void *context) {
    struct check *check = context;
    struct linear op = {
        .x = check->x,
        .x_pitch = DEPTH,
        .weight = (const unsigned char *)check->weight,
        .weight_pitch = DEPTH * sizeof(float),
        .dtype = DTYPE_F32,
        .y = check->expected,
        .y_pitch = COLUMNS,
        .batch = 1,
        .rows = ROWS,
        .depth = DEPTH,
        .columns = COLUMNS,
        .epilogue = EPILOGUE_STORE,
    };
    fill(check->x, ROWS * DEPTH, 1);
    fill(check->weight, COLUMNS * DEPTH, 2);
    check->trusted->linear(check->trusted, &op, worker->scratch);
    op.y = check->found;
    check->tested->linear(check->tested, &op, worker->scratch);
    /* sums of 320 products of values below 1: a right kernel is within 1e-5, a wrong one is far off */
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        float difference = check->found[i] - check->expected[i];
        check->wrong |= !(difference < 1e-4f && difference > -1e-4f);
    }
}

int kernels_choose(struct kernels *out, int *rejected, struct fault *fault) {
    struct kernels scalar, blas;
    struct workers *pool;
    kernels_scalar(&scalar);
    *out = scalar;
    *rejected = 0;
    blas = scalar;
    if (!kernels_openblas(&blas))
        return 0;
    struct check *check = memory_array(1, sizeof *check);
    if (!check)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory to check the kernels");
    int status = workers_open(&pool, 1, kernels_linear_scratch(ROWS, DEPTH), blas.blas_bytes, fault);
    if (!status) {
        check->trusted = &scalar;
        check->tested = &blas;
        workers_run(pool, compare, check);
        workers_close(pool);
        *rejected = check->wrong;
        if (!check->wrong)
            *out = blas;
    }
    memory_free(check);
    return status;
}
