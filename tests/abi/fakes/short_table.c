/* A penult whose table lacks functions that the header has. FAKE_BYTES: the struct_size that it claims; the slots up to
 * session_open are filled, and FAKE_HOLE leaves tokenize out of them. FAKE_MINOR: the abi_minor that it claims. */
#include "penult.h"

#ifndef FAKE_MINOR
#define FAKE_MINOR PENULT_ABI_MINOR
#endif

static int32_t model_open(const penult_open_params *params, penult_model **out, penult_error *error) {
    (void)params, (void)out, (void)error;
    return PENULT_E_UNSUPPORTED;
}

static void model_close(penult_model *model) {
    (void)model;
}

static int32_t model_describe(const penult_model *model, penult_model_info *info, penult_error *error) {
    (void)model, (void)info, (void)error;
    return PENULT_E_UNSUPPORTED;
}

#ifndef FAKE_HOLE
static int32_t tokenize(const penult_model *model, const penult_token_request *request, penult_token_result *result,
                        penult_error *error) {
    (void)model, (void)request, (void)result, (void)error;
    return PENULT_E_UNSUPPORTED;
}
#endif

static int32_t session_measure(const penult_model *model, const penult_session_params *params, uint64_t *bytes,
                               penult_error *error) {
    (void)model, (void)params, (void)bytes, (void)error;
    return PENULT_E_UNSUPPORTED;
}

static int32_t session_open(penult_model *model, const penult_session_params *params, penult_session **out,
                            penult_error *error) {
    (void)model, (void)params, (void)out, (void)error;
    return PENULT_E_UNSUPPORTED;
}

static const penult_api *get_api(uint32_t abi_version) {
    static const penult_api table = {
        .struct_size = FAKE_BYTES,
        .abi_minor = FAKE_MINOR,
        .model_open = model_open,
        .model_close = model_close,
        .model_describe = model_describe,
#ifndef FAKE_HOLE
        .tokenize = tokenize,
#endif
        .session_measure = session_measure,
        .session_open = session_open,
    };
    return abi_version == PENULT_ABI_VERSION ? &table : NULL;
}

static const char *version(void) {
    return "0.5.7";
}

const penult_entry_point *penult_entry(void) {
    static const penult_entry_point point = {version, get_api};
    return &point;
}
