/* test_guest.c - protects the host's process from the session's threads: there when a session is open and gone after, named,
 * deaf to signals, on stacks with a guard page, asleep between encodes, as many as the process may use and no more, and
 * stopped within a block.
 *
 *     test_guest PLUGIN MODEL [TOKENIZER] */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

#define TEXT "a castle at dawn, 8k"
#define THREADS 3
#define CANCELS 32

static const char *model_path;
static penult_model *model;
static struct batch batch;

static void encode(penult_session *session) {
    penult_error error;
    if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
}

static int wait_for_threads(unsigned count) {
    struct timespec wait = {.tv_nsec = 1000000};
    for (int i = 0; thread_count() != count && i < 1000; i++)
        nanosleep(&wait, NULL);
    return thread_count() == count;
}

/* ---- there and gone ------------------------------------------------------------------------------------------------- */

static void threads_live_as_long_as_the_session(void) {
    unsigned before = thread_count();
    penult_session *session = host_session(model, THREADS, 1, 0);
    unsigned opened = thread_count();
    encode(session); /* all of them have run now: each names itself */
    unsigned encoded = thread_count(), named = threads_named("penult/", NULL, 0);
    api->session_close(session);
    check(opened == before + THREADS && named == THREADS && encoded == opened, "%d threads for %d: %u when open, %u named "
          "penult/N, %u after an encode", THREADS, THREADS, opened - before, named, encoded - before);
    check(wait_for_threads(before), "none after closing");
}

/* ---- what each is --------------------------------------------------------------------------------------------------- */

static uint64_t blocked_signals(int tid) {
    char path[64], line[256];
    unsigned long long mask = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "SigBlk:", 7) == 0)
            mask = strtoull(line + 7, NULL, 16);
    if (file)
        fclose(file);
    return mask;
}

/* A parked thread's stack pointer; 0 where the kernel does not tell. */
static unsigned long long stack_pointer(int tid) {
    char path[64], line[256] = "", *field;
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
    FILE *file = fopen(path, "r");
    int got = file && fgets(line, sizeof line, file);
    if (file)
        fclose(file);
    /* number, six arguments, stack pointer, program counter */
    field = got ? line : NULL;
    for (int i = 0; field && i < 7; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 16) : 0;
}

/* The mapping that holds the address lies right above one that nobody may touch. */
static int has_guard(unsigned long long address) {
    char line[4352];
    unsigned long long begin, end, guard_end = 0;
    int found = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *rest;
        begin = strtoull(line, &rest, 16);
        end = strtoull(rest + 1, &rest, 16);
        if (address >= begin && address < end)
            found = guard_end == begin && strncmp(rest, " rw-p", 5) == 0;
        guard_end = strncmp(rest, " ---p", 5) == 0 ? end : 0;
    }
    if (file)
        fclose(file);
    return found;
}

static void a_worker_is_a_guest(void) {
    int tids[THREADS];
    /* all but KILL and STOP, which cannot be blocked, and the two that glibc keeps to itself */
    uint64_t cannot = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) | 3ull << 31;
    unsigned deaf = 0, guarded = 0, told = 0;
    uint64_t ours = blocked_signals(getpid());
    penult_session *session = host_session(model, THREADS, 1, 0);
    encode(session);
    struct timespec wait = {.tv_nsec = 50000000};
    nanosleep(&wait, NULL);
    unsigned count = threads_named("penult/", tids, THREADS);
    for (unsigned i = 0; i < count && i < THREADS; i++) {
        unsigned long long address = stack_pointer(tids[i]);
        deaf += (blocked_signals(tids[i]) | cannot) == UINT64_MAX;
        told += address != 0;
        guarded += (unsigned)has_guard(address);
    }
    check(count == THREADS && deaf == THREADS, "all signals are blocked on %u of %d workers", deaf, THREADS);
    check(blocked_signals(getpid()) == ours, "and on no thread of the host's");
    if (told < THREADS)
        skip("a guard page below each stack", "this kernel does not tell where a thread sleeps");
    else
        check(guarded == THREADS, "a guard page below the stacks of %u of %d workers", guarded, THREADS);
    api->session_close(session);
}

static void idle_costs_nothing(void) {
    struct timespec second = {.tv_sec = 1};
    for (uint32_t threads = 1; threads <= THREADS; threads += THREADS - 1) {
        penult_session *session = host_session(model, threads, 1, 0);
        encode(session);
        double before = cpu_seconds();
        nanosleep(&second, NULL);
        double used = cpu_seconds() - before;
        check(used < 0.002, "%u threads: %.3f ms of CPU in an idle second after an encode", threads, used * 1e3);
        api->session_close(session);
    }
}

/* ---- how many ------------------------------------------------------------------------------------------------------- */

static unsigned default_threads(void) {
    unsigned before = thread_count();
    penult_session *session = host_session(model, 0, 1, 0);
    unsigned count = thread_count() - before;
    api->session_close(session);
    return count;
}

/* Runs in a child: what it prepares lasts as long as the child. -1: could not be prepared. */
static int in_a_child(int (*prepare)(void)) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(prepare() ? (int)default_threads() : 255);
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) : -1;
}

static int nothing(void) {
    return 1;
}

static int pin_to_one(void) {
    cpu_set_t set, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 0;
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set)) {
            CPU_SET(i, &one);
            break;
        }
    return sched_setaffinity(0, sizeof one, &one) == 0;
}

static int put(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CREAT, 0644);
    int good = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0)
        close(file);
    return good;
}

static void make_parents(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
}

/* Every cgroup that /proc/self/cgroup names, in an empty /sys/fs/cgroup that only this child sees, with files that say what a
 * kernel's would: a real quota needs rights that a test rarely has. `above`: at the top, not in the group's own directory. */
static int fake_quota(const char *v2, const char *v1_quota, int above) {
    char line[4096], path[4600], map[64];
    FILE *groups = fopen("/proc/self/cgroup", "r");
    int made = 0;
    uid_t user = getuid();
    gid_t group = getgid();
    if (!groups || (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0))
        return 0;
    if (user) {
        put("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", (unsigned)user);
        put("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "0 %u 1", (unsigned)group);
        put("/proc/self/gid_map", map);
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("none", "/sys/fs/cgroup", "tmpfs", 0, "") != 0)
        return 0;
    while (fgets(line, sizeof line, groups)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *name = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!name)
            continue;
        *name++ = '\0';
        if (above || strcmp(name, "/") == 0)
            name += strlen(name); /* the top: above every group, and the group itself where it is the top */
        if (controllers[1] == '\0' && v2) {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", name);
            make_parents(path);
            made += put(path, v2);
        } else if ((strcmp(controllers + 1, "cpu") == 0 || strncmp(controllers + 1, "cpu,", 4) == 0) && v1_quota) {
            snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_period_us", name);
            make_parents(path);
            made += put(path, "100000\n");
            snprintf(path, sizeof path, "/sys/fs/cgroup/cpu%s/cpu.cfs_quota_us", name);
            made += put(path, v1_quota);
        }
    }
    fclose(groups);
    return made > 0;
}

static int half_v2(void) {
    return fake_quota("50000 100000\n", NULL, 0);
}

static int half_above_v2(void) {
    return fake_quota("50000 100000\n", NULL, 1);
}

static int none_v2(void) {
    return fake_quota("max 100000\n", NULL, 0);
}

static int more_v2(void) {
    return fake_quota("100000000 100000\n", NULL, 0);
}

static int broken_v2(void) {
    return fake_quota("-7 0 garbage\n", NULL, 0);
}

static int half_v1(void) {
    return fake_quota(NULL, "50000\n", 0);
}

static int none_v1(void) {
    return fake_quota(NULL, "-1\n", 0);
}

/* A real one, where this process may make a group (version 1 and root, as in some containers and test machines). */
static int real_quota(void) {
    char path[] = "/sys/fs/cgroup/cpu/penult-test/cgroup.procs", text[32];
    snprintf(text, sizeof text, "%d", (int)getpid());
    return put("/sys/fs/cgroup/cpu/penult-test/cpu.cfs_quota_us", "100000") && put(path, text);
}

static void the_default_is_what_the_process_may_use(void) {
    cpu_set_t set;
    int most = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : -1;
    int all = in_a_child(nothing);
    /* a quota of this machine's own may be below the affinity */
    check(all >= 1 && all <= most, "default: %d threads, affinity has %d CPUs", all, most);
    check(in_a_child(pin_to_one) == 1, "pinned to one CPU: 1 thread");
    const struct {
        const char *name;
        int (*prepare)(void);
        int wanted;
    } quotas[] = {
        {"cgroup 2, half a CPU", half_v2, 1}, {"cgroup 2, half a CPU at the top", half_above_v2, 1},
        {"cgroup 2, no quota", none_v2, most}, {"cgroup 2, a quota of 1000 CPUs", more_v2, most},
        {"cgroup 2, nonsense", broken_v2, most}, {"cgroup 1, half a CPU", half_v1, 1}, {"cgroup 1, no quota", none_v1, most},
    };
    for (size_t i = 0; i < sizeof quotas / sizeof quotas[0]; i++) {
        int found = in_a_child(quotas[i].prepare);
        if (found < 0)
            skip(quotas[i].name, "no namespace of its own, or no such cgroup here");
        else
            check(found == quotas[i].wanted, "%s: %d threads, expected %d", quotas[i].name, found, quotas[i].wanted);
    }
    if (mkdir("/sys/fs/cgroup/cpu/penult-test", 0755) != 0) {
        skip("a real quota of one CPU", "no cgroup can be made here");
        return;
    }
    int found = in_a_child(real_quota);
    rmdir("/sys/fs/cgroup/cpu/penult-test");
    if (found < 0)
        skip("a real quota of one CPU", "this kernel has none");
    else
        check(found == 1, "a real quota of one CPU: %d threads", found);
}

/* ---- cancelling ----------------------------------------------------------------------------------------------------- */

struct cancelling {
    penult_session *session;
    double delay, at;           /* of the call to session_cancel */
    _Atomic int begun, called;
    double last;                /* when the last block ended */
    double longest;             /* block of this encode */
    int after;                  /* blocks that ended after the call returned */
};

static int32_t watch(void *user, const penult_progress *progress) {
    struct cancelling *c = user;
    double now = seconds();
    (void)progress;
    c->after += atomic_load(&c->called);
    if (now - c->last > c->longest)
        c->longest = now - c->last;
    c->last = now;
    return 0;
}

static void *cancel_later(void *user) {
    struct cancelling *c = user;
    struct timespec wait;
    while (!atomic_load(&c->begun))
        sched_yield();
    wait = (struct timespec){.tv_sec = (time_t)c->delay, .tv_nsec = (long)((c->delay - (double)(time_t)c->delay) * 1e9)};
    nanosleep(&wait, NULL);
    c->at = seconds();
    api->session_cancel(c->session);
    atomic_store(&c->called, 1);
    return NULL;
}

static void a_cancel_takes_a_block_at_most(void) {
    penult_session *session = host_session(model, 2, 1, 0);
    struct cancelling plain = {.session = session};
    penult_model_info info = {.struct_size = sizeof info};
    api->model_describe(model, &info, NULL);
    double blocks = info.layers;
    batch.request.progress = watch;
    batch.request.user = &plain;
    double whole = 1e9, latency[CANCELS], worst = 0, longest = 0;
    for (int i = 0; i < 3; i++) {
        double began = plain.last = seconds();
        encode(session);
        whole = seconds() - began < whole ? seconds() - began : whole;
    }
    uint64_t right = batch_bits(&batch);
    unsigned cancelled = 0, late = 0, wrong = 0;
    uint32_t random = 12345;
    for (int i = 0; i < CANCELS; i++) {
        pthread_t thread;
        random = random * 1664525u + 1013904223u;
        struct cancelling c = {.session = session, .delay = whole * 0.95 * (double)random / 4294967296.0};
        batch.request.user = &c;
        if (pthread_create(&thread, NULL, cancel_later, &c) != 0)
            give_up("pthread_create");
        penult_error error;
        c.last = seconds();
        atomic_store(&c.begun, 1);
        int32_t status = api->encode_text(session, &batch.request, NULL, &error);
        double now = seconds();
        pthread_join(thread, NULL);
        latency[i] = status == PENULT_E_CANCELLED ? now - c.at : 0;
        cancelled += status == PENULT_E_CANCELLED;
        wrong += status != PENULT_E_CANCELLED && status != PENULT_OK;
        late += status == PENULT_E_CANCELLED && c.after > 1; /* the block that was under way may end */
        if (status == PENULT_E_CANCELLED) {
            worst = latency[i] > worst ? latency[i] : worst;
            longest = c.longest > longest ? c.longest : longest;
        }
    }
    batch.request.progress = NULL;
    encode(session);
    say("an encode took %.1f ms, a block of it %.2f; %u of %d cancelled: median %.2f ms after the call, most %.2f; longest block "
        "of those %.2f", whole * 1e3, whole * 1e3 / blocks, cancelled, CANCELS, median(latency, CANCELS) * 1e3, worst * 1e3,
        longest * 1e3);
    check(cancelled >= CANCELS / 4 && wrong == 0 && late == 0, "%u cancels, none took more than the block under way (%u did)",
          cancelled, late);
    /* by the clock only where a block is longer than a busy machine's whims */
    if (whole / blocks > 0.01)
        check(worst <= 1.5 * longest + 0.005, "cancelled within %.2f ms, a block took up to %.2f", worst * 1e3, longest * 1e3);
    check(batch_bits(&batch) == right, "and the session gives the same bits afterwards");
    /* a cancel while idle is nothing */
    api->session_cancel(session);
    encode(session);
    check(batch_bits(&batch) == right, "a cancel while idle does not touch the next encode");
    api->session_close(session);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4)
        give_up("usage: test_guest PLUGIN MODEL [TOKENIZER]");
    model_path = argv[2];
    host_load(argv);
    model = host_open(model_path, argc > 3 ? argv[3] : NULL, PENULT_MAP);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    threads_live_as_long_as_the_session();
    a_worker_is_a_guest();
    idle_costs_nothing();
    the_default_is_what_the_process_may_use();
    a_cancel_takes_a_block_at_most();
    api->model_close(model);
    batch_free(&batch);
    return done();
}
