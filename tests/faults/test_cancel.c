/* test_cancel.c - protects a host that changes its mind: session_cancel at uniform moments of an encode, from another thread
 * and from the progress callback, ends it within one block, with CANCELLED or, where all blocks were done, with OK; the
 * session stays usable and its next encode has the same bits. A cancel before an encode or after it changes nothing.
 *
 *     test_cancel PLUGIN MODEL [MOMENTS [SEED]] */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "../memory/host.h"

#define SECONDS 60 /* an encode or a cancel that takes so long hangs: the alarm ends it */
#define TEXT "a castle at dawn, 8k"
#define PROMPTS 1
#define MOST_BLOCKS 64
#define WARM 15

static penult_model *model;
static struct batch batch;
static uint32_t blocks;
static uint64_t clean;

/* ---- one encode that is watched --------------------------------------------------------------------------------------- */

static struct watch {
    penult_session *session;
    _Atomic uint32_t done;  /* blocks that the callback was told of */
    uint32_t stop_at;       /* the callback cancels at this block; 0: it does not */
    int by_return;          /* by returning nonzero, not by session_cancel */
    double at[MOST_BLOCKS + 1];
} watch;

static int32_t progress(void *user, const penult_progress *step) {
    (void)user;
    if (step->done <= MOST_BLOCKS)
        watch.at[step->done] = seconds();
    atomic_store(&watch.done, (uint32_t)step->done);
    if (watch.stop_at != step->done)
        return 0;
    if (!watch.by_return)
        api->session_cancel(watch.session);
    return watch.by_return;
}

static int32_t encode(penult_error *error) {
    alarm(SECONDS);
    memset(batch.memory, 0, batch.bytes);
    atomic_store(&watch.done, 0);
    watch.at[0] = seconds();
    return api->encode_text(watch.session, &batch.request, NULL, error);
}

/* Nobody cancels: the session works, and the bits are those of any other encode. */
static int is_usable(void) {
    penult_error error;
    watch.stop_at = 0;
    return encode(&error) == PENULT_OK && atomic_load(&watch.done) == blocks && batch_bits(&batch) == clean;
}

/* ---- another thread that cancels -------------------------------------------------------------------------------------- */

static struct {
    sem_t start, end;        /* a moment was set; it was cancelled then */
    _Atomic int leave;       /* no further moment: the thread shall end */
    _Atomic int cancelled;
    double moment;
    uint32_t before, after;  /* blocks done when it cancelled, as seen just before and just after */
    double when;
} other;

/* Sleeping and not spinning: the machine may have no CPU to spare for a thread that waits. */
static void sleep_until(double moment) {
    struct timespec until = {.tv_sec = (time_t)moment};
    until.tv_nsec = (long)((moment - (double)until.tv_sec) * 1e9);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void *canceller(void *unused) {
    (void)unused;
    prctl(PR_SET_TIMERSLACK, 1UL); /* else the kernel rounds a sleep up by 50 microseconds */
    for (;;) {
        while (sem_wait(&other.start) != 0)
            ;
        if (atomic_load(&other.leave))
            return NULL;
        sleep_until(other.moment);
        other.before = atomic_load(&watch.done);
        other.when = seconds();
        api->session_cancel(watch.session);
        other.after = atomic_load(&watch.done);
        atomic_store(&other.cancelled, 1);
        sem_post(&other.end);
    }
}

struct outcome {
    uint64_t moments, cancelled, ok, wrong, unusable;
    uint64_t at_block[MOST_BLOCKS + 1];
    uint32_t most_blocks_late;
    double *late; /* seconds from the cancel to the return, of those that were cancelled */
    double longest_block;
    char first[160];
};

/* What the moment allows. Blocks done when cancelled: `before` at least, `after` at most; the block that was running then may
 * be finished, and no other one begun. */
static int is_right(int32_t status, const penult_error *error, uint32_t done, uint32_t before, uint32_t after) {
    char expected[64];
    if (status == PENULT_OK) /* too early, or too late */
        return done == blocks && batch_bits(&batch) == clean && (before == 0 || after == blocks);
    snprintf(expected, sizeof expected, "after block %u of %u", done, blocks);
    return status == PENULT_E_CANCELLED && error->status == status && strstr(error->message, expected) && done >= 1 &&
           done >= before && done <= after + 1;
}

static void at_a_moment(struct outcome *o, double length, double fraction) {
    penult_error error;
    watch.stop_at = 0;
    atomic_store(&other.cancelled, 0);
    atomic_store(&watch.done, 0);
    double begin = seconds() + 150e-6; /* the other thread needs some time to wake up */
    other.moment = begin + fraction * length;
    sem_post(&other.start);
    sleep_until(begin);
    int32_t status = encode(&error);
    double returned = seconds();
    uint32_t done = atomic_load(&watch.done);
    int right = 1;
    if (!atomic_load(&other.cancelled)) /* it comes after the end: nothing to stop */
        right = status == PENULT_OK && batch_bits(&batch) == clean;
    while (sem_wait(&other.end) != 0)
        ;
    if (status == PENULT_E_CANCELLED) {
        o->late[o->cancelled++] = returned - other.when;
        o->at_block[done <= MOST_BLOCKS ? done : 0]++;
        uint32_t late = done > other.before ? done - other.before : 0;
        o->most_blocks_late = late > o->most_blocks_late ? late : o->most_blocks_late;
    } else {
        o->ok += status == PENULT_OK;
    }
    for (uint32_t i = 1; i <= done && i <= MOST_BLOCKS; i++)
        o->longest_block = watch.at[i] - watch.at[i - 1] > o->longest_block ? watch.at[i] - watch.at[i - 1]
                                                                            : o->longest_block;
    right = right && is_right(status, &error, done, other.before, other.after);
    o->moments++;
    o->wrong += !right;
    if (!right && !o->first[0])
        snprintf(o->first, sizeof o->first, "; first: %s after %u blocks, cancelled between blocks %u and %u",
                 status_name(status), done, other.before, other.after);
    o->unusable += !is_usable();
}

static double length_of_an_encode(void) {
    double lengths[WARM];
    penult_error error;
    watch.stop_at = 0;
    for (int i = 0; i < WARM; i++) {
        double began = seconds();
        if (encode(&error) != PENULT_OK)
            give_up("encode_text: %s", error.message);
        lengths[i] = seconds() - began;
    }
    return median(lengths, WARM);
}

static void from_another_thread(const char *name, uint64_t moments, uint64_t *random) {
    struct outcome o = {.late = malloc(moments * sizeof *o.late)};
    pthread_t thread;
    atomic_store(&other.leave, 0);
    if (!o.late || sem_init(&other.start, 0, 0) != 0 || sem_init(&other.end, 0, 0) != 0 ||
        pthread_create(&thread, NULL, canceller, NULL) != 0)
        give_up("the test itself has no memory or thread");
    double length = length_of_an_encode();
    for (uint64_t i = 0; i < moments; i++) {
        *random = *random * 6364136223846793005u + 1442695040888963407u;
        if (i % 256 == 255) /* a shared machine has slow minutes */
            length = length_of_an_encode();
        /* a little over both ends: before the first block, and after the last */
        at_a_moment(&o, length, (double)(*random >> 11) * 0x1p-53 * 1.1 - 0.02);
    }
    atomic_store(&other.leave, 1);
    sem_post(&other.start);
    pthread_join(thread, NULL);
    char spread[256] = "";
    unsigned missed = 0;
    for (uint32_t i = 1; i <= blocks && i <= MOST_BLOCKS; i++) {
        missed += o.at_block[i] == 0;
        size_t used = strlen(spread);
        snprintf(spread + used, sizeof spread - used, " %llu", (unsigned long long)o.at_block[i]);
    }
    double half = o.cancelled ? median(o.late, (unsigned)o.cancelled) : 0;
    say("%s: %llu moments over %.2f ms, %llu cancelled, %llu not; by block:%s", name, (unsigned long long)moments,
        length * 1e3, (unsigned long long)o.cancelled, (unsigned long long)o.ok, spread);
    say("%s: from cancel to return: median %.3f ms, longest %.3f ms; longest block %.3f ms; blocks finished meanwhile: %u",
        name, half * 1e3, o.cancelled ? o.late[o.cancelled - 1] * 1e3 : 0, o.longest_block * 1e3, o.most_blocks_late);
    check(o.wrong == 0, "%s: CANCELLED within a block, or OK, at %llu moments (%llu otherwise)%s", name,
          (unsigned long long)o.moments, (unsigned long long)o.wrong, o.first);
    check(o.unusable == 0, "%s: the session's next encode has the same bits (%llu had not)", name,
          (unsigned long long)o.unusable);
    check(o.cancelled > moments / 4 && (moments < 2000 || missed == 0), "%s: cancels met the encode, and every block of it "
          "(%llu of %llu; %u blocks were not met)", name, (unsigned long long)o.cancelled, (unsigned long long)moments,
          missed);
    free(o.late);
}

/* ---- the callback that cancels, and cancels that mean nothing --------------------------------------------------------- */

static void from_the_callback(const char *name) {
    unsigned wrong = 0;
    for (int by_return = 0; by_return < 2; by_return++) {
        for (uint32_t block = 1; block <= blocks; block++) {
            penult_error error;
            watch.stop_at = block;
            watch.by_return = by_return;
            int32_t status = encode(&error);
            wrong += !is_right(status, &error, block, block, block) || status != PENULT_E_CANCELLED ||
                     atomic_load(&watch.done) != block;
            wrong += !is_usable();
        }
    }
    check(wrong == 0, "%s: from the callback, at each of %u blocks: CANCELLED there and then (%u otherwise)", name, blocks,
          wrong);
}

static void when_idle(const char *name) {
    unsigned wrong = 0;
    for (int i = 0; i < 20; i++) {
        api->session_cancel(watch.session);
        wrong += !is_usable();
        for (int again = 0; again < i; again++)
            api->session_cancel(watch.session);
    }
    /* a request that is refused before the first block leaves nothing to cancel either */
    penult_text_request nothing = batch.request;
    nothing.prompt_count = 0;
    wrong += api->encode_text(watch.session, &nothing, NULL, NULL) != PENULT_E_ARGUMENT;
    api->session_cancel(watch.session);
    wrong += !is_usable();
    check(wrong == 0, "%s: a cancel before and after an encode changes nothing (%u times it did)", name, wrong);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        uint32_t threads, kernels;
    } ways[] = {{"1 thread", 1, 0}, {"2 threads, avx2", 2, PENULT_KERNELS_AVX2}};
    size_t count = sizeof ways / sizeof ways[0];
    if (argc < 3 || argc > 5)
        give_up("usage: test_cancel PLUGIN MODEL [MOMENTS [SEED]]");
    uint64_t moments = argc > 3 ? strtoull(argv[3], NULL, 10) : 10000, seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 4;
    penult_model_info info = {.struct_size = sizeof info};
    host_load(argv);
    say("seed %llu", (unsigned long long)seed);
    model = host_open(argv[2], NULL, PENULT_MAP);
    api->model_describe(model, &info, NULL);
    blocks = info.layers;
    batch_make(&batch, model, PROMPTS, TEXT, strlen(TEXT), WANT_POOLED);
    batch.request.progress = progress;
    check(blocks >= 4 && blocks <= MOST_BLOCKS, "a model of several blocks (%u)", blocks);
    for (size_t i = 0; i < count; i++) {
        penult_error error;
        watch.session = host_session(model, ways[i].threads, PROMPTS, ways[i].kernels);
        watch.stop_at = 0;
        if (encode(&error) != PENULT_OK)
            give_up("encode_text: %s", error.message);
        clean = batch_bits(&batch);
        from_the_callback(ways[i].name);
        when_idle(ways[i].name);
        from_another_thread(ways[i].name, moments / count, &seed);
        api->session_close(watch.session);
    }
    batch_free(&batch);
    api->model_close(model);
    return done();
}
