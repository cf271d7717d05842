/* outbox.h - files that appear all together and complete, or not at all. Each is written beside its final name and
 * renamed when all are done; a failure or Ctrl-C before that removes them. Knows nothing of what is in them. */
#ifndef SAMPLES_PENULT_OUTBOX_H
#define SAMPLES_PENULT_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* part: NULL where the target is no regular file (a device, a pipe), which is written in place. */
struct outbox_file {
    char *path;
    char *part;
    FILE *stream;
    uint64_t bytes;
};

struct outbox {
    struct outbox_file *files;
    size_t count;
};

/* A stream to write the file to, or NULL after saying why not. */
FILE *outbox_open(struct outbox *outbox, const char *path);

/* Ends the file opened last. False after saying why, if anything written to it did not arrive. */
bool outbox_close(struct outbox *outbox);

/* Renames all. False after saying why. */
bool outbox_commit(struct outbox *outbox);

/* Removes what was not committed and frees everything. */
void outbox_free(struct outbox *outbox);

#endif
