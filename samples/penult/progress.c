/* progress.c - see progress.h. */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS 24
#define SILENT_SECONDS 0.2

double progress_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void progress_begin(struct progress *progress, bool quiet) {
    *progress = (struct progress){.wanted = !quiet && isatty(STDERR_FILENO), .began = progress_clock()};
}

void progress_show(struct progress *progress, const char *what, uint64_t done, uint64_t total, const char *unit) {
    char bar[BAR_CELLS + 1];
    if (!progress->wanted || total == 0 || progress_clock() - progress->began < SILENT_SECONDS) {
        return;
    }
    double share = (double)done / (double)total;
    for (int i = 0; i < BAR_CELLS; i++) {
        bar[i] = i < (int)(share * BAR_CELLS + 0.5) ? '#' : '.';
    }
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r%s [%s] %3.0f %% of %llu %s\033[K", what, bar, share * 100, (unsigned long long)total, unit);
    progress->drawn = true;
}

void progress_end(struct progress *progress) {
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
        progress->drawn = false;
    }
}
