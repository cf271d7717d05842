/* limits.h - opens and encodes in a child process that a limit was put on, and says how that ended. Used by the tests of
 * limits; knows no limit itself. */
#ifndef PENULT_TESTS_LIMITS_H
#define PENULT_TESTS_LIMITS_H

#include "../memory/host.h"

#define MIB ((uint64_t)1 << 20)
#define MOST_SECONDS 10

struct limited {
    const char *name;
    uint32_t access, kernels, threads, max_prompts;
};

/* Where a child came to. With a status of the plugin added: what stopped it there. */
enum { REACHED_END = 0, OTHER_BITS = 90, NOT_LIMITED = 99, STAGE_MODEL = 100, STAGE_SESSION = 120, STAGE_ENCODE = 140 };

/* argv: program, plugin, model. Finds the bits that every child must come to, for each way. */
void limits_begin(char **argv, const struct limited *ways, unsigned count);
void limits_end(void);
/* Forks. In the child `impose` puts the limit (0: it could not), then a model and a session are opened, and encode. The
 * result is one of the above, or less than 0: the signal that killed it, -SIGALRM after MOST_SECONDS. */
int limits_run(unsigned way, int (*impose)(uint64_t limit), uint64_t limit, double *took);
/* In a child: the model is found here from now on. */
void limits_use_path(const char *path);
/* The bits of a way without a limit. */
uint64_t limits_bits(unsigned way);
/* The same for the calling process, which is a child itself. */
int limits_life(unsigned way);

/* Children under a growing limit: what came of them. */
struct sweep {
    unsigned ok, model, session, wrong, late, fell_back;
    int cut_short;     /* the larger limits could not be put: none may have sufficed */
    uint64_t enough;   /* the first limit that sufficed */
    double slowest;
    char first[160];   /* of the wrong ones */
    int32_t status[2]; /* what may be said for want of it; 0: nothing may */
};
void sweep_add(struct sweep *sweep, int result, uint64_t limit, double took);
/* Prints a line, and checks: the right status or success under each, never a crash, more room never worse, in time. */
void sweep_check(const struct sweep *sweep, const char *name, const char *unit);

#endif
