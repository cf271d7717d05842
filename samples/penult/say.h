/* say.h - what the command says: errors as one sentence on stderr, text of unknown origin made safe to print, and
 * whether standard output really took what was written. */
#ifndef SAMPLES_PENULT_SAY_H
#define SAMPLES_PENULT_SAY_H

#include <stddef.h>
#include <stdio.h>

/* Exit statuses. A signal that ends the command (Ctrl-C) ends it as that signal, after cleaning up. */
enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

/* Puts something that refuses every read or write where standard input, output or error are closed: the next file
 * opened would get their number, and what is printed would go into it. */
void say_begin(void);

/* Flushes and closes stdout. Returns `status`, or STATUS_FAILED with a sentence if the output could not be written. */
int say_end(int status);

/* "penult: " and the sentence and a newline, on stderr. The return value is STATUS_FAILED. */
__attribute__((format(printf, 1, 2))) int say_failed(const char *format, ...);

/* The same; returns STATUS_USAGE. */
__attribute__((format(printf, 1, 2))) int say_usage(const char *format, ...);

/* Prints text so that it cannot move the cursor or reorder a line: controls and invisible or direction marks become
 * U+XXXX, bytes that are not UTF-8 become \xXX. At most `most` characters, then "...". Returns how many were printed.
 * */
size_t say_text(FILE *to, const char *bytes, size_t count, size_t most);

/* A count with a comma at every three digits, in a buffer of the caller's. */
#define SAY_COUNT_MAX 32
const char *say_count(char text[SAY_COUNT_MAX], unsigned long long count);

#endif
