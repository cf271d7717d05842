/* workers.h - a session's threads: made when it opens, parked in the kernel between jobs, gone when it closes.
 * All computing happens on them and none on the host's thread, so that the host's stack, floating-point mode and errno
 * do not matter and are not touched. Knows nothing of what is computed. */
#ifndef ENCODER_BASE_WORKERS_H
#define ENCODER_BASE_WORKERS_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"

#define WORKERS_LIMIT 256

struct workers;

struct worker {
    struct workers *pool;
    unsigned index, count; /* of the pool's */
    void *scratch; /* scratch_bytes of its own, 64-byte aligned */
    void *blas;    /* room for one OpenBLAS call, or NULL: see kernels/openblas.c */
};

/* blas_bytes of address space per worker are reserved and backed only where they are touched; 0: none. */
int workers_open(struct workers **out, unsigned count, size_t scratch_bytes, size_t blas_bytes, struct fault *fault);
/* No job may be running. In a forked child, where the threads do not exist, only the memory is given back. */
void workers_close(struct workers *pool);
/* The memory workers_open takes, and what OpenBLAS comes to touch of blas_bytes. */
size_t workers_measure(unsigned count, size_t scratch_bytes, size_t blas_bytes);

/* Runs job(worker, context) once on every worker and returns when all are done. [one caller at a time] */
void workers_run(struct workers *pool, void (*job)(struct worker *worker, void *context), void *context);

/* Inside a job, called by every worker with the same arguments: unit(worker, 0 .. units-1, context), each once on whichever
 * worker is free, and all done when it returns. A unit's work must not depend on the worker. */
void worker_each(struct worker *worker, size_t units, void (*unit)(struct worker *worker, size_t index, void *context),
                 void *context);

/* The worker that the calling thread is. Only on a worker's own thread: it looks at the base of the stack, because a
 * thread-local variable of a dlopened object is allocated lazily, and failure there ends the process. */
struct worker *worker_self(void);

#endif
