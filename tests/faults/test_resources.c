/* test_resources.c - protects a host that is short of something else than memory: of processes, descriptors, stack, or of
 * memory that may be locked. Opening and encoding succeed with the bits they always have, or say what they did not get, soon,
 * and never crash.
 *
 *     test_resources PLUGIN MODEL
 *     test_resources PLUGIN MODEL stack BITS      (started by itself under a small stack) */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "limits.h"

#define NOBODY 65534

static char **arguments;

static const struct limited ways[] = {
    {"mapped, 2 threads", PENULT_MAP, 0, 2, 1},
    {"copied, openblas", PENULT_COPY, PENULT_KERNELS_OPENBLAS, 2, 1},
    {"threads by the CPUs", PENULT_MAP, 0, 0, 1},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static int limit(int resource, uint64_t most) {
    struct rlimit to;
    if (most == UINT64_MAX) /* as it is */
        return 1;
    to.rlim_cur = to.rlim_max = most;
    return setrlimit((__rlimit_resource_t)resource, &to) == 0;
}

/* Some limits do not bind root. Nobody may not reach the model by its path, but may look around where it stands. */
static int become_nobody(void) {
    if (geteuid() != 0)
        return 1;
    limits_use_path(".");
    return chdir(arguments[2]) == 0 && setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0;
}

static int limit_processes(uint64_t most) {
    return become_nobody() && limit(RLIMIT_NPROC, most);
}

static int limit_descriptors(uint64_t most) {
    for (int i = 3; i < 1024; i++) /* what the runner left open */
        close(i);
    return limit(RLIMIT_NOFILE, most);
}

static int limit_locked(uint64_t most) {
    return limit(RLIMIT_MEMLOCK, most) && become_nobody();
}

/* A host for sound keeps its memory locked, all that is yet to come included. */
static int lock_the_future(uint64_t most) {
    return limit(RLIMIT_MEMLOCK, most) && become_nobody() && mlockall(MCL_FUTURE) == 0;
}

static void sweep(const char *what, int (*impose)(uint64_t), const uint64_t *limits, size_t count, const int32_t *status,
                  const char *unit) {
    for (unsigned way = 0; way < WAYS; way++) {
        struct sweep sweep = {.status = {status[0], status[1]}};
        char name[96];
        size_t imposed = 0;
        snprintf(name, sizeof name, "%s, %s", what, ways[way].name);
        for (size_t i = 0; i < count; i++) {
            double took;
            int result = limits_run(way, impose, limits[i], &took);
            if (result == NOT_LIMITED) /* or not so high, where not even root may raise it */
                break;
            imposed++;
            sweep_add(&sweep, result, limits[i], took);
        }
        sweep.cut_short = imposed < count;
        if (imposed)
            sweep_check(&sweep, name, unit);
        else
            skip(name, "the system does not let this user put the limit");
    }
}

/* ---- stack ------------------------------------------------------------------------------------------------------------ */

/* The whole program under it, from the loader on: its main thread is the host's thread that calls. */
static int run_under_stack(uint64_t bytes, unsigned way) {
    char number[16], expected[32];
    int status;
    snprintf(number, sizeof number, "stack%u", way);
    snprintf(expected, sizeof expected, "%016llx", (unsigned long long)limits_bits(way));
    char *const argv[] = {arguments[0], arguments[1], arguments[2], number, expected, NULL}, *const environment[] = {NULL};
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        if (!limit(RLIMIT_STACK, bytes))
            _exit(NOT_LIMITED);
        alarm(MOST_SECONDS);
        execve("/proc/self/exe", argv, environment);
        _exit(NOT_LIMITED);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        give_up("the test itself has no child");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int under_stack(char **argv) {
    unsigned way = (unsigned)(argv[3][5] - '0');
    arguments = argv;
    limits_begin(argv, ways, WAYS);
    return limits_bits(way) == strtoull(argv[4], NULL, 16) ? limits_life(way) : OTHER_BITS;
}

static void small_stacks(void) {
    static const uint64_t sizes[] = {64, 96, 128, 256, 1024, 8192};
    for (unsigned way = 0; way < WAYS; way++) {
        char wrong[128] = "";
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            int result = run_under_stack(sizes[i] * 1024, way);
            if (result != REACHED_END)
                snprintf(wrong + strlen(wrong), sizeof wrong - strlen(wrong), " %llu KiB: %d",
                         (unsigned long long)sizes[i], result);
        }
        check(!wrong[0], "a main thread's stack of 64 KiB to 8 MiB, %s: success, the same bits;%s", ways[way].name, wrong);
    }
}

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

int main(int argc, char **argv) {
    static const uint64_t few[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, UINT64_MAX}, none[] = {0};
    static const uint64_t locked[] = {MIB / 4, MIB, 2 * MIB, 3 * MIB, 4 * MIB, 6 * MIB, 8 * MIB, 12 * MIB, 16 * MIB,
        64 * MIB, 256 * MIB, 1024 * MIB};
    /* a mapping that would be too much is refused with EAGAIN, which is the file's fault where it is the file's mapping */
    static const int32_t memory[2] = {PENULT_E_NO_MEMORY}, files[2] = {PENULT_E_IO}, nothing[2] = {0},
                         either[2] = {PENULT_E_NO_MEMORY, PENULT_E_IO};
    if (argc == 5)
        return under_stack(argv);
    if (argc != 3)
        give_up("usage: test_resources PLUGIN MODEL");
    arguments = argv;
    limits_begin(argv, ways, WAYS);
    sweep("processes", limit_processes, few, COUNT(few), memory, "processes");
    sweep("descriptors", limit_descriptors, few, COUNT(few), files, "descriptors");
    sweep("no lockable memory", limit_locked, none, COUNT(none), nothing, "bytes");
    sweep("all memory locked", lock_the_future, locked, COUNT(locked), either, "bytes");
    small_stacks();
    limits_end();
    return done();
}
