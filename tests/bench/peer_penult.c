/* peer_penult.c - one Penult process of the bench: a small host that does as its standard input says and answers each
 * line with one line of JSON, so that tests/bench/bench.py can let several processes run in turn. Knows no other peer.
 *
 *     peer_penult PLUGIN MODEL THREADS BATCH KERNELS TASK ARITHMETIC      KERNELS: a PENULT_KERNELS_ number, 0 the best
 *     peer_penult --arithmetics                                           those that it can ask for, one a line
 *
 * TASK      encode   the same BATCH prompts each time, to hidden state -2 and the projected pooled vector
 *           pooled   BATCH prompts of 5 to 20 ids, filled up to 77 as a text's are, to the pooled vector alone
 *           fresh    as encode, each time with other prompts
 *           suffix   as encode, each time with other last ids before the end and the same ones before them, in a session that
 *                    keeps a prompt
 *
 *     (start)     loads the plugin: {"did": "load"}
 *     open        opens the model and a session
 *     run         encodes
 *     save FILE   writes the first prompt's hidden state, or all pooled vectors where there is none, as float32
 *     check       whether a new session gives the bits of the last run
 *     (end)       closes everything */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "../../api/penult_load.h"

enum { TOKENS = 77, BODY = 20, SUFFIX = 3, SHORTEST = 5, LENGTHS = 16, START_ID = 49406, END_ID = 49407 };

enum task { ENCODE, POOLED, FRESH, SUFFIX_ONLY, TASKS };
static const char *const task_names[TASKS] = {"encode", "pooled", "fresh", "suffix"};

struct host {
    struct penult_library library;
    penult_model *model;
    penult_session *session;
    penult_model_info info;
    penult_session_params params;
    uint32_t batch;
    enum task task;
    int32_t runs; /* so far */
    int32_t *ids;
    penult_prompt *prompts;
    float *hidden, *pooled;
};

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static long major_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_majflt;
}

static int fail(const char *why) {
    fprintf(stderr, "peer_penult: %s\n", why);
    return 0;
}

/* Arithmetics by name, each with how a session asks for it: the one place that knows. What the header that this was compiled
 * with does not have, the bench leaves out. */
static int ask_arithmetic(penult_session_params *params, const char *name) {
    if (strcmp(name, "exact") == 0)
        return 1; /* zero */
#ifdef PENULT_ARITHMETIC_BF16
    if (strcmp(name, "bf16") == 0) {
        params->arithmetic = PENULT_ARITHMETIC_BF16;
        return 1;
    }
#endif
    (void)params;
    return fail("there is no such arithmetic");
}

static void say_arithmetics(void) {
    puts("exact");
#ifdef PENULT_ARITHMETIC_BF16
    puts("bf16");
#endif
}

/* The ids of peer_torch.py. `fresh` and `suffix` take others in each run, from the first or from the last ones on. */
static void fill_ids(struct host *host) {
    int32_t turn = host->task >= FRESH ? host->runs : 0;
    for (uint32_t b = 0; b < host->batch; b++) {
        int32_t *row = host->ids + (size_t)b * TOKENS;
        int32_t body = host->task == POOLED ? SHORTEST - 2 + (int32_t)b * 7 % LENGTHS : BODY;
        row[0] = START_ID;
        for (int32_t i = 1; i <= body; i++) {
            int32_t moved = host->task == SUFFIX_ONLY && i <= body - SUFFIX ? 0 : turn * 1009;
            row[i] = 320 + ((int32_t)b * 97 + i * 31 + moved) % 40000;
        }
        row[body + 1] = END_ID;
        host->prompts[b] = (penult_prompt){.ids = row, .id_count = TOKENS};
    }
}

static int open_all(struct host *host, const char *path) {
    const penult_api *api = host->library.api;
    penult_error error;
    penult_open_params open = {.struct_size = sizeof open, .path = path};
    uint64_t measured;
    double began = seconds(CLOCK_MONOTONIC);
    if (api->model_open(&open, &host->model, &error) != PENULT_OK)
        return fail(error.message);
    double opened = seconds(CLOCK_MONOTONIC);
    host->info = (penult_model_info){.struct_size = sizeof host->info};
    if (api->model_describe(host->model, &host->info, &error) != PENULT_OK ||
        api->session_measure(host->model, &host->params, &measured, &error) != PENULT_OK ||
        api->session_open(host->model, &host->params, &host->session, &error) != PENULT_OK)
        return fail(error.message);
    double ready = seconds(CLOCK_MONOTONIC);
    host->ids = calloc((size_t)host->batch * TOKENS, sizeof *host->ids);
    host->prompts = calloc(host->batch, sizeof *host->prompts);
    host->hidden = calloc((size_t)host->batch * TOKENS * host->info.width, sizeof *host->hidden);
    host->pooled = calloc((size_t)host->batch * host->info.projection, sizeof *host->pooled);
    if (!host->ids || !host->prompts || !host->hidden || !host->pooled)
        return fail("no memory for the outputs");
    printf("{\"did\": \"open\", \"model_open\": %.6f, \"session_open\": %.6f, \"measured\": %llu, \"version\": \"%s\", "
           "\"kernels\": \"%s\"}\n", opened - began, ready - opened, (unsigned long long)measured,
           host->library.entry->version(), host->info.kernels);
    return 1;
}

static int encode(struct host *host, penult_session *session, float *hidden, float *pooled) {
    penult_output outputs[2] = {
        {.kind = PENULT_POOLED_PROJECTED,
         .to = {.data = pooled, .bytes = (uint64_t)host->batch * host->info.projection * sizeof(float), .dtype = PENULT_F32}},
        {.kind = PENULT_HIDDEN, .layer = -2,
         .to = {.data = hidden, .bytes = (uint64_t)host->batch * TOKENS * host->info.width * sizeof(float), .dtype = PENULT_F32}},
    };
    penult_text_request request = {
        .struct_size = sizeof request,
        .prompt_count = host->batch, .prompt_stride = sizeof *host->prompts, .prompts = host->prompts,
        .output_count = host->task == POOLED ? 1 : 2, .output_stride = sizeof *outputs, .outputs = outputs,
    };
    penult_error error;
    return host->library.api->encode_text(session, &request, NULL, &error) == PENULT_OK || fail(error.message);
}

static int run(struct host *host) {
    fill_ids(host);
    host->runs++;
    long faults = major_faults();
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    if (!encode(host, host->session, host->hidden, host->pooled))
        return 0;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"did\": \"run\", \"wall\": %.6f, \"cpu\": %.6f, \"major_faults\": %ld}\n", wall, cpu, major_faults() - faults);
    return 1;
}

static int check(struct host *host) {
    size_t count = (size_t)host->batch * TOKENS * host->info.width;
    float *hidden = calloc(count, sizeof *hidden), *pooled = calloc((size_t)host->batch * host->info.projection, sizeof *pooled);
    penult_session *session = NULL;
    penult_error error;
    int good = hidden && pooled;
    if (!good)
        fail("no memory for a second encode");
    if (good && host->library.api->session_open(host->model, &host->params, &session, &error) != PENULT_OK)
        good = fail(error.message);
    good = good && encode(host, session, hidden, pooled);
    if (good)
        printf("{\"did\": \"check\", \"same\": %s}\n",
               memcmp(hidden, host->hidden, count * sizeof *hidden) == 0 ? "true" : "false");
    host->library.api->session_close(session);
    free(hidden), free(pooled);
    return good;
}

static int save(const struct host *host, const char *path) {
    const float *from = host->task == POOLED ? host->pooled : host->hidden;
    size_t count = host->task == POOLED ? (size_t)host->batch * host->info.projection : (size_t)TOKENS * host->info.width;
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail("could not write the result");
    size_t written = fwrite(from, sizeof *from, count, file);
    if (fclose(file) != 0 || written != count)
        return fail("could not write the result");
    puts("{\"did\": \"save\"}");
    return 1;
}

static int obey(struct host *host, const char *model, char *line) {
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "open") == 0)
        return open_all(host, model);
    if (!host->session)
        return fail("nothing is open yet");
    if (strcmp(line, "run") == 0)
        return run(host);
    if (strncmp(line, "save ", 5) == 0)
        return save(host, line + 5);
    if (strcmp(line, "check") == 0 && host->runs > 0)
        return check(host);
    return fail("unknown command");
}

int main(int argc, char **argv) {
    static struct host host;
    char why[512], line[4096];
    int good = 1;
    if (argc == 2 && strcmp(argv[1], "--arithmetics") == 0) {
        say_arithmetics();
        return 0;
    }
    while (argc == 8 && host.task < TASKS && strcmp(argv[6], task_names[host.task]) != 0)
        host.task++;
    if (argc != 8 || host.task == TASKS) {
        fprintf(stderr, "usage: peer_penult PLUGIN MODEL THREADS BATCH KERNELS TASK ARITHMETIC\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    host.batch = (uint32_t)strtoul(argv[4], NULL, 10);
    host.params = (penult_session_params){.struct_size = sizeof host.params, .threads = (uint32_t)strtoul(argv[3], NULL, 10),
                                          .max_prompts = host.batch, .kernels = (uint32_t)strtoul(argv[5], NULL, 10),
                                          .kept_prompts = host.task == SUFFIX_ONLY};
    if (!ask_arithmetic(&host.params, argv[7]))
        return 1;
    if (penult_load(&host.library, argv[1], why, sizeof why) != 0) {
        fprintf(stderr, "peer_penult: %s\n", why);
        return 1;
    }
    puts("{\"did\": \"load\"}");
    while (good && fgets(line, sizeof line, stdin))
        good = obey(&host, argv[2], line);
    host.library.api->session_close(host.session);
    host.library.api->model_close(host.model);
    free(host.ids), free(host.prompts), free(host.hidden), free(host.pooled);
    penult_unload(&host.library);
    return good ? 0 : 1;
}
