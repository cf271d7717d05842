/* test_faults.c - protects a host from a system that says no: every call by which the plugin asks the system for something,
 * in every function of its table, is refused in turn, once and for ever; reads end early, are interrupted or come short. Each
 * time: the status that fits or none, a message that names the thing, no handle, nothing left behind, and on the next try
 * the bits of a clean run. Prints how many points there were.
 *
 *     test_faults PLUGIN MODEL MODELS [quick | short] */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "life.h"

#define MOST_POINTS 20000
#define SECONDS 60 /* a life that takes so long hangs: the alarm ends it */

/* ---- what can be refused, and what it may become -------------------------------------------------------------------- */

#define ONCE 1u        /* each call in turn */
#define FOR_EVER 2u    /* it and all later ones of its kind */
#define EVERY_OTHER 4u /* it and each second one after it */

/* status and other: what a refusal becomes; none: the call is made again or was only a hint. passes: or nothing. */
static const struct fault {
    const char *name;
    enum call call;
    enum manner manner;
    int error;
    unsigned modes;
    int32_t status, other;
    int passes;
} faults[] = {
    {"malloc", CALL_MALLOC, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"calloc", CALL_CALLOC, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"realloc", CALL_REALLOC, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"mmap ENOMEM", CALL_MMAP, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"mmap EPERM", CALL_MMAP, REFUSE, EPERM, ONCE, PENULT_E_NO_MEMORY, PENULT_E_IO, 0},
    {"munmap ENOMEM", CALL_MUNMAP, REFUSE, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"mprotect ENOMEM", CALL_MPROTECT, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    /* that a region shall have no huge pages is a hint, that it shall be backed is not */
    {"madvise ENOMEM", CALL_MADVISE, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 1},
    {"madvise EINVAL", CALL_MADVISE, REFUSE, EINVAL, ONCE | FOR_EVER, 0, 0, 0}, /* a kernel from before 5.14 */
    {"pthread_create", CALL_THREAD, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"pthread_attr_init", CALL_ATTR_INIT, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"pthread_attr_setstack", CALL_ATTR_STACK, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"pthread_attr_setsigmask_np", CALL_ATTR_SIGNALS, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"pthread_sigmask", CALL_SIGNALS, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_NO_MEMORY, 0, 0},
    {"pthread_setname_np", CALL_NAME, REFUSE, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"open EMFILE", CALL_OPEN, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_IO, 0, 0},
    {"open ENOMEM", CALL_OPEN, REFUSE, ENOMEM, ONCE, PENULT_E_NO_MEMORY, 0, 0},
    {"open EINTR", CALL_OPEN, REFUSE, EINTR, ONCE | EVERY_OTHER, 0, 0, 0},
    {"close EIO", CALL_CLOSE, REFUSE, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"fstat EIO", CALL_FSTAT, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_IO, 0, 0},
    {"stat EIO", CALL_STAT, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_IO, 0, 0},
    /* what cannot be looked at is opened: that says why not, or works */
    {"lstat EIO", CALL_LSTAT, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_IO, PENULT_E_NOT_FOUND, 1},
    {"pread EIO", CALL_PREAD, REFUSE, 0, ONCE | FOR_EVER, PENULT_E_IO, 0, 0},
    {"pread at the end", CALL_PREAD, END, 0, ONCE | FOR_EVER, PENULT_E_TRUNCATED, 0, 0},
    {"pread EINTR", CALL_PREAD, REFUSE, EINTR, ONCE | EVERY_OTHER, 0, 0, 0},
    {"pread short", CALL_PREAD, SHORT, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"read EIO", CALL_READ, REFUSE, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"read EINTR", CALL_READ, REFUSE, EINTR, ONCE | EVERY_OTHER, 0, 0, 0},
    {"read short", CALL_READ, SHORT, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"sched_getaffinity", CALL_AFFINITY, REFUSE, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"sysconf", CALL_SYSCONF, REFUSE, 0, ONCE | FOR_EVER, 0, 0, 0},
    {"futex wait EINTR", CALL_WAIT, REFUSE, 0, ONCE | EVERY_OTHER, 0, 0, 0},
};

/* ---- scenarios ------------------------------------------------------------------------------------------------------ */

#define BIT(call) (1u << CALL_##call)
#define STARTING (BIT(MMAP) | BIT(MADVISE) | BIT(MPROTECT) | BIT(THREAD) | BIT(ATTR_INIT) | BIT(ATTR_STACK) | BIT(SYSCONF))
#define STARTING_MAY (BIT(MALLOC) | BIT(CALLOC) | BIT(MUNMAP) | BIT(ATTR_SIGNALS) | BIT(SIGNALS) | BIT(NAME) | BIT(WAIT))
#define OPENING (BIT(CALLOC) | BIT(REALLOC) | BIT(OPEN) | BIT(CLOSE) | BIT(FSTAT) | BIT(STAT) | BIT(PREAD) | STARTING)
#define OPENING_MAY (BIT(LSTAT) | STARTING_MAY)
#define SESSION (BIT(CALLOC) | STARTING)
#define COUNTING (BIT(OPEN) | BIT(READ) | BIT(CLOSE) | BIT(AFFINITY))
#define CLOSING_MAY (BIT(SYSCONF) | BIT(WAIT) | BIT(CLOSE) | BIT(NAME))

#define CONDITIONING (BIT(NAME) | BIT(WAIT) | BIT(SYSCONF))

static const struct way ways[] = {
    {"open, mapped", IN(MODEL_OPEN), NULL, NULL, PENULT_MAP, 0, 1, 0, 0, OPENING, OPENING_MAY, NO_PIPELINE},
    {"open, copied", IN(MODEL_OPEN), NULL, NULL, PENULT_COPY, 0, 1, 0, 0, OPENING, OPENING_MAY, NO_PIPELINE},
    {"open, tokenizer by its path", IN(MODEL_OPEN), NULL, "tokenizer.json", PENULT_MAP, 0, 1, 0, 0, OPENING,
     OPENING_MAY, NO_PIPELINE},
    {"open, vocab.json + merges.txt", IN(MODEL_OPEN), "pair", NULL, PENULT_MAP, 0, 1, 0, 0, OPENING, OPENING_MAY, NO_PIPELINE},
    {"open, shards", IN(MODEL_OPEN), "shards", NULL, PENULT_MAP, 0, 1, 0, 0, OPENING, OPENING_MAY, NO_PIPELINE},
    {"open, shards, copied", IN(MODEL_OPEN), "shards", NULL, PENULT_COPY, 0, 1, 0, 0, OPENING, OPENING_MAY, NO_PIPELINE},
    {"open, vocabulary beside the plugin", IN(MODEL_OPEN), "ids", NULL, PENULT_MAP, 0, 1, 1, 0, OPENING, OPENING_MAY, NULL, NULL, 1},
    {"open, no tokenizer", IN(MODEL_OPEN), "ids", NULL, PENULT_MAP, 0, 1, 1, 0, OPENING, OPENING_MAY, NO_PIPELINE},
    {"session, 1 thread", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, 0, 1, 0, 0, SESSION, STARTING_MAY, NO_PIPELINE},
    {"session, 2 threads", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, SESSION, STARTING_MAY, NO_PIPELINE},
    {"session, 5 threads", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, 0, 5, 0, 0, SESSION, STARTING_MAY, NO_PIPELINE},
    {"session, threads by the CPUs", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, 0, 0, 0, 0, SESSION | COUNTING,
     STARTING_MAY, NO_PIPELINE},
    {"session, scalar", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, PENULT_KERNELS_SCALAR, 2, 0, 0, SESSION,
     STARTING_MAY, NO_PIPELINE},
    {"session, openblas", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, PENULT_KERNELS_OPENBLAS, 2, 0, 0, SESSION,
     STARTING_MAY, NO_PIPELINE},
    {"session, avx2", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, PENULT_KERNELS_AVX2, 2, 0, 0, SESSION, STARTING_MAY, NO_PIPELINE},
    {"session, avx512", IN(SESSION_OPEN), NULL, NULL, PENULT_MAP, PENULT_KERNELS_AVX512, 2, 0, 0, SESSION,
     STARTING_MAY, NO_PIPELINE},
    {"describe", IN(DESCRIBE), NULL, NULL, PENULT_MAP, 0, 1, 0, 0, 0, 0, NO_PIPELINE},
    {"measure", IN(MEASURE), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, 0, BIT(SYSCONF), NO_PIPELINE},
    {"measure, threads by the CPUs", IN(MEASURE), NULL, NULL, PENULT_MAP, 0, 0, 0, 0, COUNTING, BIT(SYSCONF), NO_PIPELINE},
    {"tokenize", IN(TOKENIZE), NULL, NULL, PENULT_MAP, 0, 1, 0, 0, BIT(CALLOC), 0, NO_PIPELINE},
    {"tokenize, 200,000 bytes", IN(TOKENIZE), NULL, NULL, PENULT_MAP, 0, 1, 0, 1, BIT(CALLOC), 0, NO_PIPELINE},
    {"encode, mapped", IN(ENCODE), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, BIT(FSTAT), BIT(NAME) | BIT(WAIT), NO_PIPELINE},
    {"encode, copied", IN(ENCODE), NULL, NULL, PENULT_COPY, 0, 2, 0, 0, 0, BIT(NAME) | BIT(WAIT), NO_PIPELINE},
    {"encode, ids", IN(ENCODE), "ids", NULL, PENULT_COPY, 0, 5, 1, 0, 0, BIT(NAME) | BIT(WAIT), NO_PIPELINE},
    {"tokenize and encode, 200,000 bytes", IN(TOKENIZE) | IN(ENCODE), NULL, NULL, PENULT_MAP, 0, 2, 0, 1,
     BIT(CALLOC) | BIT(FSTAT), BIT(NAME) | BIT(WAIT), NO_PIPELINE},
    {"close, session", IN(SESSION_CLOSE), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, BIT(MUNMAP), CLOSING_MAY, NO_PIPELINE},
    {"close, session, openblas", IN(SESSION_CLOSE), NULL, NULL, PENULT_MAP, PENULT_KERNELS_OPENBLAS, 5, 0, 0, BIT(MUNMAP),
     CLOSING_MAY, NO_PIPELINE},
    {"close, model, mapped", IN(MODEL_CLOSE), NULL, NULL, PENULT_MAP, 0, 1, 0, 0, BIT(MUNMAP) | BIT(CLOSE),
     CLOSING_MAY, NO_PIPELINE},
    {"close, model, copied", IN(MODEL_CLOSE), NULL, NULL, PENULT_COPY, 0, 1, 0, 0, BIT(MUNMAP), CLOSING_MAY, NO_PIPELINE},
    {"a whole life, mapped", ALL_STAGES, NULL, NULL, PENULT_MAP, 0, 2, 0, 0, OPENING, OPENING_MAY, NO_PIPELINE},
    {"a whole life, copied, openblas", ALL_STAGES, NULL, NULL, PENULT_COPY, PENULT_KERNELS_OPENBLAS, 2, 0, 0, OPENING,
     OPENING_MAY, NO_PIPELINE},
    {"pipeline, 1 thread", IN(PIPELINE_OPEN), NULL, NULL, PENULT_MAP, 0, 1, 0, 0, SESSION, STARTING_MAY, "sdxl", NULL, 0},
    {"pipeline, compel, 3 threads", IN(PIPELINE_OPEN), NULL, NULL, PENULT_MAP, 0, 3, 0, 0, SESSION, STARTING_MAY, "sdxl@compel",
     NULL, 0},
    {"pipeline, threads by the CPUs", IN(PIPELINE_OPEN), NULL, NULL, PENULT_MAP, 0, 0, 0, 0, SESSION | COUNTING, STARTING_MAY,
     "sd1", NULL, 0},
    {"pipeline, measure", IN(PIPELINE_MEASURE), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, BIT(SYSCONF), 0, "sdxl", NULL, 0},
    {"plan", IN(PLAN), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, 0, CONDITIONING, "sdxl@a1111", NULL, 0},
    {"plan, 200,000 bytes", IN(PLAN), NULL, NULL, PENULT_MAP, 0, 2, 0, 1, BIT(MADVISE), CONDITIONING, "sdxl", NULL, 0},
    /* the cache's slots are backed when they are first used, and are done without where they cannot be */
    {"condition, mapped", IN(CONDITION), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, BIT(FSTAT) | BIT(MADVISE), CONDITIONING, "sdxl@a1111",
     NULL, 0},
    {"condition, copied", IN(CONDITION), NULL, NULL, PENULT_COPY, 0, 2, 0, 0, BIT(MADVISE), CONDITIONING, "sdxl@compel", NULL, 0},
    {"plan and condition, 200,000 bytes", IN(PLAN) | IN(CONDITION), NULL, NULL, PENULT_COPY, 0, 2, 0, 1, BIT(MADVISE), CONDITIONING,
     "sdxl", "plain", 0},
    {"close, pipeline", IN(PIPELINE_CLOSE), NULL, NULL, PENULT_MAP, 0, 2, 0, 0, BIT(MUNMAP), CLOSING_MAY, "sdxl", NULL, 0},
    {"a whole life with a pipeline", ALL_STAGES, NULL, NULL, PENULT_MAP, 0, 2, 0, 0, OPENING, OPENING_MAY, "sdxl@comfyui", NULL, 0},
};

/* ---- one scenario --------------------------------------------------------------------------------------------------- */

struct tally {
    uint64_t points, failed;
};

struct faulty {
    const struct way *way;
    uint64_t clean, without; /* the bits of a clean run; of one without a vocabulary beside the plugin, if that is another */
    uint64_t points, wrong_status, bad_error, dangling, leaked, wrong_bits;
    char first[256];
};

/* With its usual error. */
static const struct fault *fault_of(enum call call) {
    const struct fault *fault = faults;
    while (fault->call != call)
        fault++;
    return fault;
}

/* A vocabulary that nobody asked for does not keep a model from opening, but for want of memory: the model is as without it. */
static int is_without(const struct faulty *f, const struct life *life) {
    return f->way->beside && life->status == PENULT_OK && life->bits == f->without;
}

/* Whether a refusal may have come to what it came to. NULL: all kinds of calls were refused. */
static int fits(const struct faulty *f, const struct fault *fault, const struct life *life) {
    int32_t status = life->status;
    if (life->seen.hints == life->seen.refused)
        return status == PENULT_OK;
    if (!fault)
        return status == PENULT_E_NO_MEMORY || status == PENULT_E_IO || status == PENULT_E_NOT_FOUND || status == PENULT_OK;
    if (is_without(f, life))
        return fault->status && fault->status != PENULT_E_NO_MEMORY;
    if (status == PENULT_OK)
        return fault->passes || !fault->status;
    return status == fault->status || (fault->other && status == fault->other);
}

static void judge(struct faulty *f, const struct fault *fault, const struct life *life, const char *mode, uint64_t n) {
    if (!fault && life->seen.refused == 1)
        fault = fault_of(life->seen.refused_call);
    int wrong = !fits(f, fault, life), bits = life->bad_retry || (life->bits != f->clean && !is_without(f, life));
    f->points++;
    f->wrong_status += (unsigned)wrong;
    f->bad_error += (unsigned)life->bad_error;
    f->dangling += (unsigned)life->dangling;
    f->leaked += (unsigned)life->leaked;
    f->wrong_bits += (unsigned)bits;
    if ((wrong || life->bad_error || life->dangling || life->leaked || bits) && !f->first[0])
        snprintf(f->first, sizeof f->first, "; first: %s, number %llu %s: %s, %.100s", fault ? fault->name : "all",
                 (unsigned long long)n, mode, status_name(life->status), life->status ? life->error.message : "");
}

/* Every call that meets the plan in turn, until there is none left. */
static struct tally each_point(struct faulty *f, const struct fault *fault, unsigned mode) {
    static const char *const names[] = {"", "once", "for ever", "", "every other time"};
    struct tally tally = {0};
    for (uint64_t n = 0; n < MOST_POINTS; n++) {
        struct life life;
        struct plan plan = {.calls = fault ? 1u << fault->call : ORDERED_CALLS, .first = n,
            .count = mode == ONCE ? 1 : NEVER, .every_other = mode == EVERY_OTHER};
        if (fault) {
            plan.manner = fault->manner;
            plan.error = fault->error;
        }
        alarm(SECONDS);
        life_run(&life, f->way, &plan);
        if (life.seen.refused == 0)
            return tally;
        tally.points++;
        tally.failed += life.status != PENULT_OK;
        judge(f, fault, &life, names[mode], n);
    }
    check(0, "%s: %s has an end of calls", f->way->name, fault ? fault->name : "all");
    return tally;
}

static uint64_t each_fault(struct faulty *f) {
    uint64_t points = 0;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct tally once = each_point(f, &faults[i], ONCE), more = {0};
        if (once.points && faults[i].modes & (FOR_EVER | EVERY_OTHER))
            more = each_point(f, &faults[i], faults[i].modes & ~ONCE);
        points += once.points + more.points;
        if (once.points)
            say("%-34s %-26s %5llu once, %5llu failed; %5llu %s, %5llu failed", f->way->name, faults[i].name,
                (unsigned long long)once.points, (unsigned long long)once.failed, (unsigned long long)more.points,
                faults[i].modes & EVERY_OTHER ? "and each second after" : "and all after", (unsigned long long)more.failed);
    }
    return points;
}

/* The calls of a clean run: the refusals must reach the plugin at all, and where there should be nothing to refuse there is
 * nothing. */
static void calls_are_as_expected(const struct way *way, const struct calls *seen) {
    char missing[256] = "", surplus[256] = "";
    for (int i = 0; i < CALLS; i++) {
        char *list = seen->of[i] == 0 && way->must >> i & 1                ? missing
                     : seen->of[i] && !((way->must | way->may) >> i & 1) ? surplus
                                                                         : NULL;
        if (list)
            snprintf(list + strlen(list), 256 - strlen(list), " %s", call_names[i]);
    }
    check(!missing[0] && !surplus[0], "%s: makes the calls that it is known for;%s%s%s%s", way->name,
          missing[0] ? " not seen:" : "", missing, surplus[0] ? " not expected:" : "", surplus);
}

static uint64_t scenario(const struct way *way, int quick) {
    struct faulty f = {.way = way};
    struct life life;
    alarm(SECONDS);
    life_run(&life, way, NULL);
    f.clean = life.bits;
    int good = !life.bad_retry && !life.leaked && !life.status && !life.dangling;
    calls_are_as_expected(way, &life.seen);
    life_run(&life, way, NULL);
    check(good && life.bits == f.clean && !life.leaked, "%s: two clean runs agree, and leave nothing behind", way->name);
    if (way->beside) {
        struct way plain = *way;
        plain.beside = 0;
        life_run(&life, &plain, NULL);
        f.without = life.bits;
        check(!life.status && f.without != f.clean, "%s: without it the model is another", way->name);
    }
    if (!quick)
        each_fault(&f);
    uint64_t apart = f.points;
    struct tally once = {0}, all = {0};
    if (quick)
        once = each_point(&f, NULL, ONCE);
    if (!quick || way->access == PENULT_MAP)
        all = each_point(&f, NULL, FOR_EVER);
    if (all.points || once.points)
        say("%-34s %-26s %5llu once, %5llu failed; %5llu and all after, %5llu failed", way->name, "all kinds together",
            (unsigned long long)once.points, (unsigned long long)once.failed, (unsigned long long)all.points,
            (unsigned long long)all.failed);
    unsigned long long points = f.points;
    check(!way->must || (f.points > 0 && (quick || apart > 0)), "%s: %llu points", way->name, points);
    check(f.wrong_status == 0, "%s: the status that fits (%llu of %llu did not)%s", way->name,
          (unsigned long long)f.wrong_status, points, f.first);
    check(f.bad_error == 0, "%s: a message that names the thing (%llu did not)%s", way->name,
          (unsigned long long)f.bad_error, f.first);
    check(f.dangling == 0, "%s: no handle and no output out of a failure (%llu had one)%s", way->name,
          (unsigned long long)f.dangling, f.first);
    check(f.leaked == 0, "%s: no thread, descriptor, block, mapping or signal mask stayed (%llu did)%s", way->name,
          (unsigned long long)f.leaked, f.first);
    check(f.wrong_bits == 0, "%s: the next try has the bits of a clean run (%llu had not)%s", way->name,
          (unsigned long long)f.wrong_bits, f.first);
    return f.points;
}

/* Whole lives, and the openings that take other ways. */
static int is_quick(const struct way *way) {
    return way->stages == ALL_STAGES || way->beside || (way->model && strcmp(way->model, "shards") == 0 && way->access == PENULT_MAP);
}

/* What the plugin imports is refused here or cannot fail: a call that is new to it must be looked at. */
static void every_import_is_known(const char *plugin) {
    struct penult_library library;
    char why[512], names[512];
    unsigned known = 0;
    if (penult_load(&library, plugin, why, sizeof why) != 0)
        give_up("%s", why);
    unsigned unknown = calls_unknown(library.handle, names, sizeof names, &known);
    check(unknown == 0 && known > 30, "each of the plugin's %u imports is refused here or cannot fail;%s", known, names);
}

int main(int argc, char **argv) {
    uint64_t points = 0;
    if (argc < 4 || argc > 5)
        give_up("usage: test_faults PLUGIN MODEL MODELS [quick | short]");
    /* short: samples of the lives of pipelines, which are the longest, and the whole of all others */
    int is_short = argc == 5 && strcmp(argv[4], "short") == 0, quick = argc == 5 && !is_short;
    life_begin(argv);
    every_import_is_known(argv[1]);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        int samples = quick || (is_short && ways[i].recipe);
        if (!samples || is_quick(&ways[i]))
            points += scenario(&ways[i], samples);
    }
    say("%llu points in all", (unsigned long long)points);
    life_end();
    return done();
}
