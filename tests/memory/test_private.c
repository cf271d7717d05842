/* test_private.c - protects what a host pays for: private memory of a model and of sessions, what session_measure says of
 * it, and that the weights are paid for once however many processes map them.
 *
 *     test_private PLUGIN MODEL [TOKENIZER]
 *
 * Every figure is taken in a child that was forked from a process that only loaded the plugin: the do-nothing host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

#define MIB (1024.0 * 1024.0)
#define MOST_PRIVATE (96 * MIB)
#define TEXT_BYTES 65536 /* max_text_bytes of a session that does not say */

static const char *model_path, *tokenizer_path;

static const struct set {
    uint32_t kernels;
    const char *name;
} sets[] = {{0, "best"}, {PENULT_KERNELS_AVX2, "avx2"}, {PENULT_KERNELS_OPENBLAS, "openblas"}};

/* What a child found out. */
struct figures {
    uint64_t idle, model, session, encoded, measured, rss_anon, rss_file;
    struct mapping mapping;
    int32_t status;
};

struct experiment {
    uint32_t kernels, threads, prompts;
    uint32_t used; /* prompts of the encode */
    int long_texts;
};

static struct figures run_here(const struct experiment *e) {
    struct figures f = {0};
    struct batch batch;
    char *text = long_text(TEXT_BYTES);
    anonymous_bytes(); /* stdio's own buffers */
    f.idle = anonymous_bytes();
    penult_model *model = host_open(model_path, tokenizer_path, PENULT_MAP);
    f.model = anonymous_bytes() - f.idle;
    batch_make(&batch, model, e->used, text, e->long_texts ? TEXT_BYTES : 40, WANT_POOLED);
    uint64_t before = anonymous_bytes();
    penult_session_params params = {
        .struct_size = sizeof params, .threads = e->threads, .max_prompts = e->prompts, .kernels = e->kernels};
    f.status = api->session_measure(model, &params, &f.measured, NULL);
    penult_session *session = host_session(model, e->threads, e->prompts, e->kernels);
    f.session = anonymous_bytes() - before;
    if (!f.status)
        f.status = api->encode_text(session, &batch.request, NULL, NULL);
    f.encoded = anonymous_bytes() - before;
    f.rss_anon = proc_bytes("/proc/self/status", "RssAnon");
    f.rss_file = proc_bytes("/proc/self/status", "RssFile");
    f.mapping = mapping_of("/model.safetensors");
    return f;
}

/* A forked child runs the experiment and sends its figures; with `hold` it stays until that pipe is closed. */
static pid_t start(const struct experiment *e, int *from, int hold) {
    int ends[2];
    fflush(stdout);
    if (pipe(ends) != 0)
        give_up("pipe");
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(ends[0]);
        struct figures f = run_here(e);
        if (write(ends[1], &f, sizeof f) != (ssize_t)sizeof f)
            _exit(1);
        if (hold >= 0) {
            if (read(hold, &byte, 1) < 0)
                _exit(1);
            f.mapping = mapping_of("/model.safetensors");
            if (write(ends[1], &f, sizeof f) != (ssize_t)sizeof f || read(hold, &byte, 1) < 0)
                _exit(1);
        }
        _exit(0);
    }
    close(ends[1]);
    *from = ends[0];
    return child;
}

static struct figures take(int from) {
    struct figures f = {.status = -1};
    if (read(from, &f, sizeof f) != (ssize_t)sizeof f)
        f.status = -1;
    return f;
}

static struct figures run(const struct experiment *e) {
    int from, status;
    pid_t child = start(e, &from, -1);
    struct figures f = take(from);
    close(from);
    waitpid(child, &status, 0);
    if (status != 0)
        f.status = -1;
    return f;
}

/* Issue 3: with the full file open and one prompt encoded, at most 96 MiB beyond a host that does nothing. */
static void private_memory(void) {
    say("%-8s %7s %12s %12s %12s %10s", "kernels", "threads", "model MiB", "session MiB", "beyond MiB", "RssAnon");
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        for (uint32_t threads = 1; threads <= 2; threads++) {
            struct experiment e = {.kernels = sets[i].kernels, .threads = threads, .prompts = 1, .used = 1, .long_texts = 1};
            struct figures f = run(&e);
            double beyond = (double)(f.model + f.encoded);
            say("%-8s %7u %12.2f %12.2f %12.2f %10.2f", sets[i].name, threads, (double)f.model / MIB,
                (double)f.encoded / MIB, beyond / MIB, (double)f.rss_anon / MIB);
            check(f.status == PENULT_OK && beyond <= MOST_PRIVATE, "%s, %u threads: %.1f MiB private, at most %.0f",
                  sets[i].name, threads, beyond / MIB, MOST_PRIVATE / MIB);
        }
    }
}

/* What session_measure says is what is there after an encode: 5 % and a page a thread for the system's own. */
static void measured_is_used(void) {
    static const uint32_t batches[] = {1, 8, 64};
    say("%-8s %7s %7s %9s %12s %12s %12s %8s", "kernels", "threads", "prompts", "encoded", "measured MiB", "opened MiB",
        "used MiB", "used");
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        for (size_t b = 0; b < 3; b++) {
            for (uint32_t threads = 1; threads <= 2; threads++) {
                int full = batches[b] < 64 || (i == 0 && threads == 2);
                struct experiment e = {.kernels = sets[i].kernels, .threads = threads, .prompts = batches[b],
                    .used = full ? batches[b] : 1, .long_texts = 1};
                struct figures f = run(&e);
                double ratio = f.measured ? (double)f.encoded / (double)f.measured : 0;
                say("%-8s %7u %7u %9u %12.3f %12.3f %12.3f %7.1f%%", sets[i].name, threads, e.prompts, e.used,
                    (double)f.measured / MIB, (double)f.session / MIB, (double)f.encoded / MIB, ratio * 100);
                check(f.status == PENULT_OK && ratio >= 0.95 && ratio <= 1.05,
                      "%s, %u threads, %u prompts: %.3f MiB used, %.3f measured", sets[i].name, threads, e.prompts,
                      (double)f.encoded / MIB, (double)f.measured / MIB);
            }
        }
    }
}

static void send_byte(int to) {
    if (write(to, "", 1) != 1)
        give_up("write to a pipe");
}

/* Two processes on one file pay for it once: each one's share (Pss) is half of what is resident. */
static void one_mapping(void) {
    struct experiment e = {.threads = 1, .prompts = 1, .used = 1};
    int from[2], hold[2][2];
    pid_t child[2];
    struct figures alone = run(&e), both[2];
    for (int i = 0; i < 2; i++) {
        if (pipe(hold[i]) != 0)
            give_up("pipe");
        child[i] = start(&e, &from[i], hold[i][0]);
        take(from[i]); /* encoded: its pages are mapped now */
    }
    for (int i = 0; i < 2; i++)
        send_byte(hold[i][1]);
    for (int i = 0; i < 2; i++)
        both[i] = take(from[i]);
    for (int i = 0; i < 2; i++) {
        int status;
        send_byte(hold[i][1]);
        waitpid(child[i], &status, 0);
        both[i].status |= status;
    }
    say("%-10s %10s %10s %14s %14s %14s", "mapping", "Rss MiB", "Pss MiB", "shared", "private", "anonymous");
    const struct {
        const char *name;
        struct mapping m;
    } rows[] = {{"alone", alone.mapping}, {"first", both[0].mapping}, {"second", both[1].mapping}};
    for (int i = 0; i < 3; i++)
        say("%-10s %10.1f %10.1f %14.1f %14.1f %14.1f", rows[i].name, (double)rows[i].m.rss / MIB,
            (double)rows[i].m.pss / MIB, (double)rows[i].m.shared / MIB, (double)rows[i].m.own / MIB,
            (double)rows[i].m.anonymous / MIB);
    const struct mapping *a = &both[0].mapping, *b = &both[1].mapping;
    check(both[0].status == PENULT_OK && both[1].status == PENULT_OK && alone.mapping.rss > 0 &&
              alone.mapping.pss == alone.mapping.rss && alone.mapping.own == alone.mapping.rss,
          "one process: the mapping is all its own share");
    check(a->rss == b->rss && a->shared == a->rss && b->shared == b->rss, "two processes: all of it is shared");
    check((double)a->pss < 0.51 * (double)a->rss && (double)b->pss < 0.51 * (double)b->rss, "each one's share is half");
    check(a->anonymous == 0 && b->anonymous == 0, "and no page of it was copied");
    check(both[0].rss_file >= a->rss, "RssFile counts the mapping, RssAnon does not");
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4)
        give_up("usage: test_private PLUGIN MODEL [TOKENIZER]");
    model_path = argv[2];
    tokenizer_path = argc > 3 ? argv[3] : NULL;
    host_load(argv);
    private_memory();
    measured_is_used();
    one_mapping();
    return done();
}
