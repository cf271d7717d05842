/* kernels_dnnl.c - oneDNN as a competitor of the kernels: the same two products as kernels.c, the same rows and columns of its
 * table. Compiled where oneDNN's header is installed (Debian: libdnnl-dev); linked with nothing of Penult's.
 *
 *     kernels_dnnl [--json] [RUNS]
 *
 * One thread, GFLOP/s of its CPU time. "rows" are weights as they lie in the file, [columns, depth]; "packed" are weights that
 * oneDNN may lay out as it likes best, once and outside the time: more than an engine that reads a file in place can have. With
 * bf16 the activations are bf16 too, and sums and results float32; which instructions it takes, ONEDNN_MAX_CPU_ISA limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <dnnl.h>

enum { ROWS = 77, BATCH = 8, MOST_RUNS = 99 };

#if DNNL_VERSION_MAJOR == 2

static const struct shape {
    dnnl_dim_t columns, depth;
} shapes[] = {{5120, 1280}, {1280, 5120}};

struct product {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t matmul;
    dnnl_memory_t x, weight, y;
};

/* of this process, which has one thread */
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int fill(dnnl_memory_t memory, dnnl_data_type_t type, size_t count) {
    void *to;
    if (dnnl_memory_map_data(memory, &to) != dnnl_success)
        return 0;
    for (size_t i = 0; i < count; i++) {
        float value = ((float)(i % 61) - 30.0f) * 0x1p-10f;
        unsigned bits;
        memcpy(&bits, &value, sizeof bits);
        if (type == dnnl_f32)
            ((float *)to)[i] = value;
        else
            ((unsigned short *)to)[i] = (unsigned short)(bits >> 16);
    }
    return dnnl_memory_unmap_data(memory, to) == dnnl_success;
}

/* The weights in the layout that the primitive asks for. */
static int lay_out(struct product *p, dnnl_primitive_desc_t matmul, const dnnl_memory_desc_t *plain, dnnl_data_type_t type,
                   size_t count) {
    const dnnl_memory_desc_t *wanted = dnnl_primitive_desc_query_md(matmul, dnnl_query_weights_md, 0);
    dnnl_memory_t from;
    dnnl_primitive_desc_t description;
    dnnl_primitive_t reorder;
    if (dnnl_memory_create(&from, plain, p->engine, DNNL_MEMORY_ALLOCATE) != dnnl_success || !fill(from, type, count) ||
        dnnl_memory_create(&p->weight, wanted, p->engine, DNNL_MEMORY_ALLOCATE) != dnnl_success ||
        dnnl_reorder_primitive_desc_create(&description, plain, p->engine, wanted, p->engine, NULL) != dnnl_success ||
        dnnl_primitive_create(&reorder, description) != dnnl_success)
        return 0;
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, p->weight}};
    int good = dnnl_primitive_execute(reorder, p->stream, 2, arguments) == dnnl_success &&
               dnnl_stream_wait(p->stream) == dnnl_success;
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(description);
    dnnl_memory_destroy(from);
    return good;
}

static int prepare(struct product *p, struct shape shape, dnnl_dim_t rows, dnnl_data_type_t type, int packed) {
    dnnl_dims_t x_dims = {rows, shape.depth}, weight_dims = {shape.depth, shape.columns}, y_dims = {rows, shape.columns};
    dnnl_memory_desc_t x, plain, weight, y;
    dnnl_matmul_desc_t description;
    dnnl_primitive_desc_t matmul;
    size_t values = (size_t)shape.depth * (size_t)shape.columns;
    if (dnnl_memory_desc_init_by_tag(&x, 2, x_dims, type, dnnl_ab) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&plain, 2, weight_dims, type, dnnl_ba) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&weight, 2, weight_dims, type, packed ? dnnl_format_tag_any : dnnl_ba) != dnnl_success ||
        dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab) != dnnl_success ||
        dnnl_matmul_desc_init(&description, &x, &weight, NULL, &y) != dnnl_success ||
        dnnl_primitive_desc_create(&matmul, &description, NULL, p->engine, NULL) != dnnl_success)
        return 0;
    int good = dnnl_primitive_create(&p->matmul, matmul) == dnnl_success && lay_out(p, matmul, &plain, type, values) &&
               dnnl_memory_create(&p->x, &x, p->engine, DNNL_MEMORY_ALLOCATE) == dnnl_success &&
               fill(p->x, type, (size_t)(rows * shape.depth)) &&
               dnnl_memory_create(&p->y, &y, p->engine, DNNL_MEMORY_ALLOCATE) == dnnl_success;
    dnnl_primitive_desc_destroy(matmul);
    return good;
}

/* GFLOP/s, or 0 where oneDNN could not */
static double rate(struct shape shape, dnnl_dim_t batch, dnnl_data_type_t type, int packed, unsigned runs) {
    struct product p = {0};
    double times[MOST_RUNS];
    int good = dnnl_engine_create(&p.engine, dnnl_cpu, 0) == dnnl_success &&
               dnnl_stream_create(&p.stream, p.engine, dnnl_stream_default_flags) == dnnl_success &&
               prepare(&p, shape, batch * ROWS, type, packed);
    for (unsigned run = 0; good && run <= runs; run++) { /* the first is not counted */
        dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p.x}, {DNNL_ARG_WEIGHTS, p.weight}, {DNNL_ARG_DST, p.y}};
        double began = now();
        good = dnnl_primitive_execute(p.matmul, p.stream, 3, arguments) == dnnl_success &&
               dnnl_stream_wait(p.stream) == dnnl_success;
        if (run > 0)
            times[run - 1] = now() - began;
    }
    dnnl_memory_destroy(p.x), dnnl_memory_destroy(p.weight), dnnl_memory_destroy(p.y);
    dnnl_primitive_destroy(p.matmul);
    dnnl_stream_destroy(p.stream);
    dnnl_engine_destroy(p.engine);
    if (!good)
        return 0;
    qsort(times, runs, sizeof *times, ascending);
    return 2.0 * (double)(batch * ROWS * shape.columns * shape.depth) / times[runs / 2] * 1e-9;
}

static int table(int json, unsigned runs) {
    const dnnl_version_t *version = dnnl_version();
    static const struct {
        const char *name;
        dnnl_data_type_t type;
    } types[] = {{"F32", dnnl_f32}, {"BF16", dnnl_bf16}};
    char name[64];
    if (!json)
        printf("oneDNN %d.%d.%d, instructions %d of dnnl_cpu_isa_t\n", version->major, version->minor, version->patch,
               (int)dnnl_get_effective_cpu_isa());
    for (int packed = 0; packed < 2; packed++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            double of[2][2];
            for (size_t s = 0; s < 2; s++)
                for (size_t b = 0; b < 2; b++)
                    of[s][b] = rate(shapes[s], b ? BATCH : 1, types[t].type, packed, runs);
            if (of[0][0] <= 0) {
                if (!json)
                    printf("oneDNN has no product of %s on this CPU\n", types[t].name);
                continue;
            }
            snprintf(name, sizeof name, "oneDNN %d.%d %s", version->major, version->minor, packed ? "packed" : "rows");
            printf(json ? "{\"kernels\": \"%s\", \"dtype\": \"%s\", \"fc1\": %.1f, \"fc2\": %.1f, \"fc1_batch8\": %.1f, "
                          "\"fc2_batch8\": %.1f}\n" : "%-18s %-5s %5.1f %14.1f %14.1f %14.1f\n",
                   name, types[t].name, of[0][0], of[1][0], of[0][1], of[1][1]);
            fflush(stdout);
        }
    return 0;
}

#else

/* the functions that make a primitive have other names in every other version */
static int table(int json, unsigned runs) {
    (void)runs;
    if (!json)
        printf("oneDNN %d is left out; expected version 2\n", DNNL_VERSION_MAJOR);
    return 0;
}

#endif

int main(int argc, char **argv) {
    int json = argc > 1 && strcmp(argv[1], "--json") == 0;
    unsigned long runs = argc > 1 + json ? strtoul(argv[1 + json], NULL, 10) : 9;
    if (runs < 1 || runs > MOST_RUNS) {
        fprintf(stderr, "usage: kernels_dnnl [--json] [RUNS]      RUNS: 1 to %d\n", MOST_RUNS);
        return 2;
    }
    /* its OpenMP has read the environment before main */
    if (!getenv("OMP_NUM_THREADS") && setenv("OMP_NUM_THREADS", "1", 1) == 0) {
        execv("/proc/self/exe", argv);
        perror("kernels_dnnl: could not start again with one thread");
        return 1;
    }
    return table(json, (unsigned)runs);
}
