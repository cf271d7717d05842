/* peer_tokenizer.c - Penult's tokenizer as a process of the bench; speaks the lines of peer_penult.c. Knows no tower.
 *
 *     peer_tokenizer PLUGIN TOKENIZER TEXTS      TEXTS: a file of strings, each ended by a NUL
 *
 * A run makes the ids of every string, uncut and without start and end. "save" writes them all as float32, which holds any id:
 * results are compared as those of towers are. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../api/penult_load.h"

struct host {
    struct penult_library library;
    penult_model *model;
    char *texts;
    size_t bytes, id_count, capacity;
    int32_t *ids;
};

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int fail(const char *why) {
    fprintf(stderr, "peer_tokenizer: %s\n", why);
    return 0;
}

/* a byte makes at most one id, and normalising makes at most a few bytes of one: room enough for any corpus of prompts */
static int read_texts(struct host *host, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return fail("could not read the texts");
    long size = ftell(file);
    rewind(file);
    host->bytes = size > 0 ? (size_t)size : 0;
    host->capacity = 4 * host->bytes;
    host->texts = malloc(host->bytes + 1);
    host->ids = malloc((host->capacity + 1) * sizeof *host->ids);
    int good = host->texts && host->ids && fread(host->texts, 1, host->bytes, file) == host->bytes && host->bytes > 0 &&
               host->texts[host->bytes - 1] == '\0';
    fclose(file);
    return good || fail("could not read the texts, or the last does not end");
}

static int open_all(struct host *host, const char *tokenizer) {
    penult_open_params params = {.struct_size = sizeof params, .tokenizer_path = tokenizer};
    penult_error error;
    double began = seconds(CLOCK_MONOTONIC);
    if (host->library.api->model_open(&params, &host->model, &error) != PENULT_OK)
        return fail(error.message);
    printf("{\"did\": \"open\", \"model_open\": %.6f, \"version\": \"%s\", \"kernels\": \"tokenizer\"}\n",
           seconds(CLOCK_MONOTONIC) - began, host->library.entry->version());
    return 1;
}

static int run(struct host *host) {
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    penult_error error;
    size_t strings = 0;
    host->id_count = 0;
    for (size_t at = 0; at < host->bytes; strings++) {
        size_t length = strlen(host->texts + at);
        penult_token_request request = {.struct_size = sizeof request, .flags = PENULT_TOKENS_BODY, .text = host->texts + at,
                                        .text_bytes = length};
        penult_token_result result = {.struct_size = sizeof result, .ids = host->ids + host->id_count,
                                      .capacity = host->capacity - host->id_count};
        if (host->library.api->tokenize(host->model, &request, &result, &error) != PENULT_OK)
            return fail(error.message);
        host->id_count += result.id_count;
        at += length + 1;
    }
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"did\": \"run\", \"wall\": %.6f, \"cpu\": %.6f, \"major_faults\": 0, \"strings\": %zu}\n", wall, cpu, strings);
    return 1;
}

static int save(const struct host *host, const char *path) {
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail("could not write the ids");
    size_t written = 0;
    for (size_t i = 0; i < host->id_count; i++) {
        float id = (float)host->ids[i];
        written += fwrite(&id, sizeof id, 1, file);
    }
    if (fclose(file) != 0 || written != host->id_count)
        return fail("could not write the ids");
    puts("{\"did\": \"save\"}");
    return 1;
}

static int obey(struct host *host, const char *tokenizer, char *line) {
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "open") == 0)
        return open_all(host, tokenizer);
    if (!host->model)
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
    if (argc != 4) {
        fprintf(stderr, "usage: peer_tokenizer PLUGIN TOKENIZER TEXTS\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (penult_load(&host.library, argv[1], why, sizeof why) != 0) {
        fprintf(stderr, "peer_tokenizer: %s\n", why);
        return 1;
    }
    int good = read_texts(&host, argv[3]);
    if (good)
        puts("{\"did\": \"load\"}");
    while (good && fgets(line, sizeof line, stdin))
        good = obey(&host, argv[2], line);
    host.library.api->model_close(host.model);
    free(host.texts), free(host.ids);
    penult_unload(&host.library);
    return good ? 0 : 1;
}
