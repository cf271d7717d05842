/* test_faults.c - protects a host from a system that says no: every call by which opening a model and a session asks the
 * system for something is refused in turn, once and for ever. Each time: an error that fits, no handle, nothing left behind,
 * and a retry that gives the bits of a clean run.
 *
 *     test_faults PLUGIN MODEL */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../memory/host.h"
#include "interpose.h"

#define MOST_CALLS 20000
#define TEXT "a castle at dawn, 8k"

static const char *model_path;

/* One way to open everything. */
static const struct way {
    const char *name;
    uint32_t access, kernels, threads;
} ways[] = {
    {"mapped", PENULT_MAP, 0, 2},
    {"copied, openblas", PENULT_COPY, PENULT_KERNELS_OPENBLAS, 2},
};

struct handles {
    penult_model *model;
    penult_session *session;
    int32_t status;
    penult_error error;
};

static void close_all(struct handles *h) {
    api->session_close(h->session);
    api->model_close(h->model);
    h->session = NULL;
    h->model = NULL;
}

/* The caller has armed. An out-parameter that is not NULL after a failure stays visible. */
static void open_all(struct handles *h, const struct way *way) {
    penult_open_params open = {.struct_size = sizeof open, .path = model_path, .access = way->access};
    penult_session_params params = {
        .struct_size = sizeof params, .threads = way->threads, .max_prompts = 2, .kernels = way->kernels};
    memset(h, 0xA5, sizeof *h);
    h->session = NULL;
    h->status = api->model_open(&open, &h->model, &h->error);
    if (h->status == PENULT_OK) {
        memset(&h->session, 0xA5, sizeof h->session);
        h->status = api->session_open(h->model, &params, &h->session, &h->error);
    }
}

struct baseline {
    unsigned threads, descriptors;
    int64_t blocks, mapped;
};

static struct baseline look(void) {
    return (struct baseline){thread_count(), descriptor_count(), calls_seen().blocks, calls_seen().mapped};
}

/* A joined thread can stay in /proc for an instant. */
static int same(const struct baseline *before) {
    struct timespec wait = {.tv_nsec = 1000000};
    for (int i = 0; thread_count() != before->threads && i < 1000; i++)
        nanosleep(&wait, NULL);
    struct baseline now = look();
    return memcmp(&now, before, sizeof now) == 0;
}

static uint64_t clean_bits(const struct way *way, struct batch *batch) {
    struct handles h;
    open_all(&h, way);
    if (h.status != PENULT_OK)
        return 0;
    memset(batch->memory, 0, batch->bytes);
    int32_t status = api->encode_text(h.session, &batch->request, NULL, &h.error);
    close_all(&h);
    return status == PENULT_OK ? batch_bits(batch) : 0;
}

/* What a refused call may become. A file that could not be looked at is opened all the same, and that says what it finds. */
static int fits(enum call call, const struct handles *h) {
    if (call <= CALL_THREAD)
        return h->status == PENULT_E_NO_MEMORY;
    return h->status == PENULT_E_IO ||
           (call == CALL_STAT && h->status == PENULT_E_NOT_FOUND && strstr(h->error.message, "could not open it"));
}

static void each_call_refused(const struct way *way, struct batch *batch, uint64_t clean, uint64_t forever) {
    struct baseline before = look();
    uint64_t wrong_status = 0, leaks = 0, dangling = 0, wrong_bits = 0, survived = 0, refused = 0, n, of[CALLS] = {0};
    char first[256] = "";
    for (n = 0; n < MOST_CALLS; n++) {
        struct handles h;
        calls_arm(ALL_CALLS, n, forever ? NEVER : 1);
        open_all(&h, way);
        calls_disarm();
        struct calls seen = calls_seen();
        if (seen.refused == 0) { /* every call has had its turn */
            close_all(&h);
            break;
        }
        refused++;
        of[seen.refused_call]++;
        size_t faults = wrong_status + leaks + dangling + wrong_bits;
        if (h.status == PENULT_OK) {
            /* what is only a hint (a quota, huge pages, a file that turned out to be readable) may be refused */
            survived++;
            memset(batch->memory, 0, batch->bytes);
            if (api->encode_text(h.session, &batch->request, NULL, NULL) != PENULT_OK || batch_bits(batch) != clean)
                wrong_bits++;
        } else {
            dangling += h.session != NULL;
            wrong_status += h.error.status != h.status || memchr(h.error.message, '\0', sizeof h.error.message) == NULL ||
                            h.error.message[0] == '\0' || (!forever && !fits(seen.refused_call, &h)) ||
                            (forever && h.status != PENULT_E_NO_MEMORY && h.status != PENULT_E_IO);
        }
        close_all(&h);
        leaks += !same(&before);
        wrong_bits += clean_bits(way, batch) != clean;
        if (wrong_status + leaks + dangling + wrong_bits > faults && !first[0])
            snprintf(first, sizeof first, "; first at call %llu, %s: %s, %.120s", (unsigned long long)n,
                     call_names[seen.refused_call], status_name(h.status), h.status ? h.error.message : "");
    }
    say("%s, %s: %llu calls refused, %llu of them survived", way->name, forever ? "for ever" : "once",
        (unsigned long long)refused, (unsigned long long)survived);
    for (int i = 0; i < CALLS && !forever; i++)
        if (of[i])
            say("    %-15s %6llu", call_names[i], (unsigned long long)of[i]);
    const char *how = forever ? "and all after it" : "alone";
    check(refused > 20 && n < MOST_CALLS, "%s: each of %llu calls %s was refused", way->name, (unsigned long long)refused, how);
    check(wrong_status == 0, "%s: an error that fits (%llu did not)%s", way->name, (unsigned long long)wrong_status, first);
    check(dangling == 0, "%s: no handle came out (%llu did)%s", way->name, (unsigned long long)dangling, first);
    check(leaks == 0, "%s: no thread, descriptor, block or mapping stayed (%llu did)%s", way->name,
          (unsigned long long)leaks, first);
    check(wrong_bits == 0, "%s: the bits of a clean run afterwards (%llu had not)%s", way->name,
          (unsigned long long)wrong_bits, first);
}

/* The refusals must reach the plugin at all: an allocation of ours, and glibc's for a thread, are seen. */
static void the_interposer_works(const struct way *way) {
    struct handles h;
    calls_arm(ALL_CALLS, NEVER, 0);
    open_all(&h, way);
    calls_disarm();
    struct calls seen = calls_seen();
    check(h.status == PENULT_OK && seen.of[CALL_CALLOC] > 5 && seen.of[CALL_MMAP] > 4 && seen.of[CALL_THREAD] >= 3 &&
              seen.of[CALL_OPEN] >= 3 && seen.of[CALL_PREAD] >= 3 && seen.of[CALL_FSTAT] >= 3,
          "%s: the plugin's calls are seen", way->name);
    close_all(&h);
}

int main(int argc, char **argv) {
    struct batch batch;
    if (argc != 3)
        give_up("usage: test_faults PLUGIN MODEL");
    model_path = argv[2];
    host_load(argv);
    penult_model *model = host_open(model_path, NULL, PENULT_MAP);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    api->model_close(model);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        uint64_t clean = clean_bits(&ways[i], &batch);
        check(clean != 0 && clean == clean_bits(&ways[i], &batch), "%s: two clean runs agree", ways[i].name);
        the_interposer_works(&ways[i]);
        for (uint64_t forever = 0; forever < 2; forever++)
            each_call_refused(&ways[i], &batch, clean, forever);
    }
    batch_free(&batch);
    return done();
}
