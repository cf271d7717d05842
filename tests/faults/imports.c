/* imports.c - what a library imports, read from its dynamic section, and which of it a test can refuse. Knows the ELF format
 * and glibc's names. See calls_unknown in interpose.h. */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include "interpose.h"

/* These cannot fail, or not for want of anything: they compute, ask what is always known, or end what was begun. */
static const char *const harmless[] = {
    /* memory and text */
    "memchr", "memcmp", "memcpy", "memmove", "memset", "strchr", "strcmp", "strlen", "strncasecmp", "strncmp", "strncpy",
    "strrchr", "strstr", "bcmp", "strtol", "strerrordesc_np",
    /* into arrays, without numbers so long that glibc would allocate */
    "snprintf", "vsnprintf", "sprintf", "strcat",
    /* of libm: a result for whatever is given. gcc makes one sincos of a cos and a sin, clang leaves the two; a square root is an
     * instruction here and a call where errno has to be set */
    "cos", "exp", "pow", "sin", "sincos", "sqrt", "sqrtf", "tan",
    /* ends of what succeeded; a thread that we started and nobody joined can be joined */
    "free", "pthread_attr_destroy", "pthread_join",
    /* always known */
    "__errno_location", "getpid", "pthread_self", "sched_yield", "sigfillset", "__sched_cpucount",
    /* where the library lies: the loader knows, and allocates nothing to say so */
    "dladdr",
    /* of the compiler and the loader */
    "__stack_chk_fail", "__cxa_finalize", "__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable",
};
static const char *const of_sanitizers[] = {"__asan_", "__ubsan_", "__sanitizer_", "__tsan_", "__sancov_", "__gcov_"};

static int is_one_of(const char *name, const char *const *names, size_t count, size_t skip) {
    for (size_t i = 0; i < count; i++)
        if (names[i] && strcmp(name + skip, names[i]) == 0)
            return 1;
    return 0;
}

/* __memcpy_chk is memcpy. */
static int is_known(const char *name) {
    char plain[128];
    size_t size = strlen(name), count = sizeof harmless / sizeof harmless[0];
    for (size_t i = 0; i < sizeof of_sanitizers / sizeof of_sanitizers[0]; i++)
        if (strncmp(name, of_sanitizers[i], strlen(of_sanitizers[i])) == 0)
            return 1;
    if (is_one_of(name, harmless, count, 0) || is_one_of(name, call_names, CALLS, 0))
        return 1;
    if (size < 7 || size - 6 >= sizeof plain || strncmp(name, "__", 2) != 0 || strcmp(name + size - 4, "_chk") != 0)
        return 0;
    snprintf(plain, sizeof plain, "%.*s", (int)(size - 6), name + 2);
    return is_one_of(plain, harmless, count, 0);
}

/* The symbols in front of the hashed ones are those that the library does not define. */
static size_t hashed_from(const uint32_t *gnu_hash) {
    return gnu_hash[1];
}

unsigned calls_unknown(void *handle, char *out, unsigned room, unsigned *known) {
    struct link_map *map;
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    const uint32_t *hash = NULL;
    unsigned unknown = 0;
    size_t used = 0;
    *known = 0;
    out[0] = '\0';
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
        return 0;
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        void *address = (void *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_SYMTAB)
            symbols = address;
        else if (entry->d_tag == DT_STRTAB)
            strings = address;
        else if (entry->d_tag == DT_GNU_HASH)
            hash = address;
    }
    for (size_t i = 1; symbols && strings && hash && i < hashed_from(hash); i++) {
        const char *name = strings + symbols[i].st_name;
        if (symbols[i].st_shndx != SHN_UNDEF || is_known(name)) {
            ++*known;
            continue;
        }
        unknown++;
        if (used + strlen(name) + 2 < room)
            used += (size_t)snprintf(out + used, room - used, " %s", name);
    }
    return unknown;
}
