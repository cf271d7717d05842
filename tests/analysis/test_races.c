/* test_races.c - protects the promise of penult.h's thread tags: 16 threads share one model, each opens and closes sessions
 * and models of its own, encodes, tokenizes, describes and measures, while others cancel it from outside; and every result
 * has the bits of a lone run. Under ThreadSanitizer (make check-san) it also looks for races, which bits alone may not show.
 *
 *     test_races PLUGIN MODEL [ROUNDS]
 *
 * Encodes run on Penult's own kernels: OpenBLAS is not built with the sanitizer, which would see no more of it than its bits.
 * Knows nothing of what the numbers mean. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../memory/host.h"

#define THREADS 16
#define CANCELLERS 2
#define TEXT "a castle at dawn, 8k, it's caf\xc3\xa9 <|endoftext|> --- masterpiece"
#define BODY_ROOM 256

static const uint32_t sets[] = {PENULT_KERNELS_SCALAR, PENULT_KERNELS_AVX2, PENULT_KERNELS_AVX512};
#define SETS (sizeof sets / sizeof sets[0])

/* What a lone thread found, before any other was there. */
struct right {
    uint64_t bits[SETS], bytes[SETS];
    int32_t ids[BODY_ROOM];
    uint64_t id_count;
    penult_model_info info;
};

/* A session that others may cancel: the handle is alive as long as the lock is held. */
#define CANCELS 3
struct place {
    pthread_mutex_t lock;
    penult_session *session;
    unsigned left; /* cancels that are still to come, or an encode would never end */
};

static const char *model_path;
static penult_model *shared;
static struct right right;
static struct place places[THREADS];
static pthread_barrier_t all_opened, all_closed;
static unsigned rounds = 3;

static atomic_uint wrong_bits, wrong_ids, wrong_words, refused, encodes, cancelled, cancels, opened;
static atomic_int over;

static void make_batch(struct batch *batch) {
    batch_make(batch, shared, 2, TEXT, strlen(TEXT), WANT_ALL);
}

static penult_session *new_session(penult_model *model, uint32_t threads, uint32_t kernels) {
    penult_session_params params = {
        .struct_size = sizeof params, .threads = threads, .max_prompts = 2, .kernels = kernels};
    penult_session *session;
    penult_error error;
    if (api->session_open(model, &params, &session, &error) != PENULT_OK) {
        atomic_fetch_add(&refused, 1);
        return NULL;
    }
    atomic_fetch_add(&opened, 1);
    return session;
}

/* An encode may be cancelled by a neighbour; then the same session must still give the right bits. */
static void encode(penult_session *session, struct batch *batch, size_t set) {
    for (int tries = 0; tries <= CANCELS; tries++) {
        penult_error error;
        memset(batch->memory, 0xA5, batch->bytes);
        int32_t status = api->encode_text(session, &batch->request, NULL, &error);
        if (status == PENULT_E_CANCELLED) {
            atomic_fetch_add(&cancelled, 1);
            continue;
        }
        atomic_fetch_add(&encodes, 1);
        if (status != PENULT_OK)
            atomic_fetch_add(&refused, 1);
        else if (batch_bits(batch) != right.bits[set])
            atomic_fetch_add(&wrong_bits, 1);
        return;
    }
    atomic_fetch_add(&refused, 1);
}

static void find_ids(const penult_model *model, int32_t *ids, uint64_t *count) {
    penult_token_request request = {
        .struct_size = sizeof request, .flags = PENULT_TOKENS_BODY, .text = TEXT, .text_bytes = strlen(TEXT)};
    penult_token_result result = {.struct_size = sizeof result, .ids = ids, .capacity = BODY_ROOM};
    penult_error error;
    if (api->tokenize(model, &request, &result, &error) != PENULT_OK)
        atomic_fetch_add(&refused, 1);
    *count = result.id_count;
}

static uint64_t measure(const penult_model *model, uint32_t kernels) {
    penult_session_params params = {.struct_size = sizeof params, .threads = 2, .max_prompts = 2, .kernels = kernels};
    uint64_t bytes = 0;
    if (api->session_measure(model, &params, &bytes, NULL) != PENULT_OK)
        atomic_fetch_add(&refused, 1);
    return bytes;
}

/* What any thread may ask of a model at any time. */
static void ask(const penult_model *model, uint32_t access) {
    int32_t ids[BODY_ROOM];
    uint64_t count;
    penult_model_info info = {.struct_size = sizeof info}, wanted = right.info;
    wanted.access = access;
    find_ids(model, ids, &count);
    if (count != right.id_count || memcmp(ids, right.ids, count * sizeof *ids) != 0)
        atomic_fetch_add(&wrong_ids, 1);
    if (api->model_describe(model, &info, NULL) != PENULT_OK || memcmp(&info, &wanted, sizeof info) != 0)
        atomic_fetch_add(&wrong_words, 1);
    for (size_t set = 0; set < SETS; set++)
        if (measure(model, sets[set]) != right.bytes[set])
            atomic_fetch_add(&wrong_words, 1);
}

static void one_round(unsigned thread, unsigned round, struct batch *batch) {
    size_t set = (thread + round) % SETS;
    /* every fourth brings a model of its own, which its session outlives */
    uint32_t access = round % 2 ? PENULT_COPY : PENULT_MAP;
    penult_model *own = (thread + round) % 4 == 0 ? host_open(model_path, NULL, access) : NULL;
    penult_session *session = new_session(own ? own : shared, 1 + (thread + round) % 2, sets[set]);
    if (own) {
        ask(own, access);
        api->model_close(own);
    }
    ask(shared, PENULT_MAP);
    if (!session)
        return;
    pthread_mutex_lock(&places[thread].lock);
    places[thread].session = session;
    places[thread].left = CANCELS;
    pthread_mutex_unlock(&places[thread].lock);
    encode(session, batch, set);
    ask(shared, PENULT_MAP);
    pthread_mutex_lock(&places[thread].lock);
    places[thread].session = NULL;
    pthread_mutex_unlock(&places[thread].lock);
    encode(session, batch, set);
    api->session_close(session);
}

static void *host_thread(void *argument) {
    unsigned thread = (unsigned)((struct place *)argument - places);
    struct batch batch;
    make_batch(&batch);
    for (unsigned round = 0; round < rounds; round++)
        one_round(thread, round, &batch);
    /* the host closes the model while every thread still has a session of it */
    size_t set = thread % SETS;
    penult_session *session = new_session(shared, 1, sets[set]);
    pthread_barrier_wait(&all_opened);
    if (session)
        encode(session, &batch, set);
    pthread_barrier_wait(&all_closed);
    if (session)
        encode(session, &batch, set);
    api->session_close(session);
    batch_free(&batch);
    return NULL;
}

static void *canceller(void *argument) {
    unsigned at = 0;
    (void)argument;
    while (!atomic_load(&over)) {
        struct place *place = &places[at++ % THREADS];
        pthread_mutex_lock(&place->lock);
        if (place->session && place->left) {
            place->left--;
            api->session_cancel(place->session);
            atomic_fetch_add(&cancels, 1);
        }
        pthread_mutex_unlock(&place->lock);
        usleep(500);
    }
    return NULL;
}

static void learn_what_is_right(void) {
    struct batch batch;
    make_batch(&batch);
    right.info.struct_size = sizeof right.info;
    if (api->model_describe(shared, &right.info, NULL) != PENULT_OK)
        give_up("model_describe");
    find_ids(shared, right.ids, &right.id_count);
    for (size_t set = 0; set < SETS; set++) {
        penult_session *session = host_session(shared, 1, 2, sets[set]);
        penult_error error;
        memset(batch.memory, 0xA5, batch.bytes);
        if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
            give_up("encode_text: %s", error.message);
        right.bits[set] = batch_bits(&batch);
        right.bytes[set] = measure(shared, sets[set]);
        api->session_close(session);
    }
    batch_free(&batch);
}

static pthread_t start(void *(*body)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument) != 0)
        give_up("the test itself got no thread");
    return thread;
}

int main(int argc, char **argv) {
    pthread_t hosts[THREADS], cancellers[CANCELLERS];
    if (argc < 3 || argc > 4)
        give_up("usage: test_races PLUGIN MODEL [ROUNDS]");
    model_path = argv[2];
    if (argc > 3)
        rounds = (unsigned)strtoul(argv[3], NULL, 10);
    host_load(argv);
    shared = host_open(model_path, NULL, PENULT_MAP);
    learn_what_is_right();
    pthread_barrier_init(&all_opened, NULL, THREADS + 1);
    pthread_barrier_init(&all_closed, NULL, THREADS + 1);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_mutex_init(&places[i].lock, NULL);
    unsigned before = thread_count();
    for (unsigned i = 0; i < CANCELLERS; i++)
        cancellers[i] = start(canceller, NULL);
    for (unsigned i = 0; i < THREADS; i++)
        hosts[i] = start(host_thread, &places[i]);
    pthread_barrier_wait(&all_opened);
    api->model_close(shared);
    pthread_barrier_wait(&all_closed);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(hosts[i], NULL);
    atomic_store(&over, 1);
    for (unsigned i = 0; i < CANCELLERS; i++)
        pthread_join(cancellers[i], NULL);
    unsigned left = thread_count() - before;
    say("%d threads, %u rounds each: %u sessions, %u encodes, %u more cancelled by %u calls from outside", THREADS, rounds,
        atomic_load(&opened), atomic_load(&encodes), atomic_load(&cancelled), atomic_load(&cancels));
    check(atomic_load(&encodes) == THREADS * (2 * rounds + 2), "every encode ended: %u", atomic_load(&encodes));
    check(atomic_load(&refused) == 0, "nothing was refused (%u were)", atomic_load(&refused));
    check(atomic_load(&wrong_bits) == 0, "each has the bits of a lone run (%u have not)", atomic_load(&wrong_bits));
    check(atomic_load(&wrong_ids) == 0, "so have the ids (%u have not)", atomic_load(&wrong_ids));
    check(atomic_load(&wrong_words) == 0, "descriptions and sizes are those of a lone run (%u are not)",
          atomic_load(&wrong_words));
    check(atomic_load(&cancelled) > 0, "some were cancelled in between: %u", atomic_load(&cancelled));
    check(left == 0, "no thread is left (%u are)", left);
    return done();
}
