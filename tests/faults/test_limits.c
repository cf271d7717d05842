/* test_limits.c - protects a host with little room for memory: under every limit of address space from STEP_MIB to 2 GiB, in
 * a small host and in one that holds a GiB already, and of private memory, opening and encoding succeed with the bits they
 * always have or say that there is no memory, soon, and never crash or spin.
 *
 *     test_limits PLUGIN MODEL [STEP_MIB] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "limits.h"

#define LARGE_HOST (1024 * MIB)

static const struct limited ways[] = {
    {"mapped", PENULT_MAP, 0, 2, 1},
    {"copied, 64 prompts", PENULT_COPY, 0, 2, 64},
    {"openblas, 8 threads", PENULT_MAP, PENULT_KERNELS_OPENBLAS, 8, 1},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static int limit(int resource, uint64_t bytes) {
    struct rlimit to = {bytes, bytes};
    return setrlimit((__rlimit_resource_t)resource, &to) == 0;
}

static int limit_addresses(uint64_t bytes) {
    return limit(RLIMIT_AS, bytes);
}

static int limit_data(uint64_t bytes) {
    return limit(RLIMIT_DATA, bytes);
}

static void sweep(const char *what, int (*impose)(uint64_t), uint64_t from, uint64_t to, uint64_t step) {
    for (unsigned way = 0; way < WAYS; way++) {
        struct sweep sweep = {.status = {PENULT_E_NO_MEMORY}};
        char name[96];
        for (uint64_t bytes = from; bytes <= to; bytes += step) {
            double took;
            int result = limits_run(way, impose, bytes, &took);
            sweep_add(&sweep, result, bytes / MIB, took);
        }
        snprintf(name, sizeof name, "%s, %s", what, ways[way].name);
        sweep_check(&sweep, name, "MiB");
    }
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4)
        give_up("usage: test_limits PLUGIN MODEL [STEP_MIB]");
    uint64_t step = (argc > 3 ? strtoull(argv[3], NULL, 10) : 16) * MIB;
    step = step ? step : MIB;
    limits_begin(argv, ways, WAYS);
    sweep("addresses", limit_addresses, step, 2048 * MIB, step);
    /* OpenBLAS's rooms are reserved 128 MiB each, and count as data where nothing of them is touched */
    sweep("private memory", limit_data, step / 4, 1280 * MIB, step);
    void *held = mmap(NULL, LARGE_HOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (held == MAP_FAILED)
        give_up("the test itself has no addresses");
    sweep("addresses, a large host", limit_addresses, LARGE_HOST - step, LARGE_HOST + 1536 * MIB, step);
    munmap(held, LARGE_HOST);
    limits_end();
    return done();
}
