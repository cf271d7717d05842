/* kept.c - which slot a prompt takes, and copies between slots and a pass. */
#include "kept.h"

#include <string.h>

#define WORTH 2 /* ids in common for which a slot is taken over; the start is common to all */

static size_t groups_of(const struct geometry *g) {
    return packed_groups(g->context);
}

/* ---- which ---- */

void kept_begin(struct text_pass *pass, uint32_t blocks) {
    pass->kept_passes++;
    pass->kept_blocks = blocks;
    pass->kept_layers = 0;
    for (size_t i = 0; i < pass->tap_count; i++)
        if (pass->taps[i].kind == TAP_HIDDEN && pass->taps[i].layer >= pass->kept_layers)
            pass->kept_layers = pass->taps[i].layer + 1;
    for (size_t i = 0; i < pass->kept_count; i++)
        pass->kept[i].taken = 0;
}

static size_t in_common(const struct text_pass *pass, const struct kept_slot *slot, size_t prompt, size_t limit) {
    size_t tokens = 0, most = slot->tokens < limit ? slot->tokens : limit;
    if (slot->blocks < pass->kept_blocks || slot->layers < pass->kept_layers)
        return 0;
    while (tokens < most && slot->key[tokens] == text_key(pass, prompt, tokens))
        tokens++;
    return tokens;
}

const struct kept_slot *kept_choose(struct text_pass *pass, size_t prompt, size_t limit) {
    struct kept_slot *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < pass->kept_count; i++) {
        struct kept_slot *slot = &pass->kept[i];
        if (slot->taken)
            continue;
        size_t tokens = in_common(pass, slot, prompt, limit);
        tokens = tokens < WORTH ? 0 : tokens;
        if (!best || tokens > most || (tokens == most && slot->used < best->used)) {
            best = slot;
            most = tokens;
        }
    }
    if (!best)
        return NULL;
    best->taken = 1;
    best->prompt = prompt;
    best->prefix = best->tokens = most; /* all that is right, should the pass not come to its end */
    return best;
}

void kept_end(struct text_pass *pass, uint32_t layers) {
    for (size_t i = 0; i < pass->kept_count; i++) {
        struct kept_slot *slot = &pass->kept[i];
        if (!slot->taken)
            continue;
        slot->tokens = pass->rows[slot->prompt].count;
        for (size_t t = 0; t < slot->tokens; t++)
            slot->key[t] = text_key(pass, slot->prompt, t);
        slot->blocks = pass->kept_blocks;
        slot->layers = layers;
        slot->used = pass->kept_passes;
    }
}

void kept_forget(struct text_pass *pass) {
    for (size_t i = 0; i < pass->kept_count; i++)
        pass->kept[i].tokens = 0;
}

/* ---- copies: a unit is a slot's group ---- */

struct kept_copy {
    struct text_pass *pass;
    uint32_t at; /* block or layer */
};

static struct kept_slot *slot_of(const struct kept_copy *op, size_t unit, size_t *group) {
    size_t groups = groups_of(&op->pass->weights->geometry);
    *group = unit % groups;
    return &op->pass->kept[unit / groups];
}

static void each_group(struct worker *worker, struct text_pass *pass, uint32_t at,
                       void (*unit)(struct worker *worker, size_t unit, void *context)) {
    struct kept_copy op = {pass, at};
    if (pass->kept_count)
        worker_each(worker, pass->kept_count * groups_of(&pass->weights->geometry), unit, &op);
}

/* Of a slot, `width` features of a group at block or layer `at`. */
static float *kept_at(const struct kept_copy *op, float *floats, size_t group, size_t width) {
    return floats + (op->at * groups_of(&op->pass->weights->geometry) + group) * width * LANES;
}

static int brings(const struct kept_slot *slot, size_t group) {
    return slot->taken && slot->prefix > group * LANES;
}

static void bring_attended(struct worker *worker, size_t unit, void *context) {
    const struct kept_copy *op = context;
    size_t group, width = op->pass->weights->geometry.width;
    const struct kept_slot *slot = slot_of(op, unit, &group);
    (void)worker;
    if (brings(slot, group))
        memcpy(op->pass->wide + packed_at(kept_row(op->pass, slot, group * LANES), 3 * width) + width * LANES,
               kept_at(op, slot->attended, group, 2 * width), 2 * width * LANES * sizeof(float));
}

static void bring_hidden(struct worker *worker, size_t unit, void *context) {
    const struct kept_copy *op = context;
    size_t group, width = op->pass->weights->geometry.width;
    const struct kept_slot *slot = slot_of(op, unit, &group);
    (void)worker;
    if (brings(slot, group))
        memcpy(op->pass->x + packed_at(kept_row(op->pass, slot, group * LANES), width), kept_at(op, slot->hidden, group, width),
               width * LANES * sizeof(float));
}

/* Rows of a group's tokens, wherever they are, to their lanes: `width` features from those of `from` on; lanes that were taken from
 * here stay as they are. */
static void save(struct worker *worker, const struct text_pass *pass, const struct kept_slot *slot, size_t group,
                 const float *from, size_t from_width, float *to, size_t width) {
    size_t begin = group * LANES, first = slot->prefix > begin ? slot->prefix : begin;
    size_t tokens = pass->rows[slot->prompt].count, end = tokens < begin + LANES ? tokens : begin + LANES;
    if (first >= end)
        return;
    size_t skip = first - begin, count = end - begin;
    float *lanes = skip ? worker->scratch : to;
    packed_gather(from, from_width, pass->row + slot->prompt * pass->tokens + begin, count, lanes, LANES, width);
    for (size_t k = 0; skip && k < width; k++)
        memcpy(to + k * LANES + skip, lanes + k * LANES + skip, (count - skip) * sizeof *to);
}

static void save_attended(struct worker *worker, size_t unit, void *context) {
    const struct kept_copy *op = context;
    size_t group, width = op->pass->weights->geometry.width;
    const struct kept_slot *slot = slot_of(op, unit, &group);
    if (!slot->taken)
        return;
    float *to = kept_at(op, slot->attended, group, 2 * width);
    for (size_t half = 0; half < 2; half++)
        save(worker, op->pass, slot, group, op->pass->wide + (1 + half) * width * LANES, 3 * width, to + half * width * LANES, width);
}

static void save_hidden(struct worker *worker, size_t unit, void *context) {
    const struct kept_copy *op = context;
    size_t group, width = op->pass->weights->geometry.width;
    const struct kept_slot *slot = slot_of(op, unit, &group);
    if (slot->taken)
        save(worker, op->pass, slot, group, op->pass->x, width, kept_at(op, slot->hidden, group, width), width);
}

void kept_attended(struct worker *worker, struct text_pass *pass, uint32_t block) {
    each_group(worker, pass, block, bring_attended);
    each_group(worker, pass, block, save_attended);
}

void kept_hidden(struct worker *worker, struct text_pass *pass, uint32_t layer) {
    each_group(worker, pass, layer, bring_hidden);
    each_group(worker, pass, layer, save_hidden);
}
