/* test_changes.c - protects a host whose model files change while the plugin opens them or computes with them (F1 to F9 of
 * the reliability plan): an answer of OK always comes with the right bits; everything else is a documented status with a
 * sentence that names the file; a copied model never dies; a mapped one dies of SIGBUS at most, and only if its file
 * shrank while it opened or encoded, as penult.h says. What happens between two encodes: tests/memory/test_files.c.
 *
 *     test_changes PLUGIN MODEL [POINTS]      POINTS of each change, default and most 100 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "changing.h"
#include "host.h"

#define TEXT "a castle at dawn, 8k"
#define FILE_NAME "model.safetensors"

static const char *folder;
static const char *where;
static uint64_t right_bits, other_bits;
static int dates_holes;

static int32_t try_open(uint32_t access, penult_model **model, penult_error *error) {
    penult_open_params params = {.struct_size = sizeof params, .access = access, .path = folder};
    *error = (penult_error){.message = ""};
    return api->model_open(&params, model, error);
}

static int32_t encode(penult_session *session, struct batch *batch, uint64_t *bits, penult_error *error) {
    *error = (penult_error){.message = ""};
    memset(batch->memory, 0xA5, batch->bytes);
    int32_t status = api->encode_text(session, &batch->request, NULL, error);
    *bits = batch_bits(batch);
    return status;
}

/* Status and bits of a first encode with a model that just opened. */
static int32_t encode_once(penult_model *model, uint64_t *bits, penult_error *error) {
    struct batch batch;
    penult_session *session = host_session(model, 2, 1, 0);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    int32_t status = encode(session, &batch, bits, error);
    batch_free(&batch);
    api->session_close(session);
    return status;
}

static int is_about_the_change(int32_t status, const penult_error *error) {
    return (status == PENULT_E_CHANGED || status == PENULT_E_TRUNCATED || status == PENULT_E_FORMAT ||
            status == PENULT_E_TRAILING) && strstr(error->message, FILE_NAME);
}

/* What an open and the encode behind it made of one change. */
enum verdict { RIGHT, SAID, DIED, WRONG };
#define CHILD_SAYS 32 /* a child that could not even begin ends with 1 or 2 */
static const char *const verdict_names[] = {"right", "said so", "died", "WRONG"};

static enum verdict open_and_encode(uint32_t access, const struct change *change, unsigned point) {
    penult_model *model;
    penult_error error;
    uint64_t bits = 0;
    changing_restore();
    hook_arm(FILE_NAME, change, point);
    int32_t status = try_open(access, &model, &error);
    hook_count(CALL_PREAD);
    if (status != PENULT_OK) {
        if (is_about_the_change(status, &error) && change->effect != EFFECT_NAME)
            return SAID;
        printf("# %s at read %u: %s: %s\n", change->name, point, status_name(status), error.message);
        return WRONG;
    }
    status = encode_once(model, &bits, &error);
    api->model_close(model);
    if (status == PENULT_E_CHANGED && access == PENULT_MAP && change->effect != EFFECT_NAME)
        return SAID;
    /* a hole that the file system does not date cannot be seen, and zeros are no right bits */
    if (status == PENULT_OK && (bits == right_bits || (change->effect == EFFECT_HOLE && !dates_holes)))
        return RIGHT;
    printf("# %s at read %u: opened, then %s, bits %016llx: %s\n", change->name, point, status_name(status),
           (unsigned long long)bits, error.message);
    return WRONG;
}

/* In a child, because a mapping may end in SIGBUS: the verdict is its exit status. */
static enum verdict in_child(enum verdict (*run)(const struct change *, unsigned), const struct change *change,
                             unsigned point) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        give_up("fork: %s", strerror(errno));
    if (child == 0) {
        static const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        alarm(20); /* a hang is a death by SIGALRM, which is not allowed */
        enum verdict verdict = run(change, point);
        fflush(stdout);
        _exit(CHILD_SAYS + (int)verdict);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) >= CHILD_SAYS && WEXITSTATUS(status) <= CHILD_SAYS + WRONG)
        return (enum verdict)(WEXITSTATUS(status) - CHILD_SAYS);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS && change->effect == EFFECT_SHRINK)
        return DIED;
    printf("# %s at point %u: the process ended with status %#x\n", change->name, point, (unsigned)status);
    return WRONG;
}

static enum verdict map_open_in_child(const struct change *change, unsigned point) {
    return open_and_encode(PENULT_MAP, change, point);
}

/* ---- a change while an encode runs ---------------------------------------------------------------------------------- */

struct late_change {
    const struct change *change;
    struct timespec delay;
};

static void *make_late(void *argument) {
    struct late_change *late = argument;
    nanosleep(&late->delay, NULL);
    late->change->make();
    return NULL;
}

struct at_block {
    const struct change *change;
    uint64_t block;
};

static int32_t make_at_block(void *user, const penult_progress *progress) {
    struct at_block *at = user;
    if (progress->done == at->block)
        at->change->make();
    return 0;
}

/* point 0 to 3: between the blocks, from the progress callback; above, below MOMENTS: from another thread, spread over an
 * encode's time. */
#define MOMENTS 100
static enum verdict during(uint32_t access, const struct change *change, unsigned point) {
    penult_model *model;
    penult_error error;
    struct batch batch;
    uint64_t bits;
    changing_restore();
    if (try_open(access, &model, &error) != PENULT_OK)
        give_up("model_open: %s", error.message);
    penult_session *session = host_session(model, 2, 1, 0);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    double took[3];
    for (int i = 0; i < 3; i++) {
        took[i] = seconds();
        if (encode(session, &batch, &bits, &error) != PENULT_OK || bits != right_bits)
            give_up("the first encode: %s", error.message);
        took[i] = seconds() - took[i];
    }
    struct at_block at = {change, point + 1};
    struct late_change late = {.change = change};
    double delay = median(took, 3) * point / MOMENTS;
    late.delay.tv_nsec = (long)(fmin(delay, 0.9) * 1e9);
    pthread_t thread;
    int has_thread = point >= 4;
    if (has_thread && pthread_create(&thread, NULL, make_late, &late) != 0)
        give_up("no thread");
    if (!has_thread) {
        batch.request.progress = make_at_block;
        batch.request.user = &at;
    }
    int32_t status = encode(session, &batch, &bits, &error);
    if (has_thread)
        pthread_join(thread, NULL);
    batch.request.progress = NULL;
    int silent = access == PENULT_COPY || change->effect == EFFECT_NAME;
    enum verdict verdict = RIGHT;
    int unseen_hole = change->effect == EFFECT_HOLE && !dates_holes;
    if (status == PENULT_E_CHANGED && !silent && strstr(error.message, FILE_NAME)) {
        verdict = SAID;
    } else if ((status != PENULT_OK || bits != right_bits) && !(unseen_hole && access == PENULT_MAP)) {
        printf("# %s at point %u: %s, bits %s: %s\n", change->name, point, status_name(status),
               bits == right_bits ? "right" : "wrong", error.message);
        verdict = WRONG;
    }
    /* made by now, so the next encode knows, and touches nothing */
    status = encode(session, &batch, &bits, &error);
    if (silent ? status != PENULT_OK || bits != right_bits : status != PENULT_E_CHANGED && !unseen_hole) {
        printf("# %s at point %u: the next encode: %s: %s\n", change->name, point, status_name(status), error.message);
        verdict = WRONG;
    }
    batch_free(&batch);
    api->session_close(session);
    api->model_close(model);
    return verdict;
}

static enum verdict map_during(const struct change *change, unsigned point) {
    return during(PENULT_MAP, change, point);
}

/* ---- all changes at all points -------------------------------------------------------------------------------------- */

static void tell(const char *moment, const struct change *change, const unsigned *of) {
    char counts[128] = "";
    for (int i = RIGHT; i <= WRONG; i++)
        if (of[i])
            snprintf(counts + strlen(counts), sizeof counts - strlen(counts), ", %u %s", of[i], verdict_names[i]);
    check(of[WRONG] == 0 && of[RIGHT] + of[SAID] + of[DIED] > 0, "%s, %s, %s%s", where, moment, change->name, counts);
}

static unsigned reads_of(uint32_t access) {
    penult_model *model;
    penult_error error;
    changing_restore();
    hook_arm(FILE_NAME, NULL, 0);
    int32_t status = try_open(access, &model, &error);
    unsigned reads = hook_count(CALL_PREAD);
    if (status != PENULT_OK)
        give_up("model_open in short reads: %s", error.message);
    api->model_close(model);
    return reads;
}

static void change_everything(unsigned points) {
    unsigned copy_reads = reads_of(PENULT_COPY), map_reads = reads_of(PENULT_MAP);
    check(copy_reads >= 100 && map_reads >= 20, "%s: a copied open reads %u times, a mapped one %u times", where, copy_reads,
          map_reads);
    unsigned descriptors = descriptor_count(), threads = thread_count();
    for (size_t i = 0; i < change_count; i++) {
        const struct change *change = &changes[i];
        unsigned copying[4] = {0}, mapping[4] = {0}, encoding[4] = {0}, copied[4] = {0};
        changing_restore();
        if (change->make() != 0) {
            skip(change->name, "this file system cannot");
            continue;
        }
        for (unsigned p = 0; p < points; p++) {
            copying[open_and_encode(PENULT_COPY, change, p * copy_reads / points)]++;
            copied[during(PENULT_COPY, change, p * MOMENTS / points)]++;
        }
        for (unsigned p = 0; p < points; p++) {
            mapping[in_child(map_open_in_child, change, p * map_reads / points)]++;
            encoding[in_child(map_during, change, p * MOMENTS / points)]++;
        }
        tell("while it is copied", change, copying);
        tell("while it is opened mapped", change, mapping);
        tell("while a mapped model encodes", change, encoding);
        tell("while a copied model encodes", change, copied);
    }
    check(threads_are(threads) && descriptor_count() == descriptors, "%s: %u descriptors and %u threads stay as many",
          where, descriptor_count(), thread_count());
}

/* F8: no cache may take one file for another that has its name, its size and perhaps its inode. */
static void same_path_other_content(void) {
    for (int in_place = 0; in_place < 2; in_place++) {
        penult_model *old[2], *new[2];
        penult_error error;
        uint64_t bits;
        int good = 1;
        changing_restore();
        for (uint32_t access = PENULT_MAP; access <= PENULT_COPY; access++)
            good &= try_open(access, &old[access], &error) == PENULT_OK;
        changing_other_weights(in_place);
        for (uint32_t access = PENULT_MAP; access <= PENULT_COPY; access++)
            good &= try_open(access, &new[access], &error) == PENULT_OK;
        for (uint32_t access = PENULT_MAP; access <= PENULT_COPY && good; access++) {
            int32_t status = encode_once(new[access], &bits, &error);
            good &= status == PENULT_OK && bits != right_bits && (other_bits == 0 || bits == other_bits);
            other_bits = bits;
            status = encode_once(old[access], &bits, &error);
            good &= in_place && access == PENULT_MAP ? status == PENULT_E_CHANGED
                                                     : status == PENULT_OK && bits == right_bits;
            api->model_close(new[access]);
            api->model_close(old[access]);
        }
        check(good, "%s: other weights under the same name, %s: the old model keeps its own or says so, a new one has the new",
              where, in_place ? "written over the old" : "by rename");
    }
}

/* F6, F9: the disk or the server fails at each call on the weights in turn; then all is well again. */
static void failing_calls(unsigned points) {
    static const struct {
        int error;
        const char *words;
    } errors[] = {{EIO, "Input/output error"}, {ESTALE, "Stale file handle"}};
    static const char *const calls[CALLS] = {"open", "fstat", "pread"};
    for (size_t e = 0; e < 2; e++) {
        unsigned tried = 0, bad = 0;
        for (uint32_t access = PENULT_MAP; access <= PENULT_COPY; access++) {
            unsigned made[CALLS];
            penult_model *model;
            penult_error error;
            uint64_t bits;
            changing_restore();
            hook_arm(FILE_NAME, NULL, 0);
            if (try_open(access, &model, &error) != PENULT_OK)
                give_up("model_open: %s", error.message);
            made[CALL_OPEN] = hook_count(CALL_OPEN);
            made[CALL_FSTAT] = hook_count(CALL_FSTAT);
            made[CALL_PREAD] = hook_count(CALL_PREAD);
            api->model_close(model);
            for (int call = 0; call < CALLS; call++) {
                unsigned step = made[call] / points + 1;
                bad += made[call] == 0;
                for (unsigned at = 0; at < made[call]; at += step, tried++) {
                    hook_fail(FILE_NAME, (enum call)call, errors[e].error, at);
                    int32_t status = try_open(access, &model, &error);
                    hook_count(CALL_OPEN);
                    int said = status == PENULT_E_IO && !model && strstr(error.message, FILE_NAME) &&
                               strstr(error.message, errors[e].words);
                    if (!said)
                        printf("# %s %u: %s: %s\n", calls[call], at, status_name(status), error.message);
                    bad += !said;
                    if (status == PENULT_OK)
                        api->model_close(model);
                }
            }
            if (try_open(access, &model, &error) != PENULT_OK || encode_once(model, &bits, &error) != PENULT_OK ||
                bits != right_bits)
                bad++;
            api->model_close(model);
        }
        check(bad == 0, "%s: %s at each of %u calls of an open is IO with the file's name, and the next open is right", where,
              errors[e].words, tried);
    }
}

/* The check before and behind an encode may fail too; the session is as good as before. */
static void failing_check(void) {
    penult_model *model = NULL;
    penult_error error;
    struct batch batch;
    uint64_t bits, untouched;
    changing_restore();
    if (try_open(PENULT_MAP, &model, &error) != PENULT_OK)
        give_up("model_open: %s", error.message);
    penult_session *session = host_session(model, 2, 1, 0);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    untouched = batch_bits(&batch);
    int good = 1;
    hook_fail(FILE_NAME, CALL_FSTAT, ESTALE, 0);
    int32_t status = encode(session, &batch, &bits, &error);
    unsigned checks = hook_count(CALL_FSTAT);
    good &= status == PENULT_E_IO && bits == untouched && strstr(error.message, FILE_NAME) && checks == 1;
    hook_fail(FILE_NAME, CALL_FSTAT, ESTALE, 1);
    status = encode(session, &batch, &bits, &error);
    good &= status == PENULT_E_IO && strstr(error.message, FILE_NAME) && hook_count(CALL_FSTAT) == 2;
    good &= encode(session, &batch, &bits, &error) == PENULT_OK && bits == right_bits;
    check(good, "%s: a stale handle before or behind an encode is IO, and the next encode is right", where);
    batch_free(&batch);
    api->session_close(session);
    api->model_close(model);
}

int main(int argc, char **argv) {
    unsigned points = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100;
    static const char *const parents[] = {"/tmp", "/dev/shm"};
    struct stat first, second;
    if (argc < 3 || points == 0 || points > MOMENTS)
        give_up("usage: test_changes PLUGIN MODEL [POINTS]");
    alarm(590);
    host_load(argv);
    for (size_t i = 0; i < 2; i++) {
        where = parents[i];
        if (i == 1 && (stat(parents[0], &first) != 0 || stat(parents[1], &second) != 0 || first.st_dev == second.st_dev)) {
            skip(parents[i], "not there, or the same file system");
            continue;
        }
        folder = changing_begin(parents[i], argv[2]);
        if (!folder) {
            skip(parents[i], "no folder can be made there");
            continue;
        }
        changing_restore();
        penult_model *model = host_open(folder, NULL, PENULT_COPY);
        penult_error error;
        if (encode_once(model, &right_bits, &error) != PENULT_OK)
            give_up("encode_text: %s", error.message);
        api->model_close(model);
        dates_holes = changing_dates_holes();
        if (!dates_holes)
            skip(where, "a punched hole leaves the file's time alone here: no reader can see it");
        other_bits = 0;
        change_everything(i == 0 ? points : (points + 3) / 4);
        same_path_other_content();
        failing_calls(points);
        failing_check();
        changing_end();
    }
    return done();
}
