/* test_opening.c - protects the first moment: a full model opens from the page cache in under 50 ms, whoever listens, because
 * nothing is read but heads and small files.
 *
 *     test_opening PLUGIN MODEL [TOKENIZER] */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

#define RUNS 9   /* of which the median counts */
#define ROUNDS 5 /* on a machine that is busy with something else */
#define MOST_SECONDS 0.050

static void warm(const char *folder) {
    char path[4096];
    static char block[1 << 20];
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    int descriptor = open(path, O_RDONLY);
    while (descriptor >= 0 && read(descriptor, block, sizeof block) > 0)
        continue;
    close(descriptor);
}

static void listen(void *user, const penult_report *report) {
    *(unsigned *)user += report->message != NULL;
}

static double round_of(const char *name, const penult_open_params *params) {
    double took[RUNS], computed[RUNS], closed[RUNS];
    for (int i = 0; i < RUNS; i++) {
        penult_model *model;
        penult_error error;
        double began = seconds(), cpu = cpu_seconds();
        if (api->model_open(params, &model, &error) != PENULT_OK)
            give_up("model_open: %s", error.message);
        took[i] = seconds() - began;
        computed[i] = cpu_seconds() - cpu;
        began = seconds();
        api->model_close(model);
        closed[i] = seconds() - began;
    }
    double middle = median(took, RUNS);
    say("%-20s %8.2f ms (least %.2f, most %.2f), of CPU %.2f ms; close %.2f ms", name, middle * 1e3, took[0] * 1e3,
        took[RUNS - 1] * 1e3, median(computed, RUNS) * 1e3, median(closed, RUNS) * 1e3);
    return middle;
}

static void measure(const char *name, const char *path, const char *tokenizer, int report) {
    unsigned heard = 0;
    penult_open_params params = {.struct_size = sizeof params, .path = path, .tokenizer_path = tokenizer,
        .report = report ? listen : NULL, .user = &heard};
    double middle = round_of(name, &params);
    for (int i = 1; i < ROUNDS && middle >= MOST_SECONDS; i++)
        middle = round_of(name, &params);
    check(middle < MOST_SECONDS, "%s: %.1f ms, at most %.0f", name, middle * 1e3, MOST_SECONDS * 1e3);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4)
        give_up("usage: test_opening PLUGIN MODEL [TOKENIZER]");
    const char *model = argv[2], *tokenizer = argc > 3 ? argv[3] : NULL;
    host_load(argv);
    warm(model);
    if (tokenizer)
        measure("without a tokenizer", model, NULL, 0);
    measure("no report", model, tokenizer, 0);
    measure("with a report", model, tokenizer, 1);
    return done();
}
