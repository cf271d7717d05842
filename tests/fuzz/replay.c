/* replay.c - runs a fuzz target without libFuzzer: any compiler, the flags of a release.
 *
 *     TARGET [-n RUNS] [-s SEED] [-m MAX] PATH...
 *
 * Each file (or file of a directory) once, then RUNS inputs that the target's own mutator makes of them, blindly. Says so in
 * TAP; an input that fails ends the process. Knows no format.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { ROOM = 4096, INPUTS = 4096 };

static struct {
    uint8_t *bytes;
    size_t size;
} inputs[INPUTS];
static size_t input_count;
static uint32_t state = 1;

/* What libFuzzer's would do, at its simplest: a byte changes, comes or goes. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room) {
    size_t at = fuzz_below(&state, size + 1);
    uint32_t what = fuzz_below(&state, 3);
    if (what == 0 && size < room) {
        memmove(data + at + 1, data + at, size - at);
        data[at] = (uint8_t)fuzz_random(&state);
        return size + 1;
    }
    if (at == size)
        return size;
    if (what == 1) {
        memmove(data + at, data + at + 1, size - at - 1);
        return size - 1;
    }
    data[at] ^= (uint8_t)(1u << fuzz_below(&state, 8));
    return size;
}

static void take_file(const char *path) {
    struct stat status;
    FILE *file = fopen(path, "rb");
    fuzz_require(file && fstat(fileno(file), &status) == 0 && input_count < INPUTS, path);
    size_t size = (size_t)status.st_size;
    uint8_t *bytes = malloc(size ? size : 1); /* exactly as long, so that a sanitizer sees a step too far */
    fuzz_require(bytes && fread(bytes, 1, size, file) == size, path);
    fclose(file);
    inputs[input_count].bytes = bytes;
    inputs[input_count++].size = size;
}

static void take(const char *path) {
    char inside[4096];
    DIR *directory = opendir(path);
    if (!directory) {
        take_file(path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            take_file(inside);
    }
    closedir(directory);
}

static void run(const uint8_t *bytes, size_t size) {
    uint8_t *own = malloc(size ? size : 1);
    fuzz_require(own != NULL, "no memory");
    memcpy(own, bytes, size);
    LLVMFuzzerTestOneInput(own, size);
    free(own);
}

int main(int argc, char **argv) {
    unsigned long runs = 0, seed = 1, most = ROOM;
    for (int option; (option = getopt(argc, argv, "n:s:m:")) != -1;)
        *(option == 'n' ? &runs : option == 's' ? &seed : &most) = strtoul(optarg, NULL, 10);
    for (int i = optind; i < argc; i++)
        take(argv[i]);
    fuzz_require(input_count > 0 && most <= ROOM, "usage: TARGET [-n RUNS] [-s SEED] [-m MAX] PATH...");
    for (size_t i = 0; i < input_count; i++)
        run(inputs[i].bytes, inputs[i].size);
    printf("ok 1 - %zu inputs\n", input_count);
    state = fuzz_seed((unsigned)seed);
    static uint8_t data[ROOM];
    for (unsigned long i = 0; i < runs; i++) {
        size_t which = fuzz_below(&state, input_count), size = inputs[which].size < most ? inputs[which].size : most;
        memcpy(data, inputs[which].bytes, size);
        for (uint32_t changes = 1 + fuzz_below(&state, 3); changes > 0; changes--)
            size = LLVMFuzzerCustomMutator(data, size, most, fuzz_random(&state));
        run(data, size);
    }
    if (runs)
        printf("ok 2 - %lu inputs made of them\n", runs);
    printf("1..%d\n", runs ? 2 : 1);
    return 0;
}
