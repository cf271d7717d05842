/* encode.c - encode_text: checks every field of a request before anything is computed, then runs the engine. */
#include "handles.h"
#include "status.h"
#include "structs.h"

struct encoding {
    const struct clip *clip;
    struct session *session;
    penult_text_request request;
    penult_text_result result;
    size_t tokens;
    int pools;
    struct fault *fault;
};

static int take_prompts(struct encoding *e) {
    const penult_text_request *r = &e->request;
    size_t most = session_max_prompts(e->session);
    if (!r->prompts)
        return fault_set(e->fault, FAULT_ARGUMENT, "request->prompts is NULL");
    if (r->prompt_count == 0)
        return fault_set(e->fault, FAULT_ARGUMENT, "request->prompt_count is 0");
    if (r->prompt_count > most)
        return fault_set(e->fault, FAULT_LIMIT, "request->prompt_count is %u; the session was opened for max_prompts %zu",
                         r->prompt_count, most);
    int status = stride_check(r->prompt_stride, "request->prompt_stride", e->fault);
    for (uint32_t i = 0; !status && i < r->prompt_count; i++) {
        penult_prompt own;
        status = element_in(&own, sizeof own, r->prompts, r->prompt_stride, i, "request->prompts", e->fault);
        if (!status && !own.ids && !own.text && own.text_bytes)
            status = fault_set(e->fault, FAULT_ARGUMENT, "prompt %u: text is NULL with text_bytes %llu", i,
                               (unsigned long long)own.text_bytes);
        if (!status && !own.ids && own.id_count)
            status = fault_set(e->fault, FAULT_ARGUMENT, "prompt %u: ids is NULL with id_count %llu", i,
                               (unsigned long long)own.id_count);
        if (!status && own.ids && own.text)
            status = fault_set(e->fault, FAULT_ARGUMENT, "prompt %u: has text and ids, expected one of them", i);
        session_prompts(e->session)[i] = (struct session_prompt){
            .text = own.text ? own.text : "", .text_bytes = own.text_bytes, .ids = own.ids, .id_count = own.id_count,
            .key_mask = own.key_mask};
    }
    return status;
}

/* What is wanted; where it goes is checked when T is known. */
static int take_kind(struct encoding *e, uint32_t index, const penult_output *own, struct tap *tap) {
    const struct geometry *g = &e->clip->geometry;
    int32_t states = (int32_t)g->layers + 1;
    int32_t layer = own->layer < 0 ? own->layer + states : own->layer;
    *tap = (struct tap){0};
    switch (own->kind) {
    case PENULT_HIDDEN:
        if (layer < 0 || layer >= states)
            return fault_set(e->fault, FAULT_ARGUMENT, "output %u: layer is %d, expected %d to %d", index, own->layer, -states,
                             states - 1);
        if (own->flags & ~PENULT_FINAL_NORM)
            return fault_set(e->fault, FAULT_UNSUPPORTED, "output %u: flags is %#x, expected 0 or PENULT_FINAL_NORM", index,
                             own->flags);
        tap->kind = TAP_HIDDEN;
        tap->layer = (uint32_t)layer;
        tap->final_norm = (own->flags & PENULT_FINAL_NORM) != 0;
        break;
    case PENULT_POOLED_RAW:
        tap->kind = TAP_POOLED_RAW;
        break;
    case PENULT_POOLED_PROJECTED:
        tap->kind = TAP_POOLED_PROJECTED;
        break;
    case PENULT_POOLED_NORMALISED:
        tap->kind = TAP_POOLED_NORMALISED;
        break;
    default:
        return fault_set(e->fault, FAULT_UNSUPPORTED, "output %u: kind is %u, expected a PENULT_ kind of output", index,
                         own->kind);
    }
    if (tap->kind != TAP_HIDDEN && (own->layer || own->flags))
        return fault_set(e->fault, FAULT_ARGUMENT, "output %u: layer %d and flags %#x on a pooled output, expected 0", index,
                         own->layer, own->flags);
    if ((tap->kind == TAP_POOLED_PROJECTED || tap->kind == TAP_POOLED_NORMALISED) && g->projection == 0)
        return fault_set(e->fault, FAULT_ARGUMENT, "output %u: the model is a CLIPTextModel and has no projection; ask for "
                         "PENULT_POOLED_RAW", index);
    if (own->reserved || own->to.reserved)
        return fault_set(e->fault, FAULT_UNSUPPORTED, "output %u: a reserved field is set", index);
    if (!own->to.data)
        return fault_set(e->fault, FAULT_ARGUMENT, "output %u: to.data is NULL", index);
    e->pools |= tap->kind != TAP_HIDDEN;
    return 0;
}

static int each_output(struct encoding *e, int (*take)(struct encoding *, uint32_t, const penult_output *, struct tap *)) {
    const penult_text_request *r = &e->request;
    int status = 0;
    for (uint32_t i = 0; !status && i < r->output_count; i++) {
        penult_output own;
        status = element_in(&own, sizeof own, r->outputs, r->output_stride, i, "request->outputs", e->fault);
        if (!status)
            status = take(e, i, &own, &session_taps(e->session)[i]);
    }
    return status;
}

static int take_outputs(struct encoding *e) {
    const penult_text_request *r = &e->request;
    if (!r->outputs)
        return fault_set(e->fault, FAULT_ARGUMENT, "request->outputs is NULL");
    if (r->output_count == 0)
        return fault_set(e->fault, FAULT_ARGUMENT, "request->output_count is 0: nothing was asked for");
    if (r->output_count > SESSION_TAPS)
        return fault_set(e->fault, FAULT_LIMIT, "request->output_count is %u, expected at most %d", r->output_count,
                         SESSION_TAPS);
    int status = stride_check(r->output_stride, "request->output_stride", e->fault);
    return status ? status : each_output(e, take_kind);
}

static uint64_t columns(const struct geometry *g, enum tap_kind kind) {
    return kind == TAP_HIDDEN || kind == TAP_POOLED_RAW ? g->width : g->projection;
}

static int take_buffer(struct encoding *e, uint32_t index, const penult_output *own, struct tap *tap) {
    const penult_buffer *to = &own->to;
    uint64_t B = e->request.prompt_count, T = tap->kind == TAP_HIDDEN ? e->tokens : 1;
    tap->dtype = to->dtype == PENULT_F32    ? DTYPE_F32
                 : to->dtype == PENULT_F16  ? DTYPE_F16
                 : to->dtype == PENULT_BF16 ? DTYPE_BF16
                                            : DTYPE_NONE;
    if (tap->dtype == DTYPE_NONE)
        return fault_set(e->fault, FAULT_UNSUPPORTED, "output %u: to.dtype is %u, expected PENULT_F32, PENULT_F16 or "
                         "PENULT_BF16", index, to->dtype);
    uint64_t row = columns(&e->clip->geometry, tap->kind) * dtype_bits(tap->dtype) / 8;
    uint64_t row_pitch = tap->kind == TAP_HIDDEN && to->row_pitch ? to->row_pitch : row;
    uint64_t last_row, prompt, batch_pitch, last_prompt, needed, rows_of_batch;
    if (__builtin_mul_overflow(T - 1, row_pitch, &last_row) || __builtin_add_overflow(last_row, row, &prompt))
        return fault_set(e->fault, FAULT_ARGUMENT, "output %u: to.row_pitch %llu overflows", index,
                         (unsigned long long)row_pitch);
    batch_pitch = to->batch_pitch ? to->batch_pitch : row_pitch * T;
    if (__builtin_mul_overflow(B - 1, batch_pitch, &last_prompt) || __builtin_add_overflow(last_prompt, prompt, &needed))
        return fault_set(e->fault, FAULT_ARGUMENT, "output %u: to.batch_pitch %llu overflows", index,
                         (unsigned long long)batch_pitch);
    rows_of_batch = last_prompt + row; /* at most `needed`: a prompt is at least a row */
    /* rows must not lie on each other: prompts one after the other, or (as in a [T,B,D] tensor) tokens */
    int prompts_apart = (T == 1 || row_pitch >= row) && (B == 1 || batch_pitch >= prompt);
    int tokens_apart = (T == 1 || row_pitch >= rows_of_batch) && (B == 1 || batch_pitch >= row);
    if (!prompts_apart && !tokens_apart)
        return fault_set(e->fault, FAULT_ARGUMENT, "output %u: rows of %llu bytes overlap with to.row_pitch %llu and "
                         "to.batch_pitch %llu", index, (unsigned long long)row, (unsigned long long)row_pitch,
                         (unsigned long long)batch_pitch);
    if (to->bytes < needed)
        return fault_set(e->fault, FAULT_ARGUMENT, "output %u: to.bytes is %llu, but %llu prompts of %llu rows take %llu", index,
                         (unsigned long long)to->bytes, (unsigned long long)B, (unsigned long long)T,
                         (unsigned long long)needed);
    tap->data = to->data;
    tap->row_pitch = row_pitch;
    tap->batch_pitch = batch_pitch;
    return 0;
}

static int check_result(struct encoding *e) {
    const penult_text_result *r = &e->result;
    if (r->reserved)
        return fault_set(e->fault, FAULT_UNSUPPORTED, "result->reserved is %u, expected 0", r->reserved);
    if (!r->prompts)
        return 0;
    if (r->prompt_count < e->request.prompt_count)
        return fault_set(e->fault, FAULT_ARGUMENT, "result->prompt_count is %u, but the request has %u prompts",
                         r->prompt_count, e->request.prompt_count);
    return stride_check(r->prompt_stride, "result->prompt_stride", e->fault);
}

static int progress(void *user, uint32_t done, uint32_t total) {
    const penult_text_request *request = user;
    penult_progress step = {.struct_size = sizeof step, .stage = PENULT_STAGE_ENCODE, .done = done, .total = total};
    return request->progress(request->user, &step) != 0;
}

static void fill_result(struct encoding *e) {
    const struct session_prompt *prompts = session_prompts(e->session);
    e->result.tokens = (uint32_t)e->tokens;
    e->result.blocks_run = tower_depth(&e->clip->geometry, session_taps(e->session), e->request.output_count);
    for (uint32_t i = 0; e->result.prompts && i < e->request.prompt_count; i++) {
        const struct token_frame *frame = &prompts[i].frame;
        penult_prompt_result own = {
            .body_count = frame->body_count,
            .cut_count = frame->cut_count,
            .cut_begin = frame->cut_begin,
            .end_position = frame->end_position == SIZE_MAX ? UINT64_MAX : frame->end_position,
        };
        element_out(e->result.prompts, e->result.prompt_stride, i, &own, sizeof own);
    }
}

static int run(struct encoding *e) {
    int status = take_prompts(e);
    if (!status)
        status = take_outputs(e);
    if (!status)
        status = check_result(e);
    if (!status)
        status = session_tokenize(e->session, e->request.prompt_count, e->pools, &e->tokens, e->fault);
    if (!status)
        status = each_output(e, take_buffer);
    if (!status)
        status = session_run(e->session, e->request.prompt_count, e->tokens, e->request.output_count,
                             e->request.progress ? progress : NULL, &e->request, e->fault);
    if (!status)
        fill_result(e);
    return status;
}

static int encode(penult_session *session, const penult_text_request *request, penult_text_result *result,
                  struct fault *fault) {
    struct encoding e = {.fault = fault};
    if (!is_session(session))
        return fault_set(fault, FAULT_ARGUMENT, "session is %s", session ? "not a session" : "NULL");
    int status = struct_in(&e.request, sizeof e.request, request, "request", fault);
    if (!status && result)
        status = struct_in(&e.result, sizeof e.result, result, "result", fault);
    if (!status && e.request.arithmetic)
        status = fault_set(fault, FAULT_UNSUPPORTED, "request->arithmetic is %u, expected 0 (the session's)", e.request.arithmetic);
    if (status)
        return status;
    e.clip = session->model->clip;
    e.session = session->session;
    status = session_begin(e.session, fault);
    if (status)
        return status;
    status = run(&e);
    session_end(e.session);
    if (!status && result)
        struct_out(result, &e.result, sizeof e.result);
    return status;
}

int32_t encode_text(penult_session *session, const penult_text_request *request, penult_text_result *result,
                    penult_error *error) {
    struct fault fault;
    return encode(session, request, result, &fault) ? status_of(&fault, error) : PENULT_OK;
}
