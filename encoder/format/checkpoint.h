/* checkpoint.h - the tensors of a model, whatever files they lie in: one safetensors file, or the shards that an index names.
 * Opening reads headers alone; loading brings those tensors into memory that are wanted, mapped in place or copied.
 * Told apart by their first bytes, never by their names. Knows no CLIP name. */
#ifndef ENCODER_FORMAT_CHECKPOINT_H
#define ENCODER_FORMAT_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"
#include "../base/file.h"
#include "../base/report.h"
#include "../base/tensor.h"
#include "safetensors.h"

/* A run of bytes of one file that is in memory. */
struct span {
    unsigned file;
    uint64_t begin, end;       /* in the file; begin at a page where it is mapped */
    const unsigned char *data; /* of begin */
};

struct checkpoint_file {
    const char *name; /* for messages */
    struct file file; /* mapped: open as long as the checkpoint, to see that it did not change */
    struct safetensors header;
    int missing; /* a shard that is not there: its tensors have DTYPE_NONE */
};

struct checkpoint {
    const char *name;      /* of the file or the index */
    struct tensor_set set; /* of all files together, until checkpoint_forget */
    struct checkpoint_file *files;
    unsigned file_count;
    char *names; /* of shards */
    struct span *spans;
    size_t span_count;
    uint64_t bytes;        /* of all files that are there */
    uint64_t bytes_loaded; /* of the spans */
    int copied;
};

/* `name` is in `directory` (NULL: a whole path); both live as long as the checkpoint. A shard that is not there is a WARNING
 * report and no fault until a tensor of it is wanted. */
int checkpoint_open(struct checkpoint *out, const char *directory, const char *name, const struct report *report,
                    struct fault *fault);
/* Gives data to the tensors whose byte in `used` is set. progress (or NULL) is for copies: bytes; nonzero cancels. */
int checkpoint_load(struct checkpoint *c, const unsigned char *used, int copy,
                    int (*progress)(void *user, uint64_t done, uint64_t total), void *user, struct fault *fault);
/* Frees the names and headers; data stays, and so does checkpoint_check. */
void checkpoint_forget(struct checkpoint *c);
/* FAULT_CHANGED if a mapped file is not the one that was opened any more. */
int checkpoint_check(const struct checkpoint *c, struct fault *fault);
void checkpoint_close(struct checkpoint *c);

#endif
