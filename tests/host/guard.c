/* guard.c - see guard.h. The state of the thread is compared at every call; that of the process where no other call
 * overlaps; threads, descriptors, mappings and the like where the host has no other thread that could have changed them.
 * Calls that open and close may leave something behind: a ledger adds it up, and is even when no handle is left. */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HANDLES 4096
/* Above what a program opens one by one. */
#define OWN_DESCRIPTORS 700
/* A thread that was joined is listed by the kernel for a moment more. */
#define MOST_WAITS 500

static char log_path[4096];
static int capture = -1; /* a file in memory that stands in for 1 and 2 */

/* In a file beside the log, LOG.counts, that all processes of a test add to, however they end. */
struct counts {
    _Atomic uint64_t calls, alone, single, balanced, breaches;
};
static struct counts own_counts, *counts = &own_counts;
static _Atomic int inside;
static _Atomic uint64_t numbers;
static _Atomic int process;

/* Owned by the one call that is alone. */
static struct settings_state settings_before, settings_after;
static struct busy_state busy_before, busy_after;
static struct {
    int known;
    int64_t descriptors, anonymous, files;
} ledger = {.known = 1};

static atomic_flag handles_lock = ATOMIC_FLAG_INIT;
static struct {
    const void *handle;
    int64_t threads;
} handles[HANDLES];
static unsigned handle_count;

static void lock(void) {
    while (atomic_flag_test_and_set(&handles_lock))
        continue;
}

static void unlock(void) {
    atomic_flag_clear(&handles_lock);
}

/* ---- the log -------------------------------------------------------------------------------------------------------- */

static void log_line(const char *line) {
    long file = log_path[0] ? syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (file < 0)
        return;
    syscall(SYS_write, file, line, strlen(line));
    syscall(SYS_close, file);
}

static void breach(void *user, const char *what, const char *was, const char *is) {
    const struct guard *guard = user;
    char line[1024];
    atomic_fetch_add(&counts->breaches, 1);
    snprintf(line, sizeof line, "%s: %s was %.300s, is %.300s\n", guard->function, what, was, is);
    log_line(line);
}

static void breach_numbers(struct guard *guard, const char *what, int64_t was, int64_t is) {
    char a[32], b[32];
    if (was == is)
        return;
    snprintf(a, sizeof a, "%lld", (long long)was);
    snprintf(b, sizeof b, "%lld", (long long)is);
    breach(guard, what, a, b);
}

static void share_counts(void) {
    char path[4200];
    snprintf(path, sizeof path, "%s.counts", log_path);
    long file = log_path[0] ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (file < 0)
        return;
    if (syscall(SYS_ftruncate, file, sizeof *counts) == 0) {
        long page = syscall(SYS_mmap, NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        counts = page == -1 ? counts : (struct counts *)page;
    }
    syscall(SYS_close, file);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("PENULT_CONTRACT_LOG");
    long file = syscall(SYS_memfd_create, "contract", 0u);
    snprintf(log_path, sizeof log_path, "%s", path ? path : "");
    capture = (int)syscall(SYS_fcntl, file, F_DUPFD_CLOEXEC, OWN_DESCRIPTORS);
    syscall(SYS_close, file);
    share_counts();
    atomic_store(&process, (int)getpid());
    /* touched now: a host that counts its pages must not find ours among them */
    memset(&settings_before, 1, sizeof settings_before);
    memset(&settings_after, 1, sizeof settings_after);
    memset(handles, 1, sizeof handles);
    memset(handles, 0, sizeof handles);
    settings_state_read(&settings_before);
    busy_state_read(&busy_before);
}

/* ---- handles -------------------------------------------------------------------------------------------------------- */

static void handle_add(const void *handle, int64_t threads) {
    lock();
    for (unsigned i = 0; i < HANDLES; i++)
        if (!handles[i].handle) {
            handles[i].handle = handle;
            handles[i].threads = threads;
            handle_count++;
            break;
        }
    unlock();
}

/* Its threads; -1 if it is none of ours. */
static int64_t handle_remove(const void *handle) {
    int64_t threads = -1;
    lock();
    for (unsigned i = 0; i < HANDLES && handle; i++)
        if (handles[i].handle == handle) {
            threads = handles[i].threads;
            handles[i].handle = NULL;
            handle_count--;
            break;
        }
    unlock();
    return threads;
}

static int64_t handle_threads(void) {
    int64_t sum = 0;
    lock();
    for (unsigned i = 0; i < HANDLES; i++)
        sum += handles[i].handle ? handles[i].threads : 0;
    unlock();
    return sum;
}

unsigned guard_handles(void) {
    return handle_count;
}

/* In the child of a fork: one thread, whoever was inside; the parent's handles have no threads here. */
static void notice_fork(void) {
    int own = (int)getpid(), was = atomic_load(&process);
    if (own == was || !atomic_compare_exchange_strong(&process, &was, own))
        return;
    atomic_store(&inside, 0);
    unlock();
    for (unsigned i = 0; i < HANDLES; i++)
        handles[i].threads = 0;
    ledger.known = handle_count == 0;
    ledger.descriptors = ledger.anonymous = ledger.files = 0;
}

/* ---- descriptors 1 and 2 -------------------------------------------------------------------------------------------- */

static void silence(struct guard *guard) {
    if (capture < 0)
        return;
    for (int i = 0; i < 2; i++) {
        guard->kept[i] = (int)syscall(SYS_fcntl, 1 + i, F_DUPFD_CLOEXEC, OWN_DESCRIPTORS);
        if (guard->kept[i] < 0 && syscall(SYS_fcntl, 1 + i, F_GETFD) >= 0) { /* a host with few descriptors to take */
            if (i && guard->kept[0] >= 0)
                syscall(SYS_close, guard->kept[0]);
            return;
        }
    }
    for (int i = 0; i < 2; i++)
        syscall(SYS_dup3, capture, 1 + i, 0);
    guard->silenced = 1;
}

static void listen_again(struct guard *guard) {
    struct stat status;
    char text[128];
    if (!guard->silenced)
        return;
    for (int i = 0; i < 2; i++) {
        if (guard->kept[i] >= 0)
            syscall(SYS_dup3, guard->kept[i], 1 + i, 0);
        syscall(SYS_close, guard->kept[i] >= 0 ? guard->kept[i] : 1 + i);
    }
    guard->silenced = 0;
    if (syscall(SYS_newfstatat, capture, "", &status, AT_EMPTY_PATH) != 0 || status.st_size == 0)
        return;
    long got = syscall(SYS_pread64, capture, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    breach(guard, "what was written to descriptors 1 and 2", "nothing", text);
    syscall(SYS_ftruncate, capture, 0);
    syscall(SYS_lseek, capture, 0, SEEK_SET);
}

/* ---- around a call -------------------------------------------------------------------------------------------------- */

void guard_begin(struct guard *guard, const char *function) {
    int error = errno;
    notice_fork();
    *guard = (struct guard){.function = function};
    guard->alone = atomic_fetch_add(&inside, 1) == 0;
    guard->number = atomic_fetch_add(&numbers, 1);
    atomic_fetch_add(&counts->calls, 1);
    if (guard->alone) {
        guard->single = state_threads() - handle_threads() == 1;
        settings_state_read(&settings_before);
        if (guard->single) {
            busy_state_read(&busy_before);
            silence(guard);
        }
    }
    errno = error;
    thread_state_read(&guard->thread);
}

/* Counts again while there are more threads than expected and a moment may help. */
static int64_t settled_threads(int64_t expected) {
    struct timespec wait = {.tv_nsec = 1000000};
    int64_t threads = state_threads();
    for (int i = 0; i < MOST_WAITS && threads > expected; i++) {
        syscall(SYS_nanosleep, &wait, NULL);
        threads = state_threads();
    }
    return threads;
}

static void check_nothing_stays(struct guard *guard) {
    breach_numbers(guard, "number of descriptors", busy_before.descriptors, busy_after.descriptors);
    if (busy_before.descriptors == busy_after.descriptors && busy_before.descriptor_sum != busy_after.descriptor_sum)
        breach(guard, "the open descriptors", "the same", "others or with other flags");
    if (busy_before.soft_limit != RLIM_INFINITY)
        return;
    breach_numbers(guard, "bytes of private mappings", busy_before.anonymous, busy_after.anonymous);
    breach_numbers(guard, "bytes of mapped files", busy_before.files, busy_after.files);
}

static void check_ledger(struct guard *guard, int measured) {
    ledger.known &= measured;
    if (measured) {
        ledger.descriptors += busy_after.descriptors - busy_before.descriptors;
        ledger.anonymous += busy_after.anonymous - busy_before.anonymous;
        ledger.files += busy_after.files - busy_before.files;
    }
    if (handle_count)
        return;
    if (ledger.known) {
        atomic_fetch_add(&counts->balanced, 1);
        breach_numbers(guard, "with no handle left, descriptors beyond the host's", 0, ledger.descriptors);
        breach_numbers(guard, "with no handle left, bytes of private mappings beyond the host's", 0, ledger.anonymous);
        breach_numbers(guard, "with no handle left, bytes of mapped files beyond the host's", 0, ledger.files);
    }
    ledger.known = 1;
    ledger.descriptors = ledger.anonymous = ledger.files = 0;
}

void guard_end(struct guard *guard, int success, enum effect effect, const void *handle, int64_t threads) {
    struct thread_state now;
    thread_state_read(&now);
    int error = errno;
    thread_state_compare(&guard->thread, &now, success, breach, guard);
    listen_again(guard);
    int undisturbed = guard->alone && atomic_load(&numbers) == guard->number + 1;
    int single = undisturbed && guard->single, measured = single && !guard->callbacks;
    atomic_fetch_add(&counts->alone, (uint64_t)undisturbed);
    atomic_fetch_add(&counts->single, (uint64_t)measured);
    if (undisturbed) {
        settings_state_read(&settings_after);
        if (!single) /* another thread of the host's may set it at any time */
            memcpy(settings_after.locale, settings_before.locale, sizeof settings_after.locale);
        settings_state_compare(&settings_before, &settings_after, breach, guard);
    }
    int64_t gone = effect == EFFECT_CLOSE ? handle_remove(handle) : -1;
    int64_t change = effect == EFFECT_OPEN ? threads : effect == EFFECT_CLOSE && gone > 0 ? -gone : 0;
    if (measured) {
        int64_t settled = threads < 0 ? state_threads() : settled_threads(busy_before.threads + change);
        if (effect == EFFECT_OPEN && threads < 0)
            threads = settled - busy_before.threads;
        else
            breach_numbers(guard, "threads", busy_before.threads + change, settled);
        busy_state_read(&busy_after);
        busy_state_compare(&busy_before, &busy_after, breach, guard);
        if (effect == EFFECT_NONE)
            check_nothing_stays(guard);
        if (effect == EFFECT_LOAD)
            breach_numbers(guard, "number of descriptors", busy_before.descriptors, busy_after.descriptors);
    }
    if (effect == EFFECT_OPEN)
        handle_add(handle, threads < 0 ? 0 : threads);
    if (guard->alone && (effect == EFFECT_OPEN || effect == EFFECT_CLOSE))
        check_ledger(guard, measured);
    else if (effect == EFFECT_OPEN || effect == EFFECT_CLOSE)
        ledger.known = 0;
    atomic_fetch_sub(&inside, 1);
    errno = error;
}

void guard_callback_begin(struct guard *guard) {
    struct thread_state now;
    thread_state_read(&now);
    thread_state_compare(&guard->thread, &now, 0, breach, guard);
    listen_again(guard);
    guard->callbacks++;
}

void guard_callback_end(struct guard *guard) {
    int error = errno;
    if (guard->alone)
        settings_state_read(&settings_before);
    if (guard->single)
        silence(guard);
    errno = error;
    thread_state_read(&guard->thread);
}
