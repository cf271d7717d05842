/* state.c - see state.h. */
#include "state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static uint64_t mix(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * 1099511628211u;
    return hash;
}
#define MIX_START 14695981039346656037u

/* ---- files, by system calls alone ----------------------------------------------------------------------------------- */

struct lines {
    long descriptor;
    size_t used, filled;
    char block[16384];
    char line[4608];
};

static int lines_open(struct lines *lines, const char *path) {
    lines->used = lines->filled = 0;
    lines->descriptor = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    return lines->descriptor >= 0;
}

/* The next line without its end, cut if it is longer than there is room; NULL at the end, which closes. */
static const char *lines_next(struct lines *lines) {
    size_t size = 0;
    for (;;) {
        if (lines->used == lines->filled) {
            long got = syscall(SYS_read, lines->descriptor, lines->block, sizeof lines->block);
            if (got <= 0) {
                syscall(SYS_close, lines->descriptor);
                return NULL;
            }
            lines->filled = (size_t)got;
            lines->used = 0;
        }
        char c = lines->block[lines->used++];
        if (c == '\n')
            break;
        if (size < sizeof lines->line - 1)
            lines->line[size++] = c;
    }
    lines->line[size] = '\0';
    return lines->line;
}

/* Not strtoull, which a test may have made a trap of. */
static uint64_t number(const char **p, unsigned base) {
    uint64_t value = 0;
    while (**p == ' ' || **p == '\t')
        ++*p;
    for (;; ++*p) {
        unsigned digit = **p >= '0' && **p <= '9'   ? (unsigned)(**p - '0')
                         : **p >= 'a' && **p <= 'f' ? (unsigned)(**p - 'a') + 10
                                                    : 16;
        if (digit >= base)
            return value;
        value = value * base + digit;
    }
}

static int field(const char *line, const char *name, unsigned base, uint64_t *out) {
    size_t size = strlen(name);
    if (strncmp(line, name, size) != 0 || line[size] != ':')
        return 0;
    line += size + 1;
    *out = number(&line, base);
    return 1;
}

/* ---- the thread ----------------------------------------------------------------------------------------------------- */

static void read_fp(struct thread_state *state) {
#if defined(__x86_64__)
    uint32_t mxcsr;
    uint16_t control, status;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(control));
    __asm__ volatile("fnstsw %0" : "=m"(status));
    state->fp = mxcsr;
    state->x87_control = control;
    state->x87_status = status & 0x387Fu; /* without the condition codes, which belong to nobody */
#elif defined(__aarch64__)
    uint64_t control, flags;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags));
    state->fp = control << 32 | (flags & 0xFFFFFFFFu);
#endif
}

void thread_state_read(struct thread_state *state) {
    int error = errno, cancelling;
    memset(state, 0, sizeof *state);
    read_fp(state);
    state->error = error;
    state->rounding = fegetround();
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &state->blocked, sizeof state->blocked);
    state->locale = uselocale((locale_t)0);
    sigaltstack(NULL, &state->alternate);
    prctl(PR_GET_NAME, state->name);
    syscall(SYS_sched_getaffinity, 0, sizeof state->affinity, state->affinity);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelling);
    pthread_setcancelstate(cancelling, NULL);
    state->cancelling = cancelling;
    errno = error;
}

static void say_number(const char *what, uint64_t was, uint64_t is, state_breach breach, void *user) {
    char a[32], b[32];
    if (was == is)
        return;
    snprintf(a, sizeof a, "%#llx", (unsigned long long)was);
    snprintf(b, sizeof b, "%#llx", (unsigned long long)is);
    breach(user, what, a, b);
}

static void say_text(const char *what, const char *was, const char *is, state_breach breach, void *user) {
    if (strcmp(was, is) != 0)
        breach(user, what, was, is);
}

void thread_state_compare(const struct thread_state *was, const struct thread_state *is, int with_errno,
                          state_breach breach, void *user) {
    say_number("floating-point mode or flags", was->fp, is->fp, breach, user);
    say_number("x87 control word", was->x87_control, is->x87_control, breach, user);
    say_number("x87 status word", was->x87_status, is->x87_status, breach, user);
    say_number("rounding", (uint64_t)was->rounding, (uint64_t)is->rounding, breach, user);
    if (with_errno)
        say_number("errno", (uint64_t)was->error, (uint64_t)is->error, breach, user);
    say_number("blocked signals", was->blocked, is->blocked, breach, user);
    say_number("uselocale", (uint64_t)(uintptr_t)was->locale, (uint64_t)(uintptr_t)is->locale, breach, user);
    say_number("alternate signal stack", (uint64_t)(uintptr_t)was->alternate.ss_sp, (uint64_t)(uintptr_t)is->alternate.ss_sp,
               breach, user);
    say_text("thread name", was->name, is->name, breach, user);
    say_number("CPU affinity", mix(MIX_START, was->affinity, sizeof was->affinity),
               mix(MIX_START, is->affinity, sizeof is->affinity), breach, user);
    say_number("cancellability", (uint64_t)was->cancelling, (uint64_t)is->cancelling, breach, user);
}

/* ---- settings ------------------------------------------------------------------------------------------------------- */

static struct lines shared_lines; /* whoever reads the state of a process is alone */

void settings_state_read(struct settings_state *state) {
    int error = errno;
    memset(state, 0, sizeof *state);
    for (int i = 0; i < STATE_SIGNALS; i++)
        if (i + 1 < 32 || i + 1 > 33) /* two belong to the C library, which takes them when it first needs them */
            syscall(SYS_rt_sigaction, i + 1, NULL, &state->signals[i], sizeof(uint64_t));
    const char *locale = setlocale(LC_ALL, NULL);
    snprintf(state->locale, sizeof state->locale, "%s", locale ? locale : "(none)");
    if (syscall(SYS_getcwd, state->directory, sizeof state->directory) < 0)
        strcpy(state->directory, "(none)");
    if (lines_open(&shared_lines, "/proc/self/status"))
        for (const char *line; (line = lines_next(&shared_lines));) {
            uint64_t value;
            if (field(line, "Umask", 8, &value))
                state->umask = (unsigned)value;
        }
    for (int i = 0; i < (int)RLIM_NLIMITS; i++)
        syscall(SYS_prlimit64, 0, i, NULL, &state->limits[i]);
    for (int i = 0; i < 3; i++) {
        syscall(SYS_getitimer, i, &state->timers[i]);
        /* what is left of it runs down by itself */
        state->timers[i].it_value.tv_sec = state->timers[i].it_value.tv_sec || state->timers[i].it_value.tv_usec;
        state->timers[i].it_value.tv_usec = 0;
    }
    state->group = (int)getpgid(0);
    state->session = (int)getsid(0);
    state->dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    state->no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    prctl(PR_GET_PDEATHSIG, &state->death_signal, 0, 0, 0);
    errno = error;
}

static void compare_each(const char *what, const void *was, const void *is, size_t size, size_t count,
                         state_breach breach, void *user) {
    for (size_t i = 0; i < count; i++) {
        const char *a = (const char *)was + i * size, *b = (const char *)is + i * size;
        char name[64];
        if (memcmp(a, b, size) == 0)
            continue;
        snprintf(name, sizeof name, "%s %zu", what, i);
        say_number(name, mix(MIX_START, a, size), mix(MIX_START, b, size), breach, user);
    }
}

void settings_state_compare(const struct settings_state *was, const struct settings_state *is, state_breach breach,
                            void *user) {
    for (int i = 0; i < STATE_SIGNALS; i++) {
        char name[64];
        snprintf(name, sizeof name, "disposition of signal %d", i + 1);
        say_number(name, mix(MIX_START, &was->signals[i], sizeof was->signals[i]),
                   mix(MIX_START, &is->signals[i], sizeof is->signals[i]), breach, user);
    }
    say_text("locale", was->locale, is->locale, breach, user);
    say_text("working directory", was->directory, is->directory, breach, user);
    say_number("umask", was->umask, is->umask, breach, user);
    compare_each("resource limit", was->limits, is->limits, sizeof was->limits[0], RLIM_NLIMITS, breach, user);
    compare_each("interval timer", was->timers, is->timers, sizeof was->timers[0], 3, breach, user);
    say_number("process group", (uint64_t)was->group, (uint64_t)is->group, breach, user);
    say_number("session of processes", (uint64_t)was->session, (uint64_t)is->session, breach, user);
    say_number("dumpable", (uint64_t)was->dumpable, (uint64_t)is->dumpable, breach, user);
    say_number("no_new_privs", (uint64_t)was->no_new_privileges, (uint64_t)is->no_new_privileges, breach, user);
    say_number("parent death signal", (uint64_t)was->death_signal, (uint64_t)is->death_signal, breach, user);
}

/* ---- what every thread changes -------------------------------------------------------------------------------------- */

/* The state lies where initstate's answer points: a word for the type and the position, and 31 more at most. */
static uint64_t random_state(void) {
    static char other[32];
    char *current = initstate(1, other, 8);
    uint64_t hash = current ? mix(MIX_START, current, 32 * sizeof(int32_t)) : 0;
    if (current)
        setstate(current);
    return hash;
}

static uint64_t environment(void) {
    uint64_t hash = mix(MIX_START, &environ, sizeof(char **));
    for (char **each = environ; each && *each; each++)
        hash = mix(mix(hash, each, sizeof *each), *each, strlen(*each) + 1);
    return hash;
}

static void read_descriptors(struct busy_state *state) {
    static _Alignas(8) char entries[8192];
    long directory = syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long got;
    while (directory >= 0 && (got = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0) {
        for (long at = 0; at < got;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            const char *name = entry->d_name;
            at += entry->d_reclen;
            if (*name == '.')
                continue;
            int descriptor = (int)number(&name, 10);
            struct stat status;
            if (descriptor == directory || syscall(SYS_newfstatat, descriptor, "", &status, AT_EMPTY_PATH) != 0)
                continue;
            uint64_t what[] = {(uint64_t)descriptor, (uint64_t)status.st_dev, (uint64_t)status.st_ino,
                (uint64_t)syscall(SYS_fcntl, descriptor, F_GETFL), (uint64_t)syscall(SYS_fcntl, descriptor, F_GETFD)};
            state->descriptors++;
            state->descriptor_sum += mix(MIX_START, what, sizeof what); /* a sum: the order does not matter */
            if (descriptor < 1024)
                state->descriptor_set[descriptor / 64] |= UINT64_C(1) << descriptor % 64;
        }
    }
    if (directory >= 0)
        syscall(SYS_close, directory);
}

static void read_mappings(struct busy_state *state) {
    if (!lines_open(&shared_lines, "/proc/self/maps"))
        return;
    for (const char *line; (line = lines_next(&shared_lines));) {
        uint64_t begin = number(&line, 16);
        line += *line == '-';
        uint64_t end = number(&line, 16);
        /* " rw-p offset device inode   name" */
        for (int i = 0; i < 3; i++) {
            line += strspn(line, " ");
            line += strcspn(line, " ");
        }
        uint64_t inode = number(&line, 10);
        line += strspn(line, " ");
        if (strcmp(line, "[heap]") == 0 || strcmp(line, "[stack]") == 0)
            continue;
        *(inode ? &state->files : &state->anonymous) += (int64_t)(end - begin);
    }
}

void busy_state_read(struct busy_state *state) {
    int error = errno;
    uint64_t value, own = 0;
    struct rlimit space = {0};
    memset(state, 0, sizeof *state);
    if (lines_open(&shared_lines, "/proc/thread-self/status"))
        for (const char *line; (line = lines_next(&shared_lines));) {
            if (field(line, "SigPnd", 16, &value) || field(line, "ShdPnd", 16, &value))
                own |= value;
            else if (field(line, "Threads", 10, &value))
                state->threads = (int64_t)value;
        }
    state->pending = own;
    state->environment = environment();
    state->random = random_state();
    state->waiting_out = __fpending(stdout);
    state->waiting_err = __fpending(stderr);
    read_descriptors(state);
    read_mappings(state);
    getrlimit(RLIMIT_AS, &space);
    state->soft_limit = space.rlim_cur;
    errno = error;
}

int64_t state_threads(void) {
    int error = errno;
    uint64_t threads = 0;
    if (lines_open(&shared_lines, "/proc/self/status"))
        for (const char *line; (line = lines_next(&shared_lines));)
            field(line, "Threads", 10, &threads);
    errno = error;
    return (int64_t)threads;
}

void busy_state_compare(const struct busy_state *was, const struct busy_state *is, state_breach breach, void *user) {
    say_number("pending signals", was->pending, is->pending, breach, user);
    say_number("environment", was->environment, is->environment, breach, user);
    say_number("sequence of rand", was->random, is->random, breach, user);
    say_number("text held for stdout", was->waiting_out, is->waiting_out, breach, user);
    say_number("text held for stderr", was->waiting_err, is->waiting_err, breach, user);
}
