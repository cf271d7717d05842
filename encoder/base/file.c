/* file.c - opens, checks and reads regular files. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

/* Below a page with all else in its frame: the thread may be a host's with a small stack. Linux takes 4095 bytes. */
#define PATH_ROOM 3800

static int join(char *out, size_t room, const char *directory, const char *name) {
    size_t head = directory ? strlen(directory) : 0;
    size_t tail = strlen(name);
    int slash = head > 0 && directory[head - 1] != '/';
    if (head + tail + 2 > room)
        return 0;
    if (head)
        memcpy(out, directory, head);
    if (slash)
        out[head++] = '/';
    memcpy(out + head, name, tail + 1);
    return 1;
}

static struct file_identity identify(const struct stat *status) {
    return (struct file_identity){
        .device = (uint64_t)status->st_dev,
        .inode = (uint64_t)status->st_ino,
        .bytes = (uint64_t)status->st_size,
        .modified_s = (int64_t)status->st_mtim.tv_sec,
        .modified_ns = (int64_t)status->st_mtim.tv_nsec,
    };
}

static const char *kind_of(mode_t mode) {
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a FIFO";
    if (S_ISCHR(mode) || S_ISBLK(mode))
        return "a device";
    if (S_ISSOCK(mode))
        return "a socket";
    return "not a file";
}

/* A path is the least important part of a sentence about it: a long one is cut from the left. */
#define PATH_SHOWN 200
static const char *shorten(const char *path) {
    size_t size = strlen(path);
    return size > PATH_SHOWN ? path + size - PATH_SHOWN : path;
}

static int file_fault(struct fault *fault, const char *path, const char *what, int error) {
    enum fault_code code = error == ENOENT || error == ENOTDIR ? FAULT_NOT_FOUND
                           : error == ENOMEM                   ? FAULT_NO_MEMORY
                                                               : FAULT_IO;
    const char *words = strerrordesc_np(error);
    return fault_set(fault, code, "%s: could not %s: %s", shorten(path), what, words ? words : "unknown error");
}

int file_open(struct file *file, const char *directory, const char *name, struct fault *fault) {
    char path[PATH_ROOM];
    struct stat status;
    *file = (struct file){.descriptor = -1};
    if (!join(path, sizeof path, directory, name))
        return fault_set(fault, FAULT_ARGUMENT, "the path of %.200s is longer than the %d bytes that are taken", name,
                         PATH_ROOM - 1);
    /* O_NONBLOCK: a FIFO must not hang us; it means nothing to a regular file */
    int descriptor;
    do
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (descriptor < 0 && errno == EINTR); /* a signal of the host's, while a network's or a user's file system answers */
    if (descriptor < 0)
        return file_fault(fault, path, "open it", errno);
    if (fstat(descriptor, &status) != 0) {
        int error = errno;
        close(descriptor);
        return file_fault(fault, path, "ask for its size", error);
    }
    if (!S_ISREG(status.st_mode)) {
        close(descriptor);
        return fault_set(fault, FAULT_IO, "%s: found %s, expected a regular file", shorten(path),
                         kind_of(status.st_mode));
    }
    file->descriptor = descriptor;
    file->bytes = (uint64_t)status.st_size;
    file->identity = identify(&status);
    return 0;
}

void file_close(struct file *file) {
    int kept = errno;
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
    errno = kept;
}

int file_read(const struct file *file, uint64_t offset, void *out, size_t bytes, const char *name, struct fault *fault) {
    char *to = out;
    if (offset > INT64_MAX - bytes)
        return fault_set(fault, FAULT_ARGUMENT, "%s: offset %llu is beyond any file", name, (unsigned long long)offset);
    while (bytes > 0) {
        ssize_t got = pread(file->descriptor, to, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return file_fault(fault, name, "read it", errno);
        if (got == 0)
            return fault_set(fault, FAULT_TRUNCATED, "%s: ends at byte %llu, while it was being read", name,
                             (unsigned long long)offset);
        to += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int file_check(const struct file *file, const char *name, struct fault *fault) {
    struct stat status;
    if (fstat(file->descriptor, &status) != 0) {
        const char *words = strerrordesc_np(errno);
        return fault_set(fault, FAULT_IO, "%s: could not ask for its size: %s", name, words ? words : "unknown error");
    }
    struct file_identity now = identify(&status);
    if (now.bytes != file->identity.bytes)
        return fault_set(fault, FAULT_CHANGED, "%s: has %llu bytes, had %llu when the model was opened", name,
                         (unsigned long long)now.bytes, (unsigned long long)file->identity.bytes);
    /* not the change time: it also moves when a link is made or removed, which changes no byte */
    if (now.modified_s != file->identity.modified_s || now.modified_ns != file->identity.modified_ns)
        return fault_set(fault, FAULT_CHANGED, "%s: was written to since the model was opened", name);
    return 0;
}

int file_map(const struct file *file, const char *name, uint64_t begin, uint64_t bytes, const unsigned char **out,
             struct fault *fault) {
    void *mapping = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, file->descriptor, (off_t)begin);
    if (mapping == MAP_FAILED)
        return file_fault(fault, name, "map it", errno);
    *out = mapping;
    return 0;
}

void file_unmap(const unsigned char *mapping, uint64_t bytes) {
    int kept = errno;
    if (mapping)
        munmap((void *)(uintptr_t)mapping, (size_t)bytes);
    errno = kept;
}

int file_read_all(const char *directory, const char *name, size_t limit, char **bytes, size_t *size, struct fault *fault) {
    struct file file;
    int status = file_open(&file, directory, name, fault);
    if (status)
        return status;
    if (file.bytes > limit) {
        status = fault_set(fault, FAULT_FORMAT, "%s: has %llu bytes, expected at most %zu", name,
                           (unsigned long long)file.bytes, limit);
    } else {
        size_t length = (size_t)file.bytes;
        char *block = memory_array(length + 1, 1);
        status = block ? file_read(&file, 0, block, length, name, fault)
                       : fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for its %zu bytes", name, length);
        if (status) {
            memory_free(block);
        } else {
            *bytes = block;
            *size = length;
        }
    }
    file_close(&file);
    return status;
}

int file_exists(const char *directory, const char *name) {
    char path[PATH_ROOM];
    struct stat status;
    int kept = errno;
    /* not stat: a dangling link is something that was meant to be there, and opening it says so */
    /* where the system will not say, opening it says why */
    int found = !join(path, sizeof path, directory, name) || lstat(path, &status) == 0 ||
                (errno != ENOENT && errno != ENOTDIR);
    errno = kept;
    return found;
}

int file_find_directory(const char *path, struct fault *fault) {
    struct stat status;
    int kept = errno, result = 0;
    if (stat(path, &status) != 0)
        result = file_fault(fault, path, "look at it", errno);
    else if (!S_ISDIR(status.st_mode))
        result = fault_set(fault, FAULT_UNSUPPORTED, "%s: found %s, expected a directory", shorten(path),
                           S_ISREG(status.st_mode) ? "a file" : kind_of(status.st_mode));
    errno = kept;
    return result;
}
