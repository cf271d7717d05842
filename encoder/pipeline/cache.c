/* cache.c - the states of rows, kept from call to call in slots. Owns who gives way: whom the fewest calls ago nobody used
 * stays longest. Knows no tensor of the caller's. */
#include "inside.h"

#include <string.h>

#include "../base/memory.h"

static size_t padded(size_t bytes, size_t to) {
    return (bytes + to - 1) / to * to;
}

struct slot_layout {
    size_t context, pooled, mask, bytes; /* offsets; ids come first */
};

static struct slot_layout layout_of(const struct tower *tower) {
    struct slot_layout layout;
    size_t T = tower->tokens;
    layout.context = padded(T * sizeof(int32_t), ARENA_ALIGN);
    layout.pooled = layout.context + (tower->recipe->layer ? T * tower->width * sizeof(float) : 0);
    layout.mask = layout.pooled + tower->pooled_width * sizeof(float);
    layout.bytes = padded(layout.mask + T, memory_page_size());
    return layout;
}

size_t slot_bytes_of(const struct tower *tower) {
    return layout_of(tower).bytes;
}

void slots_lay_out(struct tower *tower) {
    struct slot_layout layout = layout_of(tower);
    for (size_t i = 0; i < tower->slot_count; i++) {
        char *base = tower->pages + i * layout.bytes;
        tower->slots[i] = (struct slot){.ids = (int32_t *)(void *)base,
                                        .context = (float *)(void *)(base + layout.context),
                                        .pooled = (float *)(void *)(base + layout.pooled),
                                        .mask = (unsigned char *)(base + layout.mask)};
    }
}

int slots_back(struct tower *tower, size_t count) {
    if (!memory_back(tower->pages, count * tower->slot_bytes))
        return 0;
    for (size_t i = 0; i < count; i++)
        tower->slots[i].is_backed = 1;
    return 1;
}

static int is_of(const struct slot *slot, const struct row *row, size_t tokens) {
    if (!slot->used || slot->hash != row->hash || memcmp(slot->ids, row->ids, tokens * sizeof *row->ids) != 0 ||
        memcmp(slot->mask, row->mask, tokens) != 0)
        return 0;
    return !row->layer || !slot->has_context || (slot->layer == row->layer && slot->norm == row->norm);
}

static int has_all(const struct slot *slot, const struct row *row) {
    return (!row->layer || slot->has_context) && (!row->wants_pooled || slot->has_pooled);
}

/* The slot that holds the row; else the one that holds a part of what is wanted of it. */
static struct slot *find(const struct pipeline *p, struct tower *tower, const struct row *row) {
    struct slot *part = NULL;
    for (size_t i = 0; i < tower->slot_count; i++) {
        struct slot *slot = &tower->slots[i];
        if (slot->used == p->calls || !is_of(slot, row, tower->tokens)) /* one row of this call has it already */
            continue;
        if (has_all(slot, row))
            return slot;
        part = slot;
    }
    return part;
}

/* The slot that was used longest ago, or never. One whose pages the system does not give is passed over; those of max_windows
 * are there since the pipeline was opened, and a call has no more rows: so this is none that the call uses already. */
static struct slot *oldest(struct tower *tower) {
    struct slot *best = &tower->slots[0];
    for (size_t i = 1; i < tower->slot_count; i++) {
        struct slot *slot = &tower->slots[i];
        if (slot->used >= best->used)
            continue;
        if (!slot->is_backed)
            slot->is_backed = memory_back(tower->pages + i * tower->slot_bytes, tower->slot_bytes);
        if (slot->is_backed)
            best = slot;
    }
    return best;
}

void slots_assign(struct pipeline *p, struct tower *tower, size_t *count) {
    size_t T = tower->tokens;
    *count = 0;
    for (size_t i = 0; i < tower->row_count; i++) {
        struct row *row = &tower->rows[i];
        if (!row->layer && !row->wants_pooled) /* of its ids alone something is wanted */
            continue;
        row->slot = p->params.forgets ? NULL : find(p, tower, row);
        if (row->slot)
            row->slot->used = p->calls;
    }
    for (size_t i = 0; i < tower->row_count; i++) {
        struct row *row = &tower->rows[i];
        if (!row->layer && !row->wants_pooled)
            continue;
        if (row->slot && has_all(row->slot, row)) {
            row->flags |= PIPELINE_WINDOW_CACHED;
            continue;
        }
        if (!row->slot) {
            row->slot = oldest(tower);
            row->slot->hash = row->hash;
            row->slot->has_context = row->slot->has_pooled = 0;
            memcpy(row->slot->ids, row->ids, T * sizeof *row->ids);
            memcpy(row->slot->mask, row->mask, T);
        }
        row->slot->used = p->calls;
        tower->pending[(*count)++] = (uint32_t)i;
    }
}
