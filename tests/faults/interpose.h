/* interpose.h - every call by which the plugin can ask the system for something, counted and refused at will.
 *
 * The test program defines these functions itself, and the loader binds the plugin's calls to the program's (it comes first
 * in the search). So does glibc for what pthread_create allocates. Only calls between arm and disarm count, on whatever
 * thread they are made; the test itself makes none in between. */
#ifndef PENULT_TESTS_INTERPOSE_H
#define PENULT_TESTS_INTERPOSE_H

#include <stdint.h>

enum call { CALL_MALLOC, CALL_CALLOC, CALL_REALLOC, CALL_MMAP, CALL_MPROTECT, CALL_MADVISE, CALL_THREAD, CALL_OPEN,
    CALL_FSTAT, CALL_STAT, CALL_PREAD, CALL_READ, CALLS };
extern const char *const call_names[CALLS];

#define ALL_CALLS ((1u << CALLS) - 1)
#define NEVER UINT64_MAX

/* Of the calls in `mask` from now on: those before number `first` (from 0) succeed, then `count` are refused. */
void calls_arm(uint32_t mask, uint64_t first, uint64_t count);
void calls_disarm(void);

struct calls {
    uint64_t made;         /* calls in the mask since calls_arm */
    uint64_t of[CALLS];
    uint64_t refused;
    enum call refused_call; /* the last one that was refused */
    int64_t blocks;        /* from malloc and not freed, since the program began to count: calls_arm does not reset it */
    int64_t mapped;        /* bytes mapped and not unmapped, likewise */
};
struct calls calls_seen(void);

#endif
