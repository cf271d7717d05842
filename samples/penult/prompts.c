/* prompts.c - see prompts.h. */
#include "prompts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"
#include "say.h"

#define FIRST_BUFFER 65536

static int add(struct prompts *prompts, const char *text, size_t bytes) {
    if (prompts->count == prompts->room) {
        size_t room = prompts->room > 0 ? prompts->room * 2 : 16;
        struct prompt *grown = realloc(prompts->list, room * sizeof *grown);
        if (grown == NULL) {
            return say_failed("no memory for %zu prompts", room);
        }
        prompts->list = grown;
        prompts->room = room;
    }
    prompts->list[prompts->count++] = (struct prompt){text, bytes};
    return STATUS_OK;
}

/* Reads to the end; *content is the caller's also after a failure. */
static int read_all(int file, const char *name, char **content, size_t *bytes) {
    size_t room = FIRST_BUFFER, used = 0;
    char *buffer = *content = malloc(room);
    while (buffer != NULL) {
        ssize_t got = read(file, buffer + used, room - used);
        if (interrupt_pending()) {
            return say_failed("interrupted while reading prompts from %s", name);
        }
        if (got < 0 && errno != EINTR) {
            return say_failed("prompts could not be read from %s: %s", name, strerror(errno));
        }
        if (got == 0) {
            *bytes = used;
            return STATUS_OK;
        }
        used += got > 0 ? (size_t)got : 0;
        if (used == room) {
            buffer = room <= SIZE_MAX / 2 ? realloc(buffer, room * 2) : NULL;
            *content = buffer != NULL ? buffer : *content;
            room *= 2;
        }
    }
    return say_failed("no memory for the prompts of %s after %zu bytes", name, used);
}

static int add_lines(struct prompts *prompts, const char *content, size_t bytes, const char *name) {
    if (bytes == 0) {
        return say_failed("%s is empty: it was expected to hold one prompt per line", name);
    }
    while (bytes > 0) {
        const char *end = memchr(content, '\n', bytes);
        size_t length = end != NULL ? (size_t)(end - content) : bytes;
        size_t taken = length + (end != NULL);
        if (end != NULL && length > 0 && content[length - 1] == '\r') {
            length--;
        }
        int status = add(prompts, content, length);
        if (status != STATUS_OK) {
            return status;
        }
        content += taken;
        bytes -= taken;
    }
    return STATUS_OK;
}

static int add_file(struct prompts *prompts, const char *name) {
    bool from_stdin = strcmp(name, "-") == 0;
    int file = from_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    const char *called = from_stdin ? "standard input" : name;
    size_t bytes = 0;
    if (file < 0) {
        return say_failed("prompts could not be read from %s: %s", called, strerror(errno));
    }
    char **content = &prompts->buffers[prompts->buffer_count++];
    int status = read_all(file, called, content, &bytes);
    if (!from_stdin) {
        close(file);
    }
    return status != STATUS_OK ? status : add_lines(prompts, *content, bytes, called);
}

int prompts_read(struct prompts *prompts, const struct options *options) {
    *prompts = (struct prompts){0};
    prompts->buffers = calloc(options->source_count + 1, sizeof *prompts->buffers);
    if (prompts->buffers == NULL) {
        return say_failed("no memory for %zu prompts", options->source_count);
    }
    for (size_t i = 0; i < options->source_count; i++) {
        const struct prompt_source *source = &options->sources[i];
        int status = source->from_file ? add_file(prompts, source->value)
                                       : add(prompts, source->value, strlen(source->value));
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

void prompts_free(struct prompts *prompts) {
    for (size_t i = 0; i < prompts->buffer_count; i++) {
        free(prompts->buffers[i]);
    }
    free(prompts->buffers);
    free(prompts->list);
    *prompts = (struct prompts){0};
}
