/* interpose.h - every call by which the plugin can ask the system for something, counted and refused at will.
 *
 * The test program defines these functions itself, and the loader binds the plugin's calls to the program's (it comes first
 * in the search). So does glibc for what pthread_create allocates. Only calls between arm and disarm count, on whatever
 * thread they are made; the test itself makes none in between. Knows nothing of what the plugin should make of a refusal. */
#ifndef PENULT_TESTS_INTERPOSE_H
#define PENULT_TESTS_INTERPOSE_H

#include <stdint.h>

enum call { CALL_MALLOC, CALL_CALLOC, CALL_REALLOC, CALL_MMAP, CALL_MUNMAP, CALL_MPROTECT, CALL_MADVISE, CALL_THREAD,
    CALL_ATTR_INIT, CALL_ATTR_STACK, CALL_ATTR_SIGNALS, CALL_SIGNALS, CALL_OPEN, CALL_CLOSE, CALL_FSTAT, CALL_STAT,
    CALL_LSTAT, CALL_PREAD, CALL_READ, CALL_AFFINITY, CALL_SYSCONF,
    /* workers make these too, whenever they come to it: their numbers differ from run to run */
    CALL_NAME, CALL_WAIT, CALLS };
extern const char *const call_names[CALLS]; /* as the plugin's symbol table spells them */

#define ALL_CALLS ((1u << CALLS) - 1)
#define ORDERED_CALLS (ALL_CALLS & ~(1u << CALL_NAME | 1u << CALL_WAIT))
#define NEVER UINT64_MAX

enum manner {
    REFUSE,    /* the call does nothing and fails; close alone does its work first, as Linux does */
    SHORT,     /* a read gives fewer bytes than were asked for, at least one */
    END        /* a read gives none: the file ends here */
};

struct plan {
    uint32_t calls;  /* a mask: what is counted, and so can be refused */
    enum manner manner;
    int error;       /* errno of a refusal; 0: the usual one of that call */
    uint64_t first;  /* calls before this number (from 0) succeed, */
    uint64_t count;  /* then so many are refused, */
    uint64_t second; /* and then only this one, if it is above 0 */
    int every_other; /* refuse only each second one of them */
};
void calls_plan(const struct plan *plan);
/* Of the calls in `mask` from now on: those before number `first` succeed, then `count` are refused. */
void calls_arm(uint32_t mask, uint64_t first, uint64_t count);
/* Leaves the plan and the counts as they are: 0 stops counting and refusing, 1 goes on. */
void calls_listen(int on);
void calls_disarm(void);
/* From now on files of /proc and /sys are those under this folder; NULL: the system's. */
void calls_redirect(const char *root);
/* munmap that was refused leaves a mapping: nobody's fault, and undone here, so that it is no leak. */
void calls_settle(void);

struct calls {
    uint64_t made; /* calls in the mask since the plan */
    uint64_t of[CALLS];
    uint64_t refused;
    uint64_t hints; /* of these: reads of /proc and /sys, by which the plugin only asks how many CPUs there are */
    enum call refused_call; /* the last one that was refused */
    int64_t blocks;         /* from malloc and not freed, since the program began to count: a plan does not reset it */
    int64_t mapped;         /* bytes mapped and not unmapped, likewise */
};
struct calls calls_seen(void);

/* What the plugin imports and neither this file interposes nor can fail, one name after the other into `out`; how many.
 * `handle` is dlopen's. A name here is a call of which no test knows what its refusal does. */
unsigned calls_unknown(void *handle, char *out, unsigned room, unsigned *known);

#endif
