/* progress.h - one line on a terminal that says how far a long step is, and the place where Ctrl-C cancels it. */
#ifndef SAMPLES_PENULT_PROGRESS_H
#define SAMPLES_PENULT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* drawn: a line stands on the terminal and must be erased. */
struct progress {
    bool wanted;
    bool drawn;
    double began;
};

/* Draws only if stderr is a terminal and `quiet` is false. */
void progress_begin(struct progress *progress, bool quiet);

/* Shows "what done of total unit". Steps that are over within a moment show nothing. */
void progress_show(struct progress *progress, const char *what, uint64_t done, uint64_t total, const char *unit);

/* Erases the line. */
void progress_end(struct progress *progress);

/* Seconds on a clock that only goes forward. */
double progress_clock(void);

#endif
