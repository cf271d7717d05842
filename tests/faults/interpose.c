/* interpose.c - see interpose.h. Memory comes from glibc's own names for its allocator, everything else from the kernel, so
 * that no symbol has to be looked up while the program starts. */
#include "interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const call_names[CALLS] = {"malloc", "calloc", "realloc", "mmap", "mprotect", "madvise", "pthread_create",
    "open", "fstat", "stat", "pread", "read"};

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void __libc_free(void *block);

static _Atomic int armed;
static _Atomic uint32_t mask;
static _Atomic uint64_t from, until;
static _Atomic uint64_t made, refused, of[CALLS];
static _Atomic int refused_call;
static _Atomic int64_t blocks, mapped;

void calls_arm(uint32_t which, uint64_t first, uint64_t count) {
    for (int i = 0; i < CALLS; i++)
        of[i] = 0;
    made = refused = 0;
    mask = which;
    from = first;
    until = count > UINT64_MAX - first ? UINT64_MAX : first + count;
    armed = 1;
}

void calls_disarm(void) {
    armed = 0;
}

struct calls calls_seen(void) {
    struct calls seen = {.made = made, .refused = refused, .refused_call = (enum call)refused_call, .blocks = blocks,
        .mapped = mapped};
    for (int i = 0; i < CALLS; i++)
        seen.of[i] = of[i];
    return seen;
}

static int refuse(enum call call, int error) {
    if (!armed || !(mask >> call & 1))
        return 0;
    uint64_t number = atomic_fetch_add(&made, 1);
    of[call]++;
    if (number < from || number >= until)
        return 0;
    refused++;
    refused_call = (int)call;
    errno = error;
    return 1;
}

/* Blocks of the test itself come and go outside of arm and disarm, but stay balanced between two looks. */
static void *count_block(void *block) {
    blocks += block != NULL;
    return block;
}

void *malloc(size_t size) {
    return refuse(CALL_MALLOC, ENOMEM) ? NULL : count_block(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    return refuse(CALL_CALLOC, ENOMEM) ? NULL : count_block(__libc_calloc(count, size));
}

void *realloc(void *block, size_t size) {
    if (refuse(CALL_REALLOC, ENOMEM))
        return NULL;
    void *moved = __libc_realloc(block, size);
    blocks += !block && moved;
    return moved;
}

void free(void *block) {
    blocks -= block != NULL;
    __libc_free(block);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset) {
    if (refuse(CALL_MMAP, ENOMEM))
        return MAP_FAILED;
    long base = syscall(SYS_mmap, address, bytes, protection, flags, descriptor, offset);
    if (base != -1)
        mapped += (int64_t)((bytes + 4095) & ~(size_t)4095);
    return (void *)base;
}

int munmap(void *address, size_t bytes) {
    mapped -= (int64_t)((bytes + 4095) & ~(size_t)4095);
    return (int)syscall(SYS_munmap, address, bytes);
}

int mprotect(void *address, size_t bytes, int protection) {
    return refuse(CALL_MPROTECT, ENOMEM) ? -1 : (int)syscall(SYS_mprotect, address, bytes, protection);
}

int madvise(void *address, size_t bytes, int advice) {
    return refuse(CALL_MADVISE, ENOMEM) ? -1 : (int)syscall(SYS_madvise, address, bytes, advice);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*main)(void *),
                   void *restrict argument) {
    static int (*real)(pthread_t *restrict, const pthread_attr_t *restrict, void *(*)(void *), void *restrict);
    if (refuse(CALL_THREAD, EAGAIN))
        return EAGAIN;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, attributes, main, argument);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return refuse(CALL_OPEN, EMFILE) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int fstat(int descriptor, struct stat *status) {
    return refuse(CALL_FSTAT, EIO) ? -1 : (int)syscall(SYS_newfstatat, descriptor, "", status, AT_EMPTY_PATH);
}

int stat(const char *restrict path, struct stat *restrict status) {
    return refuse(CALL_STAT, EIO) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, 0);
}

int lstat(const char *restrict path, struct stat *restrict status) {
    return refuse(CALL_STAT, EIO) ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

ssize_t pread(int descriptor, void *to, size_t bytes, off_t offset) {
    return refuse(CALL_PREAD, EIO) ? -1 : (ssize_t)syscall(SYS_pread64, descriptor, to, bytes, offset);
}

ssize_t read(int descriptor, void *to, size_t bytes) {
    return refuse(CALL_READ, EIO) ? -1 : (ssize_t)syscall(SYS_read, descriptor, to, bytes);
}
