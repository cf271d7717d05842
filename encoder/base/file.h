/* file.h - regular files, read whole or mapped. Knows no format.
 * Refuses anything that is not a regular file before reading a byte of it. */
#ifndef ENCODER_BASE_FILE_H
#define ENCODER_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"

/* What identifies the bytes that were opened: compared again before every encode. */
struct file_identity {
    uint64_t device, inode, bytes;
    int64_t modified_s, modified_ns;
};

struct file {
    int descriptor; /* -1: closed */
    uint64_t bytes;
    struct file_identity identity;
};

/* directory may be NULL: name is the whole path then. A name from a file's contents must be checked by the caller. */
int file_open(struct file *file, const char *directory, const char *name, struct fault *fault);
void file_close(struct file *file);
/* Exactly `bytes` bytes from `offset`, whatever the number of short reads. */
int file_read(const struct file *file, uint64_t offset, void *out, size_t bytes, const char *name, struct fault *fault);
/* FAULT_CHANGED if the file is not what it was at file_open. */
int file_check(const struct file *file, const char *name, struct fault *fault);

/* Bytes [begin, begin + bytes) of it, read-only and shared with every process that maps them. begin is at a page; bytes is
 * not 0. */
int file_map(const struct file *file, const char *name, uint64_t begin, uint64_t bytes, const unsigned char **out,
             struct fault *fault);
void file_unmap(const unsigned char *mapping, uint64_t bytes);

/* Opens, reads all (limit bytes at most, else FAULT_FORMAT naming both numbers), closes. *bytes is one memory block, with
 * a NUL behind the last byte that is not counted in *size. */
int file_read_all(const char *directory, const char *name, size_t limit, char **bytes, size_t *size, struct fault *fault);
/* 1 if there is something of that name, a dangling link included, or if the system will not say, or would not take so long a
 * path: opening it says why. */
int file_exists(const char *directory, const char *name);
/* 0 if path is a directory; else why not: FAULT_NOT_FOUND, FAULT_IO (no permission, a name too long), FAULT_UNSUPPORTED. */
int file_find_directory(const char *path, struct fault *fault);

#endif
