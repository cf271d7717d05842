/* fuzz.c - see fuzz.h. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BUDGET_FACTOR 16
#define BUDGET_BASE ((size_t)1 << 20)

/* Few frames and a small quarantine: a target makes and frees millions of blocks a minute. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "malloc_context_size=3:quarantine_size_mb=8:allocator_may_return_null=1";
}

void fuzz_require(int holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

/* ---- text ---- */

/* Lead bytes from .. to; what the first continuation byte may be; how many there are. */
static const struct {
    unsigned char from, to, least, most, length;
} characters[] = {
    {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
    {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
    {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

static size_t character(const unsigned char *at, size_t room) {
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        size_t length = characters[i].length;
        if (at[0] < characters[i].from || at[0] > characters[i].to)
            continue;
        if (length > room || (length > 1 && (at[1] < characters[i].least || at[1] > characters[i].most)))
            return 0;
        for (size_t j = 2; j < length; j++)
            if (at[j] < 0x80 || at[j] > 0xBF)
                return 0;
        return length;
    }
    return 0;
}

size_t fuzz_utf8(const char *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        size_t length = character((const unsigned char *)text + at, size - at);
        if (length == 0)
            return at;
        at += length;
    }
    return size;
}

void fuzz_refused(int status, const struct fault *fault, const char *const *subjects) {
    fuzz_require(status > FAULT_NONE && status < FAULT_CODES, "a status that is none");
    fuzz_require(status == fault->code, "a status that is not the fault's");
    size_t size = strnlen(fault->message, sizeof fault->message);
    fuzz_require(size < sizeof fault->message, "a message without its NUL");
    fuzz_require(fuzz_utf8(fault->message, size) == size, "a message that is not UTF-8");
    for (; *subjects; subjects++) {
        size_t length = strlen(*subjects);
        if (strncmp(fault->message, *subjects, length) == 0 && size > length + 8)
            return;
    }
    fprintf(stderr, "fuzz: \"%s\"\n", fault->message);
    fuzz_require(0, "a message that does not begin with the thing it speaks of");
}

static void heard(void *user, const struct finding *finding) {
    unsigned *errors = user;
    const char *subject = finding->subject, *message = finding->message;
    size_t length = strlen(message);
    fuzz_require(subject[0] != '\0' && length > 0, "a report without words");
    fuzz_require(fuzz_utf8(message, length) == length && fuzz_utf8(subject, strlen(subject)) == strlen(subject),
                 "a report that is not UTF-8");
    *errors += finding->severity == REPORT_ERROR;
}

struct report fuzz_report(unsigned *errors) {
    *errors = 0;
    return (struct report){heard, errors};
}

/* ---- memory ---- */

int (*fuzz_refuses)(void);
static struct fuzz_memory memory;
static int counting;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);
void *__real_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset);
int __real_munmap(void *address, size_t bytes);
int __wrap_munmap(void *address, size_t bytes);

static int refused(size_t bytes) {
    if (!counting)
        return 0;
    if (fuzz_refuses && fuzz_refuses())
        return 1;
    if (__builtin_add_overflow(memory.requested, bytes, &memory.requested))
        memory.requested = SIZE_MAX;
    return 0;
}

static void *made(void *block) {
    if (counting)
        memory.blocks += block != NULL;
    return block;
}

static long pages(size_t bytes) {
    return (long)((bytes + 4095) & ~(size_t)4095);
}

void *__wrap_malloc(size_t size) {
    return refused(size) ? NULL : made(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        bytes = SIZE_MAX;
    return refused(bytes) ? NULL : made(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size) {
    if (refused(size))
        return NULL;
    void *moved = __real_realloc(block, size);
    return block ? moved : made(moved);
}

void __wrap_free(void *block) {
    if (counting)
        memory.blocks -= block != NULL;
    __real_free(block);
}

/* Pages of a file are not memory that was asked for. */
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset) {
    if (refused(descriptor < 0 && !(flags & MAP_NORESERVE) ? bytes : 0))
        return MAP_FAILED;
    void *base = __real_mmap(address, bytes, protection, flags, descriptor, offset);
    if (counting && base != MAP_FAILED)
        memory.mapped += pages(bytes);
    return base;
}

int __wrap_munmap(void *address, size_t bytes) {
    if (counting)
        memory.mapped -= pages(bytes);
    return __real_munmap(address, bytes);
}

void fuzz_memory_start(void) {
    memory = (struct fuzz_memory){0};
    counting = 1;
}

struct fuzz_memory fuzz_memory_end(void) {
    counting = 0;
    return memory;
}

void fuzz_memory_within(size_t files_size) {
    struct fuzz_memory used = fuzz_memory_end();
    if (used.requested <= BUDGET_FACTOR * files_size + BUDGET_BASE)
        return;
    fprintf(stderr, "fuzz: %zu bytes were asked for by a file of %zu\n", used.requested, files_size);
    fuzz_require(0, "memory beyond the budget");
}

/* ---- random numbers ---- */

uint32_t fuzz_random(uint32_t *state) {
    uint32_t x = *state; /* Marsaglia 2003, xorshift32 */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

uint32_t fuzz_below(uint32_t *state, size_t limit) {
    return (uint32_t)((uint64_t)fuzz_random(state) * limit >> 32);
}

uint32_t fuzz_seed(unsigned seed) {
    uint32_t state = seed * 2654435761u + 0x9E3779B9u;
    return state ? state : 1;
}
