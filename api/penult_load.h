/* penult_load.h - loads a penult.so and makes sure that it speaks the ABI of the penult.h beside this file.
 *
 * Owns dlopen, the version question and the sentences for everything that can go wrong there. Knows nothing of models.
 * Header only: static inline functions, C99 and later, C++11 and later; no feature macro is needed and none is set.
 * Link with -ldl where the C library still has dlopen apart (glibc before 2.34).
 *
 *     struct penult_library lib; char why[512];
 *     if (penult_load(&lib, "./penult.so", why, sizeof why) != 0) { puts(why); return 1; }
 *     lib.api->model_open(...);
 *     penult_unload(&lib);
 */
#ifndef PENULT_LOAD_H
#define PENULT_LOAD_H

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penult.h"

#ifdef __cplusplus
extern "C" {
#endif

/* handle  dlopen's; NULL: nothing is loaded.
 * path    the file that was really loaded, symbolic links resolved, cut if it is longer. Also there after a failure
 *         that came after dlopen. */
struct penult_library {
    void *handle;
    const penult_entry_point *entry;
    const penult_api *api;
    char path[1024];
};

/* True if the table that was loaded has this function: if (PENULT_HAS(lib.api, extension)) ... */
#define PENULT_HAS(table, member)                                                                                     \
    ((table)->struct_size >= offsetof(penult_api, member) + sizeof((table)->member) && (table)->member != NULL)

/* dladdr, dlinfo and realpath hide behind feature macros that have no effect once any system header was included. A
 * header cannot know, so it declares them under names of its own. */
struct penult_load_address_ {
    const char *file;
    void *base;
    const char *symbol;
    void *symbol_address;
};
extern int penult_load_dladdr_(const void *address, struct penult_load_address_ *info) __asm__("dladdr");
extern int penult_load_dlinfo_(void *handle, int request, void *info) __asm__("dlinfo");
extern char *penult_load_realpath_(const char *path, char *resolved) __asm__("realpath");
enum { PENULT_LOAD_LINKMAP_ = 2 /* RTLD_DI_LINKMAP */ };

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static inline size_t penult_load_print_(char *text, size_t size, size_t used, const char *format, ...) {
    va_list arguments;
    int length;
    if (text == NULL || used >= size) {
        return used;
    }
    va_start(arguments, format);
    length = vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
    return length < 0 ? used : used + (size_t)length;
}

/* Every sentence begins with the path as given and, where that is another one, the file behind it. */
static inline size_t penult_load_subject_(const struct penult_library *library, const char *path, char *why,
                                          size_t size) {
    size_t used = penult_load_print_(why, size, 0, "%s", path);
    if (library->path[0] != '\0' && strcmp(path, library->path) != 0) {
        used = penult_load_print_(why, size, used, " (loaded from %s)", library->path);
    }
    return used;
}

static inline void penult_load_set_path_(struct penult_library *library, const char *file) {
    char *resolved;
    if (file == NULL || file[0] == '\0') {
        return;
    }
    resolved = penult_load_realpath_(file, NULL);
    penult_load_print_(library->path, sizeof library->path, 0, "%s", resolved != NULL ? resolved : file);
    free(resolved);
}

/* Drops a library that will not do; path stays, so that the host can show it. */
static inline int penult_load_refuse_(struct penult_library *library) {
    dlclose(library->handle);
    library->handle = NULL;
    library->entry = NULL;
    library->api = NULL;
    return -1;
}

/* -1: the version in `text` ("major.minor.patch") is older than the ABI of this header, 1: newer, 0: the same or no
 * version at all. */
static inline int penult_load_compare_version_(const char *text) {
    uint32_t parts[2] = {0u, 0u};
    const uint32_t wanted[2] = {PENULT_ABI_MAJOR, PENULT_ABI_MINOR};
    int part;
    for (part = 0; part < 2; part++) {
        int digits;
        for (digits = 0; *text >= '0' && *text <= '9' && digits < 9; digits++, text++) {
            parts[part] = parts[part] * 10u + (uint32_t)(*text - '0');
        }
        if (digits == 0 || (part == 0 && *text++ != '.')) {
            return 0;
        }
    }
    for (part = 0; part < 2; part++) {
        if (parts[part] != wanted[part]) {
            return parts[part] < wanted[part] ? -1 : 1;
        }
    }
    return 0;
}

/* Appends the names of the functions of this header that the table does not have; returns their number. */
static inline int penult_load_missing_(const penult_api *api, char *names, size_t size) {
    size_t used = 0;
    int missing = 0;
#define PENULT_LOAD_NEED_(member)                                                                                     \
    if (!PENULT_HAS(api, member)) {                                                                                   \
        used = penult_load_print_(names, size, used, "%s%s", missing++ > 0 ? ", " : "", #member);                     \
    }
    PENULT_LOAD_NEED_(model_open)
    PENULT_LOAD_NEED_(model_close)
    PENULT_LOAD_NEED_(model_describe)
    PENULT_LOAD_NEED_(tokenize)
    PENULT_LOAD_NEED_(session_measure)
    PENULT_LOAD_NEED_(session_open)
    PENULT_LOAD_NEED_(session_close)
    PENULT_LOAD_NEED_(session_cancel)
    PENULT_LOAD_NEED_(encode_text)
    PENULT_LOAD_NEED_(extension)
    PENULT_LOAD_NEED_(model_hash)
#undef PENULT_LOAD_NEED_
    return missing;
}

/* Says which version was found and how it relates to the one that this program was compiled with. */
static inline void penult_load_explain_version_(const struct penult_library *library, char *why, size_t size,
                                                size_t used) {
    const char *version = library->entry->version();
    int order;
    if (version == NULL) {
        version = "of unknown version";
    }
    order = penult_load_compare_version_(version);
    if (order == 0) {
        penult_load_print_(why, size, used, " is penult %.40s, which offers no table for ABI %u.%u, the one this"
                           " program was compiled with", version, PENULT_ABI_MAJOR, PENULT_ABI_MINOR);
        return;
    }
    penult_load_print_(why, size, used, " is penult %.40s, which is too %s: this program was compiled for penult"
                       " %u.%u%s", version, order < 0 ? "old" : "new", PENULT_ABI_MAJOR, PENULT_ABI_MINOR,
                       PENULT_ABI_MAJOR == 0u ? ", and before 1.0 only the same minor version will do" : "");
}

/* Loads the plugin at `path` and fills *library. A path without a slash is looked for where the system looks for
 * libraries, which is not the working directory. Returns 0, or -1 with one sentence in `why` (which may be NULL) and
 * with handle, entry and api NULL; nothing stays loaded then. May be called from any thread; loading one file twice is
 * fine. */
static inline int penult_load(struct penult_library *library, const char *path, char *why, size_t why_size) {
    const penult_entry_point *(*entry)(void) = NULL;
    struct link_map *map = NULL;
    struct penult_load_address_ address = {NULL, NULL, NULL, NULL};
    char names[256];
    void *symbol;
    size_t used;

    memset(library, 0, sizeof *library);
    if (path == NULL || path[0] == '\0') {
        /* dlopen would take both for the program itself. */
        penult_load_print_(why, why_size, 0, "no penult was loaded: the path is %s", path == NULL ? "NULL" : "empty");
        return -1;
    }
    library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library->handle == NULL) {
        const char *words = dlerror();
        const char *verdict = "could not be loaded as a shared library";
        if (strchr(path, '/') == NULL) {
            verdict = "could not be loaded; a name without a slash is looked for in the library path of the system";
        } else {
            FILE *file = fopen(path, "rb");
            if (file != NULL) {
                fclose(file);
            } else if (errno == ENOENT) {
                verdict = "was not found";
            }
        }
        penult_load_print_(why, why_size, 0, "%s %s: %s", path, verdict, words != NULL ? words : "no reason was given");
        return -1;
    }
    if (penult_load_dlinfo_(library->handle, PENULT_LOAD_LINKMAP_, &map) == 0 && map != NULL) {
        penult_load_set_path_(library, map->l_name);
    }
    used = penult_load_subject_(library, path, why, why_size);

    symbol = dlsym(library->handle, PENULT_ENTRY_NAME);
    if (symbol == NULL) {
        penult_load_print_(why, why_size, used, " is not a penult: it has no symbol %s", PENULT_ENTRY_NAME);
        return penult_load_refuse_(library);
    }
    if (penult_load_dladdr_(symbol, &address) != 0) {
        /* dlsym looks into the dependencies too: the file that owns the function is the one that was meant. */
        penult_load_set_path_(library, address.file);
        used = penult_load_subject_(library, path, why, why_size);
    }
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from an object to a function */
    library->entry = entry();
    if (library->entry == NULL || library->entry->version == NULL || library->entry->get_api == NULL) {
        penult_load_print_(why, why_size, used, " is not a penult: its %s returned %s", PENULT_ENTRY_NAME,
                           library->entry == NULL ? "NULL" : "an entry point without functions");
        return penult_load_refuse_(library);
    }
    library->api = library->entry->get_api(PENULT_ABI_VERSION);
    if (library->api == NULL) {
        penult_load_explain_version_(library, why, why_size, used);
        return penult_load_refuse_(library);
    }
    if (library->api->struct_size < offsetof(penult_api, model_open) ||
        (PENULT_ABI_MAJOR == 0u && library->api->abi_minor != PENULT_ABI_MINOR)) {
        penult_load_print_(why, why_size, used, " gave a table of %u bytes for ABI %u.%u that does not say it is one:"
                           " this program was compiled with %u bytes", (unsigned)library->api->struct_size,
                           PENULT_ABI_MAJOR, PENULT_ABI_MINOR, (unsigned)sizeof(penult_api));
        return penult_load_refuse_(library);
    }
    if (penult_load_missing_(library->api, names, sizeof names) > 0) {
        const char *version = library->entry->version();
        penult_load_print_(why, why_size, used, " is penult %.40s without %s: its table has %u bytes, and this program"
                           " was compiled with %u", version != NULL ? version : "of unknown version", names,
                           (unsigned)library->api->struct_size, (unsigned)sizeof(penult_api));
        return penult_load_refuse_(library);
    }
    if (why != NULL && why_size > 0) {
        why[0] = '\0';
    }
    return 0;
}

/* Ends what penult_load began; close every session and model first. A library that is not loaded is left as it is. */
static inline void penult_unload(struct penult_library *library) {
    if (library->handle != NULL) {
        dlclose(library->handle);
        memset(library, 0, sizeof *library);
    }
}

#ifdef __cplusplus
}
#endif
#endif
