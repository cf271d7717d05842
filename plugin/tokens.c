/* tokens.c - tokenize: ABI structs in, the tokenizer's answer out. Scratch is allocated for the call, so that any thread
 * may make it. */
#include "handles.h"
#include "status.h"
#include "structs.h"

/* Scratch of one call, cut from one block. */
struct room {
    void *block;
    int32_t *ids;
    struct token_span *spans;
    void *scratch;
};

static size_t aligned(size_t bytes) {
    return (bytes + 15) & ~(size_t)15;
}

static int make_room(struct room *room, size_t ids, size_t scratch, struct fault *fault) {
    size_t id_bytes = aligned(ids * sizeof *room->ids), span_bytes = aligned(ids * sizeof *room->spans);
    char *block = memory_array(id_bytes + span_bytes + scratch, 1);
    if (!block)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for %zu bytes of scratch", id_bytes + span_bytes + scratch);
    *room = (struct room){block, (int32_t *)(void *)block, (struct token_span *)(void *)(block + id_bytes),
                          block + id_bytes + span_bytes};
    return 0;
}

static int deliver(penult_token_result *result, const struct room *room, struct fault *fault) {
    if ((result->ids || result->spans) && result->capacity < result->id_count)
        return fault_set(fault, FAULT_LIMIT, "result->capacity is %llu, but there are %llu ids",
                         (unsigned long long)result->capacity, (unsigned long long)result->id_count);
    for (uint64_t i = 0; i < result->id_count; i++) {
        if (result->ids)
            result->ids[i] = room->ids[i];
        if (result->spans)
            result->spans[i] = (penult_span){room->spans[i].begin, room->spans[i].end};
    }
    return 0;
}

static int body(const struct clip *clip, const penult_token_request *request, penult_token_result *result,
                struct fault *fault) {
    struct room room;
    size_t size = (size_t)request->text_bytes, count = 0;
    int status = make_room(&room, tokenizer_id_count_limit(size), tokenizer_scratch_bytes(clip->tokenizer, size), fault);
    if (status)
        return status;
    status = tokenizer_body(clip->tokenizer, request->text, size, room.scratch, room.ids, room.spans, &count, fault);
    if (!status) {
        result->id_count = result->body_count = count;
        result->cut_begin = request->text_bytes;
        status = deliver(result, &room, fault);
    }
    memory_free(room.block);
    return status;
}

static int framed(const struct clip *clip, const penult_token_request *request, penult_token_result *result,
                  struct fault *fault) {
    struct room room;
    struct token_frame frame;
    size_t size = (size_t)request->text_bytes, context = clip->geometry.context;
    int status = make_room(&room, context, tokenizer_frame_scratch_bytes(clip->tokenizer, size), fault);
    if (status)
        return status;
    status = tokenizer_frame(clip->tokenizer, request->text, size, room.scratch, context, room.ids, room.spans, &frame, fault);
    if (!status) {
        result->id_count = context;
        result->body_count = frame.body_count;
        result->cut_count = frame.cut_count;
        result->cut_begin = frame.cut_begin;
        result->end_position = frame.end_position;
        status = deliver(result, &room, fault);
    }
    memory_free(room.block);
    return status;
}

static int run(const penult_model *model, const penult_token_request *theirs, penult_token_result *result,
               struct fault *fault) {
    penult_token_request request;
    penult_token_result own;
    if (!is_model(model))
        return fault_set(fault, FAULT_ARGUMENT, "model is %s", model ? "not a model" : "NULL");
    if (struct_in(&request, sizeof request, theirs, "request", fault) ||
        struct_in(&own, sizeof own, result, "result", fault))
        return fault->code;
    if (request.flags & ~PENULT_TOKENS_BODY)
        return fault_set(fault, FAULT_UNSUPPORTED, "request->flags is %#x, expected 0 or PENULT_TOKENS_BODY", request.flags);
    if (own.reserved)
        return fault_set(fault, FAULT_UNSUPPORTED, "result->reserved is %u, expected 0", own.reserved);
    if (!request.text && request.text_bytes)
        return fault_set(fault, FAULT_ARGUMENT, "request->text is NULL with text_bytes %llu",
                         (unsigned long long)request.text_bytes);
    if (request.text_bytes > SESSION_TEXT)
        return fault_set(fault, FAULT_LIMIT, "request->text_bytes is %llu, expected at most %zu",
                         (unsigned long long)request.text_bytes, SESSION_TEXT);
    if (!model->clip->tokenizer)
        return fault_set(fault, FAULT_NO_TOKENIZER, "the model was opened without a tokenizer: " TOKENIZER_ADVICE);
    if (!request.text)
        request.text = "";
    int status = request.flags & PENULT_TOKENS_BODY ? body(model->clip, &request, &own, fault)
                                                    : framed(model->clip, &request, &own, fault);
    if (!status || status == FAULT_LIMIT)
        struct_out(result, &own, sizeof own);
    return status;
}

int32_t tokenize(const penult_model *model, const penult_token_request *request, penult_token_result *result,
                 penult_error *error) {
    struct fault fault;
    return run(model, request, result, &fault) ? status_of(&fault, error) : PENULT_OK;
}
