/* session.c - opening, measuring, cancelling and closing sessions. */
#include "handles.h"
#include "status.h"
#include "structs.h"

_Static_assert((int)KERNELS_SCALAR == PENULT_KERNELS_SCALAR && (int)KERNELS_AMX == PENULT_KERNELS_AMX && (int)ARITHMETIC_BF16 == PENULT_ARITHMETIC_BF16, "same numbers");

static int take_params(const penult_model *model, const penult_session_params *theirs, struct session_params *out,
                       struct fault *fault) {
    penult_session_params own;
    if (!is_model(model))
        return fault_set(fault, FAULT_ARGUMENT, "model is %s", model ? "not a model" : "NULL");
    int status = struct_in(&own, sizeof own, theirs, "params", fault);
    if (status)
        return status;
    if (model->clip->geometry.width == 0)
        return fault_set(fault, FAULT_ARGUMENT, "the model is only a tokenizer: it was opened with a path of NULL and has no "
                         "tower to encode with");
    if (own.flags)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->flags is %#x, expected 0", own.flags);
    if (own.kernels > PENULT_KERNELS_AMX)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->kernels is %u, expected 0 or a PENULT_KERNELS_ set", own.kernels);
    if (own.arithmetic > PENULT_ARITHMETIC_BF16)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->arithmetic is %u, expected a PENULT_ARITHMETIC_ kind", own.arithmetic);
    if (own.reserved)
        return fault_set(fault, FAULT_UNSUPPORTED, "params->reserved is %#x, expected 0", own.reserved);
    *out = (struct session_params){own.threads, own.max_prompts, (size_t)own.max_text_bytes, (enum kernel_set)own.kernels,
                                   (enum arithmetic)own.arithmetic, own.kept_prompts};
    return session_settle(out, fault);
}

int32_t plugin_session_measure(const penult_model *model, const penult_session_params *params, uint64_t *bytes,
                               penult_error *error) {
    struct session_params own;
    struct fault fault;
    size_t total = 0;
    int status = take_params(model, params, &own, &fault);
    if (!status && !bytes)
        status = fault_set(&fault, FAULT_ARGUMENT, "bytes is NULL");
    if (!status)
        status = session_measure(model->clip, &own, &total, &fault);
    if (status)
        return status_of(&fault, error);
    *bytes = total;
    return PENULT_OK;
}

int32_t plugin_session_open(penult_model *model, const penult_session_params *params, penult_session **out,
                            penult_error *error) {
    struct session_params own;
    struct fault fault;
    if (!out) {
        fault_set(&fault, FAULT_ARGUMENT, "out is NULL");
        return status_of(&fault, error);
    }
    *out = NULL;
    if (take_params(model, params, &own, &fault))
        return status_of(&fault, error);
    penult_session *session = memory_array(1, sizeof *session);
    if (!session) {
        fault_set(&fault, FAULT_NO_MEMORY, "no memory for a session");
        return status_of(&fault, error);
    }
    if (session_open(&session->session, model->clip, &own, &fault)) {
        memory_free(session);
        return status_of(&fault, error);
    }
    session->magic = SESSION_MAGIC;
    session->model = model;
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    *out = session;
    return PENULT_OK;
}

int is_session(const penult_session *session) {
    return session && session->magic == SESSION_MAGIC;
}

void plugin_session_close(penult_session *session) {
    if (!is_session(session))
        return;
    session->magic = 0;
    session_close(session->session);
    model_release(session->model);
    memory_free(session);
}

void plugin_session_cancel(penult_session *session) {
    if (is_session(session))
        session_cancel(session->session);
}
