/* test_limits.c - protects a host with little address space: under every limit from what the process has to 2 GiB more,
 * opening and encoding succeed or say that there is no memory, soon, and never crash or spin.
 *
 *     test_limits PLUGIN MODEL [STEP_MIB] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../memory/host.h"

#define MIB ((uint64_t)1 << 20)
#define MOST_SECONDS 10
#define TEXT "a castle at dawn, 8k"

static const char *model_path;

static const struct way {
    const char *name;
    uint32_t access, kernels, threads, max_prompts;
} ways[] = {
    {"mapped", PENULT_MAP, 0, 2, 1},
    {"copied, 64 prompts", PENULT_COPY, 0, 2, 64},
    {"openblas, 8 threads", PENULT_MAP, PENULT_KERNELS_OPENBLAS, 8, 1},
};

enum { STAGE_MODEL = 100, STAGE_SESSION = 120, STAGE_ENCODE = 140 };

/* The exit status: 0 for success, else where and which status. */
static int child(const struct way *way, uint64_t limit, struct batch *batch) {
    struct rlimit space = {limit, limit};
    penult_open_params open = {.struct_size = sizeof open, .path = model_path, .access = way->access};
    penult_session_params params = {
        .struct_size = sizeof params, .threads = way->threads, .max_prompts = way->max_prompts, .kernels = way->kernels};
    penult_model *model;
    penult_session *session;
    penult_error error;
    if (setrlimit(RLIMIT_AS, &space) != 0)
        return 99;
    int32_t status = api->model_open(&open, &model, &error);
    if (status)
        return STAGE_MODEL + status;
    status = api->session_open(model, &params, &session, &error);
    if (status) {
        api->model_close(model);
        return STAGE_SESSION + status;
    }
    status = api->encode_text(session, &batch->request, NULL, &error);
    api->session_close(session);
    api->model_close(model);
    return status ? STAGE_ENCODE + status : 0;
}

static void sweep(const struct way *way, uint64_t step, struct batch *batch) {
    unsigned ok = 0, model = 0, session = 0, wrong = 0, late = 0, fell_back = 0;
    uint64_t enough = 0;
    char first[160] = "";
    double slowest = 0;
    for (uint64_t limit = step; limit <= 2048 * MIB; limit += step) {
        double began = seconds();
        int status;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(MOST_SECONDS);
            _exit(child(way, limit, batch));
        }
        waitpid(pid, &status, 0);
        double took = seconds() - began;
        slowest = took > slowest ? took : slowest;
        int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        late += exit_status == -SIGALRM;
        ok += exit_status == 0;
        model += exit_status == STAGE_MODEL + PENULT_E_NO_MEMORY;
        session += exit_status == STAGE_SESSION + PENULT_E_NO_MEMORY;
        if (exit_status == 0 && !enough)
            enough = limit;
        fell_back += enough && exit_status != 0; /* more room must not be worse */
        if (exit_status != 0 && exit_status != STAGE_MODEL + PENULT_E_NO_MEMORY &&
            exit_status != STAGE_SESSION + PENULT_E_NO_MEMORY) {
            wrong++;
            if (!first[0])
                snprintf(first, sizeof first, "; first at %llu MiB: exit status %d", (unsigned long long)(limit / MIB),
                         exit_status);
        }
    }
    say("%-20s %4u no memory for the model, %4u for the session, %4u succeeded, from %llu MiB; slowest %.2f s", way->name,
        model, session, ok, (unsigned long long)(enough / MIB), slowest);
    check(wrong == 0 && ok > 0 && fell_back == 0, "%s: success or NO_MEMORY under each limit (%u otherwise)%s", way->name,
          wrong, first);
    check(late == 0, "%s: within %d s (%u were not)", way->name, MOST_SECONDS, late);
}

int main(int argc, char **argv) {
    struct batch batch;
    if (argc < 3 || argc > 4)
        give_up("usage: test_limits PLUGIN MODEL [STEP_MIB]");
    model_path = argv[2];
    uint64_t step = argc > 3 ? strtoull(argv[3], NULL, 10) : 16;
    host_load(argv);
    penult_model *model = host_open(model_path, NULL, PENULT_MAP);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    api->model_close(model);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        sweep(&ways[i], (step ? step : 1) * MIB, &batch);
    batch_free(&batch);
    return done();
}
