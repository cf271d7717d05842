/* interpose.c - see interpose.h. Memory comes from glibc's own names for its allocator (or the sanitizer's), files and
 * mappings from the kernel, the rest from the next definition, which is looked up before anything is armed. */
#include "interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/futex.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN
#endif

/* The sanitizer's own definitions are weak, ours come before them: it must still see every block and thread. */
#ifdef UNDER_ASAN
#define BELOW(name) __interceptor_##name
extern int __interceptor_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
#else
#define BELOW(name) __libc_##name
#endif
extern void *BELOW(malloc)(size_t size);
extern void *BELOW(calloc)(size_t count, size_t size);
extern void *BELOW(realloc)(void *block, size_t size);
extern void BELOW(free)(void *block);

const char *const call_names[CALLS] = {"malloc", "calloc", "realloc", "mmap", "munmap", "mprotect", "madvise",
    "pthread_create", "pthread_attr_init", "pthread_attr_setstack", "pthread_attr_setsigmask_np", "pthread_sigmask", "open",
    "close", "fstat", "stat", "lstat", "pread", "read", "sched_getaffinity", "sysconf", "pthread_setname_np", "syscall"};
static const int usual_errors[CALLS] = {ENOMEM, ENOMEM, ENOMEM, ENOMEM, ENOMEM, ENOMEM, ENOMEM, EAGAIN, ENOMEM, EINVAL,
    ENOMEM, EINVAL, EMFILE, EIO, EIO, EIO, EIO, EIO, EIO, EINVAL, EINVAL, ERANGE, EINTR};

static struct {
    int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int (*pthread_attr_init)(pthread_attr_t *);
    int (*pthread_attr_setstack)(pthread_attr_t *, void *, size_t);
    int (*pthread_attr_setsigmask_np)(pthread_attr_t *, const sigset_t *);
    int (*pthread_sigmask)(int, const sigset_t *, sigset_t *);
    int (*pthread_setname_np)(pthread_t, const char *);
    int (*sched_getaffinity)(pid_t, size_t, cpu_set_t *);
    long (*sysconf)(int);
    long (*syscall)(long, ...);
} next;

#define FIND_NEXT(name) *(void **)&next.name = dlsym(RTLD_NEXT, #name)
static void find_next(void) {
    FIND_NEXT(pthread_create);
    FIND_NEXT(pthread_attr_init);
    FIND_NEXT(pthread_attr_setstack);
    FIND_NEXT(pthread_attr_setsigmask_np);
    FIND_NEXT(pthread_sigmask);
    FIND_NEXT(pthread_setname_np);
    FIND_NEXT(sched_getaffinity);
    FIND_NEXT(sysconf);
    FIND_NEXT(syscall);
}

__attribute__((constructor)) static void before_main(void) {
    find_next();
}

/* Some are called before main, by a sanitizer's start. */
#define NEXT(name) (next.name ? next.name : (find_next(), next.name))

static long ask_kernel(long number, long a, long b, long c, long d, long e, long f) {
    return NEXT(syscall)(number, a, b, c, d, e, f);
}

static _Atomic int armed;
static struct plan plan; /* written while nothing is armed */
#ifdef UNDER_ASAN
static pthread_t planner;
#endif
static _Atomic uint64_t made, refused, hints, of[CALLS];
static _Atomic int refused_call;
static _Atomic int64_t blocks, mapped;
static struct {
    void *address;
    size_t bytes;
} left_mapped[1024];
static _Atomic unsigned left_count;

void calls_plan(const struct plan *next_plan) {
    armed = 0;
    for (int i = 0; i < CALLS; i++)
        of[i] = 0;
    made = refused = hints = 0;
    plan = *next_plan;
#ifdef UNDER_ASAN
    planner = pthread_self();
#endif
    armed = 1;
}

void calls_arm(uint32_t mask, uint64_t first, uint64_t count) {
    calls_plan(&(struct plan){.calls = mask, .first = first, .count = count});
}

void calls_listen(int on) {
    armed = on;
}

void calls_disarm(void) {
    armed = 0;
}

struct calls calls_seen(void) {
    struct calls seen = {.made = made, .refused = refused, .hints = hints, .refused_call = (enum call)refused_call,
        .blocks = blocks, .mapped = mapped};
    for (int i = 0; i < CALLS; i++)
        seen.of[i] = of[i];
    return seen;
}

static int chosen(uint64_t number) {
    if (plan.second && number == plan.second)
        return 1;
    if (number < plan.first || number - plan.first >= plan.count)
        return 0;
    return !plan.every_other || (number - plan.first) % 2 == 0;
}

/* A sanitizer allocates on each new thread before the plugin has it, and dies of a refusal. */
static int is_of_sanitizer(enum call call) {
#ifdef UNDER_ASAN
    return call != CALL_NAME && call != CALL_WAIT && !pthread_equal(pthread_self(), planner);
#else
    return call == CALLS;
#endif
}

/* Whether this call meets the plan; errno is the one that it then fails with. */
static int meets(enum call call) {
    if (!armed || !(plan.calls >> call & 1) || is_of_sanitizer(call))
        return 0;
    uint64_t number = atomic_fetch_add(&made, 1);
    of[call]++;
    if (!chosen(number))
        return 0;
    refused++;
    refused_call = (int)call;
    errno = plan.error ? plan.error : usual_errors[call];
    return 1;
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */

/* Blocks of the test itself come and go outside of arm and disarm, but stay balanced between two looks. */
static void *count_block(void *block) {
    blocks += block != NULL;
    return block;
}

void *malloc(size_t size) {
    return meets(CALL_MALLOC) ? NULL : count_block(BELOW(malloc)(size));
}

void *calloc(size_t count, size_t size) {
    return meets(CALL_CALLOC) ? NULL : count_block(BELOW(calloc)(count, size));
}

void *realloc(void *block, size_t size) {
    if (meets(CALL_REALLOC))
        return NULL;
    void *moved = BELOW(realloc)(block, size);
    blocks += !block && moved;
    return moved;
}

void free(void *block) {
    blocks -= block != NULL;
    BELOW(free)(block);
}

static int64_t whole_pages(size_t bytes) {
    return (int64_t)((bytes + 4095) & ~(size_t)4095);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset) {
    if (meets(CALL_MMAP))
        return MAP_FAILED;
    long base = ask_kernel(SYS_mmap, (long)address, (long)bytes, protection, flags, descriptor, offset);
    if (base != -1)
        mapped += whole_pages(bytes);
    return (void *)base;
}

static int unmap(void *address, size_t bytes) {
    mapped -= whole_pages(bytes);
    return (int)ask_kernel(SYS_munmap, (long)address, (long)bytes, 0, 0, 0, 0);
}

int munmap(void *address, size_t bytes) {
    if (!meets(CALL_MUNMAP))
        return unmap(address, bytes);
    unsigned at = atomic_fetch_add(&left_count, 1);
    if (at < sizeof left_mapped / sizeof left_mapped[0]) {
        left_mapped[at].address = address;
        left_mapped[at].bytes = bytes;
    }
    return -1;
}

void calls_settle(void) {
    unsigned count = atomic_exchange(&left_count, 0), room = sizeof left_mapped / sizeof left_mapped[0];
    for (unsigned i = 0; i < count && i < room; i++)
        unmap(left_mapped[i].address, left_mapped[i].bytes);
}

int mprotect(void *address, size_t bytes, int protection) {
    return meets(CALL_MPROTECT) ? -1 : (int)ask_kernel(SYS_mprotect, (long)address, (long)bytes, protection, 0, 0, 0);
}

int madvise(void *address, size_t bytes, int advice) {
    return meets(CALL_MADVISE) ? -1 : (int)ask_kernel(SYS_madvise, (long)address, (long)bytes, advice, 0, 0, 0);
}

/* ---- threads: these return what others leave in errno ------------------------------------------------------------------ */

static int refused_with(void) {
    return errno;
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*main)(void *),
                   void *restrict argument) {
    if (meets(CALL_THREAD))
        return refused_with();
#ifdef UNDER_ASAN
    return __interceptor_pthread_create(thread, attributes, main, argument);
#else
    return NEXT(pthread_create)(thread, attributes, main, argument);
#endif
}

int pthread_attr_init(pthread_attr_t *attributes) {
    return meets(CALL_ATTR_INIT) ? refused_with() : NEXT(pthread_attr_init)(attributes);
}

int pthread_attr_setstack(pthread_attr_t *attributes, void *stack, size_t bytes) {
    return meets(CALL_ATTR_STACK) ? refused_with() : NEXT(pthread_attr_setstack)(attributes, stack, bytes);
}

int pthread_attr_setsigmask_np(pthread_attr_t *attributes, const sigset_t *mask) {
    return meets(CALL_ATTR_SIGNALS) ? refused_with() : NEXT(pthread_attr_setsigmask_np)(attributes, mask);
}

int pthread_sigmask(int how, const sigset_t *restrict mask, sigset_t *restrict old) {
    return meets(CALL_SIGNALS) ? refused_with() : NEXT(pthread_sigmask)(how, mask, old);
}

int pthread_setname_np(pthread_t thread, const char *name) {
    return meets(CALL_NAME) ? refused_with() : NEXT(pthread_setname_np)(thread, name);
}

int sched_getaffinity(pid_t process, size_t bytes, cpu_set_t *set) {
    return meets(CALL_AFFINITY) ? -1 : NEXT(sched_getaffinity)(process, bytes, set);
}

long sysconf(int name) {
    return meets(CALL_SYSCONF) ? -1 : NEXT(sysconf)(name);
}

/* Of system calls that the plugin makes by number only a wait can be refused: a wake of a word that is there cannot fail. */
long syscall(long number, ...) {
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_futex && (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT && meets(CALL_WAIT))
        return -1;
    return ask_kernel(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static const char *other_root;

void calls_redirect(const char *root) {
    other_root = root;
}

static int is_hint(const char *path) {
    return strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (meets(CALL_OPEN)) {
        hints += (unsigned)is_hint(path);
        return -1;
    }
    char elsewhere[1024];
    if (other_root && is_hint(path)) {
        snprintf(elsewhere, sizeof elsewhere, "%s%s", other_root, path);
        path = elsewhere;
    }
    return (int)ask_kernel(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

/* Whatever it answers, Linux has closed it. */
int close(int descriptor) {
    int refuse = meets(CALL_CLOSE), error = errno;
    int status = (int)ask_kernel(SYS_close, descriptor, 0, 0, 0, 0, 0);
    if (!refuse)
        return status;
    errno = error;
    return -1;
}

static int status_of_path(enum call call, const char *path, struct stat *status, int flags) {
    return meets(call) ? -1 : (int)ask_kernel(SYS_newfstatat, AT_FDCWD, (long)path, (long)status, flags, 0, 0);
}

int fstat(int descriptor, struct stat *status) {
    if (meets(CALL_FSTAT))
        return -1;
    return (int)ask_kernel(SYS_newfstatat, descriptor, (long)"", (long)status, AT_EMPTY_PATH, 0, 0);
}

int stat(const char *restrict path, struct stat *restrict status) {
    return status_of_path(CALL_STAT, path, status, 0);
}

int lstat(const char *restrict path, struct stat *restrict status) {
    return status_of_path(CALL_LSTAT, path, status, AT_SYMLINK_NOFOLLOW);
}

/* How much of a read is left: -1 for an error, else the bytes to ask for. */
static ssize_t what_is_left(enum call call, size_t bytes) {
    if (!meets(call))
        return (ssize_t)bytes;
    if (plan.manner == REFUSE)
        return -1;
    if (plan.manner == END || bytes == 0)
        return 0;
    return bytes == 1 ? 1 : (ssize_t)(1 + (made * 2654435761u >> 8) % (bytes - 1));
}

ssize_t pread(int descriptor, void *to, size_t bytes, off_t offset) {
    ssize_t left = what_is_left(CALL_PREAD, bytes);
    return left <= 0 ? left : ask_kernel(SYS_pread64, descriptor, (long)to, left, offset, 0, 0);
}

/* The plugin reads so from /proc and /sys alone. */
ssize_t read(int descriptor, void *to, size_t bytes) {
    uint64_t before = refused;
    ssize_t left = what_is_left(CALL_READ, bytes);
    hints += refused - before;
    return left <= 0 ? left : ask_kernel(SYS_read, descriptor, (long)to, left, 0, 0, 0);
}
