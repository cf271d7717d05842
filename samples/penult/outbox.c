/* outbox.c - see outbox.h. */
#include "outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"

static FILE *open_stream(const struct outbox_file *file) {
    int number = file->part != NULL ? open(file->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)
                                    : open(file->path, O_WRONLY | O_CLOEXEC);
    FILE *stream = number >= 0 ? fdopen(number, "wb") : NULL;
    if (stream == NULL && number >= 0) {
        int reason = errno;
        close(number);
        if (file->part != NULL) {
            unlink(file->part);
        }
        errno = reason;
    }
    return stream;
}

FILE *outbox_open(struct outbox *outbox, const char *path) {
    struct stat target;
    struct outbox_file file = {0};
    for (size_t i = 0; i < outbox->count; i++) {
        if (strcmp(outbox->files[i].path, path) == 0) {
            say_failed("%s would be written twice; give each --out and --heatmap a name of its own", path);
            return NULL;
        }
    }
    struct outbox_file *grown = realloc(outbox->files, (outbox->count + 1) * sizeof *grown);
    if (grown != NULL) {
        outbox->files = grown;
        file.path = strdup(path);
    }
    if (file.path == NULL) {
        say_failed("no memory for the name of %s", path);
        return NULL;
    }
    if (stat(path, &target) != 0 || S_ISREG(target.st_mode) || S_ISDIR(target.st_mode)) {
        if (asprintf(&file.part, "%s.part-%ld", path, (long)getpid()) < 0) {
            free(file.path);
            say_failed("no memory for the name of %s", path);
            return NULL;
        }
    }
    file.stream = open_stream(&file);
    if (file.stream == NULL) {
        say_failed("%s could not be written: %s", path, strerror(errno));
        free(file.path);
        free(file.part);
        return NULL;
    }
    outbox->files[outbox->count++] = file;
    return file.stream;
}

bool outbox_close(struct outbox *outbox) {
    struct outbox_file *file = &outbox->files[outbox->count - 1];
    FILE *stream = file->stream;
    struct stat written;
    file->stream = NULL;
    if (!ferror(stream)) {
        errno = 0; /* else it still is the reason of the write that failed */
    }
    bool arrived = fflush(stream) == 0 && !ferror(stream) && fstat(fileno(stream), &written) == 0;
    int reason = errno;
    if (fclose(stream) != 0 && arrived) {
        arrived = false;
        reason = errno;
    }
    if (!arrived) {
        say_failed("%s could not be written: %s", file->path, reason != 0 ? strerror(reason) : "write error");
        return false;
    }
    file->bytes = (uint64_t)written.st_size;
    return true;
}

bool outbox_commit(struct outbox *outbox) {
    for (size_t i = 0; i < outbox->count; i++) {
        struct outbox_file *file = &outbox->files[i];
        if (file->part != NULL && rename(file->part, file->path) != 0) {
            say_failed("%s could not be written: %s", file->path, strerror(errno));
            return false;
        }
        free(file->part);
        file->part = NULL;
    }
    return true;
}

void outbox_free(struct outbox *outbox) {
    for (size_t i = 0; i < outbox->count; i++) {
        struct outbox_file *file = &outbox->files[i];
        if (file->stream != NULL) {
            fclose(file->stream);
        }
        if (file->part != NULL) {
            unlink(file->part);
        }
        free(file->part);
        free(file->path);
    }
    free(outbox->files);
    *outbox = (struct outbox){0};
}
