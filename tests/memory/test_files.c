/* test_files.c - protects encodes from what happens to the weights' file between them: a mapped model notices that its file
 * was written to or cut and computes nothing; what happens to its name is no matter; a copied model does not care at all.
 *
 *     test_files PLUGIN MODEL */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

#define TEXT "a castle at dawn, 8k"

static char folder[] = "/tmp/penult-files-XXXXXX";
static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"};
static char weights[64], beside[64];

static void copy(const char *directory, const char *name, const char *as) {
    char from[4096], to[256], block[65536];
    size_t got;
    snprintf(from, sizeof from, "%s/%s", directory, name);
    snprintf(to, sizeof to, "%s/%s", folder, as);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    if (!in || !out)
        give_up("could not copy %s to %s", from, to);
    while ((got = fread(block, 1, sizeof block, in)) > 0)
        if (fwrite(block, 1, got, out) != got)
            give_up("could not write %s", to);
    fclose(in);
    if (fclose(out) != 0)
        give_up("could not write %s", to);
}

static off_t size_of(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

static int cut(void) {
    return truncate(weights, size_of(weights) - 4096);
}

static int cut_to_nothing(void) {
    return truncate(weights, 0);
}

static int put(off_t at, char byte) {
    int descriptor = open(weights, O_WRONLY);
    int good = descriptor >= 0 && pwrite(descriptor, &byte, 1, at) == 1;
    close(descriptor);
    return good ? 0 : -1;
}

static int append(void) {
    return put(size_of(weights), 'x');
}

static int overwrite(void) {
    return put(size_of(weights) - 1000, 'x');
}

static int touch(void) {
    return utimensat(AT_FDCWD, weights, NULL, 0);
}

/* As a download or an editor replaces a file: the old one lives on without its name. */
static int replace(void) {
    FILE *file = fopen(beside, "wb");
    return file && fwrite("nonsense", 1, 8, file) == 8 && fclose(file) == 0 ? rename(beside, weights) : -1;
}

static int delete(void) {
    return unlink(weights);
}

static int move(void) {
    return rename(weights, beside);
}

static int more_names(void) {
    return link(weights, beside);
}

static int forbid(void) {
    return chmod(weights, 0);
}

static const struct change {
    const char *name;
    int (*make)(void);
    int32_t mapped; /* what a mapped model's next encode is */
} changes[] = {
    {"cut", cut, PENULT_E_CHANGED},
    {"cut to nothing", cut_to_nothing, PENULT_E_CHANGED},
    {"appended to", append, PENULT_E_CHANGED},
    {"written to", overwrite, PENULT_E_CHANGED},
    {"touched", touch, PENULT_E_CHANGED},
    {"replaced by rename", replace, PENULT_OK},
    {"deleted", delete, PENULT_OK},
    {"moved", move, PENULT_OK},
    {"linked", more_names, PENULT_OK},
    {"forbidden", forbid, PENULT_OK},
};

static int32_t encode(penult_session *session, struct batch *batch, uint64_t *bits, penult_error *error) {
    memset(batch->memory, 0xA5, batch->bytes);
    int32_t status = api->encode_text(session, &batch->request, NULL, error);
    *bits = batch_bits(batch);
    return status;
}

static void try(const char *model_path, const struct change *change, uint32_t access) {
    struct batch batch;
    uint64_t untouched, before, after, again;
    penult_error error = {.message = ""};
    int32_t wanted = access == PENULT_MAP ? change->mapped : PENULT_OK;
    unlink(weights);
    unlink(beside);
    copy(model_path, "model.safetensors", "model.safetensors");
    unsigned descriptors = descriptor_count();
    penult_model *model = host_open(folder, NULL, access);
    penult_session *session = host_session(model, 2, 1, 0);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_POOLED);
    untouched = batch_bits(&batch);
    int32_t first = encode(session, &batch, &before, NULL);
    usleep(20000); /* a file's time stands still for up to a tick */
    int made = change->make();
    int32_t status = encode(session, &batch, &after, &error);
    int32_t second = encode(session, &batch, &again, NULL); /* and no later one finds it well again */
    uint64_t right = wanted == PENULT_OK ? before : untouched;
    check(made == 0 && first == PENULT_OK && status == wanted && second == wanted && after == right && again == right &&
              (status == PENULT_OK || strstr(error.message, "model.safetensors")),
          "%s, %s: %s%s%s", access == PENULT_MAP ? "mapped" : "copied", change->name, status_name(status),
          error.message[0] ? ": " : "", error.message);
    batch_free(&batch);
    api->session_close(session);
    api->model_close(model);
    check(descriptor_count() == descriptors, "%s, %s: no descriptor stays", access == PENULT_MAP ? "mapped" : "copied",
          change->name);
}

int main(int argc, char **argv) {
    if (argc != 3)
        give_up("usage: test_files PLUGIN MODEL");
    if (!mkdtemp(folder))
        give_up("could not make %s", folder);
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    snprintf(beside, sizeof beside, "%s/other", folder);
    for (size_t i = 0; i + 1 < sizeof names / sizeof names[0]; i++)
        copy(argv[2], names[i], names[i]);
    host_load(argv);
    for (uint32_t access = PENULT_MAP; access <= PENULT_COPY; access++)
        for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
            try(argv[2], &changes[i], access);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    unlink(beside);
    rmdir(folder);
    return done();
}
