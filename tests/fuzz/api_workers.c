/* api_workers.c - a session's worker without its thread, for the fuzz target `api`: two switches of thread for each block take
 * longer than all the rest of an encode, and longer still on a machine that is busy. The same work, in the same order as one
 * worker does it. Scratch ends where its block does, so that a sanitizer sees a step too far.
 *
 * system_starts_threads leaves everything to base/workers.c. Knows workers.h.
 */
#include "../../encoder/base/workers.h"

#include "../../encoder/base/fpu.h"
#include "../../encoder/base/memory.h"
#include "api_system.h"

int system_starts_threads;

enum { POOLS = 8, ALIGN = 64 };

struct direct {
    struct worker worker;
    void *block;
};
static struct direct *direct[POOLS];

int __real_workers_open(struct workers **out, unsigned count, size_t scratch_bytes, size_t blas_bytes, struct fault *fault);
int __wrap_workers_open(struct workers **out, unsigned count, size_t scratch_bytes, size_t blas_bytes, struct fault *fault);
void __real_workers_close(struct workers *pool);
void __wrap_workers_close(struct workers *pool);
void __real_workers_run(struct workers *pool, void (*job)(struct worker *worker, void *context), void *context);
void __wrap_workers_run(struct workers *pool, void (*job)(struct worker *worker, void *context), void *context);
void __real_worker_each(struct worker *worker, size_t units, void (*unit)(struct worker *worker, size_t index, void *context),
                        void *context);
void __wrap_worker_each(struct worker *worker, size_t units, void (*unit)(struct worker *worker, size_t index, void *context),
                        void *context);

/* Its place among the direct ones; NULL itself asks for an empty place. */
static int place_of(const void *pool) {
    int i = 0;
    while (i < POOLS && (const void *)direct[i] != pool)
        i++;
    return i;
}

int __wrap_workers_open(struct workers **out, unsigned count, size_t scratch_bytes, size_t blas_bytes, struct fault *fault) {
    int place = place_of(NULL);
    if (system_starts_threads || count != 1 || place == POOLS)
        return __real_workers_open(out, count, scratch_bytes, blas_bytes, fault);
    size_t bytes = (scratch_bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct direct *pool = memory_array(1, sizeof *pool);
    char *block = memory_array(bytes + ALIGN, 1);
    *out = NULL;
    if (!pool || !block) {
        memory_free(pool);
        memory_free(block);
        return fault_set(fault, FAULT_NO_MEMORY, "could not start worker 1 of 1: no memory or no thread");
    }
    *pool = (struct direct){.block = block};
    pool->worker.pool = (struct workers *)(void *)pool;
    pool->worker.scratch = (void *)(((uintptr_t)block + ALIGN) & ~(uintptr_t)(ALIGN - 1));
    direct[place] = pool;
    *out = pool->worker.pool;
    return 0;
}

void __wrap_workers_close(struct workers *pool) {
    int place = pool ? place_of(pool) : POOLS;
    if (place == POOLS) {
        __real_workers_close(pool);
        return;
    }
    memory_free(direct[place]->block);
    memory_free(direct[place]);
    direct[place] = NULL;
}

void __wrap_workers_run(struct workers *pool, void (*job)(struct worker *worker, void *context), void *context) {
    int place = place_of(pool);
    if (place == POOLS) {
        __real_workers_run(pool, job, context);
        return;
    }
    uint64_t kept = fpu_hold();
    fpu_for_computing();
    job(&direct[place]->worker, context);
    fpu_restore(kept);
}

void __wrap_worker_each(struct worker *worker, size_t units, void (*unit)(struct worker *worker, size_t index, void *context),
                        void *context) {
    if (place_of(worker->pool) == POOLS) {
        __real_worker_each(worker, units, unit, context);
        return;
    }
    for (size_t i = 0; i < units; i++)
        unit(worker, i, context);
}
