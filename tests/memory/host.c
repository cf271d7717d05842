/* host.c - see host.h. */
#include "host.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../encoder/base/wrap.h"

const penult_api *api;
static unsigned checks, failures;

void check(int good, const char *format, ...) {
    va_list arguments;
    failures += !good;
    printf("%sok %u - ", good ? "" : "not ", ++checks);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

void skip(const char *name, const char *why) {
    printf("ok %u - %s # SKIP %s\n", ++checks, name, why);
    fflush(stdout);
}

void say(const char *format, ...) {
    const char *path = getenv("PENULT_TABLES");
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    printf("# %s\n", line);
    fflush(stdout);
    FILE *tables = path ? fopen(path, "a") : NULL;
    if (tables) {
        fprintf(tables, "%s\n", line);
        fclose(tables);
    }
}

int done(void) {
    printf("1..%u\n", checks);
    return failures > 0;
}

void give_up(const char *format, ...) {
    va_list arguments;
    printf("Bail out! ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
    _exit(2);
}

/* ---- the plugin ----------------------------------------------------------------------------------------------------- */

void host_load(char **argv) {
    static struct penult_library library;
    char why[512];
    if (penult_load(&library, argv[1], why, sizeof why) != 0)
        give_up("%s", why);
    say("---- %s %s", program_invocation_short_name, argv[2]);
    api = library.api;
}

penult_model *host_open(const char *path, const char *tokenizer, uint32_t access) {
    penult_open_params params = {
        .struct_size = sizeof params, .access = access, .path = path, .tokenizer_path = tokenizer};
    penult_model *model;
    penult_error error;
    if (api->model_open(&params, &model, &error) != PENULT_OK)
        give_up("model_open: %s", error.message);
    return model;
}

penult_session *host_session(penult_model *model, uint32_t threads, uint32_t max_prompts, uint32_t kernels) {
    penult_session_params params = {
        .struct_size = sizeof params, .threads = threads, .max_prompts = max_prompts, .kernels = kernels};
    penult_session *session;
    penult_error error;
    if (api->session_open(model, &params, &session, &error) != PENULT_OK)
        give_up("session_open: %s", error.message);
    return session;
}

const char *status_name(int32_t status) {
    static const char *const names[] = {"OK", "ARGUMENT", "UNSUPPORTED", "NOT_FOUND", "IO", "FORMAT", "TRUNCATED",
        "TRAILING", "MISMATCH", "NO_MEMORY", "TEXT", "LIMIT", "NO_TOKENIZER", "CANCELLED", "NON_FINITE", "CHANGED",
        "WRONG_PROCESS"};
    return status >= 0 && status <= PENULT_E_WRONG_PROCESS ? names[status] : "?";
}

static void *claim(size_t bytes) {
    void *block = malloc(bytes ? bytes : 1);
    if (!block)
        give_up("the test itself has no memory for %zu bytes", bytes);
    return memset(block, 0xA5, bytes);
}

static const uint32_t dtypes[] = {PENULT_F32, PENULT_F16, PENULT_BF16};

static size_t add_output(struct batch *batch, size_t at, uint32_t kind, int32_t layer, uint32_t flags, uint32_t dtype,
                         size_t values) {
    size_t bytes = values * (dtype == PENULT_F32 ? 4 : 2);
    if (batch->request.output_count == sizeof batch->outputs / sizeof batch->outputs[0])
        return at;
    batch->outputs[batch->request.output_count++] = (penult_output){
        .kind = kind, .layer = layer, .flags = flags,
        .to = {.data = batch->memory ? batch->memory + at : NULL, .bytes = bytes, .dtype = dtype}};
    return at + bytes;
}

static size_t add_outputs(struct batch *batch, const penult_model_info *info, uint32_t prompts, enum wanted wanted) {
    size_t hidden = (size_t)prompts * info->context * info->width, at = 0;
    batch->request.output_count = 0;
    at = add_output(batch, at, PENULT_HIDDEN, -2, 0, PENULT_F32, hidden);
    at = add_output(batch, at, PENULT_POOLED_PROJECTED, 0, 0, PENULT_F32, (size_t)prompts * info->projection);
    if (wanted == WANT_POOLED)
        return at;
    at = add_output(batch, at, PENULT_POOLED_RAW, 0, 0, PENULT_F32, (size_t)prompts * info->width);
    at = add_output(batch, at, PENULT_POOLED_NORMALISED, 0, 0, PENULT_F16, (size_t)prompts * info->projection);
    at = add_output(batch, at, PENULT_HIDDEN, -1, PENULT_FINAL_NORM, PENULT_BF16, hidden);
    for (uint32_t layer = 0; layer <= info->layers; layer++)
        at = add_output(batch, at, PENULT_HIDDEN, (int32_t)layer, 0, dtypes[layer % 3], hidden);
    return at;
}

void batch_make(struct batch *batch, const penult_model *model, uint32_t prompts, const char *text, size_t text_bytes,
                enum wanted wanted) {
    penult_model_info info = {.struct_size = sizeof info};
    if (api->model_describe(model, &info, NULL) != PENULT_OK)
        give_up("model_describe");
    *batch = (struct batch){.bytes = 0};
    batch->bytes = add_outputs(batch, &info, prompts, wanted);
    batch->memory = claim(batch->bytes);
    add_outputs(batch, &info, prompts, wanted);
    batch->prompts = claim(prompts * sizeof *batch->prompts);
    batch->ids = claim(info.context * sizeof *batch->ids);
    for (uint32_t i = 0; i < info.context; i++)
        batch->ids[i] = i == 0 ? (int32_t)info.vocabulary - 2 : i < 20 ? (int32_t)(i * 37 % 900) : info.end_id;
    for (uint32_t i = 0; i < prompts; i++)
        batch->prompts[i] = text ? (penult_prompt){.text = text, .text_bytes = text_bytes}
                                 : (penult_prompt){.ids = batch->ids, .id_count = info.context};
    batch->request.struct_size = sizeof batch->request;
    batch->request.prompt_count = prompts;
    batch->request.prompt_stride = sizeof *batch->prompts;
    batch->request.prompts = batch->prompts;
    batch->request.output_stride = sizeof *batch->outputs;
    batch->request.outputs = batch->outputs;
}

void batch_free(struct batch *batch) {
    free(batch->memory);
    free(batch->prompts);
    free(batch->ids);
}

WRAPS("FNV-1a multiplies modulo 2^64")
uint64_t batch_bits(const struct batch *batch) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < batch->bytes; i++)
        hash = (hash ^ batch->memory[i]) * 1099511628211u;
    return hash;
}

WRAPS("the generator works modulo 2^32")
char *long_text(size_t bytes) {
    static const char *const words[] = {"castle ", "at ", "dawn, ", "caf\xc3\xa9 ", "8k ", "masterpiece ", "it's ", "--- "};
    char *text = claim(bytes + 1);
    uint32_t random = 1;
    size_t at = 0;
    while (at < bytes) {
        random = random * 1664525u + 1013904223u;
        const char *word = words[random >> 29];
        size_t size = strlen(word);
        if (at + size > bytes)
            word = "               ", size = bytes - at;
        memcpy(text + at, word, size);
        at += size;
    }
    text[bytes] = '\0';
    return text;
}

/* ---- what the kernel says ------------------------------------------------------------------------------------------- */

uint64_t proc_bytes(const char *path, const char *name) {
    char line[512];
    size_t length = strlen(name);
    unsigned long long kib = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            kib = strtoull(line + length + 1, NULL, 10);
    if (file)
        fclose(file);
    return kib * 1024;
}

uint64_t anonymous_bytes(void) {
    return proc_bytes("/proc/self/smaps_rollup", "Anonymous");
}

struct mapping mapping_of(const char *suffix) {
    struct mapping sum = {0};
    struct {
        const char *name;
        uint64_t *to;
    } const fields[] = {{"Rss:", &sum.rss}, {"Pss:", &sum.pss}, {"Shared_Clean:", &sum.shared},
        {"Shared_Dirty:", &sum.shared}, {"Private_Clean:", &sum.own}, {"Private_Dirty:", &sum.own},
        {"Anonymous:", &sum.anonymous}};
    char line[4352];
    int inside = 0;
    FILE *file = fopen("/proc/self/smaps", "r");
    while (file && fgets(line, sizeof line, file)) {
        size_t length = strcspn(line, "\n"), tail = strlen(suffix);
        line[length] = '\0';
        if (line[0] < 'A' || line[0] > 'Z') /* the head of a mapping; every field begins with a capital */
            inside = length >= tail && strcmp(line + length - tail, suffix) == 0;
        for (size_t i = 0; inside && i < sizeof fields / sizeof fields[0]; i++)
            if (strncmp(line, fields[i].name, strlen(fields[i].name)) == 0)
                *fields[i].to += strtoull(line + strlen(fields[i].name), NULL, 10) * 1024;
    }
    if (file)
        fclose(file);
    return sum;
}

unsigned threads_named(const char *prefix, int *tids, unsigned room) {
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
        char path[320], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        int read = file && fgets(name, sizeof name, file);
        if (file)
            fclose(file);
        if (!read || strncmp(name, prefix, strlen(prefix)) != 0)
            continue;
        if (tids && count < room)
            tids[count] = atoi(entry->d_name);
        count++;
    }
    if (tasks)
        closedir(tasks);
    return count;
}

static unsigned entries(const char *path) {
    unsigned count = 0;
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return count;
}

unsigned thread_count(void) {
    return entries("/proc/self/task");
}

int threads_are(unsigned count) {
    for (int i = 0; i < 2000 && thread_count() != count; i++)
        usleep(1000);
    return thread_count() == count;
}

unsigned descriptor_count(void) {
    return entries("/proc/self/fd") - 1; /* not the one that looks */
}

static double clock_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double seconds(void) {
    return clock_of(CLOCK_MONOTONIC);
}

double cpu_seconds(void) {
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, unsigned count) {
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}
