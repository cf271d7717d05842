/* prompts.h - the prompts of a command line, in its order: arguments, lines of files, lines of standard input. Knows
 * nothing of UTF-8: what is not a line end belongs to the prompt. */
#ifndef SAMPLES_PENULT_PROMPTS_H
#define SAMPLES_PENULT_PROMPTS_H

#include <stddef.h>

#include "options.h"

/* Not NUL-terminated. */
struct prompt {
    const char *text;
    size_t bytes;
};

/* buffers: the contents of the files that prompts point into. */
struct prompts {
    struct prompt *list;
    size_t count, room;
    char **buffers;
    size_t buffer_count;
};

/* One prompt per argument and per line. A line ends with LF or CR LF; an empty line is an empty prompt. Says what went
 * wrong and returns the exit status. prompts_free in any case. */
int prompts_read(struct prompts *prompts, const struct options *options);
void prompts_free(struct prompts *prompts);

#endif
