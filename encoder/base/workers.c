/* workers.c - threads on stacks that we map ourselves, a futex to park on, a barrier that spins briefly.
 *
 * A worker's region is WORKER_REGION bytes, aligned to its size:
 *     [ record: struct seat | guard page | stack, growing down from the end ]
 * so that the seat is found by masking any address on the stack. */
#include "workers.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fpu.h"
#include "memory.h"

/* Addresses: glibc places the host's static TLS at the top of a thread's stack and refuses one that is too small for it; 1 MiB
 * leaves room for the largest met in practice. */
#define WORKER_REGION ((size_t)1 << 20)
/* Memory: what a worker touches of its stack is some 12 KiB, a common host's TLS included. */
#define STACK_BACKED ((size_t)64 << 10)
/* What OpenBLAS touches of its room for products of ours: 96 to 136 KiB were seen, by core type. */
#define BLAS_TOUCHED ((size_t)128 << 10)
#define CACHE_LINE 64
/* How long a worker looks at the barrier before it sleeps: a few microseconds, about what sleeping would cost. */
#define SPINS 2000

struct seat {
    struct worker worker;
    pthread_t thread;
    char *region;
};

struct workers {
    unsigned count;
    unsigned started;
    int spin; /* 0 when there are more workers than CPUs: the one waited for needs this CPU */
    pid_t process;
    size_t bytes;
    size_t blas_bytes;
    void (*job)(struct worker *worker, void *context);
    void *context;
    _Alignas(CACHE_LINE) _Atomic uint32_t job_number; /* a job has begun, or quit */
    _Alignas(CACHE_LINE) _Atomic uint32_t unfinished; /* workers still in the job: the caller waits for 0 */
    _Alignas(CACHE_LINE) _Atomic uint32_t arrived;    /* at the barrier */
    _Alignas(CACHE_LINE) _Atomic uint32_t round;      /* barriers passed */
    _Alignas(CACHE_LINE) _Atomic size_t next_unit;
    _Atomic int quit;
    _Alignas(CACHE_LINE) struct seat *seats[WORKERS_LIMIT];
};

/* A wait that a signal of the host's interrupts would leave EINTR in the host's errno. */
static void futex_wait(_Atomic uint32_t *word, uint32_t seen) {
    int kept = errno;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    errno = kept;
}

static void futex_wake(_Atomic uint32_t *word) {
    int kept = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    errno = kept;
}

static void wait_while(_Atomic uint32_t *word, uint32_t seen, int spin) {
    for (int i = 0; spin && i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen)
            return;
        cpu_relax();
    }
    while (atomic_load_explicit(word, memory_order_acquire) == seen)
        futex_wait(word, seen);
}

struct worker *worker_self(void) {
    /* not the address of a local, which a sanitizer may put elsewhere */
    char *here = __builtin_frame_address(0);
    char *base = here - ((uintptr_t)here & (WORKER_REGION - 1));
    return &((struct seat *)(void *)base)->worker;
}

static void barrier(struct workers *pool) {
    uint32_t round = atomic_load_explicit(&pool->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == pool->count) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&pool->next_unit, 0, memory_order_relaxed);
        atomic_store_explicit(&pool->round, round + 1, memory_order_release);
        futex_wake(&pool->round);
    } else {
        wait_while(&pool->round, round, pool->spin);
    }
}

void worker_each(struct worker *worker, size_t units, void (*unit)(struct worker *worker, size_t index, void *context),
                 void *context) {
    struct workers *pool = worker->pool;
    if (pool->count == 1) {
        for (size_t i = 0; i < units; i++)
            unit(worker, i, context);
        return;
    }
    for (;;) {
        size_t index = atomic_fetch_add_explicit(&pool->next_unit, 1, memory_order_relaxed);
        if (index >= units)
            break;
        unit(worker, index, context);
    }
    barrier(pool);
}

static void *worker_main(void *argument) {
    struct seat *seat = argument;
    struct workers *pool = seat->worker.pool;
    uint32_t seen = 0;
    char name[16];
    fpu_for_computing();
    /* what a debugger, top and a crash report show */
    snprintf(name, sizeof name, "penult/%u", seat->worker.index & 0xFFFu);
    pthread_setname_np(pthread_self(), name);
    for (;;) {
        wait_while(&pool->job_number, seen, 0);
        seen = atomic_load_explicit(&pool->job_number, memory_order_acquire);
        if (atomic_load_explicit(&pool->quit, memory_order_relaxed))
            return NULL;
        pool->job(&seat->worker, pool->context);
        if (atomic_fetch_sub_explicit(&pool->unfinished, 1, memory_order_acq_rel) == 1)
            futex_wake(&pool->unfinished);
    }
}

void workers_run(struct workers *pool, void (*job)(struct worker *worker, void *context), void *context) {
    uint32_t left;
    pool->job = job;
    pool->context = context;
    atomic_store_explicit(&pool->next_unit, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->unfinished, pool->count, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->job_number, 1, memory_order_release);
    futex_wake(&pool->job_number);
    while ((left = atomic_load_explicit(&pool->unfinished, memory_order_acquire)) != 0)
        futex_wait(&pool->unfinished, left);
}

static size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) & ~(unit - 1);
}

static size_t pool_bytes(unsigned count, size_t scratch_bytes) {
    return round_up(sizeof(struct workers), CACHE_LINE) + count * round_up(scratch_bytes, CACHE_LINE);
}

size_t workers_measure(unsigned count, size_t scratch_bytes, size_t blas_bytes) {
    return pool_bytes(count, scratch_bytes) +
           count * (memory_page_size() + STACK_BACKED + (blas_bytes ? BLAS_TOUCHED : 0));
}

static int start_thread(struct seat *seat) {
    size_t page = memory_page_size();
    pthread_attr_t attributes;
    sigset_t all;
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    /* no signal of the host's may land on a worker; the mask of the calling thread is the host's and stays as it is */
    sigfillset(&all);
    int started = pthread_attr_setsigmask_np(&attributes, &all) == 0 &&
                  pthread_attr_setstack(&attributes, seat->region + 2 * page, WORKER_REGION - 2 * page) == 0 &&
                  pthread_create(&seat->thread, &attributes, worker_main, seat) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

static int seat_worker(struct workers *pool, unsigned index, void *scratch) {
    size_t page = memory_page_size();
    char *region = memory_pages(WORKER_REGION, WORKER_REGION, MEMORY_AS_TOUCHED);
    if (!region)
        return 0;
    struct seat *seat = (struct seat *)(void *)region;
    pool->seats[index] = seat;
    seat->region = region;
    seat->worker = (struct worker){.pool = pool, .index = index, .count = pool->count, .scratch = scratch};
    if (mprotect(region + page, page, PROT_NONE) != 0 ||
        !memory_back(region + WORKER_REGION - STACK_BACKED, STACK_BACKED))
        return 0;
    if (pool->blas_bytes) {
        seat->worker.blas = memory_pages(pool->blas_bytes, memory_page_size(), MEMORY_RESERVED);
        if (!seat->worker.blas)
            return 0;
    }
    if (!start_thread(seat))
        return 0;
    pool->started++;
    return 1;
}

int workers_open(struct workers **out, unsigned count, size_t scratch_bytes, size_t blas_bytes, struct fault *fault) {
    size_t bytes = pool_bytes(count, scratch_bytes);
    struct workers *pool = memory_pages(bytes, memory_page_size(), MEMORY_NOW);
    *out = NULL;
    if (!pool)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for %u workers with %zu bytes of scratch each", count,
                         scratch_bytes);
    pool->count = count;
    pool->bytes = bytes;
    pool->blas_bytes = blas_bytes;
    pool->process = getpid();
    int kept = errno; /* the C library looks into /sys, and where that is empty it succeeds and leaves ENOENT */
    pool->spin = sysconf(_SC_NPROCESSORS_ONLN) >= (long)count;
    errno = kept;
    char *scratch = (char *)pool + round_up(sizeof *pool, CACHE_LINE);
    for (unsigned i = 0; i < count; i++, scratch += round_up(scratch_bytes, CACHE_LINE)) {
        if (!seat_worker(pool, i, scratch)) {
            workers_close(pool);
            return fault_set(fault, FAULT_NO_MEMORY, "could not start worker %u of %u: no memory or no thread", i + 1, count);
        }
    }
    *out = pool;
    return 0;
}

void workers_close(struct workers *pool) {
    if (!pool)
        return;
    int threads_exist = pool->process == getpid();
    atomic_store_explicit(&pool->quit, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->job_number, 1, memory_order_release);
    futex_wake(&pool->job_number);
    for (unsigned i = 0; threads_exist && i < pool->started; i++)
        pthread_join(pool->seats[i]->thread, NULL);
    for (unsigned i = 0; i < pool->count && pool->seats[i]; i++) {
        memory_release(pool->seats[i]->worker.blas, pool->blas_bytes);
        memory_release(pool->seats[i]->region, WORKER_REGION);
    }
    memory_release(pool, pool->bytes);
}
