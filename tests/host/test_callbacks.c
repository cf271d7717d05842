/* test_callbacks.c - protects the host's own code that runs inside a call: a report or a progress callback finds the
 * floating-point mode that its thread had before the call, though the library holds another for what it computes itself.
 *
 *     test_callbacks PLUGIN MODEL */
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../memory/host.h"

static const char *model_path;
static unsigned reports, progresses, in_another_mode;
static float third_downwards;

/* Not fegetround, which on x86 looks at the x87's rounding alone. */
static float third(void) {
    volatile float one = 1, three = 3;
    return one / three;
}

static void hear(void *user, const penult_report *finding) {
    (void)user, (void)finding;
    reports++;
    in_another_mode += third() != third_downwards;
}

static int32_t step(void *user, const penult_progress *progress) {
    (void)user, (void)progress;
    progresses++;
    in_another_mode += third() != third_downwards;
    return 0;
}

static void put(FILE *to, const void *bytes, size_t size) {
    if (fwrite(bytes, 1, size, to) != size)
        give_up("a test's model cannot be written");
}

/* The model with one tensor more that nobody asks for: a finding that is made while the weights are bound. */
static void write_curious_model(const char *folder) {
    static const char more[] = ",\"extra\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%llu,%llu]}}";
    static const char config[] = "config.json", weights[] = "model.safetensors";
    char path[4096], tail[160];
    const char *const names[] = {config, weights};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", model_path, names[i]);
        FILE *from = fopen(path, "rb");
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *to = fopen(path, "wb");
        size_t size = 0, room = (size_t)8 << 20;
        unsigned char *bytes = malloc(room);
        uint64_t head;
        if (!from || !to || !bytes || (size = fread(bytes, 1, room, from)) < 16 || size == room)
            give_up("a test's model cannot be written to %s", folder);
        memcpy(&head, bytes, sizeof head);
        if (names[i] == weights) {
            size_t close = 8 + (size_t)head;
            while (bytes[--close] != '}')
                continue;
            unsigned long long end = size - 8 - head;
            int length = snprintf(tail, sizeof tail, more, end, end + 4);
            uint64_t longer = (close - 8 + (size_t)length + 7) / 8 * 8;
            put(to, &longer, 8);
            put(to, bytes + 8, close - 8);
            put(to, tail, (size_t)length);
            put(to, "       ", (size_t)longer - (close - 8) - (size_t)length);
            put(to, bytes + 8 + head, size - 8 - (size_t)head);
            put(to, "\0\0\0", 4);
        } else {
            put(to, bytes, size);
        }
        free(bytes);
        fclose(from);
        fclose(to);
    }
}

/* The library holds the host's mode while it converts weights; what it tells the host meanwhile, it tells in the host's. */
static void callbacks_run_in_the_hosts_mode(void) {
    char folder[] = P_tmpdir "/penult-states-XXXXXX", path[64];
    penult_open_params params = {.struct_size = sizeof params, .access = PENULT_COPY, .path = folder,
        .tokenizer_path = model_path, .report = hear, .progress = step};
    penult_model *model;
    penult_error error = {.message = ""};
    if (!mkdtemp(folder))
        give_up("no folder for a model");
    write_curious_model(folder);
    float third_nearest = third();
    fesetround(FE_DOWNWARD);
    third_downwards = third();
    int32_t status = api->model_open(&params, &model, &error);
    fesetround(FE_TONEAREST);
    check(third_downwards != third_nearest && status == PENULT_OK && reports && progresses && !in_another_mode,
          "callbacks run in the host's mode (%u of %u did not) %s", in_another_mode, reports + progresses, error.message);
    if (!status)
        api->model_close(model);
    snprintf(path, sizeof path, "%s/config.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    unlink(path);
    rmdir(folder);
}

int main(int argc, char **argv) {
    if (argc != 3)
        give_up("usage: test_callbacks PLUGIN MODEL");
    model_path = argv[2];
    host_load(argv);
    callbacks_run_in_the_hosts_mode();
    return done();
}
