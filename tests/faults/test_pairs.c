/* test_pairs.c - protects a host from a fault in the clean-up of a fault: two calls of one life are refused, the second one
 * often soon after the first, while the plugin still takes back what it had begun. Seeded pairs over several lives, and every
 * pair there is of the smallest opening of a session. Each time as in test_faults: a status that fits, a message that names
 * the thing, nothing left behind, the bits of a clean run.
 *
 *     test_pairs PLUGIN MODEL MODELS [PAIRS [SEED]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "life.h"

#define SECONDS 60 /* a life that takes so long hangs: the alarm ends it */
#define SOON 24 /* calls after the first refusal in which a clean-up has ended */

static const struct way lives[] = {
    {"mapped", ALL_STAGES, NULL, NULL, PENULT_MAP, 0, 2, 0, 0, 0, 0, NO_PIPELINE},
    {"copied, openblas", ALL_STAGES, NULL, NULL, PENULT_COPY, PENULT_KERNELS_OPENBLAS, 2, 0, 0, 0, 0, NO_PIPELINE},
    {"vocab.json + merges.txt, threads by the CPUs", ALL_STAGES, "pair", NULL, PENULT_MAP, 0, 0, 0, 0, 0, 0, NO_PIPELINE},
    {"no tokenizer, avx2", ALL_STAGES, "ids", NULL, PENULT_COPY, PENULT_KERNELS_AVX2, 3, 1, 0, 0, 0, NO_PIPELINE},
    {"a pipeline", ALL_STAGES, NULL, NULL, PENULT_COPY, 0, 2, 0, 0, 0, 0, "sdxl@compel", NULL, 0},
};
static const struct way smallest = {
    "1 thread", IN(SESSION_OPEN) | IN(SESSION_CLOSE), NULL, NULL, PENULT_COPY, 0, 1, 0, 0, 0, 0, NO_PIPELINE};

struct outcome {
    uint64_t pairs, both, failed, bad;
    char first[256];
};

static void run_pair(struct outcome *o, const struct way *way, uint64_t clean, uint64_t a, uint64_t b) {
    struct life life;
    struct plan plan = {.calls = ORDERED_CALLS, .first = a, .count = 1, .second = b};
    alarm(SECONDS);
    life_run(&life, way, &plan);
    int32_t status = life.status;
    int good_status = status == PENULT_OK || status == PENULT_E_NO_MEMORY || status == PENULT_E_IO ||
                      status == PENULT_E_NOT_FOUND;
    int good = good_status && !life.bad_error && !life.dangling && !life.bad_retry && !life.leaked && life.bits == clean;
    o->pairs++;
    o->both += life.seen.refused == 2;
    o->failed += status != PENULT_OK;
    o->bad += !good;
    if (!good && !o->first[0])
        snprintf(o->first, sizeof o->first, "; first: calls %llu and %llu: %s%s%s%s%s, %.80s", (unsigned long long)a,
                 (unsigned long long)b, status_name(status), life.leaked ? ", leaked" : "",
                 life.dangling ? ", a handle came out" : "", life.bits != clean ? ", other bits" : "",
                 life.bad_error ? ", a message that names nothing" : "", status ? life.error.message : "");
}

/* The number of calls in a clean life, and its bits. */
static uint64_t clean_run(const struct way *way, uint64_t *bits) {
    struct life life;
    life_run(&life, way, &(struct plan){.calls = ORDERED_CALLS, .first = NEVER});
    if (life.status || life.bad_retry || life.leaked || life.seen.made < 8)
        give_up("%s: a clean life did not come to its end", way->name);
    *bits = life.bits;
    return life.seen.made;
}

static uint64_t below(uint64_t *state, uint64_t limit) {
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
    return (*state >> 33) % limit;
}

static void conclude(const struct outcome *o, const char *what) {
    say("%-50s %6llu pairs, both refused in %llu, %llu failed", what, (unsigned long long)o->pairs,
        (unsigned long long)o->both, (unsigned long long)o->failed);
    check(o->bad == 0 && o->both > o->pairs / 4, "%s: %llu pairs of refusals, %llu of them wrong%s", what,
          (unsigned long long)o->pairs, (unsigned long long)o->bad, o->first);
}

static void random_pairs(const struct way *way, uint64_t count, uint64_t *random) {
    struct outcome o = {0};
    uint64_t bits, calls = clean_run(way, &bits);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t a = below(random, calls - 1), b = a + 1 + below(random, below(random, 2) ? SOON : calls);
        run_pair(&o, way, bits, a, b);
    }
    conclude(&o, way->name);
}

static void all_pairs(const struct way *way) {
    struct outcome o = {0};
    uint64_t bits, calls = clean_run(way, &bits);
    /* a retry after the first refusal is without any, so a pair is both in one try, or one there and one at the close */
    for (uint64_t a = 0; a < calls; a++)
        for (uint64_t b = a + 1; b < calls; b++)
            run_pair(&o, way, bits, a, b);
    char what[80];
    snprintf(what, sizeof what, "all pairs of the %llu calls of a session, %s", (unsigned long long)calls, way->name);
    conclude(&o, what);
}

int main(int argc, char **argv) {
    if (argc < 4 || argc > 6)
        give_up("usage: test_pairs PLUGIN MODEL MODELS [PAIRS [SEED]]");
    uint64_t pairs = argc > 4 ? strtoull(argv[4], NULL, 10) : 10000, seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 4;
    size_t count = sizeof lives / sizeof lives[0];
    life_begin(argv);
    say("seed %llu", (unsigned long long)seed);
    for (size_t i = 0; i < count; i++)
        random_pairs(&lives[i], pairs / count, &seed);
    all_pairs(&smallest);
    life_end();
    return done();
}
