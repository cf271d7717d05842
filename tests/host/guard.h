/* guard.h - the host contract around one call: what must be as it was, and whether it was.
 *
 * Knows state.h and how handles, threads, descriptors and mappings of a plugin must balance; knows no function of the
 * ABI. Breaches go to the file that PENULT_CONTRACT_LOG names, a line each; what was checked is counted in a second file,
 * that name with ".counts". */
#ifndef PENULT_TESTS_GUARD_H
#define PENULT_TESTS_GUARD_H

#include "state.h"

struct guard {
    const char *function;
    int alone;     /* no other call was inside when this one began */
    int single;    /* and no other thread of the host's existed */
    int callbacks; /* the host's own code ran inside: what it did to the process is not the library's */
    int silenced;  /* descriptors 1 and 2 are ours for the moment */
    int kept[2];
    uint64_t number;
    struct thread_state thread;
};

enum effect {
    EFFECT_NONE,  /* nothing is there afterwards that was not before */
    EFFECT_OPEN,  /* a handle, with threads, descriptors and mappings of its own */
    EFFECT_CLOSE, /* and its end */
    EFFECT_LOAD   /* code was mapped */
};

void guard_begin(struct guard *guard, const char *function);
/* success: errno must be as it was. threads: of the handle that was opened; -1: it was to decide itself. */
void guard_end(struct guard *guard, int success, enum effect effect, const void *handle, int64_t threads);
/* A callback begins and ends: it must find the thread as the host left it, and may leave it as it likes. */
void guard_callback_begin(struct guard *guard);
void guard_callback_end(struct guard *guard);
/* Live handles of this process. */
unsigned guard_handles(void);

#endif
