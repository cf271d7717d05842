/* peer_penult.c - one Penult process of the bench: a small host that does as its standard input says and answers each
 * line with one line of JSON, so that tests/bench/bench.py can let several processes run in turn. Knows no other peer.
 *
 *     peer_penult PLUGIN MODEL THREADS BATCH KERNELS      KERNELS: a PENULT_KERNELS_ number, 0 the best
 *
 *     (start)     loads the plugin: {"did": "load"}
 *     open        opens the model and a session
 *     run         encodes BATCH prompts to hidden state -2 and the projected pooled vector
 *     save FILE   writes the first prompt's hidden state as float32
 *     (end)       closes everything */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "../../api/penult_load.h"

enum { TOKENS = 77, BODY = 20, START_ID = 49406, END_ID = 49407 };

struct host {
    struct penult_library library;
    penult_model *model;
    penult_session *session;
    penult_model_info info;
    uint32_t threads, batch, kernels;
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

/* the ids of peer_torch.py */
static void fill_ids(struct host *host) {
    for (uint32_t b = 0; b < host->batch; b++) {
        int32_t *row = host->ids + (size_t)b * TOKENS;
        row[0] = START_ID;
        for (int32_t i = 1; i <= BODY; i++)
            row[i] = 320 + ((int32_t)b * 97 + i * 31) % 40000;
        row[BODY + 1] = END_ID;
        host->prompts[b] = (penult_prompt){.ids = row, .id_count = TOKENS};
    }
}

static int open_all(struct host *host, const char *path) {
    const penult_api *api = host->library.api;
    penult_error error;
    penult_open_params open = {.struct_size = sizeof open, .path = path};
    penult_session_params params = {.struct_size = sizeof params, .threads = host->threads,
                                    .max_prompts = host->batch, .kernels = host->kernels};
    uint64_t measured;
    double began = seconds(CLOCK_MONOTONIC);
    if (api->model_open(&open, &host->model, &error) != PENULT_OK)
        return fail(error.message);
    double opened = seconds(CLOCK_MONOTONIC);
    host->info = (penult_model_info){.struct_size = sizeof host->info};
    if (api->model_describe(host->model, &host->info, &error) != PENULT_OK ||
        api->session_measure(host->model, &params, &measured, &error) != PENULT_OK ||
        api->session_open(host->model, &params, &host->session, &error) != PENULT_OK)
        return fail(error.message);
    double ready = seconds(CLOCK_MONOTONIC);
    host->ids = calloc((size_t)host->batch * TOKENS, sizeof *host->ids);
    host->prompts = calloc(host->batch, sizeof *host->prompts);
    host->hidden = calloc((size_t)host->batch * TOKENS * host->info.width, sizeof *host->hidden);
    host->pooled = calloc((size_t)host->batch * host->info.projection, sizeof *host->pooled);
    if (!host->ids || !host->prompts || !host->hidden || !host->pooled)
        return fail("no memory for the outputs");
    fill_ids(host);
    printf("{\"did\": \"open\", \"model_open\": %.6f, \"session_open\": %.6f, \"measured\": %llu, \"version\": \"%s\", "
           "\"kernels\": \"%s\"}\n", opened - began, ready - opened, (unsigned long long)measured,
           host->library.entry->version(), host->info.kernels);
    return 1;
}

static int run(struct host *host) {
    uint64_t hidden = (uint64_t)host->batch * TOKENS * host->info.width * sizeof(float);
    uint64_t pooled = (uint64_t)host->batch * host->info.projection * sizeof(float);
    penult_output outputs[2] = {
        {.kind = PENULT_HIDDEN, .layer = -2, .to = {.data = host->hidden, .bytes = hidden, .dtype = PENULT_F32}},
        {.kind = PENULT_POOLED_PROJECTED, .to = {.data = host->pooled, .bytes = pooled, .dtype = PENULT_F32}},
    };
    penult_text_request request = {
        .struct_size = sizeof request,
        .prompt_count = host->batch, .prompt_stride = sizeof *host->prompts, .prompts = host->prompts,
        .output_count = 2, .output_stride = sizeof *outputs, .outputs = outputs,
    };
    penult_error error;
    long faults = major_faults();
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    if (host->library.api->encode_text(host->session, &request, NULL, &error) != PENULT_OK)
        return fail(error.message);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"did\": \"run\", \"wall\": %.6f, \"cpu\": %.6f, \"major_faults\": %ld}\n", wall, cpu, major_faults() - faults);
    return 1;
}

static int save(const struct host *host, const char *path) {
    size_t count = (size_t)TOKENS * host->info.width;
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail("could not write the hidden state");
    size_t written = fwrite(host->hidden, sizeof *host->hidden, count, file);
    if (fclose(file) != 0 || written != count)
        return fail("could not write the hidden state");
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
    return fail("unknown command");
}

int main(int argc, char **argv) {
    static struct host host;
    char why[512], line[4096];
    int good = 1;
    if (argc != 6) {
        fprintf(stderr, "usage: peer_penult PLUGIN MODEL THREADS BATCH KERNELS\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    host.threads = (uint32_t)strtoul(argv[3], NULL, 10);
    host.batch = (uint32_t)strtoul(argv[4], NULL, 10);
    host.kernels = (uint32_t)strtoul(argv[5], NULL, 10);
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
