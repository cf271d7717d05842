/* kernels.c - GFLOP/s of `linear` alone: one worker, bigG's two MLP shapes, every kernel set that this CPU has, every type
 * of weights. Linked with the engine's objects. Knows no model and no file.
 *
 *     kernels [--json] [RUNS]
 *
 * The weights of one product (6.5 million) are far larger than the second cache and, as f32, about as large as a third
 * one: what is measured is a panel read from memory, widened and used once, as in an encode. "peak" is what fused
 * multiply-adds on registers reach, without any memory: the ceiling of this machine at this moment. "denormal" is the
 * time with denormal weights over the time with ordinary ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../encoder/base/half.h"
#include "../../encoder/base/workers.h"
#include "../../encoder/kernels/choose.h"
#include "../../encoder/kernels/cpu.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { ROWS = 77, BATCH = 8, MOST_RUNS = 99 };

static const struct shape {
    size_t columns, depth;
} shapes[] = {{5120, 1280}, {1280, 5120}};

struct bench {
    struct kernels kernels;
    struct shape shape;
    enum dtype dtype;
    size_t batch;
    unsigned char *weight;
    float *x, *y;
    unsigned runs;
    double median;
};

/* of this thread: what others run on the machine in between does not count */
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, unsigned count) {
    qsort(times, count, sizeof *times, ascending);
    return count % 2 ? times[count / 2] : (times[count / 2 - 1] + times[count / 2]) / 2;
}

/* Rows of several prompts follow each other, but where the kernels want whole prompts. */
static size_t groups_of(const struct bench *bench) {
    return bench->kernels.whole_prompts ? bench->batch * packed_groups(ROWS) : packed_groups(bench->batch * ROWS);
}

static void product(struct worker *worker, void *context) {
    struct bench *bench = context;
    size_t pitch = bench->shape.depth * (dtype_bits(bench->dtype) / 8);
    double times[MOST_RUNS];
    for (unsigned run = 0; run < bench->runs; run++) {
        double began = now();
        for (size_t column = 0; column < bench->shape.columns; column += KERNEL_PANEL) {
            struct linear op = {
                .x = bench->x,
                .groups = groups_of(bench),
                .run = packed_groups(ROWS),
                .weight = bench->weight + column * pitch,
                .weight_pitch = pitch,
                .dtype = bench->dtype,
                .y = bench->y + column * LANES,
                .y_width = bench->shape.columns,
                .depth = bench->shape.depth,
                .columns = KERNEL_PANEL,
                .epilogue = EPILOGUE_STORE,
            };
            bench->kernels.linear(&bench->kernels, &op, worker->scratch);
        }
        times[run] = now() - began;
    }
    bench->median = median(times, bench->runs);
}

/* 0, or 1 for want of memory */
static int time_product(struct bench *bench) {
    struct workers *pool;
    struct fault fault;
    if (workers_open(&pool, 1, bench->kernels.linear_scratch(groups_of(bench), bench->shape.depth), bench->kernels.blas_bytes, &fault))
        return 1;
    workers_run(pool, product, bench);
    workers_close(pool);
    return 0;
}

static double gflops(const struct bench *bench) {
    return 2.0 * ROWS * (double)(bench->batch * bench->shape.columns * bench->shape.depth) / bench->median * 1e-9;
}

/* Weights around 0.02, or the type's denormals. */
static void fill_weights(unsigned char *to, enum dtype dtype, size_t count, int denormal) {
    for (size_t i = 0; i < count; i++) {
        uint32_t step = (uint32_t)(i * 2654435761u >> 16 & 0x3F);
        float value = ((float)step - 31.5f) * 0x1p-11f;
        if (dtype == DTYPE_F32) {
            if (denormal)
                value = float_from_bits(step + 1);
            memcpy(to + 4 * i, &value, sizeof value);
            continue;
        }
        uint16_t half = dtype == DTYPE_F16 ? f16_from_f32(value) : bf16_from_f32(value);
        if (denormal)
            half = (uint16_t)(step + 1);
        memcpy(to + 2 * i, &half, sizeof half);
    }
}

/* ---- the ceiling ---------------------------------------------------------------------------------------------------- */

enum { PEAK_LOOPS = 4000000, PEAK_SUMS = 10 };

#if defined(__x86_64__)
/* the same loop at two widths. Ten sums are enough to hide the latency of two units; named one by one, because an array
 * would be kept in memory; the empty asm keeps the compiler from finding out that the loop has no use. */
#define PEAK(name, features, type, set1, fma, lanes)                                                                  \
    __attribute__((target(features))) static double name(void) {                                                      \
        type a = set1(0.5f), b = set1(1.0f);                                                                          \
        type s0 = a, s1 = a, s2 = a, s3 = a, s4 = a, s5 = a, s6 = a, s7 = a, s8 = a, s9 = a;                          \
        double began = now();                                                                                         \
        for (int loop = 0; loop < PEAK_LOOPS; loop++) {                                                               \
            s0 = fma(s0, a, b), s1 = fma(s1, a, b), s2 = fma(s2, a, b), s3 = fma(s3, a, b), s4 = fma(s4, a, b);       \
            s5 = fma(s5, a, b), s6 = fma(s6, a, b), s7 = fma(s7, a, b), s8 = fma(s8, a, b), s9 = fma(s9, a, b);       \
            __asm__ volatile("" : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7),     \
                             "+v"(s8), "+v"(s9));                                                                     \
        }                                                                                                             \
        return 2.0 * (lanes) * PEAK_SUMS * PEAK_LOOPS / (now() - began) * 1e-9;                                       \
    }
PEAK(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps, 8)
PEAK(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps, 16)
#endif

static double peak_of(double (*measure)(void)) {
    double times[5];
    for (unsigned i = 0; i < 5; i++)
        times[i] = measure();
    return median(times, 5);
}

static void peaks(int json) {
    unsigned features = cpu_features();
#if defined(__x86_64__)
    static const struct {
        const char *name;
        unsigned needs;
        double (*measure)(void);
    } widths[] = {{"avx2", CPU_AVX2, peak_avx2}, {"avx512", CPU_AVX512, peak_avx512}};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        if (features & widths[i].needs)
            printf(json ? "{\"peak\": \"%s\", \"gflops\": %.1f}\n" : "peak of %s, registers only: %.0f GFLOP/s\n",
                   widths[i].name, peak_of(widths[i].measure));
#else
    (void)features, (void)json, (void)peak_of;
#endif
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static int row(struct bench *bench, enum kernel_set set, int json) {
    static const char *const names[] = {"best", "scalar", "openblas", "avx2", "avx512"};
    size_t count = shapes[0].columns * shapes[0].depth;
    double rate[2][2], ordinary = 0;
    bench->runs = set == KERNELS_SCALAR && bench->runs > 3 ? 3 : bench->runs;
    fill_weights(bench->weight, bench->dtype, count, 0);
    for (size_t s = 0; s < 2; s++)
        for (size_t b = 0; b < 2; b++) {
            bench->shape = shapes[s];
            bench->batch = b ? BATCH : 1;
            rate[s][b] = 0;
            if (b && set == KERNELS_SCALAR)
                continue; /* half a minute for a number that nobody waits for */
            if (time_product(bench))
                return 1;
            rate[s][b] = gflops(bench);
            if (s == 0 && b == 0)
                ordinary = bench->median;
        }
    fill_weights(bench->weight, bench->dtype, count, 1);
    bench->shape = shapes[0];
    bench->batch = 1;
    if (time_product(bench))
        return 1;
    double denormal = bench->median / ordinary;
    if (json)
        printf("{\"kernels\": \"%s\", \"name\": \"%s\", \"dtype\": \"%s\", \"fc1\": %.1f, \"fc2\": %.1f, \"fc1_batch8\": %.1f, "
               "\"fc2_batch8\": %.1f, \"denormal\": %.3f}\n", names[set], bench->kernels.name, dtype_name(bench->dtype),
               rate[0][0], rate[1][0], rate[0][1], rate[1][1], denormal);
    else
        printf("%-9s %-5s %14.1f %14.1f %14.1f %14.1f %9.2f\n", names[set], dtype_name(bench->dtype), rate[0][0], rate[1][0],
               rate[0][1], rate[1][1], denormal);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    int json = argc > 1 && strcmp(argv[1], "--json") == 0;
    unsigned long runs = argc > 1 + json ? strtoul(argv[1 + json], NULL, 10) : 9;
    size_t values = shapes[0].columns * shapes[0].depth, rows = (size_t)BATCH * (ROWS + LANES) * shapes[0].columns;
    struct bench bench = {.weight = malloc(values * sizeof(float)), .x = malloc(rows * sizeof(float)),
                          .y = malloc(rows * sizeof(float))};
    if (runs < 1 || runs > MOST_RUNS || !bench.weight || !bench.x || !bench.y) {
        fprintf(stderr, "usage: kernels [--json] [RUNS]      RUNS: 1 to %d\n", MOST_RUNS);
        return 2;
    }
    for (size_t i = 0; i < rows; i++)
        bench.x[i] = (float)(i % 97) * 0.01f - 0.48f;
    peaks(json);
    if (!json)
        printf("GFLOP/s of CPU time, one thread, medians of %lu\n%-9s %-5s %14s %14s %14s %14s %9s\n", runs, "kernels", "type",
               "77x5120x1280", "77x1280x5120", "8x77x5120x1280", "8x77x1280x5120", "denormal");
    for (int set = KERNELS_AVX512; set >= KERNELS_SCALAR; set--) {
        if (kernels_fill(&bench.kernels, (enum kernel_set)set, ARITHMETIC_EXACT, cpu_features()) != (enum kernel_set)set)
            continue;
        for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
            bench.dtype = (enum dtype)dtype;
            bench.runs = (unsigned)runs;
            if (row(&bench, (enum kernel_set)set, json))
                return 1;
        }
    }
    free(bench.weight), free(bench.x), free(bench.y);
    return 0;
}
