/* api_system.c - see api_system.h. fuzz.mk sends the engine's calls to the functions that begin with __wrap_. */
#include "api_system.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../encoder/base/half.h"
#include "../../encoder/kernels/choose.h"
#include "../../encoder/kernels/cpu.h"
#include "../../encoder/model/layout.h"
#include "fuzz.h"

/* ---- files ---- */

const char *const place_paths[PLACES] = {"tiny/full", "tiny/plain", "tiny/broken", "tiny/short", "tiny/odd", "tiny/none"};

static struct {
    char path[64];
    int memory;
} files[24];
static size_t file_count;

static void write_file(enum place place, const char *name, const void *bytes, size_t size) {
    snprintf(files[file_count].path, sizeof files[0].path, "%s/%s", place_paths[place], name);
    int memory = memfd_create(name, MFD_CLOEXEC);
    fuzz_require(memory >= 0 && write(memory, bytes, size) == (ssize_t)size, "no file in memory");
    files[file_count++].memory = memory;
}

static int find(const char *path) {
    for (size_t i = 0; i < file_count; i++)
        if (strcmp(files[i].path, path) == 0)
            return files[i].memory;
    return -1;
}

void system_touch(enum place place, int touched) {
    char path[64];
    snprintf(path, sizeof path, "%s/model.safetensors", place_paths[place]);
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = touched ? 2000 : 1000}};
    fuzz_require(futimens(find(path), times) == 0, "a file in memory that takes no time");
}

/* ---- the models ---- */

#define CONFIG                                                                                                     \
    "{\"architectures\":[\"CLIPTextModel%s\"],\"hidden_size\":8,\"num_hidden_layers\":2,\"num_attention_heads\":2,"   \
    "\"intermediate_size\":16,\"max_position_embeddings\":8,\"vocab_size\":12,\"projection_dim\":4,"                 \
    "\"eos_token_id\":%d%s}"
static const char vocabulary[] = "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab\":4,\"!\":5,\"<|startoftext|>\":6,"
                                 "\"<|endoftext|>\":7,\"ab</w>\":8,\"c</w>\":9}";
static const char merges[] = "#version: 0.2\na b\na b</w>\n";

/* In the order of enum role; columns 0: a vector. */
static const struct {
    uint64_t rows, columns;
} shapes[ROLES] = {{8, 0}, {8, 0}, {8, 8}, {8, 0}, {8, 8}, {8, 0}, {8, 8}, {8, 0}, {8, 8}, {8, 0}, {8, 0}, {8, 0},
                   {16, 8}, {16, 0}, {8, 16}, {8, 0}, {12, 8}, {8, 8}, {8, 0}, {8, 0}, {4, 8}};

struct writer {
    char header[8192];
    unsigned char data[16384];
    size_t header_size, data_size;
    uint32_t random;
    const char *dtype;
    int broken;
};

static void write_tensor(struct writer *w, const struct found_layout *layout, enum role role, unsigned block) {
    struct layout_name name;
    char shape[32];
    size_t begin = w->data_size, values = shapes[role].rows * (shapes[role].columns ? shapes[role].columns : 1);
    for (size_t i = 0; i < values; i++) {
        float value = (float)(int32_t)fuzz_below(&w->random, 129) / 64.0f - 1.0f; /* exact as float16, too */
        if (w->broken && role == ROLE_FC2_BIAS && block + 1 == TINY_LAYERS)
            value = float_from_bits(0x7FC00000);
        uint32_t bits = w->dtype[1] == '3' ? float_to_bits(value) : f16_from_f32(value);
        memcpy(w->data + w->data_size, &bits, w->dtype[1] == '3' ? 4 : 2);
        w->data_size += w->dtype[1] == '3' ? 4 : 2;
    }
    if (role == ROLE_PROJECTION)
        layout_spell_projection(layout, 0, &name);
    else
        layout_spell(layout, role, block, &name);
    snprintf(shape, sizeof shape, shapes[role].columns ? "[%u,%u]" : "[%u]", (unsigned)shapes[role].rows,
             (unsigned)shapes[role].columns);
    w->header_size += (size_t)snprintf(w->header + w->header_size, sizeof w->header - w->header_size,
                                       "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                                       w->header_size ? "," : "{", name.bytes, w->dtype, shape, begin, w->data_size);
}

static void write_model(enum place place, const char *dtype, int projection, int eos, const char *activation) {
    static struct writer w;
    static unsigned char file[8 + sizeof w.header + sizeof w.data];
    char text[512];
    w = (struct writer){.random = 1, .dtype = dtype, .broken = place == PLACE_BROKEN};
    /* any name that a layout has will do to find it */
    static char known[] = "text_model.embeddings.token_embedding.weight";
    struct named_tensor item = {.name = known, .name_size = sizeof known - 1};
    struct found_layout found[LAYOUTS_MOST];
    fuzz_require(layouts_find(&(struct tensor_set){&item, 1}, found) == 1, "a layout that is not found");
    const struct found_layout *layout = found;
    for (int role = BLOCK_ROLES; role < ROLES; role++)
        if (role != ROLE_PROJECTION || projection)
            write_tensor(&w, layout, (enum role)role, 0);
    for (unsigned block = 0; block < TINY_LAYERS; block++)
        for (int role = 0; role < BLOCK_ROLES; role++)
            write_tensor(&w, layout, (enum role)role, block);
    w.header[w.header_size++] = '}';
    fuzz_require(w.header_size < sizeof w.header && w.data_size <= sizeof w.data, "a header that does not fit");
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)(w.header_size >> 8 * i);
    memcpy(file + 8, w.header, w.header_size);
    memcpy(file + 8 + w.header_size, w.data, w.data_size);
    write_file(place, "model.safetensors", file, 8 + w.header_size + w.data_size - (place == PLACE_SHORT));
    int size = snprintf(text, sizeof text, CONFIG, projection ? "WithProjection" : "", eos, activation);
    write_file(place, "config.json", text, (size_t)size);
    if (place != PLACE_PLAIN) {
        write_file(place, "vocab.json", vocabulary, sizeof vocabulary - 1);
        write_file(place, "merges.txt", merges, sizeof merges - 1);
        write_file(place, "special_tokens_map.json", "{\"pad_token\":\"!\"}", 17);
    }
    system_touch(place, 0);
}

void system_start(void) {
    static const char gelu[] = ",\"hidden_act\":\"gelu\"";
    write_model(PLACE_FULL, "F32", 1, TINY_END, gelu);
    write_model(PLACE_PLAIN, "F16", 0, 2, ",\"hidden_act\":\"quick_gelu\"");
    write_model(PLACE_BROKEN, "F32", 1, TINY_END, gelu);
    write_model(PLACE_SHORT, "F32", 1, TINY_END, gelu);
    write_model(PLACE_ODD, "F32", 1, TINY_END, "");
}

/* ---- refusing ---- */

static unsigned first, last;
static struct system_calls calls;

static int refuse(void) {
    unsigned number = calls.made++;
    if (number < first || number > last)
        return 0;
    calls.refused++;
    return 1;
}

static int refuse_memory(void) {
    calls.memory++;
    if (!refuse())
        return 0;
    errno = ENOMEM;
    return 1;
}

/* fuzz_refuses is set while calls count, and fuzz.c asks it only while memory counts: the same stretch. */
static int armed(void) {
    return fuzz_refuses != NULL;
}

void system_refuse(unsigned before, int for_ever) {
    first = before;
    last = for_ever ? UINT32_MAX : before;
    calls = (struct system_calls){0};
    fuzz_refuses = refuse_memory;
}

struct system_calls system_accept(void) {
    fuzz_refuses = NULL;
    return calls;
}

#define REFUSED(error) (armed() && refuse() && ((errno = (error)), 1))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_fstat(int descriptor, struct stat *status);
int __wrap_fstat(int descriptor, struct stat *status);
int __real_stat(const char *path, struct stat *status);
int __wrap_stat(const char *path, struct stat *status);
int __real_lstat(const char *path, struct stat *status);
int __wrap_lstat(const char *path, struct stat *status);
ssize_t __real_pread(int descriptor, void *to, size_t bytes, off_t offset);
ssize_t __wrap_pread(int descriptor, void *to, size_t bytes, off_t offset);
int __real_mprotect(void *address, size_t bytes, int protection);
int __wrap_mprotect(void *address, size_t bytes, int protection);
int __real_madvise(void *address, size_t bytes, int advice);
int __wrap_madvise(void *address, size_t bytes, int advice);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument);
int __real_kernels_choose(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, int *rejected, struct fault *fault);
int __wrap_kernels_choose(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, int *rejected, struct fault *fault);

int __wrap_open(const char *path, int flags, ...) {
    char inside[32];
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (!armed() && find(path) < 0)
        return __real_open(path, flags, mode);
    if (REFUSED(EMFILE))
        return -1;
    int memory = find(path);
    if (memory < 0) {
        errno = ENOENT;
        return -1;
    }
    snprintf(inside, sizeof inside, "/proc/self/fd/%d", memory);
    return __real_open(inside, flags);
}

int __wrap_fstat(int descriptor, struct stat *status) {
    return REFUSED(EIO) ? -1 : __real_fstat(descriptor, status);
}

static int look(const char *path, struct stat *status) {
    int memory = find(path);
    if (memory >= 0)
        return __real_fstat(memory, status);
    for (int place = 0; place < PLACE_NONE; place++) {
        if (strcmp(path, place_paths[place]) != 0)
            continue;
        *status = (struct stat){.st_mode = S_IFDIR | 0755};
        return 0;
    }
    errno = ENOENT;
    return -1;
}

int __wrap_stat(const char *path, struct stat *status) {
    if (!armed() && strncmp(path, "tiny/", 5) != 0)
        return __real_stat(path, status);
    return REFUSED(EIO) ? -1 : look(path, status);
}

int __wrap_lstat(const char *path, struct stat *status) {
    if (!armed() && strncmp(path, "tiny/", 5) != 0)
        return __real_lstat(path, status);
    return REFUSED(EIO) ? -1 : look(path, status);
}

ssize_t __wrap_pread(int descriptor, void *to, size_t bytes, off_t offset) {
    return REFUSED(EIO) ? -1 : __real_pread(descriptor, to, bytes, offset);
}

int __wrap_mprotect(void *address, size_t bytes, int protection) {
    return REFUSED(ENOMEM) ? -1 : __real_mprotect(address, bytes, protection);
}

int __wrap_madvise(void *address, size_t bytes, int advice) {
    return REFUSED(ENOMEM) ? -1 : __real_madvise(address, bytes, advice);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument) {
    calls.memory += (unsigned)armed();
    return REFUSED(EAGAIN) ? EAGAIN : __real_pthread_create(thread, attributes, main, argument);
}

int system_checks_kernels;

int __wrap_kernels_choose(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, int *rejected, struct fault *fault) {
    if (system_checks_kernels)
        return __real_kernels_choose(out, most, arithmetic, rejected, fault);
    *rejected = 0;
    kernels_fill(out, most, arithmetic, cpu_features());
    return 0;
}
