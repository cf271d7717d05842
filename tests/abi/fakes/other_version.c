/* A sound penult of another version (FAKE_VERSION, a string, or NULL): it has no table for the one asked for. */
#include "penult.h"

static const char *version(void) {
    return FAKE_VERSION;
}

static const penult_api *get_api(uint32_t abi_version) {
    (void)abi_version;
    return NULL;
}

const penult_entry_point *penult_entry(void) {
    static const penult_entry_point point = {version, get_api};
    return &point;
}
