/* modes.h - floating-point modes that a host may have set on the thread that calls. Knows no plugin. */
#ifndef PENULT_TESTS_MODES_H
#define PENULT_TESTS_MODES_H

#include <stddef.h>

struct mode {
    const char *name;
    void (*enter)(void); /* NULL: a plain thread */
};
extern const struct mode modes[];
extern const size_t mode_count;

#endif
