/* conditioning_inside.h - what the two files that read a conditioning file share. For them alone. */
#ifndef SAMPLES_PENULT_CONDITIONING_INSIDE_H
#define SAMPLES_PENULT_CONDITIONING_INSIDE_H

#include <stdarg.h>

#include "conditioning_file.h"

struct reader {
    struct conditioning_file *file;
    char *why;
    size_t why_size;
};

/* Writes the sentence; false. */
__attribute__((format(printf, 2, 3))) bool conditioning_refuse(struct reader *reader, const char *format, ...);

/* A member of the manifest or of an object in it; false after conditioning_refuse. */
bool conditioning_whole(struct reader *reader, const json_value *object, const char *key, int64_t lowest, int64_t highest,
                        int64_t *out);
bool conditioning_string(struct reader *reader, const json_value *object, const char *key, bool may_be_null, const char **out);

/* Tokens of all towers; each has cells of its own in the text. */
size_t conditioning_count_tokens(const json_value *manifest);

/* "towers" with their tokens, for which the file has room. */
bool conditioning_take_towers(struct reader *reader);

#endif
