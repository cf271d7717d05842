/* rows.c - packed rows: their places, the ways in and out. */
#include "rows.h"

#include <stdatomic.h>
#include <string.h>

#include "../base/wrap.h"
#include "kept.h"

/* Where a prompt's first row goes; NULL: nowhere. */
static unsigned char *place(const struct tap *tap, size_t prompt) {
    return tap->at ? tap->at[prompt] : tap->data + prompt * tap->batch_pitch;
}

static size_t rows_wanted(const struct text_pass *pass, size_t prompt) {
    size_t rows = pass->kernels->whole_prompts ? pass->tokens : 0;
    for (size_t i = 0; i < pass->tap_count && rows < pass->tokens; i++) {
        const struct tap *tap = &pass->taps[i];
        size_t needed = tap->kind == TAP_HIDDEN ? pass->tokens : pass->end[prompt] + 1;
        if (place(tap, prompt) && needed > rows)
            rows = needed;
    }
    return rows;
}

/* ---- rows that prompts have in common ---- */

/* Ids that were chosen to share a hash cost a comparison for each row, which is nothing beside computing the row. */
WRAPS("a hash works modulo 2^64")
static uint32_t *bucket(const struct text_pass *pass, uint32_t before, uint32_t key) {
    uint64_t mixed = ((uint64_t)before << 32 | key) * 0x9E3779B97F4A7C15u;
    return &pass->buckets[(mixed ^ mixed >> 32) & (pass->bucket_count - 1)];
}

static uint32_t find_row(const struct text_pass *pass, uint32_t before, uint32_t key) {
    uint32_t row = *bucket(pass, before, key);
    while (row != NO_ROW && (pass->nodes[row].before != before || pass->nodes[row].key != key))
        row = pass->nodes[row].next;
    return row;
}

/* The row after `before`, from now on found by its key. */
static uint32_t add_row(struct text_pass *pass, uint32_t before, uint32_t key, uint32_t row) {
    uint32_t *first = bucket(pass, before, key);
    pass->nodes[row] = (struct text_node){before, key, *first};
    return *first = row;
}

/* Of kept rows there is what attention and hidden states need, not what pooling does. */
static size_t kept_limit(const struct text_pass *pass, size_t prompt) {
    for (size_t i = 0; i < pass->tap_count; i++)
        if (pass->taps[i].kind != TAP_HIDDEN && place(&pass->taps[i], prompt))
            return pass->end[prompt];
    return pass->rows[prompt].count;
}

/* The prompt's first tokens take the rows that are there; the others get rows from `total` on. */
static size_t settle_prompt(struct text_pass *pass, size_t prompt, size_t total) {
    uint32_t *row = pass->row + prompt * pass->tokens, before = NO_ROW;
    struct text_rows *rows = &pass->rows[prompt];
    size_t limit = kept_limit(pass, prompt);
    const struct kept_slot *slot = rows->count ? kept_choose(pass, prompt, limit) : NULL;
    while (rows->own < rows->count) {
        uint32_t key = text_key(pass, prompt, rows->own), found = find_row(pass, before, key);
        if (found == NO_ROW && slot && rows->own < slot->prefix)
            found = add_row(pass, before, key, kept_row(pass, slot, rows->own));
        if (found == NO_ROW || (rows->own >= limit && kept_is(pass, found)))
            break;
        before = row[rows->own++] = found;
    }
    for (size_t t = rows->own; t < rows->count; t++, total++)
        before = row[t] = add_row(pass, before, text_key(pass, prompt, t), (uint32_t)total);
    return total;
}

static size_t settle_whole(struct text_pass *pass, size_t prompt, size_t total) {
    for (size_t t = 0; t < pass->rows[prompt].count; t++)
        pass->row[prompt * pass->tokens + t] = (uint32_t)(total + t);
    return total + packed_groups(pass->rows[prompt].count) * LANES;
}

void rows_settle(struct text_pass *pass) {
    size_t total = 0;
    int whole = pass->kernels->whole_prompts;
    pass->bucket_count = 1;
    while (pass->bucket_count < pass->batch * pass->tokens)
        pass->bucket_count *= 2;
    memset(pass->buckets, 0xFF, pass->bucket_count * sizeof *pass->buckets);
    for (size_t b = 0; b < pass->batch; b++) {
        pass->rows[b] = (struct text_rows){.count = rows_wanted(pass, b)};
        total = whole ? settle_whole(pass, b, total) : settle_prompt(pass, b, total);
    }
    pass->row_count = total;
    pass->groups = packed_groups(total);
    pass->run = whole ? packed_groups(pass->tokens) : 1;
    pass->end_groups = whole ? pass->batch : packed_groups(pass->batch);
}

size_t rows_end(const struct text_pass *pass, size_t prompt) {
    return pass->kernels->whole_prompts ? prompt * LANES : prompt;
}

void rows_copy(const float *packed, size_t width, size_t row, float *to) {
    const float *from = packed + packed_at(row, width);
    for (size_t k = 0; k < width; k++)
        to[k] = from[k * LANES];
}

/* ---- in ---- */

static size_t chunks(const struct text_pass *pass) {
    return packed_groups(pass->tokens);
}

static void embed_row(struct text_pass *pass, size_t prompt, size_t token, float *row) {
    const struct text_weights *w = pass->weights;
    size_t width = w->geometry.width;
    const float *position = w->positions + token * width;
    size_t at = packed_at(pass->row[prompt * pass->tokens + token], width);
    float *x = pass->x + at, *low = pass->low + at;
    pass->kernels->widen(w->token_embedding.data + (size_t)pass->ids[prompt * pass->tokens + token] * w->token_embedding.pitch,
                         w->token_embedding.dtype, row, width);
    for (size_t k = 0; k < width; k++) {
        double sum = (double)row[k] + (double)position[k];
        x[k * LANES] = (float)sum;
        low[k * LANES] = (float)(sum - (double)x[k * LANES]);
    }
}

/* Lanes behind the last row: nobody reads them, but what an earlier pass left there must not grow from pass to pass. */
static void clear_behind(float *packed, size_t width, size_t end) {
    for (size_t row = end; row % LANES; row++)
        for (size_t k = 0; k < width; k++)
            packed[packed_at(row, width) + k * LANES] = 0;
}

static void clear_lanes(struct text_pass *pass) {
    size_t width = pass->weights->geometry.width;
    float *const streams[] = {pass->x, pass->low};
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        if (!pass->kernels->whole_prompts)
            clear_behind(streams[i], width, pass->row_count);
        for (size_t b = 0; pass->kernels->whole_prompts && b < pass->batch; b++)
            clear_behind(streams[i], width, (size_t)pass->row[b * pass->tokens] + pass->rows[b].count);
    }
}

/* One unit more than there are chunks clears. */
static void embed_chunk(struct worker *worker, size_t unit, void *context) {
    struct text_pass *pass = context;
    size_t prompt = unit / chunks(pass), begin = unit % chunks(pass) * LANES;
    if (prompt == pass->batch) {
        clear_lanes(pass);
        return;
    }
    for (size_t token = begin; token < pass->rows[prompt].count && token < begin + LANES; token++)
        if (token >= pass->rows[prompt].own)
            embed_row(pass, prompt, token, worker->scratch);
}

void rows_embed(struct worker *worker, struct text_pass *pass) {
    worker_each(worker, pass->batch * chunks(pass) + 1, embed_chunk, pass);
}

/* ---- out ---- */

void rows_write(struct text_pass *pass, const struct tap *tap, size_t prompt, size_t token, const float *row, size_t width) {
    unsigned char *to = place(tap, prompt);
    if (to && pass->kernels->narrow(row, tap->dtype, to + token * tap->row_pitch, width))
        atomic_store_explicit(&pass->not_finite, (uint32_t)(tap - pass->taps) + 1, memory_order_relaxed);
}

struct hidden {
    struct text_pass *pass;
    const struct tap *tap;
};

static void deliver_chunk(struct worker *worker, size_t unit, void *context) {
    const struct hidden *op = context;
    struct text_pass *pass = op->pass;
    const struct text_weights *w = pass->weights;
    size_t width = w->geometry.width, prompt = unit / chunks(pass), begin = unit % chunks(pass) * LANES;
    float *group = worker->scratch, *row = group + width * LANES;
    if (!place(op->tap, prompt))
        return;
    size_t count = pass->tokens - begin < LANES ? pass->tokens - begin : LANES;
    packed_gather(pass->x, width, pass->row + prompt * pass->tokens + begin, count, group, LANES, width);
    if (op->tap->final_norm)
        pass->kernels->layer_norm(group, group, w->final_gain, w->final_bias, width, w->geometry.norm_epsilon);
    for (size_t i = 0; i < count; i++) {
        rows_copy(group, width, i, row);
        rows_write(pass, op->tap, prompt, begin + i, row, width);
    }
}

void rows_deliver(struct worker *worker, struct text_pass *pass, uint32_t layer) {
    for (size_t i = 0; i < pass->tap_count; i++) {
        struct hidden op = {pass, &pass->taps[i]};
        if (op.tap->kind == TAP_HIDDEN && op.tap->layer == layer)
            worker_each(worker, pass->batch * chunks(pass), deliver_chunk, &op);
    }
}

struct ends {
    struct text_pass *pass;
    int both;
};

static void take_end(struct worker *worker, size_t prompt, void *context) {
    const struct ends *op = context;
    struct text_pass *pass = op->pass;
    size_t width = pass->weights->geometry.width;
    size_t to = packed_at(rows_end(pass, prompt), width); /* of one prompt more than there are: that unit clears */
    (void)worker;
    if (prompt == pass->batch && !pass->kernels->whole_prompts) {
        clear_behind(pass->ends_x, width, pass->batch);
        clear_behind(pass->ends_low, width, pass->batch);
    }
    if (prompt == pass->batch || pass->rows[prompt].count == 0)
        return;
    size_t from = packed_at(pass->row[prompt * pass->tokens + pass->end[prompt]], width);
    for (size_t k = 0; k < width; k++) {
        pass->ends_x[to + k * LANES] = pass->x[from + k * LANES];
        pass->ends_low[to + k * LANES] = pass->low[from + k * LANES];
    }
    for (size_t k = 0; op->both && k < width; k++)
        pass->ends_h[to + k * LANES] = pass->h[from + k * LANES];
}

void rows_take_ends(struct worker *worker, struct text_pass *pass, int both) {
    struct ends op = {pass, both};
    worker_each(worker, pass->batch + 1, take_end, &op);
}
