/* test_moments.c - protects the end of a process, and its children, from an encode that is under way: exit, _exit, return
 * from main, pthread_exit, SIGTERM, dlclose, fork and posix_spawn at random moments of it do what they always do, within
 * two seconds, and an encode that goes on gives the right bits.
 *
 *     test_moments PLUGIN MODEL NEIGHBOUR [MOMENTS [SEED]]     each of MOMENTS is a process of its own
 *
 * Half of them compute with OpenBLAS, which has a constructor and a destructor of its own. NEIGHBOUR is another library of
 * the host's, whose end comes after the plugin's and takes its time in half of the exits: workers compute all the while. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../memory/host.h"

#define TEXT "a castle at dawn, 8k"
#define PROMPTS 8
#define LINGER 100 /* milliseconds */
#define MOST_SECONDS 2.0
#define HANG_SECONDS 30.0 /* until a process counts as one that never ends */

extern char **environ;

static const char *model_path;
static struct penult_library library;
static penult_model *model;
static penult_session *session;
static struct batch batch;
static long *lingers; /* the neighbour's */
static uint32_t kernels;
static const struct {
    uint32_t kernels;
    const char *name;
} sets[] = {{0, "best"}, {PENULT_KERNELS_OPENBLAS, "openblas"}};
#define SETS (sizeof sets / sizeof sets[0])
static uint64_t right, right_of[SETS];
static double whole, whole_of[SETS]; /* seconds of an encode */

/* ---- what a child tells --------------------------------------------------------------------------------------------- */

struct told {
    char what; /* 'A' it acts now, 'H' an exit handler ran, 'R' the encodes were right, 'W' one was not, 'C' its child's end */
    int value;
    double at;
};
static int to_parent;

static void tell(char what, int value) {
    struct told told = {what, value, seconds()};
    if (write(to_parent, &told, sizeof told) != (ssize_t)sizeof told)
        _exit(99);
}

static void at_exit(void) {
    tell('H', 0);
}

/* ---- a process that encodes ----------------------------------------------------------------------------------------- */

static _Atomic int inside, begun, stop;
static _Atomic unsigned wrong;

static void open_all(void) {
    model = host_open(model_path, NULL, PENULT_MAP);
    session = host_session(model, 2, PROMPTS, kernels);
    batch_make(&batch, model, PROMPTS, TEXT, strlen(TEXT), WANT_POOLED);
}

static void close_all(void) {
    api->session_close(session);
    api->model_close(model);
    batch_free(&batch);
}

static void *encode_on(void *unused) {
    for (int last = 0; !last;) {
        last = atomic_load(&stop); /* one whole encode begins after the moment */
        memset(batch.memory, 0, batch.bytes);
        atomic_store(&inside, 1);
        atomic_store(&begun, 1);
        int32_t status = api->encode_text(session, &batch.request, NULL, NULL);
        atomic_store(&inside, 0);
        wrong += status != PENULT_OK || batch_bits(&batch) != right;
    }
    tell(wrong ? 'W' : 'R', (int)wrong);
    return unused;
}

/* For a main thread that is no more. */
static void *encode_and_close(void *unused) {
    encode_on(unused);
    close_all();
    return unused;
}

static void wait_seconds(double wait) {
    struct timespec time = {.tv_sec = (time_t)wait, .tv_nsec = (long)((wait - (double)(time_t)wait) * 1e9)};
    nanosleep(&time, NULL);
}

static void finish(pthread_t thread) {
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    close_all();
}

/* ---- what happens --------------------------------------------------------------------------------------------------- */

static void linger(unsigned number) {
    *lingers = number / SETS % 2 ? LINGER : 0;
}

static int by_exit(pthread_t thread, unsigned number) {
    (void)thread;
    linger(number);
    exit(7);
}

static int by__exit(pthread_t thread, unsigned number) {
    (void)thread, (void)number;
    _exit(8);
}

static int by_return(pthread_t thread, unsigned number) {
    (void)thread;
    linger(number);
    return 9; /* all the way out of main */
}

static int by_pthread_exit(pthread_t thread, unsigned number) {
    (void)number;
    atomic_store(&stop, 1);
    pthread_detach(thread);
    pthread_exit(NULL);
}

static int by_signal(pthread_t thread, unsigned number) {
    (void)thread, (void)number;
    kill(getpid(), SIGTERM);
    return 10;
}

static int by_dlclose(pthread_t thread, unsigned number) {
    (void)number;
    penult_unload(&library);
    finish(thread);
    return 0;
}

/* What a forked child may do with its parent's handles, or instead. */
static void live_on(unsigned number) {
    struct batch own;
    penult_error error;
    switch (number / SETS % 5) {
    case 0:
        _exit(api->encode_text(session, &batch.request, NULL, &error) == PENULT_E_WRONG_PROCESS ? 0 : 1);
    case 1:
        api->session_cancel(session);
        api->session_close(session);
        api->model_close(model);
        _exit(0);
    case 2:
        execlp("true", "true", (char *)NULL);
        _exit(2);
    case 3:
        _exit(0);
    default:
        model = host_open(model_path, NULL, PENULT_MAP);
        session = host_session(model, 2, PROMPTS, kernels);
        batch_make(&own, model, PROMPTS, TEXT, strlen(TEXT), WANT_POOLED);
        if (api->encode_text(session, &own.request, NULL, &error) != PENULT_OK || batch_bits(&own) != right)
            _exit(3);
        api->session_close(session);
        api->model_close(model);
        _exit(0);
    }
}

/* A child's end, or SIGKILL's once it has hung. */
static int end_of(pid_t child, double most) {
    int status;
    for (double until = seconds() + most; seconds() < until; wait_seconds(0.0005))
        if (waitpid(child, &status, WNOHANG) == child)
            return status;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return status;
}

static int by_fork(pthread_t thread, unsigned number) {
    pid_t child = fork();
    if (child == 0)
        live_on(number);
    tell('C', child < 0 ? -1 : end_of(child, MOST_SECONDS));
    finish(thread);
    return 0;
}

static int by_spawn(pthread_t thread, unsigned number) {
    char name[] = "true", *const arguments[] = {name, NULL};
    pid_t child;
    (void)number;
    tell('C', posix_spawnp(&child, name, NULL, NULL, arguments, environ) ? -1 : end_of(child, MOST_SECONDS));
    finish(thread);
    return 0;
}

static const struct kind {
    const char *name;
    int (*happen)(pthread_t thread, unsigned number);
    int status;        /* as waitpid gives it */
    const char *tells; /* 'A' apart, in this order or another */
} kinds[] = {
    {"exit", by_exit, 7 << 8, "H"},
    {"_exit", by__exit, 8 << 8, ""},
    {"return from main", by_return, 9 << 8, "H"},
    {"pthread_exit from main", by_pthread_exit, 0, "RH"},
    {"SIGTERM", by_signal, SIGTERM, ""},
    {"dlclose", by_dlclose, 0, "RH"},
    {"fork", by_fork, 0, "CRH"},
    {"posix_spawn", by_spawn, 0, "CRH"},
};

/* In the child: what main returns. */
static int child_main(const struct kind *kind, unsigned number, double delay) {
    pthread_t thread;
    open_all();
    atexit(at_exit);
    if (pthread_create(&thread, NULL, kind->happen == by_pthread_exit ? encode_and_close : encode_on, NULL) != 0)
        return 98;
    while (!atomic_load(&begun))
        continue;
    wait_seconds(delay);
    tell('A', atomic_load(&inside));
    return kind->happen(thread, number);
}

/* ---- and whether it did --------------------------------------------------------------------------------------------- */

struct tally {
    unsigned good, during;
    double slowest;
    char first[200]; /* of what was not */
};

static void judge(const struct kind *kind, unsigned number, int from, int status, double ended, struct tally *tally) {
    struct told told;
    char tells[16] = "";
    size_t heard = 0;
    double acted = 0;
    int bad_child = 0;
    while (read(from, &told, sizeof told) == (ssize_t)sizeof told) {
        if (told.what == 'A') {
            acted = told.at;
            tally->during += told.value != 0;
        } else if (heard < sizeof tells - 1) {
            tells[heard++] = told.what;
            tells[heard] = '\0';
            bad_child |= told.what == 'C' && told.value != 0;
        }
    }
    double took = acted > 0 ? ended - acted : HANG_SECONDS;
    tally->slowest = took > tally->slowest ? took : tally->slowest;
    int good = status == kind->status && !bad_child && took <= MOST_SECONDS && heard == strlen(kind->tells);
    for (const char *each = kind->tells; *each; each++)
        good &= strchr(tells, *each) != NULL;
    tally->good += (unsigned)good;
    if (!good && !tally->first[0])
        snprintf(tally->first, sizeof tally->first,
                 "; moment %u (%s): status %#x (%#x expected), told \"%s\" (\"%s\")%s, %.2f s", number,
                 sets[number % SETS].name, (unsigned)status, (unsigned)kind->status, tells, kind->tells,
                 bad_child ? ", its child failed" : "", took);
}

static void measure(size_t set) {
    kernels = sets[set].kernels;
    open_all();
    for (int i = 0; i < 4; i++) {
        double began = seconds();
        if (api->encode_text(session, &batch.request, NULL, NULL) != PENULT_OK)
            give_up("encode_text");
        double took = seconds() - began;
        whole_of[set] = i == 0 || took < whole_of[set] ? took : whole_of[set];
    }
    right_of[set] = batch_bits(&batch);
    close_all();
}

int main(int argc, char **argv) {
    char why[512];
    if (argc < 4 || argc > 6)
        give_up("usage: test_moments PLUGIN MODEL NEIGHBOUR [MOMENTS [SEED]]");
    model_path = argv[2];
    unsigned moments = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 5;
    uint32_t random = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : (uint32_t)time(NULL);
    if (penult_load(&library, argv[1], why, sizeof why) != 0)
        give_up("%s", why);
    api = library.api;
    void *neighbour = dlopen(argv[3], RTLD_LAZY); /* it lacks functions that nobody calls here */
    lingers = neighbour ? dlsym(neighbour, "neighbour_lingers") : NULL;
    if (!lingers)
        give_up("%s is no neighbour", argv[3]);
    for (size_t set = 0; set < SETS; set++)
        measure(set);
    say("%u moments of each kind, in encodes of %.1f ms (%s) and %.1f ms (%s); seed %u", moments, whole_of[0] * 1e3,
        sets[0].name, whole_of[1] * 1e3, sets[1].name, random);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        struct tally tally = {.good = 0};
        for (unsigned i = 0; i < moments; i++) {
            int ends[2];
            random = random * 1664525u + 1013904223u;
            kernels = sets[i % SETS].kernels;
            right = right_of[i % SETS];
            whole = whole_of[i % SETS];
            double delay = whole * 0.95 * (double)(random >> 8) / 16777216.0;
            fflush(stdout);
            if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
                give_up("pipe");
            pid_t child = fork();
            if (child == 0) {
                to_parent = ends[1];
                return child_main(&kinds[k], i, delay);
            }
            close(ends[1]);
            int status = end_of(child, HANG_SECONDS);
            judge(&kinds[k], i, ends[0], status, seconds(), &tally);
            close(ends[0]);
        }
        check(tally.good == moments, "%s: as promised at %u of %u moments, %u of them inside an encode, slowest %.3f s%s",
              kinds[k].name, tally.good, moments, tally.during, tally.slowest, tally.first);
        /* one that comes when everything is over protects nothing */
        check(tally.during * 2 >= moments, "%s: at least half of the moments were inside an encode (%u of %u)",
              kinds[k].name, tally.during, moments);
    }
    return done();
}
