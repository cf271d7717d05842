/* test_contract.c - protects the harness of the host contract: every breach that it claims to see is made by a bad guest,
 * one at a time, and must be seen, under its name and in the right call; a good guest and a host that does all that itself
 * in its callbacks must not be blamed.
 *
 *     test_contract CONTRACT BAD_GUEST */
#include <errno.h>
#include <fenv.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../memory/host.h"
#include "penult_condition.h"

static const struct {
    const char *deed, *call, *seen;
} cases[] = {
#if defined(__x86_64__)
    {"denormals are zero", "model_describe", "floating-point mode or flags"},
    {"a flag is raised", "model_describe", "floating-point mode or flags"},
    {"x87 precision", "model_describe", "x87 control word"},
    {"x87 stack", "model_describe", "x87 status word"},
#endif
    {"rounding", "model_describe", "rounding"},
    {"errno", "model_describe", "errno"},
    {"blocked signal", "model_describe", "blocked signals"},
    {"uselocale", "model_describe", "uselocale"},
    {"signal stack", "model_describe", "alternate signal stack"},
    {"thread name", "model_describe", "thread name"},
    {"affinity", "model_describe", "CPU affinity"},
    {"cancel state", "model_describe", "cancellability"},
    {"disposition", "model_describe", "disposition of signal 12"},
    {"setlocale", "model_describe", "locale"},
    {"chdir", "model_describe", "working directory"},
    {"umask", "model_describe", "umask"},
    {"limit", "model_describe", "resource limit"},
    {"timer", "model_describe", "interval timer"},
    {"process group", "model_describe", "process group"},
    {"dumpable", "model_describe", "dumpable"},
    {"no new privileges", "model_describe", "no_new_privs"},
    {"death signal", "model_describe", "parent death signal"},
    {"raise", "model_describe", "pending signals"},
    {"setenv", "model_describe", "environment"},
    {"rand", "model_describe", "sequence of rand"},
    {"stdout", "model_describe", "what was written to descriptors 1 and 2"},
    {"stderr", "model_describe", "what was written to descriptors 1 and 2"},
    {"printf", "model_describe", "text held for stdout"},
    {"a thread", "model_describe", "threads"},
    {"a descriptor", "model_describe", "number of descriptors"},
    {"another descriptor", "model_describe", "the open descriptors"},
    {"a mapping", "model_describe", "bytes of private mappings"},
    {"a mapped file", "model_describe", "bytes of mapped files"},
    {"a mapping kept", "model_close", "with no handle left, bytes of private mappings beyond the host's"},
    {"a descriptor kept", "model_close", "with no handle left, descriptors beyond the host's"},
    {"a thread too many", "session_open", "threads"},
    {"a thread stays", "session_close", "threads"},
    {"rounding in a callback", "encode_text", "rounding"},
    {"umask at load", "dlopen", "umask"},
    {"a pipeline's thread too many", "pipeline_open", "threads"},
    {"rounding in a callback", "condition", "rounding"},
    {"a flag while conditioning", "condition", "floating-point mode or flags"},
    {"errno while conditioning", "condition", "errno"},
    {"a mapping while conditioning", "condition", "bytes of private mappings"},
    {NULL, NULL, NULL},
};

static char log_path[256];

static int32_t do_nothing(void *user, const penult_progress *progress) {
    (void)user, (void)progress;
    return 0;
}

/* What a host's own code may do while a call waits for it. */
static int32_t live(void *user, const penult_progress *progress) {
    (void)user, (void)progress;
    umask(0124);
    setenv("HOST", "1", 1);
    fesetround(FE_UPWARD);
    errno = EPROTO;
    if (chdir("/") != 0 || rand() < 0 || write(1, "", 0) != 0)
        return 1;
    return 0;
}

static void host(char **argv, int32_t (*progress)(void *, const penult_progress *)) {
    penult_error error;
    penult_model *model;
    penult_session *session;
    penult_model_info info = {.struct_size = sizeof info};
    penult_open_params open = {.struct_size = sizeof open, .path = "nowhere"};
    penult_session_params params = {.struct_size = sizeof params, .threads = 2};
    penult_token_request tokens = {.struct_size = sizeof tokens};
    penult_token_result result = {.struct_size = sizeof result};
    penult_text_request request = {.struct_size = sizeof request, .progress = progress};
    struct penult_library library;
    char why[512];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (penult_load(&library, argv[1], why, sizeof why) != 0)
        _exit(3);
    api = library.api;
    if (api->model_open(&open, &model, &error) != PENULT_OK || api->model_describe(model, &info, &error) != PENULT_OK)
        _exit(4);
    api->tokenize(model, &tokens, &result, &error);
    if (api->session_open(model, &params, &session, &error) != PENULT_OK)
        _exit(5);
    api->session_cancel(session);
    if (api->encode_text(session, &request, NULL, &error) != PENULT_OK)
        _exit(6);
    api->session_close(session);
    const penult_condition_api *condition = api->extension(PENULT_CONDITION);
    penult_pipeline *pipeline;
    penult_pipeline_params of = {.struct_size = sizeof of, .model_count = 2, .threads = 1};
    penult_condition_request prompt = {.struct_size = sizeof prompt, .progress = progress};
    if (!condition || condition->pipeline_open(&of, &pipeline, &error) != PENULT_OK)
        _exit(7);
    if (condition->condition(pipeline, &prompt, NULL, &error) != PENULT_OK)
        _exit(8);
    prompt.progress = NULL; /* what a callback of the host's did is nobody's breach, so here is a call without one */
    if (condition->condition(pipeline, &prompt, NULL, &error) != PENULT_OK)
        _exit(9);
    condition->pipeline_close(pipeline);
    api->model_close(model);
    _exit(0);
}

/* Lines of the log, which is there from the first breach on; the first of them in `first`. `hits`: how many are of that
 * call and that thing. */
static unsigned read_log(const char *call, const char *seen, char *first, size_t size, unsigned *hits) {
    char line[1024], wanted[256];
    unsigned lines = 0;
    FILE *file = fopen(log_path, "r");
    snprintf(wanted, sizeof wanted, "%s: %s", call ? call : "", seen ? seen : "");
    first[0] = '\0';
    *hits = 0;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (!lines++)
            snprintf(first, size, "%s", line);
        *hits += call && strncmp(line, wanted, strlen(wanted)) == 0;
    }
    if (file)
        fclose(file);
    return lines;
}

static int run(char **argv, const char *deed, int32_t (*progress)(void *, const penult_progress *)) {
    int status;
    fflush(stdout);
    unlink(log_path);
    pid_t child = fork();
    if (child == 0) {
        if (deed)
            setenv("PENULT_BAD_GUEST", deed, 1);
        setenv("PENULT_CONTRACT_PLUGIN", argv[2], 1);
        setenv("PENULT_CONTRACT_LOG", log_path, 1);
        alarm(20);
        host(argv, progress);
    }
    waitpid(child, &status, 0);
    return status;
}

int main(int argc, char **argv) {
    char first[1024], folder[] = P_tmpdir "/penult-contract-XXXXXX";
    unsigned hits;
    cpu_set_t cpus;
    if (argc != 3 || !mkdtemp(folder))
        give_up("usage: test_contract CONTRACT BAD_GUEST");
    snprintf(log_path, sizeof log_path, "%s/log", folder);

    int status = run(argv, NULL, do_nothing);
    unsigned lines = read_log(NULL, NULL, first, sizeof first, &hits);
    check(status == 0 && lines == 0, "a good guest breaks nothing (status %d, %u breaches) %s", status, lines, first);
    status = run(argv, NULL, live);
    lines = read_log(NULL, NULL, first, sizeof first, &hits);
    check(status == 0 && lines == 0, "what a callback does is the host's own (status %d, %u breaches) %s", status, lines,
          first);

    int many = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
    for (size_t i = 0; cases[i].deed; i++) {
        if (strcmp(cases[i].deed, "affinity") == 0 && !many) {
            skip("affinity", "this process may use one CPU and cannot be held to fewer");
            continue;
        }
        status = run(argv, cases[i].deed, do_nothing);
        lines = read_log(cases[i].call, cases[i].seen, first, sizeof first, &hits);
        check(status == 0 && hits > 0, "%s: seen as a breach of %s in %s (status %d, %u of %u lines) %s", cases[i].deed,
              cases[i].seen, cases[i].call, status, hits, lines, hits ? "" : first);
    }
    unlink(log_path);
    strcat(log_path, ".counts");
    unlink(log_path);
    rmdir(folder);
    return done();
}
