/* limits.c - see limits.h. */
#include "limits.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT "a castle at dawn, 8k"
#define MOST_WAYS 8

static const char *model_path;
static const struct limited *limited;
static struct batch batch;
static uint64_t bits[MOST_WAYS];

static int life(unsigned index, uint64_t *found) {
    const struct limited *way = &limited[index];
    penult_open_params open = {.struct_size = sizeof open, .path = model_path, .access = way->access};
    penult_session_params params = {
        .struct_size = sizeof params, .threads = way->threads, .max_prompts = way->max_prompts, .kernels = way->kernels};
    penult_model *model;
    penult_session *session;
    penult_error error;
    int32_t status = api->model_open(&open, &model, &error);
    if (status)
        return STAGE_MODEL + status;
    status = api->session_open(model, &params, &session, &error);
    if (status) {
        api->model_close(model);
        return STAGE_SESSION + status;
    }
    memset(batch.memory, 0, batch.bytes);
    status = api->encode_text(session, &batch.request, NULL, &error);
    *found = batch_bits(&batch);
    api->session_close(session);
    api->model_close(model);
    return status ? STAGE_ENCODE + status : REACHED_END;
}

void limits_begin(char **argv, const struct limited *ways, unsigned count) {
    model_path = argv[2];
    limited = ways;
    host_load(argv);
    penult_model *model = host_open(model_path, NULL, PENULT_MAP);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    api->model_close(model);
    for (unsigned i = 0; i < count && i < MOST_WAYS; i++)
        if (life(i, &bits[i]) != REACHED_END)
            give_up("%s: does not encode without a limit either", ways[i].name);
}

void limits_end(void) {
    batch_free(&batch);
}

void limits_use_path(const char *path) {
    model_path = path;
}

uint64_t limits_bits(unsigned way) {
    return bits[way];
}

int limits_life(unsigned way) {
    uint64_t found = 0;
    int result = life(way, &found);
    return result == REACHED_END && found != bits[way] ? OTHER_BITS : result;
}

int limits_run(unsigned way, int (*impose)(uint64_t limit), uint64_t limit, double *took) {
    double began = seconds();
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(MOST_SECONDS);
        _exit(impose(limit) ? limits_life(way) : NOT_LIMITED);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        give_up("the test itself has no child");
    *took = seconds() - began;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void sweep_add(struct sweep *sweep, int result, uint64_t limit, double took) {
    int model = 0, session = 0;
    for (int i = 0; i < 2; i++) {
        model |= sweep->status[i] && result == STAGE_MODEL + sweep->status[i];
        session |= sweep->status[i] && result == STAGE_SESSION + sweep->status[i];
    }
    sweep->slowest = took > sweep->slowest ? took : sweep->slowest;
    sweep->ok += result == REACHED_END;
    sweep->model += (unsigned)model;
    sweep->session += (unsigned)session;
    sweep->late += result == -SIGALRM;
    if (result == REACHED_END && sweep->ok == 1)
        sweep->enough = limit;
    sweep->fell_back += sweep->ok && result != REACHED_END;
    if (result == REACHED_END || model || session)
        return;
    if (sweep->wrong++ == 0)
        snprintf(sweep->first, sizeof sweep->first, "; first at %llu: %s%d", (unsigned long long)limit,
                 result < 0 ? "signal " : "result ", result < 0 ? -result : result);
}

void sweep_check(const struct sweep *s, const char *name, const char *unit) {
    unsigned runs = s->ok + s->model + s->session + s->wrong;
    say("%-44s %4u runs: %4u failed at the model, %4u at the session, %4u succeeded, from %llu %s; slowest %.2f s",
        name, runs, s->model, s->session, s->ok, (unsigned long long)s->enough, unit, s->slowest);
    check(runs > 0 && s->wrong == 0 && (s->ok > 0 || s->cut_short),
          "%s: success or the status that fits under each limit (%u otherwise)%s", name, s->wrong, s->first);
    check(s->fell_back == 0, "%s: more room is never worse (%u times it was)", name, s->fell_back);
    check(s->late == 0, "%s: within %d s (%u were not)", name, MOST_SECONDS, s->late);
}
