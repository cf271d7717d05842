/* test_kernels.c - protects the arithmetic: every entry of every table, at awkward shapes, from misaligned weights of each
 * type, with guards around the results, against double. The bound is the one that summation in any order obeys:
 * depth * 2^-24 * sum |x w| (Higham 2002, 3.1), so a kernel that drops, doubles or misplaces a single product fails. */
#include "../../encoder/base/half.h"
#include "../../encoder/base/workers.h"
#include "../../encoder/kernels/choose.h"
#include "../../encoder/kernels/cpu.h"
#include "../../encoder/kernels/scalar_math.h"
#include "../unit/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define GUARD 0x5A5A5A5Au
#define MARGIN 16 /* floats of guard on each side */

static uint32_t seed = 1;

static float random_float(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(int32_t)seed * 0x1p-31f;
}

/* Runs on a worker, where OpenBLAS finds its scratch; cmocka's jumps stay on the main thread. */
struct job {
    const struct kernels *kernels;
    const struct linear *linear;
    const struct attend *attend;
    size_t scratch;
};

static void run_job(struct worker *worker, void *context) {
    struct job *job = context;
    if (job->linear)
        job->kernels->linear(job->kernels, job->linear, worker->scratch);
    if (job->attend)
        job->kernels->attend(job->attend, worker->scratch);
}

static void run(struct job job) {
    struct workers *pool;
    struct fault fault;
    assert_int_equal(workers_open(&pool, 1, job.scratch, (size_t)128 << 20, &fault), 0);
    workers_run(pool, run_job, &job);
    workers_close(pool);
}

static float *guarded(size_t count) {
    float *block = malloc((count + 2 * MARGIN) * sizeof *block);
    uint32_t guard = GUARD;
    assert_non_null(block);
    for (size_t i = 0; i < count + 2 * MARGIN; i++)
        memcpy(block + i, &guard, sizeof guard);
    return block;
}

static void check_guards(const float *block, size_t count) {
    for (size_t i = 0; i < MARGIN; i++) {
        assert_int_equal(float_to_bits(block[i]), GUARD);
        assert_int_equal(float_to_bits(block[MARGIN + count + i]), GUARD);
    }
}

/* Weights of a type at an odd address, and what they are worth. */
struct weights {
    unsigned char *block;
    double *values;
    size_t element;
};

static struct weights make_weights(size_t count, enum dtype dtype) {
    struct weights w = {.element = dtype_bits(dtype) / 8};
    w.block = malloc(count * w.element + 1);
    w.values = malloc(count * sizeof *w.values);
    assert_non_null(w.block);
    assert_non_null(w.values);
    for (size_t i = 0; i < count; i++) {
        float value = random_float();
        uint16_t half = dtype == DTYPE_F16 ? f16_from_f32(value) : bf16_from_f32(value);
        memcpy(w.block + 1 + i * w.element, dtype == DTYPE_F32 ? (void *)&value : (void *)&half, w.element);
        w.values[i] = dtype == DTYPE_F32 ? (double)value
                      : dtype == DTYPE_F16 ? (double)f16_to_f32(half)
                                           : (double)bf16_to_f32(half);
    }
    return w;
}

static double finish(double r, double y, enum epilogue epilogue) {
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

static void check_linear(const struct kernels *kernels, size_t batch, size_t rows, size_t depth, size_t columns,
                         enum dtype dtype, enum epilogue epilogue) {
    size_t x_pitch = depth + 3, y_pitch = columns + 2, y_count = batch * rows * y_pitch;
    float *x = malloc(batch * rows * x_pitch * sizeof *x + 1), bias[KERNEL_PANEL];
    float *block = guarded(y_count), *y = block + MARGIN, *before = malloc((y_count + 1) * sizeof *before);
    struct weights w = make_weights(columns * depth, dtype);
    assert_non_null(x);
    assert_non_null(before);
    for (size_t i = 0; i < batch * rows * x_pitch; i++)
        x[i] = random_float();
    for (size_t i = 0; i < columns; i++)
        bias[i] = random_float();
    for (size_t i = 0; i < y_count; i++)
        y[i] = random_float();
    memcpy(before, y, y_count * sizeof *y);
    struct linear op = {
        .x = x, .x_pitch = x_pitch, .x_batch_pitch = rows * x_pitch,
        .weight = w.block + 1, .weight_pitch = depth * w.element, .dtype = dtype, .bias = columns % 3 ? bias : NULL,
        .y = y, .y_pitch = y_pitch, .y_batch_pitch = rows * y_pitch,
        .batch = batch, .rows = rows, .depth = depth, .columns = columns, .epilogue = epilogue,
    };
    run((struct job){.kernels = kernels, .linear = &op, .scratch = kernels->linear_scratch(rows, depth)});
    check_guards(block, y_count);
    for (size_t row = 0; row < batch * rows; row++) {
        for (size_t c = 0; c < columns; c++) {
            double sum = op.bias ? (double)bias[c] : 0, size = fabs(sum), y0 = (double)before[row * y_pitch + c];
            for (size_t k = 0; k < depth; k++) {
                double term = (double)x[row * x_pitch + k] * w.values[c * depth + k];
                sum += term;
                size += fabs(term);
            }
            double found = (double)y[row * y_pitch + c], expected = finish(sum, y0, epilogue);
            double bound = ((double)depth + 8) * 0x1p-24 * (size + fabs(y0));
            if (!(fabs(found - expected) <= bound))
                fail_msg("%s: %zu x %zu x %zu %s epilogue %d: row %zu column %zu is %.9g, expected %.9g within %.2g",
                         kernels->name, rows, depth, columns, dtype_name(dtype), (int)epilogue, row, c, found, expected, bound);
        }
        for (size_t c = columns; c < y_pitch; c++) /* the gap between rows belongs to somebody else */
            assert_memory_equal(&y[row * y_pitch + c], &before[row * y_pitch + c], sizeof *y);
    }
    free(x);
    free(block);
    free(before);
    free(w.block);
    free(w.values);
}

static void check_table(const struct kernels *kernels) {
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    static const size_t big[][4] = {{1, 77, 1280, 64}, {2, 77, 768, 64}, {1, 77, 5120, 64}, {3, 1, 1280, 64}, {1, 77, 257, 1}};
    for (size_t n = 1; n <= 67; n++)
        check_linear(kernels, 1 + n % 3, n * 7 % 13, n, 1 + n * 5 % KERNEL_PANEL, dtypes[n % 3], (enum epilogue)(n % 4));
    for (size_t i = 0; i < sizeof big / sizeof big[0]; i++)
        for (size_t d = 0; d < 3; d++)
            check_linear(kernels, big[i][0], big[i][1], big[i][2], big[i][3], dtypes[d], (enum epilogue)((i + d) % 4));
}

/* Runs `check` on each table that this machine and build have, once. */
static void each_table(void (*check)(const struct kernels *kernels)) {
    unsigned tables = 0;
    for (int set = KERNELS_SCALAR; set <= KERNELS_AVX512; set++) {
        struct kernels kernels;
        if (kernels_fill(&kernels, (enum kernel_set)set, cpu_features()) != (enum kernel_set)set)
            continue;
        printf("# %s\n", kernels.name);
        check(&kernels);
        tables++;
    }
    assert_true(tables >= 1);
}

static void linear_of_every_table(void **state) {
    (void)state;
    each_table(check_table);
}

/* The same input at any index of a batch, and alone: the same bits. */
static void check_batch(const struct kernels *kernels) {
    enum { ROWS = 77, DEPTH = 700, BATCH = 20 };
    static float x[BATCH * ROWS * DEPTH], y[BATCH * ROWS * KERNEL_PANEL];
    struct weights w = make_weights(KERNEL_PANEL * DEPTH, DTYPE_F16);
    for (size_t i = 0; i < ROWS * DEPTH; i++)
        x[i] = random_float();
    for (size_t b = 1; b < BATCH; b++)
        memcpy(x + b * ROWS * DEPTH, x, ROWS * DEPTH * sizeof *x);
    struct linear op = {.x = x, .x_pitch = DEPTH, .x_batch_pitch = ROWS * DEPTH, .weight = w.block + 1,
                        .weight_pitch = DEPTH * w.element, .dtype = DTYPE_F16, .y = y, .y_pitch = KERNEL_PANEL,
                        .y_batch_pitch = ROWS * KERNEL_PANEL, .batch = BATCH, .rows = ROWS, .depth = DEPTH,
                        .columns = KERNEL_PANEL, .epilogue = EPILOGUE_STORE};
    run((struct job){.kernels = kernels, .linear = &op, .scratch = kernels->linear_scratch(ROWS, DEPTH)});
    for (size_t b = 1; b < BATCH; b++)
        assert_memory_equal(y, y + b * ROWS * KERNEL_PANEL, ROWS * KERNEL_PANEL * sizeof *y);
    free(w.block);
    free(w.values);
}

static void linear_does_not_know_its_batch(void **state) {
    (void)state;
    each_table(check_batch);
}

/* Norm, attention and rounding are one source built several times: their bits are the same in every table but for widen,
 * whose results are exact and therefore the same too. */
static void check_rows(const struct kernels *kernels) {
    enum { TOKENS = 77, WIDTH = 64, PITCH = 200 };
    struct kernels scalar;
    static float qkv[TOKENS * PITCH], out[2][TOKENS * WIDTH];
    static unsigned char narrow[2][2 * TOKENS * WIDTH];
    kernels_scalar(&scalar);
    for (size_t i = 0; i < TOKENS * PITCH; i++)
        qkv[i] = 3 * random_float();
    for (int t = 0; t < 2; t++) {
        const struct kernels *k = t ? kernels : &scalar;
        struct attend op = {.q = qkv, .k = qkv + WIDTH, .v = qkv + 2 * WIDTH, .out = out[t], .pitch = PITCH,
                            .out_pitch = WIDTH, .tokens = TOKENS, .head_width = WIDTH, .scale = 0.125f};
        run((struct job){.kernels = k, .attend = &op, .scratch = kernels_attend_scratch(TOKENS, WIDTH)});
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    for (size_t width = 1; width < 1300; width += 1 + width / 3) {
        scalar.layer_norm(qkv, out[0], qkv + 2000, qkv + 4000, width, 1e-5);
        kernels->layer_norm(qkv, out[1], qkv + 2000, qkv + 4000, width, 1e-5);
        assert_memory_equal(out[0], out[1], width * sizeof(float));
        for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
            size_t bytes = width * dtype_bits((enum dtype)dtype) / 8;
            assert_int_equal(scalar.narrow(out[0], (enum dtype)dtype, narrow[0], width),
                             kernels->narrow(out[0], (enum dtype)dtype, narrow[1], width));
            assert_memory_equal(narrow[0], narrow[1], bytes);
            unsigned char *exact = malloc(bytes + 1); /* so that a sanitizer sees a read beyond the last element */
            assert_non_null(exact);
            memcpy(exact + 1, narrow[0], bytes);
            scalar.widen(exact + 1, (enum dtype)dtype, out[0], width);
            kernels->widen(exact + 1, (enum dtype)dtype, out[1], width);
            assert_memory_equal(out[0], out[1], width * sizeof(float));
            free(exact);
        }
    }
}

static void rows_have_the_same_bits_in_every_table(void **state) {
    (void)state;
    each_table(check_rows);
}

/* Weights that are denormal in their type must not slow a product down: workers take denormals as zero. */
static double seconds(const struct kernels *kernels, const struct linear *op) {
    struct timespec begin, end;
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        clock_gettime(CLOCK_MONOTONIC, &begin);
        run((struct job){.kernels = kernels, .linear = op, .scratch = kernels->linear_scratch(op->rows, op->depth)});
        clock_gettime(CLOCK_MONOTONIC, &end);
        best = fmin(best, (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    }
    return best;
}

static void check_denormals(const struct kernels *kernels) {
    enum { ROWS = 77, DEPTH = 1280 };
    static float x[ROWS * DEPTH], y[ROWS * KERNEL_PANEL], normal[KERNEL_PANEL * DEPTH], denormal[KERNEL_PANEL * DEPTH];
    for (size_t i = 0; i < ROWS * DEPTH; i++)
        x[i] = random_float();
    for (size_t i = 0; i < KERNEL_PANEL * DEPTH; i++) {
        normal[i] = random_float();
        denormal[i] = random_float() * 1e-39f;
    }
    struct linear op = {.x = x, .x_pitch = DEPTH, .weight_pitch = DEPTH * sizeof(float), .dtype = DTYPE_F32, .y = y,
                        .y_pitch = KERNEL_PANEL, .batch = 1, .rows = ROWS, .depth = DEPTH, .columns = KERNEL_PANEL,
                        .weight = (const unsigned char *)normal};
    double usual = seconds(kernels, &op);
    op.weight = (const unsigned char *)denormal;
    assert_true(seconds(kernels, &op) < 2 * usual + 2e-3); /* the constant is for starting the thread on a busy machine */
}

static void denormal_weights_are_not_slow(void **state) {
    (void)state;
    each_table(check_denormals);
}

static void check_attend(size_t tokens, size_t width) {
    struct kernels kernels;
    size_t pitch = 3 * width + 1, count = tokens * pitch;
    float *qkv = malloc(count * sizeof *qkv), *block = guarded(tokens * width);
    double *p = malloc(tokens * sizeof *p);
    assert_non_null(qkv);
    assert_non_null(p);
    kernels_scalar(&kernels);
    for (size_t i = 0; i < count; i++)
        qkv[i] = 4 * random_float();
    struct attend op = {.q = qkv, .k = qkv + width, .v = qkv + 2 * width, .out = block + MARGIN, .pitch = pitch,
                        .out_pitch = width, .tokens = tokens, .head_width = width, .scale = 1 / sqrtf((float)width)};
    run((struct job){.kernels = &kernels, .attend = &op, .scratch = kernels_attend_scratch(tokens, width)});
    check_guards(block, tokens * width);
    for (size_t i = 0; i < tokens; i++) {
        double largest = -INFINITY, sum = 0;
        for (size_t j = 0; j <= i; j++) {
            p[j] = 0;
            for (size_t d = 0; d < width; d++)
                p[j] += (double)op.q[i * pitch + d] * (double)op.k[j * pitch + d];
            p[j] *= (double)op.scale;
            largest = fmax(largest, p[j]);
        }
        for (size_t j = 0; j <= i; j++)
            sum += p[j] = exp(p[j] - largest);
        for (size_t d = 0; d < width; d++) {
            double o = 0;
            for (size_t j = 0; j <= i; j++)
                o += p[j] / sum * (double)op.v[j * pitch + d];
            /* values are at most 4; the scores' own error, about width * 2^-24 * |q||k|, goes through exp */
            if (!(fabs(o - (double)op.out[i * width + d]) < 4e-5))
                fail_msg("tokens %zu width %zu row %zu: %.9g, expected %.9g", tokens, width, i,
                         (double)op.out[i * width + d], o);
        }
    }
    free(qkv);
    free(block);
    free(p);
}

static void attention_is_causal_and_exact(void **state) {
    (void)state;
    for (size_t n = 1; n <= 67; n += 3)
        check_attend(n, 1 + n * 11 % 67);
    check_attend(77, 64);
    check_attend(248, 64);
}

/* Scores of a thousand must neither overflow nor lose the row. */
static void attention_survives_large_scores(void **state) {
    enum { TOKENS = 3, WIDTH = 4 };
    struct kernels kernels;
    float q[TOKENS * WIDTH], k[TOKENS * WIDTH], v[TOKENS * WIDTH], out[TOKENS * WIDTH];
    (void)state;
    kernels_scalar(&kernels);
    for (int i = 0; i < TOKENS * WIDTH; i++) {
        q[i] = 1000;
        k[i] = i < WIDTH ? 1000.0f : -1000.0f;
        v[i] = (float)i;
    }
    struct attend op = {.q = q, .k = k, .v = v, .out = out, .pitch = WIDTH, .out_pitch = WIDTH, .tokens = TOKENS,
                        .head_width = WIDTH, .scale = 0.5f};
    run((struct job){.kernels = &kernels, .attend = &op, .scratch = kernels_attend_scratch(TOKENS, WIDTH)});
    assert_memory_equal(out + 2 * WIDTH, v, WIDTH * sizeof *v); /* all weight is on the first key */
}

static void layer_norm_against_double(void **state) {
    struct kernels kernels;
    (void)state;
    kernels_scalar(&kernels);
    for (size_t width = 1; width <= 1280; width = width < 70 ? width + 1 : width * 3 + 1) {
        float x[1280], gain[1280], bias[1280], *block = guarded(width), *y = block + MARGIN;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < width; i++) {
            x[i] = 100 + 30 * random_float();
            gain[i] = random_float();
            bias[i] = random_float();
            mean += (double)x[i] / (double)width;
        }
        for (size_t i = 0; i < width; i++)
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)width;
        kernels.layer_norm(x, y, gain, bias, width, 1e-5);
        check_guards(block, width);
        for (size_t i = 0; i < width; i++) {
            double expected = ((double)x[i] - mean) / sqrt(variance + 1e-5) * (double)gain[i] + (double)bias[i];
            assert_true(fabs((double)y[i] - expected) < 1e-6);
        }
        /* a constant row has no variance: the result is the bias, and no division by zero */
        for (size_t i = 0; i < width; i++)
            x[i] = 7;
        kernels.layer_norm(x, y, gain, bias, width, 1e-5);
        assert_memory_equal(y, bias, width * sizeof *y);
        free(block);
    }
}

static void narrow_rounds_and_reports(void **state) {
    struct kernels kernels;
    unsigned char out[9];
    float good[2] = {1.0f, -65519.0f}, large[2] = {1.0f, 65520.0f}, nan[2] = {NAN, 0}, infinite[2] = {0, -INFINITY};
    (void)state;
    kernels_scalar(&kernels);
    assert_int_equal(kernels.narrow(good, DTYPE_F16, out + 1, 2), 0);
    assert_memory_equal(out + 1, "\x00\x3c\xff\xfb", 4);
    assert_int_equal(kernels.narrow(good, DTYPE_BF16, out + 1, 2), 0);
    assert_int_equal(kernels.narrow(good, DTYPE_F32, out + 1, 2), 0);
    assert_memory_equal(out + 1, good, sizeof good);
    assert_int_not_equal(kernels.narrow(large, DTYPE_F16, out + 1, 2), 0);
    assert_int_equal(kernels.narrow(large, DTYPE_BF16, out + 1, 2), 0);
    for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
        assert_int_not_equal(kernels.narrow(nan, (enum dtype)dtype, out + 1, 2), 0);
        assert_int_not_equal(kernels.narrow(infinite, (enum dtype)dtype, out + 1, 2), 0);
    }
}

/* exp within 2 units in the last place, the activations within 2^-22 of their argument's size. */
static void functions_against_double(void **state) {
    double worst_exp = 0, worst_gelu = 0, worst_quick = 0;
    (void)state;
    for (int i = -870000; i <= 880000; i++) {
        float x = (float)i * 1e-4f;
        double truth = exp((double)x), error = fabs((double)scalar_exp(x) - truth) / truth;
        worst_exp = fmax(worst_exp, error);
        double v = (double)x, size = fmax(1, fabs(v));
        worst_gelu = fmax(worst_gelu, fabs((double)scalar_gelu(x) - finish(v, 0, EPILOGUE_GELU)) / size);
        worst_quick = fmax(worst_quick, fabs((double)scalar_quick_gelu(x) - finish(v, 0, EPILOGUE_QUICK_GELU)) / size);
    }
    printf("# exp %.2f x 2^-23, gelu %.2f x 2^-23, quick_gelu %.2f x 2^-23\n", worst_exp * 0x1p23, worst_gelu * 0x1p23,
           worst_quick * 0x1p23);
    assert_true(worst_exp < 2 * 0x1p-23);
    assert_true(worst_gelu < 2 * 0x1p-23);
    assert_true(worst_quick < 2 * 0x1p-23);
    assert_true(scalar_exp(-1e30f) == 0 && scalar_exp(1e30f) == INFINITY && isnan(scalar_exp(NAN)));
    assert_true(scalar_gelu(-1e30f) == 0 && scalar_gelu(1e30f) == 1e30f && isnan(scalar_gelu(NAN)));
    assert_true(scalar_quick_gelu(1e30f) == 1e30f && scalar_quick_gelu(-1e30f) == 0 && isnan(scalar_quick_gelu(NAN)));
}

static void the_chosen_table_passed_its_check(void **state) {
    struct kernels kernels;
    struct fault fault;
    int rejected = -1;
    (void)state;
    assert_int_equal(kernels_choose(&kernels, KERNELS_BEST, &rejected, &fault), 0);
    assert_int_equal(rejected, 0);
    printf("# %s\n", kernels.name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_of_every_table),
        cmocka_unit_test(linear_does_not_know_its_batch),
        cmocka_unit_test(rows_have_the_same_bits_in_every_table),
        cmocka_unit_test(denormal_weights_are_not_slow),
        cmocka_unit_test(attention_is_causal_and_exact),
        cmocka_unit_test(attention_survives_large_scores),
        cmocka_unit_test(layer_norm_against_double),
        cmocka_unit_test(narrow_rounds_and_reports),
        cmocka_unit_test(functions_against_double),
        cmocka_unit_test(the_chosen_table_passed_its_check),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
