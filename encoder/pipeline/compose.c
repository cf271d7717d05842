/* compose.c - states to the caller's tensors: contexts side by side, pooled vectors, sizes, masks, zeros. Runs on a worker;
 * every row that is written passes through the kernels' narrow, which sees what is not finite. */
#include "inside.h"

#include <string.h>

#include "../condition/size_embedding.h"

static size_t size_of(enum dtype dtype) {
    return dtype_bits(dtype) / 8;
}

static void put(struct pipeline *p, enum pipeline_kind kind, unsigned side, const float *numbers, unsigned char *to, size_t count) {
    const struct pipeline_tensor *tensor = &p->request->tensors[kind][side];
    if (p->params.clips[0]->kernels.narrow(numbers, tensor->dtype, to, count) && !p->not_finite)
        p->not_finite = pipeline_names[kind][side];
}

/* ---- context ---- */

/* Columns that no tower fills: zeros, which are zero bytes in every type. */
static void put_zeros(const struct pipeline *p, const struct pipeline_tensor *tensor, size_t rows, size_t from_column) {
    size_t size = size_of(tensor->dtype);
    for (size_t i = 0; i < rows; i++)
        memset(tensor->data + i * tensor->row_pitch + from_column * size, 0, (p->context_width - from_column) * size);
}

static void put_context(struct pipeline *p, struct tower *tower, unsigned side) {
    const struct pipeline_tensor *tensor = &p->request->tensors[PIPELINE_CONTEXT][side];
    struct reading *reading = &tower->readings[side];
    if (!reading->is_plain)
        weigh_join(p, tower, reading);
    for (size_t k = 0; k < p->chunks[side]; k++) {
        uint32_t own, index = rows_of_window(p, tower, side, k, &own);
        const struct row *row = &tower->rows[index];
        const float *states = row->slot->context;
        unsigned char *to = tensor->data + k * tower->tokens * tensor->row_pitch + tower->column * size_of(tensor->dtype);
        if (row->direct[side] == k + 1)
            continue;
        if (own != CHUNK_NONE && !reading->is_plain)
            states = weigh_window(p, tower, reading, own);
        for (size_t i = 0; i < tower->tokens; i++)
            put(p, PIPELINE_CONTEXT, side, states + i * tower->width, to + i * tensor->row_pitch, tower->width);
    }
}

static void compose_context(struct pipeline *p, unsigned side) {
    const struct pipeline_tensor *tensor = &p->request->tensors[PIPELINE_CONTEXT][side];
    size_t end = 0;
    if (!tensor->data)
        return;
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        struct tower *tower = &p->towers[t];
        if (!tower->recipe->layer)
            continue;
        end = tower->column + tower->width;
        if (tower->readings[side].is_read)
            put_context(p, tower, side);
    }
    put_zeros(p, tensor, p->chunks[side] * p->towers[0].tokens, side && p->negative_is_zero ? 0 : end);
}

/* ---- vectors ---- */

static void fill_pooled(struct pipeline *p, unsigned side, float *out) {
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        const struct tower *tower = &p->towers[t];
        const struct reading *reading = &tower->readings[side];
        if (reading->is_read && tower->pooled_width)
            memcpy(out + tower->pooled_column, tower->rows[reading->pooled].slot->pooled, tower->pooled_width * sizeof *out);
        else if (tower->pooled_width)
            memset(out + tower->pooled_column, 0, tower->pooled_width * sizeof *out);
    }
}

static size_t fill_time_ids(const struct pipeline *p, unsigned side, float *out) {
    const struct pipeline_sizes *sizes = &p->request->sizes[side];
    size_t count = 0;
    for (; p->params.recipe->sizes[count] != RECIPE_SIZES_END; count++) {
        enum recipe_size which = p->params.recipe->sizes[count];
        out[count] = which == RECIPE_AESTHETIC_SCORE ? (float)sizes->aesthetic_score : (float)sizes->numbers[which];
    }
    return count;
}

static void compose_vectors(struct pipeline *p, unsigned side) {
    const struct pipeline_tensor *pooled = &p->request->tensors[PIPELINE_POOLED][side];
    const struct pipeline_tensor *ids = &p->request->tensors[PIPELINE_TIME_IDS][side];
    const struct pipeline_tensor *vector = &p->request->tensors[PIPELINE_VECTOR][side];
    float numbers[RECIPE_SIZES];
    size_t count = fill_time_ids(p, side, numbers);
    if (pooled->data || vector->data)
        fill_pooled(p, side, p->line);
    if (pooled->data)
        put(p, PIPELINE_POOLED, side, p->line, pooled->data, p->pooled_width);
    if (ids->data)
        put(p, PIPELINE_TIME_IDS, side, numbers, ids->data, count);
    if (!vector->data)
        return;
    for (size_t i = 0; i < count; i++)
        size_embedding(p->line + p->pooled_width + i * SIZE_EMBEDDING, numbers[i]);
    put(p, PIPELINE_VECTOR, side, p->line, vector->data, p->vector_width);
}

/* ---- mask ---- */

static void compose_mask(struct pipeline *p, unsigned side) {
    const struct pipeline_tensor *tensor = &p->request->tensors[PIPELINE_TEXT_MASK][side];
    const struct tower *tower = &p->towers[0];
    if (!tensor->data || !tower->readings[side].is_read)
        return;
    for (size_t k = 0; k < p->chunks[side]; k++) {
        uint32_t own, index = rows_of_window(p, tower, side, k, &own);
        int32_t end = tokenizer_end_id(tower->clip->tokenizer);
        float seen = 1;
        for (size_t i = 0; i < tower->tokens; i++) {
            p->line[i] = seen;
            seen = i > 0 && tower->rows[index].ids[i] == end ? 0 : seen;
        }
        put(p, PIPELINE_TEXT_MASK, side, p->line, tensor->data + k * tower->tokens * size_of(tensor->dtype), tower->tokens);
    }
}

void compose(struct pipeline *p) {
    for (unsigned side = 0; side < SIDES; side++) {
        compose_context(p, side);
        compose_vectors(p, side);
        compose_mask(p, side);
    }
}
