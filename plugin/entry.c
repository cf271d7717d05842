/* entry.c - the one exported symbol and the table behind it. */
#include <string.h>

#include "condition.h"

static const void *extension(const char *id) {
    return id && strcmp(id, PENULT_CONDITION) == 0 ? &condition_api : NULL;
}

static const penult_api api = {
    .struct_size = sizeof(penult_api),
    .abi_minor = PENULT_ABI_MINOR,
    .model_open = model_open,
    .model_close = model_close,
    .model_describe = model_describe,
    .tokenize = tokenize,
    .session_measure = plugin_session_measure,
    .session_open = plugin_session_open,
    .session_close = plugin_session_close,
    .session_cancel = plugin_session_cancel,
    .encode_text = encode_text,
    .extension = extension,
    .model_hash = model_hash,
};

static const char *version(void) {
    return PENULT_VERSION;
}

static const penult_api *get_api(uint32_t abi_version) {
    return abi_version == PENULT_ABI_VERSION ? &api : NULL;
}

static const penult_entry_point entry = {.version = version, .get_api = get_api};

const penult_entry_point *penult_entry(void) {
    return &entry;
}
