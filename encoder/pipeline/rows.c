/* rows.c - what each tower has to give for what was read: every different row once. Owns the limit of rows; knows no state. */
#include "inside.h"

#include <string.h>

/* FNV-1a (Fowler, Noll, Vo): only to tell most rows apart quickly; ids and mask are compared too. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash ^= bytes[i];
        (void)__builtin_mul_overflow(hash, UINT64_C(1099511628211), &hash);
    }
    return hash;
}

struct wish {
    int layer, norm, wants_pooled;
    unsigned flags, negative, chunk;
};

/* The row whose ids and mask stand behind the last one. ROW_NONE: there is no room for one more. */
static uint32_t add(struct pipeline *p, struct tower *tower, const struct wish *wish) {
    size_t T = tower->tokens;
    int32_t *ids = tower->ids + tower->row_count * T;
    unsigned char *mask = tower->masks + tower->row_count * T;
    uint64_t hash = hash_bytes(hash_bytes(UINT64_C(14695981039346656037), ids, T * sizeof *ids), mask, T);
    for (size_t i = 0; i < tower->row_count; i++) {
        struct row *row = &tower->rows[i];
        if (row->hash != hash || memcmp(row->ids, ids, T * sizeof *ids) != 0 || memcmp(row->mask, mask, T) != 0)
            continue;
        if (wish->layer && row->layer && (wish->layer != row->layer || wish->norm != row->norm))
            continue;
        if (wish->layer) {
            row->layer = wish->layer;
            row->norm = wish->norm;
        }
        row->wants_pooled |= wish->wants_pooled;
        row->flags &= wish->flags | ~PIPELINE_WINDOW_EMPTY; /* what is also a prompt's window is not only the empty one's */
        return (uint32_t)i;
    }
    if (tower->row_count == p->params.max_windows)
        return ROW_NONE;
    tower->rows[tower->row_count] = (struct row){.ids = ids, .mask = mask, .layer = wish->layer, .norm = wish->norm,
                                                 .wants_pooled = wish->wants_pooled, .flags = wish->flags,
                                                 .negative = wish->negative, .chunk = wish->chunk, .hash = hash};
    return (uint32_t)tower->row_count++;
}

static size_t first_end(const struct tower *tower, const int32_t *ids) {
    int32_t end = tokenizer_end_id(tower->clip->tokenizer);
    size_t at = 1;
    while (at + 1 < tower->tokens && ids[at] != end)
        at++;
    return at;
}

/* Every key, or where the recipe hides padding those up to the first end. */
static void whole_mask(const struct tower *tower, const int32_t *ids, unsigned char *mask) {
    memset(mask, 1, tower->tokens);
    if (tower->recipe->key_mask) {
        size_t seen = first_end(tower, ids) + 1;
        memset(mask + seen, 0, tower->tokens - seen);
    }
}

static int32_t *next_ids(struct tower *tower) {
    return tower->ids + tower->row_count * tower->tokens;
}

static unsigned char *next_mask(struct tower *tower) {
    return tower->masks + tower->row_count * tower->tokens;
}

static uint32_t add_window(struct pipeline *p, struct tower *tower, struct reading *reading, size_t chunk, const struct wish *wish) {
    chunks_row(&tower->rules, tower->clip->tokenizer, &reading->prompt.text, &reading->prompt.chunks, chunk, next_ids(tower), NULL);
    whole_mask(tower, next_ids(tower), next_mask(tower));
    return add(p, tower, wish);
}

static uint32_t add_empty(struct pipeline *p, struct tower *tower, struct wish wish) {
    wish.flags = PIPELINE_WINDOW_EMPTY;
    wish.chunk = 0;
    chunks_empty_row(&tower->rules, tower->clip->tokenizer, next_ids(tower));
    whole_mask(tower, next_ids(tower), next_mask(tower));
    return add(p, tower, &wish);
}

/* The prompt as typed, signs and all, cut at one window. */
static int add_plain(struct pipeline *p, struct tower *tower, struct pipeline_text text, struct wish wish, uint32_t *row,
                     struct fault *fault) {
    struct token_frame frame;
    int32_t *ids = next_ids(tower);
    wish.flags = PIPELINE_WINDOW_PLAIN;
    wish.layer = wish.norm = 0;
    int status = tokenizer_frame(tower->clip->tokenizer, text.text, text.bytes, p->frame_scratch, tower->tokens,
                                 ids, NULL, &frame, fault);
    if (status)
        return status;
    for (size_t i = frame.body_count + 2; i < tower->tokens; i++)
        ids[i] = tower->rules.pad_id;
    whole_mask(tower, ids, next_mask(tower));
    *row = add(p, tower, &wish);
    return 0;
}

/* Whether weights, or parts that are joined, are counted from the empty prompt's states. */
static int counts_from_empty(const struct pipeline *p, const struct reading *reading) {
    enum dialect_rule rule = dialects[p->params.dialect].rule;
    const struct dialect_text *text = &reading->prompt.text;
    const struct chunks *chunks = &reading->prompt.chunks;
    if (reading->is_plain || (rule != DIALECT_FROM_EMPTY && rule != DIALECT_FROM_EMPTY_AND_MASK))
        return 0;
    if (chunks_weighted(text, chunks))
        return 1;
    for (size_t i = 0; i < text->part_count; i++) {
        if (text->join == DIALECT_AND && text->parts[i].weight != 1)
            return 1;
    }
    /* of parts that are blended the shorter are filled up: not all have the number of windows of the longest */
    return text->join == DIALECT_BLEND && chunks->count != text->part_count * reading->windows;
}

/* Whether the tensor has windows that the prompt does not fill. */
static int is_filled_up(const struct pipeline *p, const struct reading *reading, unsigned side) {
    return reading->windows < p->own_chunks[side] ||
           (p->own_chunks[side] < p->chunks[side] && dialects[p->params.dialect].equal == DIALECT_EMPTY_CHUNKS);
}

/* compel: the windows of a part once more for each of its fragments with a weight below 1, which they do not see. */
static int add_masked(struct pipeline *p, struct tower *tower, struct reading *reading, struct wish wish) {
    const struct dialect_text *text = &reading->prompt.text;
    const struct chunks *chunks = &reading->prompt.chunks;
    size_t T = tower->tokens;
    wish.flags = PIPELINE_WINDOW_MASKED;
    wish.wants_pooled = 0;
    for (size_t s = 0; s < text->segment_count; s++) {
        size_t first = 0, count = 0;
        if (!(text->segments[s].weight < 1) || !chunks_mask_without(&tower->rules, text, chunks, s, p->keys))
            continue;
        while (chunks->list[first].part != text->segments[s].part)
            first++;
        for (; first + count < chunks->count && chunks->list[first + count].part == text->segments[s].part; count++) {
            if (reading->masked_count == p->params.max_windows)
                return 0;
            chunks_row(&tower->rules, tower->clip->tokenizer, text, chunks, first + count, next_ids(tower), NULL);
            whole_mask(tower, next_ids(tower), next_mask(tower));
            for (size_t i = 0; i < T; i++)
                next_mask(tower)[i] &= p->keys[count * T + i];
            wish.chunk = (unsigned)(first + count);
            uint32_t row = add(p, tower, &wish);
            if (row == ROW_NONE)
                return 0;
            reading->masked[reading->masked_count++] = row;
        }
    }
    return 1;
}

static int too_many(const struct pipeline *p, const struct tower *tower, struct fault *fault) {
    return fault_set(fault, FAULT_LIMIT, "the prompts need more rows of %s than the %zu that max_windows was opened for",
                     pipeline_tower_name(tower->recipe->kind), p->params.max_windows);
}

/* What is wanted of a side. The mask is read off the ids of the context's rows, for which no tower runs. */
struct parts {
    int context, mask, pooled;
};

static int take_side(struct pipeline *p, struct tower *tower, const struct pipeline_request *request, unsigned side,
                     const struct parts *parts, struct fault *fault) {
    struct reading *reading = &tower->readings[side];
    const struct dialect *dialect = &dialects[p->params.dialect];
    int context = parts->context && reading->layer != 0;
    int rows = context || parts->mask;
    struct wish wish = {.layer = context ? reading->layer : 0, .norm = context ? reading->norm : 0, .negative = side};
    reading->masked_count = 0;
    for (size_t i = 0; i < reading->prompt.chunks.count && rows; i++) {
        wish.chunk = (unsigned)i;
        reading->rows[i] = add_window(p, tower, reading, i, &wish);
        if (reading->rows[i] == ROW_NONE)
            return too_many(p, tower, fault);
    }
    if ((rows && is_filled_up(p, reading, side)) || (context && counts_from_empty(p, reading))) {
        reading->empty = add_empty(p, tower, wish);
        if (reading->empty == ROW_NONE)
            return too_many(p, tower, fault);
    }
    if (context && dialect->rule == DIALECT_FROM_EMPTY_AND_MASK && !add_masked(p, tower, reading, wish))
        return too_many(p, tower, fault);
    if (!parts->pooled)
        return 0;
    wish = (struct wish){.wants_pooled = 1, .negative = side};
    int status = 0;
    if (dialect->pools_plain)
        status = add_plain(p, tower, reading_text(p, request, side, tower->recipe->second_prompt), wish, &reading->pooled, fault);
    else
        reading->pooled = add_window(p, tower, reading, 0, &wish);
    if (!status && reading->pooled == ROW_NONE)
        status = too_many(p, tower, fault);
    return status;
}

int rows_take(struct pipeline *p, const struct pipeline_request *request, int wanted[PIPELINE_KINDS][2], struct fault *fault) {
    int status = 0;
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        struct tower *tower = &p->towers[t];
        tower->row_count = 0;
        for (unsigned side = 0; side < SIDES && !status; side++) {
            const struct parts parts = {
                .context = wanted[PIPELINE_CONTEXT][side],
                .mask = wanted[PIPELINE_TEXT_MASK][side],
                .pooled = tower->pooled_width && (wanted[PIPELINE_POOLED][side] || wanted[PIPELINE_VECTOR][side]),
            };
            if (tower->readings[side].is_read)
                status = take_side(p, tower, request, side, &parts, fault);
        }
    }
    return status;
}

uint32_t rows_of_window(const struct pipeline *p, const struct tower *tower, unsigned side, size_t k, uint32_t *own) {
    const struct reading *reading = &tower->readings[side];
    uint32_t source = chunks_source(p->params.dialect, p->own_chunks[side], k);
    *own = source != CHUNK_NONE && source < reading->windows ? source : CHUNK_NONE;
    return *own == CHUNK_NONE ? reading->empty : reading->rows[*own];
}

size_t pipeline_window_count(const struct pipeline *p, unsigned tower) {
    return p->towers[tower].row_count;
}

void pipeline_window(const struct pipeline *p, unsigned tower, size_t index, struct pipeline_window *out) {
    const struct row *row = &p->towers[tower].rows[index];
    *out = (struct pipeline_window){row->flags, row->negative, row->chunk, row->layer};
}
