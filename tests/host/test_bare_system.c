/* test_bare_system.c - protects hosts in sandboxes: where /sys and /proc are empty, every call works, gives the same bits and
 * keeps errno. What the C library looks up there by itself, it may look up in vain, and says so in errno though it
 * succeeds.
 *
 *     test_bare_system PLUGIN MODEL */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../memory/host.h"

#define TEXT "a castle at dawn, 8k"

static const char *model_path;

/* The calls after which errno was another; bits of the encode. */
struct found {
    uint64_t bits;
    char touched[128];
    int errno_was;
};

static void note(struct found *found, const char *call) {
    if (errno != EXDEV && strlen(found->touched) + strlen(call) + 2 < sizeof found->touched) {
        found->errno_was = errno;
        strcat(strcat(found->touched, " "), call);
    }
    errno = EXDEV;
}

static struct found every_call(void) {
    struct found found = {.bits = 0};
    struct batch batch;
    int32_t ids[77];
    penult_open_params open = {.struct_size = sizeof open, .path = model_path};
    penult_session_params params = {.struct_size = sizeof params, .max_prompts = 1};
    penult_model_info info = {.struct_size = sizeof info};
    penult_token_request request = {.struct_size = sizeof request, .text = TEXT, .text_bytes = strlen(TEXT)};
    penult_token_result result = {.struct_size = sizeof result, .ids = ids, .capacity = 77};
    penult_model *model;
    penult_session *session;
    uint64_t bytes;
    int wrong = 0;
    errno = EXDEV;
    wrong |= api->model_open(&open, &model, NULL);
    note(&found, "model_open");
    wrong |= wrong ? 1 : api->model_describe(model, &info, NULL);
    note(&found, "model_describe");
    wrong |= wrong ? 1 : api->tokenize(model, &request, &result, NULL);
    note(&found, "tokenize");
    wrong |= wrong ? 1 : api->session_measure(model, &params, &bytes, NULL);
    note(&found, "session_measure");
    wrong |= wrong ? 1 : api->session_open(model, &params, &session, NULL);
    note(&found, "session_open");
    if (wrong)
        return found;
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_ALL);
    errno = EXDEV;
    wrong |= api->encode_text(session, &batch.request, NULL, NULL);
    note(&found, "encode_text");
    api->session_close(session);
    note(&found, "session_close");
    api->model_close(model);
    note(&found, "model_close");
    found.bits = wrong ? 0 : batch_bits(&batch);
    batch_free(&batch);
    return found;
}

/* An empty folder over each of the paths, which only this child sees. 0 where that is not allowed. */
static int empty(const char *const *paths) {
    uid_t user = getuid();
    if (unshare(CLONE_NEWNS) != 0 && (user == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0))
        return 0;
    int good = mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    for (; good && *paths; paths++)
        good = mount("none", *paths, "tmpfs", 0, "") == 0;
    return good;
}

static struct found in_a_child(const char *const *paths, int *allowed) {
    struct found found = {.bits = 0};
    int ends[2], status;
    if (pipe(ends) != 0)
        give_up("pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (!empty(paths))
            _exit(2);
        found = every_call();
        _exit(write(ends[1], &found, sizeof found) != (ssize_t)sizeof found);
    }
    close(ends[1]);
    if (read(ends[0], &found, sizeof found) != (ssize_t)sizeof found)
        found.bits = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    *allowed = !WIFEXITED(status) || WEXITSTATUS(status) != 2;
    return found;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name, *paths[3];
    } systems[] = {{"the whole system", {NULL}}, {"without /sys", {"/sys", NULL}}, {"without /sys and /proc",
        {"/sys", "/proc", NULL}}};
    int allowed;
    if (argc != 3)
        give_up("usage: test_bare_system PLUGIN MODEL");
    model_path = argv[2];
    host_load(argv);
    uint64_t right = 0;
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++) {
        struct found found = in_a_child(systems[i].paths, &allowed);
        if (!allowed) {
            skip(systems[i].name, "this process may not mount anything over it");
            continue;
        }
        right = i ? right : found.bits;
        check(found.bits && found.bits == right && !found.touched[0], "%s: every call works and keeps errno%s%s",
              systems[i].name, found.touched[0] ? "; it did not after" : "", found.touched);
    }
    return done();
}
