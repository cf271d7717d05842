/* test_loading.c - protects loading and unloading: with every flag of dlopen, in two copies, in a host that exports the
 * plugin's insides as traps, after static TLS and thread keys have run out, and ten thousand times; each time the bits of a
 * plain host.
 *
 *     test_loading PLUGIN MODEL NEIGHBOUR [CYCLES]
 *
 * dlclose unmaps nothing, so each case is a child of a process that never loaded the plugin. The program exports traps.c. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../memory/host.h"
#include "traps.h"

#define TEXT "a castle at dawn, 8k"
#define NEIGHBOURS 20
#define MOST_NEIGHBOURS 200
#define ROOM_FOR_TLS "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=32768"
#define WARM_UP 100 /* cycles; there must be more */
#define MOST_GROWTH (64 << 10) /* of private memory over all cycles: what the kernel's own counting wavers by */
#define CASE_SECONDS 300

static const char *plugin_path, *model_path, *neighbour_path;
static char folder[] = P_tmpdir "/penult-loading-XXXXXX";
static unsigned cycles = 1000;

/* What a child found. */
struct finding {
    uint64_t bits[2];
    int good;
    char words[240];
};
static struct finding finding;

#define FAILED(...) (snprintf(finding.words, sizeof finding.words, __VA_ARGS__), finding.good = 0)

/* ---- one life of the plugin ----------------------------------------------------------------------------------------- */

static const penult_api *table_of(void *library) {
    const penult_entry_point *(*enter)(void);
    void *symbol = library ? dlsym(library, PENULT_ENTRY_NAME) : NULL;
    if (!symbol)
        return NULL;
    memcpy(&enter, &symbol, sizeof enter);
    return enter()->get_api(PENULT_ABI_VERSION);
}

static uint64_t encode_with(const penult_api *table, uint32_t kernels) {
    struct batch batch;
    penult_error error;
    api = table;
    penult_model *model = host_open(model_path, NULL, PENULT_MAP);
    penult_session *session = host_session(model, 2, 1, kernels);
    batch_make(&batch, model, 1, TEXT, strlen(TEXT), WANT_ALL);
    if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
    uint64_t bits = batch_bits(&batch);
    batch_free(&batch);
    api->session_close(session);
    api->model_close(model);
    return bits;
}

static void both_kernels(const penult_api *table) {
    finding.bits[0] = encode_with(table, 0);
    finding.bits[1] = encode_with(table, PENULT_KERNELS_OPENBLAS);
}

/* Runs in a child, with the traps armed. */
static struct finding in_a_child(void (*body)(long argument), long argument) {
    int ends[2], status = 0;
    struct finding got = {.good = 0, .words = "the child sent nothing"};
    fflush(stdout);
    if (pipe(ends) != 0)
        give_up("pipe");
    pid_t child = fork();
    if (child == 0) {
        const char *name;
        setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {.tv_sec = CASE_SECONDS}}, NULL); /* alarm is a trap */
        finding.good = 1;
        traps_arm(1);
        body(argument);
        traps_arm(0);
        unsigned sprung = traps_sprung(&name);
        if (sprung)
            FAILED("%u calls into the host's traps, the first is %s", sprung, name);
        _exit(write(ends[1], &finding, sizeof finding) != (ssize_t)sizeof finding);
    }
    close(ends[1]);
    if (read(ends[0], &got, sizeof got) != (ssize_t)sizeof got)
        got.good = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    if (status != 0 && got.good) {
        got.good = 0;
        snprintf(got.words, sizeof got.words, "the child ended with %#x", (unsigned)status);
    }
    return got;
}

static struct finding plain;

static void judge(const char *name, struct finding got) {
    int same = memcmp(got.bits, plain.bits, sizeof got.bits) == 0;
    check(got.good && same, "%s%s%s", name, got.good && same ? "" : ": ", got.good ? same ? "" : "other bits" : got.words);
}

/* ---- flags of dlopen ------------------------------------------------------------------------------------------------ */

static const struct {
    int flags;
    const char *name;
} ways[] = {
    {RTLD_NOW | RTLD_LOCAL, "RTLD_NOW, LOCAL"},
    {RTLD_NOW | RTLD_GLOBAL, "RTLD_NOW, GLOBAL"},
    {RTLD_LAZY | RTLD_LOCAL, "RTLD_LAZY, LOCAL"},
    {RTLD_LAZY | RTLD_GLOBAL, "RTLD_LAZY, GLOBAL"},
    {RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, "RTLD_NOW, LOCAL, DEEPBIND"},
    {RTLD_NOW | RTLD_GLOBAL | RTLD_DEEPBIND, "RTLD_NOW, GLOBAL, DEEPBIND"},
    {RTLD_LAZY | RTLD_LOCAL | RTLD_DEEPBIND, "RTLD_LAZY, LOCAL, DEEPBIND"},
    {RTLD_LAZY | RTLD_GLOBAL | RTLD_DEEPBIND, "RTLD_LAZY, GLOBAL, DEEPBIND"},
};

/* What is inside the plugin and must not be found in it, whatever the flags. */
static const char *const inside[] = {"cblas_sgemm", "sgemm_", "openblas_get_config", "utf8proc_map", "worker_self",
    "blas_memory_alloc", "model_open"};

static void load_with(long flags) {
    void *library = dlopen(plugin_path, (int)flags);
    const penult_api *table = table_of(library);
    if (!table) {
        FAILED("not loaded: %.200s", dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++)
        if (dlsym(library, inside[i]))
            FAILED("the plugin gives out %s", inside[i]);
    both_kernels(table);
    if (dlclose(library) != 0)
        FAILED("dlclose: %.200s", dlerror());
}

/* The traps themselves: a careless neighbour must fall into them. */
static void spring_the_traps(long unused) {
    const char *name;
    void (*calls)(void);
    void *library = dlopen(neighbour_path, RTLD_NOW), *symbol = library ? dlsym(library, "neighbour_calls") : NULL;
    (void)unused;
    memcpy(&calls, &symbol, sizeof calls);
    if (symbol)
        calls();
    finding.bits[0] = traps_sprung(&name);
}

/* ---- two copies ----------------------------------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to) {
    struct stat status;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    off_t at = 0;
    if (in < 0 || out < 0 || fstat(in, &status) != 0)
        give_up("%s cannot be copied to %s", from, to);
    while (at < status.st_size)
        if (sendfile(out, in, &at, (size_t)(status.st_size - at)) <= 0)
            give_up("%s cannot be written", to);
    close(in);
    close(out);
}

struct copy {
    const penult_api *table;
    penult_model *model;
    penult_session *session;
    struct batch batch;
    uint64_t right;
    unsigned wrong;
};

static void copy_open(struct copy *copy, const penult_api *table, uint32_t kernels) {
    *copy = (struct copy){.table = table, .right = finding.bits[kernels != 0]};
    api = table;
    copy->model = host_open(model_path, NULL, PENULT_MAP);
    copy->session = host_session(copy->model, 2, 1, kernels);
    batch_make(&copy->batch, copy->model, 1, TEXT, strlen(TEXT), WANT_ALL);
}

static void *copy_encode(void *argument) {
    struct copy *copy = argument;
    for (int i = 0; i < 40; i++) {
        memset(copy->batch.memory, i, copy->batch.bytes);
        int32_t status = copy->table->encode_text(copy->session, &copy->batch.request, NULL, NULL);
        copy->wrong += status != PENULT_OK || batch_bits(&copy->batch) != copy->right;
    }
    return NULL;
}

static void copy_close(struct copy *copy) {
    copy->table->model_close(copy->model);
    copy->table->session_close(copy->session);
    batch_free(&copy->batch);
}

static void two_copies(long unused) {
    char path[4096];
    struct copy copies[4];
    pthread_t threads[4];
    (void)unused;
    snprintf(path, sizeof path, "%s/second.so", folder);
    copy_file(plugin_path, path);
    const penult_api *tables[2] = {table_of(dlopen(plugin_path, RTLD_NOW)), table_of(dlopen(path, RTLD_NOW | RTLD_GLOBAL))};
    unlink(path);
    if (!tables[0] || !tables[1] || tables[0] == tables[1]) {
        FAILED("two copies gave %s", tables[0] == tables[1] ? "one table" : "no table");
        return;
    }
    for (int i = 0; i < 4; i++) { /* in turn */
        both_kernels(tables[i % 2]);
        if (memcmp(finding.bits, plain.bits, sizeof finding.bits) != 0)
            FAILED("copy %d gives other bits", i % 2);
    }
    for (int i = 0; i < 4; i++)
        copy_open(&copies[i], tables[i % 2], i < 2 ? 0 : PENULT_KERNELS_OPENBLAS);
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, copy_encode, &copies[i]) != 0)
            give_up("pthread_create");
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        if (copies[i].wrong)
            FAILED("at once, copy %d gives other bits %u times", i % 2, copies[i].wrong);
        copy_close(&copies[i]);
    }
}

/* ---- again and again ------------------------------------------------------------------------------------------------ */

struct footprint {
    unsigned threads, descriptors, mappings;
    uint64_t anonymous;
};

static struct footprint footprint(void) {
    char line[4352];
    struct footprint now = {.threads = thread_count(), .descriptors = descriptor_count()};
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && fgets(line, sizeof line, file))
        now.mappings++;
    if (file)
        fclose(file);
    now.anonymous = anonymous_bytes();
    return now;
}

static void load_and_unload(long unused) {
    struct footprint first = {0};
    (void)unused;
    for (unsigned i = 0; i < cycles; i++) {
        if (i == WARM_UP) { /* malloc's heap has found its size by then: of models that come and go it keeps some pages */
            footprint();       /* stdio's own buffers */
            first = footprint();
        }
        void *library = dlopen(plugin_path, i % 2 ? RTLD_NOW : RTLD_LAZY);
        const penult_api *table = table_of(library);
        if (!table) {
            FAILED("cycle %u: not loaded: %.200s", i, dlerror());
            return;
        }
        if (i % 10 == 0) {
            both_kernels(table);
            if (memcmp(finding.bits, plain.bits, sizeof finding.bits) != 0)
                FAILED("cycle %u gives other bits", i);
        }
        dlclose(library);
    }
    struct footprint last = footprint();
    if (last.threads != first.threads || last.descriptors != first.descriptors || last.mappings != first.mappings ||
        last.anonymous > first.anonymous + MOST_GROWTH)
        FAILED("threads %u to %u, descriptors %u to %u, mappings %u to %u, private KiB %llu to %llu", first.threads,
               last.threads, first.descriptors, last.descriptors, first.mappings, last.mappings,
               (unsigned long long)first.anonymous / 1024, (unsigned long long)last.anonymous / 1024);
    else
        snprintf(finding.words, sizeof finding.words, "%u threads, %u descriptors, %u mappings, private KiB %llu to %llu",
                 last.threads, last.descriptors, last.mappings, (unsigned long long)first.anonymous / 1024,
                 (unsigned long long)last.anonymous / 1024);
}

/* ---- a host that has used things up --------------------------------------------------------------------------------- */

/* Libraries with a KiB of initial-exec TLS each: `wanted` of them, or as many as the C library has room for. */
static void after_static_tls(long wanted) {
    char path[4096];
    long loaded = 0;
    for (void *library = &loaded; library && loaded < (wanted ? wanted : MOST_NEIGHBOURS);) {
        snprintf(path, sizeof path, "%s/neighbour%ld.so", folder, loaded);
        copy_file(neighbour_path, path);
        library = dlopen(path, RTLD_NOW);
        unlink(path);
        void *symbol = library ? dlsym(library, "neighbour_room") : NULL;
        char *(*room)(void);
        memcpy(&room, &symbol, sizeof room);
        loaded += symbol && *room() == 1;
    }
    if (wanted ? loaded < wanted : loaded == MOST_NEIGHBOURS)
        FAILED("%ld neighbours were loaded", loaded);
    const penult_api *table = table_of(dlopen(plugin_path, RTLD_NOW));
    if (table)
        both_kernels(table);
    else
        FAILED("not loaded: %.200s", dlerror());
}

static void after_all_keys(long unused) {
    pthread_key_t key;
    int keys = 0;
    (void)unused;
    while (pthread_key_create(&key, NULL) == 0)
        keys++;
    const penult_api *table = table_of(dlopen(plugin_path, RTLD_NOW));
    if (table && keys > 1000)
        both_kernels(table);
    else
        FAILED("%d keys were there to take", keys);
}

/* The host lets go of the library first and of its handles later; a thread that had used it ends after that. */
struct late {
    const penult_api *table;
    penult_model *model;
    penult_session *session;
    pthread_barrier_t gate;
};

static void *end_late(void *argument) {
    struct late *late = argument;
    penult_model_info info = {.struct_size = sizeof info};
    late->table->model_describe(late->model, &info, NULL);
    pthread_barrier_wait(&late->gate);
    pthread_barrier_wait(&late->gate); /* dlclose was in between */
    return NULL;
}

static void unload_with_live_handles(long unused) {
    struct late late;
    pthread_t thread;
    struct batch batch;
    (void)unused;
    void *library = dlopen(plugin_path, RTLD_NOW);
    late.table = api = table_of(library);
    if (!api) {
        FAILED("not loaded: %.200s", dlerror());
        return;
    }
    both_kernels(api);
    late.model = host_open(model_path, NULL, PENULT_MAP);
    late.session = host_session(late.model, 2, 1, 0);
    batch_make(&batch, late.model, 1, TEXT, strlen(TEXT), WANT_ALL);
    pthread_barrier_init(&late.gate, NULL, 2);
    if (pthread_create(&thread, NULL, end_late, &late) != 0)
        give_up("pthread_create");
    pthread_barrier_wait(&late.gate);
    dlclose(library);
    pthread_barrier_wait(&late.gate);
    pthread_join(thread, NULL);
    if (api->encode_text(late.session, &batch.request, NULL, NULL) != PENULT_OK || batch_bits(&batch) != plain.bits[0])
        FAILED("an encode after dlclose has other bits");
    api->session_close(late.session);
    api->model_close(late.model);
    batch_free(&batch);
}

/* Static TLS is set aside when a program starts: this one starts again, with some to take. */
static void start_with_room_for_tls(char **argv) {
    static char tunables[] = ROOM_FOR_TLS;
    size_t count = 0;
    for (char **each = environ; *each; each++, count++)
        if (strncmp(*each, "GLIBC_TUNABLES=", 15) == 0)
            return;
    char **own = calloc(count + 2, sizeof *own);
    if (!own)
        give_up("no memory");
    memcpy(own, environ, count * sizeof *own);
    own[count] = tunables;
    execve("/proc/self/exe", argv, own);
    give_up("this program cannot be started again");
}

int main(int argc, char **argv) {
    struct finding got;
    if (argc < 4 || argc > 5)
        give_up("usage: test_loading PLUGIN MODEL NEIGHBOUR [CYCLES]");
    start_with_room_for_tls(argv);
    plugin_path = argv[1];
    model_path = argv[2];
    neighbour_path = argv[3];
    cycles = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : cycles;
    if (!mkdtemp(folder))
        give_up("no folder for copies");
    plain = in_a_child(load_with, ways[0].flags);
    check(plain.good && plain.bits[0] && plain.bits[1], "loaded and used in a host full of traps %s", plain.words);
    got = in_a_child(spring_the_traps, 0);
    check(!got.good && got.bits[0] == 2, "a careless neighbour falls into the traps (%llu of 2 calls)",
          (unsigned long long)got.bits[0]);
    for (size_t i = 1; i < sizeof ways / sizeof ways[0]; i++)
        judge(ways[i].name, in_a_child(load_with, ways[i].flags));
    judge("two copies of the file, in turn and at once", in_a_child(two_copies, 0));
    judge("after 20 libraries with static TLS", in_a_child(after_static_tls, NEIGHBOURS));
    judge("after the last static TLS there was", in_a_child(after_static_tls, 0));
    judge("after every thread key was taken", in_a_child(after_all_keys, 0));
    judge("dlclose with live handles", in_a_child(unload_with_live_handles, 0));
    got = in_a_child(load_and_unload, 0);
    judge("loaded and unloaded again and again", got);
    say("%u cycles, every tenth encodes twice: %s", cycles, got.words);
    rmdir(folder);
    return done();
}
