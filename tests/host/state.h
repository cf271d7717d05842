/* state.h - what a library could change in the process and the thread that call it, read and compared.
 *
 * Knows the kernel and the C library, and nothing of Penult. Reading allocates nothing, calls nothing that a test can
 * interpose (files are read by system calls of its own) and leaves errno and the floating-point state as they were. */
#ifndef PENULT_TESTS_STATE_H
#define PENULT_TESTS_STATE_H

#include <locale.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/time.h>

/* Called for each thing that is not as it was: its name, and both values in words. */
typedef void (*state_breach)(void *user, const char *what, const char *was, const char *is);

/* ---- of the calling thread: cheap, may be read at any time */
struct thread_state {
    uint64_t fp;         /* MXCSR: control and exception flags (aarch64: FPCR above FPSR) */
    uint32_t x87_control;
    uint32_t x87_status; /* exception flags and the top of its stack */
    int rounding;
    int error; /* errno */
    uint64_t blocked;
    locale_t locale;
    stack_t alternate;
    char name[16];
    uint64_t affinity[16];
    int cancelling; /* pthread_setcancelstate */
};
void thread_state_read(struct thread_state *state);
/* with_errno: a call that failed may say so there too. */
void thread_state_compare(const struct thread_state *was, const struct thread_state *is, int with_errno,
                          state_breach breach, void *user);

/* ---- of the process: some change only if somebody wants them to */
#define STATE_SIGNALS 64
struct settings_state {
    struct {
        uint64_t handler, flags, restorer, mask; /* as the kernel has them */
    } signals[STATE_SIGNALS];
    char locale[256];
    char directory[4096];
    unsigned umask;
    struct rlimit limits[RLIM_NLIMITS];
    struct itimerval timers[3];
    int group, session, dumpable, no_new_privileges, death_signal;
};
void settings_state_read(struct settings_state *state);
void settings_state_compare(const struct settings_state *was, const struct settings_state *is, state_breach breach,
                            void *user);

/* ---- and some change with everything that any thread does: compared only where one thread runs. Threads, descriptors
 * and mappings are not compared here, because some calls are meant to change them. */
struct busy_state {
    uint64_t pending;     /* signals, the process's and the thread's */
    uint64_t environment; /* of the pointer and of every string */
    uint64_t random;      /* rand()'s state */
    uint64_t waiting_out, waiting_err; /* bytes that stdio holds */
    int64_t threads;
    int64_t descriptors;
    uint64_t descriptor_set[16]; /* which of the first 1,024 there are */
    uint64_t descriptor_sum;     /* what they are: devices, inodes, flags */
    int64_t anonymous, files;    /* bytes of mappings, without the heap and the stack */
    uint64_t soft_limit;         /* of the address space: under one, malloc maps what it would have taken from the heap */
};
void busy_state_read(struct busy_state *state);
void busy_state_compare(const struct busy_state *was, const struct busy_state *is, state_breach breach, void *user);
/* Threads of this process, as the kernel counts them. */
int64_t state_threads(void);

#endif
