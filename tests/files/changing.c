/* changing.c - see changing.h. The calls defined here are those that the loader binds the plugin's to. */
#include "changing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host.h"

static char folder[256], weights[300], beside[300], spare[300];
static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
static char *content; /* of the weights as they were */
static size_t size;

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

static struct {
    int armed;
    char path[600];
    const struct change *change;
    unsigned point;
    int failing; /* CALLS: none */
    int error;
    unsigned made[CALLS];
} hook;

static int is_target(int descriptor) {
    char link[64], path[600];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return strncmp(path, hook.path, strlen(hook.path)) == 0; /* a removed file has " (deleted)" behind its name */
}

/* 1: this call is to fail. */
static int meet(enum call call) {
    unsigned number = hook.made[call]++;
    if (hook.failing != (int)call || number != hook.point)
        return 0;
    errno = hook.error;
    return 1;
}

ssize_t pread(int descriptor, void *to, size_t bytes, off_t offset) {
    static int inside;
    if (hook.armed && !inside && is_target(descriptor)) {
        unsigned number = hook.made[CALL_PREAD];
        if (meet(CALL_PREAD))
            return -1;
        size_t most = bytes > 65536 || bytes > size / 2 ? size / 97 : 256;
        bytes = bytes < most ? bytes : most;
        if (hook.change && number == hook.point) {
            inside = 1;
            hook.change->make();
            inside = 0;
        }
    }
    return syscall(SYS_pread64, descriptor, to, bytes, offset);
}

int fstat(int descriptor, struct stat *status) {
    if (hook.armed && is_target(descriptor) && meet(CALL_FSTAT))
        return -1;
    return (int)syscall(SYS_newfstatat, descriptor, "", status, AT_EMPTY_PATH);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (hook.armed && strcmp(path, hook.path) == 0 && meet(CALL_OPEN))
        return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

void hook_arm(const char *name, const struct change *change, unsigned point) {
    memset(&hook, 0, sizeof hook);
    snprintf(hook.path, sizeof hook.path, "%s/%s", folder, name);
    hook.change = change;
    hook.point = point;
    hook.failing = CALLS;
    hook.armed = 1;
}

void hook_fail(const char *name, enum call call, int error, unsigned point) {
    hook_arm(name, NULL, point);
    hook.failing = (int)call;
    hook.error = error;
}

unsigned hook_count(enum call call) {
    hook.armed = 0;
    return hook.made[call];
}

/* ---- the folder ----------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        give_up("could not read %s", path);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *block = malloc(*bytes + 1);
    if (!block || fread(block, 1, *bytes, file) != *bytes)
        give_up("could not read %s", path);
    fclose(file);
    return block;
}

static void write_file(const char *path, const char *block, size_t bytes) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(block, 1, bytes, file) != bytes || fclose(file) != 0)
        give_up("could not write %s", path);
}

static void date_back(const char *path) {
    const struct timespec then[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    if (utimensat(AT_FDCWD, path, then, 0) != 0)
        give_up("could not date %s", path);
}

const char *changing_begin(const char *parent, const char *model) {
    snprintf(folder, sizeof folder, "%s/penult-changing-XXXXXX", parent);
    if (!mkdtemp(folder))
        return NULL;
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    snprintf(beside, sizeof beside, "%s/other", folder);
    snprintf(spare, sizeof spare, "%s/spare", folder);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char from[4096], to[600];
        size_t bytes;
        snprintf(from, sizeof from, "%s/%s", model, names[i]);
        snprintf(to, sizeof to, "%s/%s", folder, names[i]);
        char *block = read_file(from, &bytes);
        write_file(to, block, bytes);
        free(block);
    }
    char from[4096];
    snprintf(from, sizeof from, "%s/model.safetensors", model);
    content = read_file(from, &size);
    return folder;
}

void changing_restore(void) {
    unlink(weights);
    unlink(beside);
    unlink(spare);
    write_file(weights, content, size);
    date_back(weights);
}

void changing_other_weights(int in_place) {
    char *block = malloc(size);
    if (!block)
        give_up("no memory");
    memcpy(block, content, size);
    for (size_t i = size / 2; i < size / 2 + 4096; i++) /* the sign or the last bits of some weights: still finite */
        block[i] ^= i % 2 ? '\x80' : '\x01';
    if (in_place) {
        int descriptor = open(weights, O_WRONLY);
        if (descriptor < 0 || pwrite(descriptor, block, size, 0) != (ssize_t)size)
            give_up("could not write %s", weights);
        close(descriptor);
    } else {
        write_file(spare, block, size);
        if (rename(spare, weights) != 0)
            give_up("could not rename %s", spare);
    }
    free(block);
}

void changing_end(void) {
    char path[600];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    unlink(weights);
    unlink(beside);
    unlink(spare);
    rmdir(folder);
    free(content);
}

/* ---- changes -------------------------------------------------------------------------------------------------------- */

static int cut_to(off_t bytes) {
    if (truncate(weights, bytes) != 0)
        give_up("could not cut %s", weights);
    return 0;
}

static int cut_to_nothing(void) {
    return cut_to(0);
}

static int cut_in_half(void) {
    return cut_to((off_t)size / 2);
}

/* Inside the last page: no signal, the page's rest reads as zeros. */
static int cut_by_a_byte(void) {
    return cut_to((off_t)size - 1);
}

static int put(off_t at, size_t bytes) {
    char block[8192];
    int descriptor = open(weights, O_WRONLY);
    memset(block, 0x11, sizeof block);
    if (descriptor < 0 || pwrite(descriptor, block, bytes, at) != (ssize_t)bytes)
        give_up("could not write %s", weights);
    close(descriptor);
    return 0;
}

static int append(void) {
    return put((off_t)size, 100);
}

static int overwrite_header(void) {
    return put(20, 4000);
}

static int overwrite_weights(void) {
    for (size_t at = size / 8; at + 8192 < size; at += size / 8)
        put((off_t)at, 8192);
    return 0;
}

static int rewrite_whole(void) {
    changing_other_weights(1);
    return 0;
}

static int punch(void) {
    int descriptor = open(weights, O_WRONLY);
    int status = fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)size / 4, (off_t)size / 2);
    close(descriptor);
    return status != 0;
}

static int replace(void) {
    changing_other_weights(0);
    return 0;
}

static int delete(void) {
    return unlink(weights) != 0;
}

static int move(void) {
    return rename(weights, beside) != 0;
}

const struct change changes[] = {
    {"cut to nothing", EFFECT_SHRINK, cut_to_nothing}, {"cut in half", EFFECT_SHRINK, cut_in_half},
    {"cut by a byte", EFFECT_SHRINK, cut_by_a_byte},   {"appended to", EFFECT_BYTES, append},
    {"header overwritten", EFFECT_BYTES, overwrite_header}, {"weights overwritten", EFFECT_BYTES, overwrite_weights},
    {"rewritten in place", EFFECT_BYTES, rewrite_whole}, {"a hole punched", EFFECT_HOLE, punch},
    {"replaced by rename", EFFECT_NAME, replace},      {"deleted", EFFECT_NAME, delete},
    {"moved", EFFECT_NAME, move},
};
const size_t change_count = sizeof changes / sizeof changes[0];

int changing_dates_holes(void) {
    struct stat status;
    changing_restore();
    return punch() == 0 && stat(weights, &status) == 0 && status.st_mtim.tv_sec != 1000000000;
}
