/* run.c - the towers over the rows that no slot holds, in one batch each; then the tensors. A tower's states go into slots,
 * and where nothing changes them on their way also straight into the caller's tensor, beside those of the other tower. */
#include "inside.h"

#include <string.h>

struct running {
    struct pipeline *p;
    uint32_t before; /* blocks of the towers that are done */
};

static int progress(void *user, uint32_t done, uint32_t total) {
    const struct running *running = user;
    const struct pipeline_request *request = running->p->request;
    (void)total;
    return request->progress(request->user, running->before + done, running->p->blocks_total);
}

/* From the end, as recipes count, to the front, as taps do. */
static uint32_t tap_layer(const struct tower *tower, int layer) {
    return (uint32_t)((int)tower->clip->geometry.layers + 1 + layer);
}

static size_t size_of(enum dtype dtype) {
    return dtype_bits(dtype) / 8;
}

/* A tap of that layer into the slots of all rows that want it, unless there is one already. */
static size_t tap_slots(struct tower *tower, size_t pending, int layer, int norm, size_t taps) {
    struct tap *tap = session_taps(tower->session) + taps;
    unsigned char **at = tower->at + taps * tower->row_count;
    int wanted = 0;
    for (size_t i = 0; i < taps; i++) {
        const struct tap *other = session_taps(tower->session) + i;
        if (other->layer == tap_layer(tower, layer) && other->final_norm == norm)
            return taps;
    }
    for (size_t i = 0; i < pending; i++) {
        const struct row *row = &tower->rows[tower->pending[i]];
        at[i] = row->layer == layer && row->norm == norm ? (unsigned char *)row->slot->context : NULL;
        wanted |= at[i] != NULL;
    }
    *tap = (struct tap){.kind = TAP_HIDDEN, .layer = tap_layer(tower, layer), .final_norm = norm, .at = at,
                        .row_pitch = tower->width * sizeof(float), .dtype = DTYPE_F32};
    return taps + (size_t)wanted;
}

/* A tap of a side's layer into its tensor, for the rows whose states are what it takes. */
static size_t tap_tensor(struct pipeline *p, struct tower *tower, unsigned side, size_t pending, size_t taps) {
    const struct reading *reading = &tower->readings[side];
    const struct pipeline_tensor *tensor = &p->request->tensors[PIPELINE_CONTEXT][side];
    struct tap *tap = session_taps(tower->session) + taps;
    unsigned char **at = tower->at + taps * tower->row_count;
    int wanted = 0;
    if (!tensor->data || !reading->is_read || !reading->layer)
        return taps;
    memset(at, 0, pending * sizeof *at);
    for (size_t k = 0; k < p->chunks[side]; k++) {
        uint32_t own, index = rows_of_window(p, tower, side, k, &own);
        struct row *row = &tower->rows[index];
        size_t i = 0;
        while (i < pending && tower->pending[i] != index)
            i++;
        if (i == pending || row->direct[side] || (own != CHUNK_NONE && !reading->is_plain))
            continue;
        row->direct[side] = (uint32_t)k + 1;
        at[i] = tensor->data + k * tower->tokens * tensor->row_pitch + tower->column * size_of(tensor->dtype);
        wanted = 1;
    }
    *tap = (struct tap){.kind = TAP_HIDDEN, .layer = tap_layer(tower, reading->layer), .final_norm = reading->norm, .at = at,
                        .row_pitch = tensor->row_pitch, .dtype = tensor->dtype};
    return taps + (size_t)wanted;
}

static size_t tap_pooled(struct tower *tower, size_t pending, size_t taps) {
    struct tap *tap = session_taps(tower->session) + taps;
    unsigned char **at = tower->at + taps * tower->row_count;
    int wanted = 0;
    for (size_t i = 0; i < pending; i++) {
        const struct row *row = &tower->rows[tower->pending[i]];
        at[i] = row->wants_pooled ? (unsigned char *)row->slot->pooled : NULL;
        wanted |= row->wants_pooled;
    }
    *tap = (struct tap){.kind = tower->pooled_kind, .at = at, .dtype = DTYPE_F32};
    return taps + (size_t)wanted;
}

static size_t take_taps(struct pipeline *p, struct tower *tower, size_t pending) {
    size_t taps = 0;
    for (unsigned side = 0; side < SIDES; side++) {
        const struct reading *reading = &tower->readings[side];
        if (reading->is_read && reading->layer)
            taps = tap_slots(tower, pending, reading->layer, reading->norm, taps);
    }
    for (unsigned side = 0; side < SIDES; side++)
        taps = tap_tensor(p, tower, side, pending, taps);
    return tap_pooled(tower, pending, taps);
}

static int run_tower(struct pipeline *p, struct tower *tower, size_t pending, struct running *running, struct fault *fault) {
    size_t tokens, taps = take_taps(p, tower, pending);
    for (size_t i = 0; i < pending; i++) {
        const struct row *row = &tower->rows[tower->pending[i]];
        int hides = memchr(row->mask, 0, tower->tokens) != NULL;
        session_prompts(tower->session)[i] =
            (struct session_prompt){.ids = row->ids, .id_count = tower->tokens, .key_mask = hides ? row->mask : NULL};
    }
    int status = session_tokenize(tower->session, pending, 1, &tokens, fault);
    if (!status)
        status = session_run(tower->session, pending, tokens, taps, p->request->progress ? progress : NULL, running, fault);
    for (size_t i = 0; i < pending; i++) {
        const struct row *row = &tower->rows[tower->pending[i]];
        if (status)
            row->slot->has_context = row->slot->has_pooled = 0;
        if (!status && row->layer) {
            row->slot->layer = row->layer;
            row->slot->norm = row->norm;
            row->slot->has_context = 1;
        }
        if (!status && row->wants_pooled)
            row->slot->has_pooled = 1;
    }
    if (status == FAULT_NON_FINITE) {
        struct fault inner = *fault;
        return fault_set(fault, FAULT_NON_FINITE, "%s: %s", pipeline_tower_name(tower->recipe->kind), inner.message);
    }
    return status;
}

static uint32_t depth_of(const struct tower *tower, size_t pending) {
    uint32_t depth = 0;
    for (size_t i = 0; i < pending; i++) {
        const struct row *row = &tower->rows[tower->pending[i]];
        uint32_t needed = row->wants_pooled ? tower->clip->geometry.layers : row->layer ? tap_layer(tower, row->layer) : 0;
        depth = needed > depth ? needed : depth;
    }
    return depth;
}

static void compose_job(struct worker *worker, void *context) {
    if (worker->index == 0)
        compose(context);
}

int pipeline_run(struct pipeline *p, const struct pipeline_request *request, struct fault *fault) {
    size_t pending[RECIPE_TOWERS] = {0};
    uint32_t depth[RECIPE_TOWERS] = {0};
    struct running running = {.p = p};
    int status = 0;
    p->request = request;
    p->blocks_total = 0;
    p->calls++;
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        slots_assign(p, &p->towers[t], &pending[t]);
        depth[t] = depth_of(&p->towers[t], pending[t]);
        p->blocks_total += depth[t];
    }
    for (unsigned t = 0; t < p->params.recipe->tower_count && !status; t++) {
        /* a row that comes from a slot is the file's as long as the file is what was opened */
        status = pending[t] ? run_tower(p, &p->towers[t], pending[t], &running, fault)
                            : session_check(p->towers[t].session, fault);
        running.before += depth[t];
    }
    p->blocks_run = running.before;
    if (status)
        return status;
    p->not_finite = NULL;
    session_work(p->towers[0].session, compose_job, p);
    if (p->not_finite)
        return fault_set(fault, FAULT_NON_FINITE, "%s: found an infinity or a NaN, expected finite numbers: a weight of the prompt "
                         "or a size is not one, or the result is too large for the tensor's type", p->not_finite);
    return 0;
}

uint32_t pipeline_blocks_run(const struct pipeline *p) {
    return p->blocks_run;
}
