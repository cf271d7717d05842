/* place.c - the directory that the plugin was loaded from. Asked of the loader about an address of our own, never of the
 * environment. Knows nothing of what lies there. */
#include <dlfcn.h>
#include <string.h>

#include "handles.h"
#include "place.h"

int plugin_directory(char **out, struct fault *fault) {
    static const char here = 0;
    Dl_info found;
    *out = NULL;
    if (!dladdr(&here, &found)) /* GCOVR_EXCL_BR_LINE: it knows its own address */
        return 0; /* GCOVR_EXCL_LINE */
    const char *slash = strrchr(found.dli_fname, '/');
    if (!slash) /* GCOVR_EXCL_BR_LINE: the loader names libraries by paths */
        return 0; /* GCOVR_EXCL_LINE */
    size_t size = (size_t)(slash - found.dli_fname) + 1;
    *out = memory_array(size + 1, 1);
    if (!*out)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for the plugin's path");
    memcpy(*out, found.dli_fname, size);
    return 0;
}
