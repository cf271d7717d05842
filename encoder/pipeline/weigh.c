/* weigh.c - weights and joins: the states of a prompt's windows as its dialect's host makes them of the towers'. The formulas
 * are condition/weight.h's; which states they are given is here. Runs on a worker. */
#include "inside.h"

#include <string.h>

#include "../condition/weight.h"

static size_t window_floats(const struct tower *tower) {
    return tower->tokens * tower->width;
}

static const float *row_states(const struct tower *tower, uint32_t row) {
    return tower->rows[row].slot->context;
}

/* states = those of `row`, with the weights of window `chunk` counted from the empty prompt's. */
static void from_empty(struct pipeline *p, const struct tower *tower, const struct reading *reading, size_t chunk, uint32_t row,
                       float *states) {
    memcpy(states, row_states(tower, row), window_floats(tower) * sizeof *states);
    chunks_row(&tower->rules, tower->clip->tokenizer, &reading->prompt.text, &reading->prompt.chunks, chunk, p->row_ids, p->weights);
    if (reading->empty != ROW_NONE)
        weight_from_empty(states, row_states(tower, reading->empty), p->weights, tower->tokens, tower->width);
}

static void multiplied(struct pipeline *p, const struct tower *tower, const struct reading *reading, size_t chunk, float *states) {
    size_t i = 0;
    memcpy(states, row_states(tower, reading->rows[chunk]), window_floats(tower) * sizeof *states);
    chunks_row(&tower->rules, tower->clip->tokenizer, &reading->prompt.text, &reading->prompt.chunks, chunk, p->row_ids, p->weights);
    while (i < tower->tokens && p->weights[i] == 1)
        i++;
    if (i == tower->tokens)
        return;
    float before = weight_mean(states, tower->tokens, tower->width);
    weight_multiply(states, p->weights, tower->tokens, tower->width);
    if (p->params.emphasis == EMPHASIS_ORIGINAL)
        weight_restore_mean(states, before, tower->tokens, tower->width);
}

/* ---- compel ---- */

/* Chunks first .. first + count - 1 are a part: its states into p->part, mixed with those of encodings that do not see a
 * fragment of a weight below 1. *masked is the next of reading->masked. */
static void mix_part(struct pipeline *p, struct tower *tower, struct reading *reading, size_t first, size_t count, size_t *masked) {
    const struct dialect_text *text = &reading->prompt.text;
    const struct dialect_part *part = &text->parts[reading->prompt.chunks.list[first].part];
    size_t window = window_floats(tower), shares = 1, begin = *masked;
    p->shares[0] = 1;
    for (size_t s = part->first; s < (size_t)part->first + part->count; s++) {
        /* the same question as in rows.c, which made a row for each window of each such segment */
        if (text->segments[s].weight < 1 && chunks_mask_without(&tower->rules, text, &reading->prompt.chunks, s, p->keys)) {
            p->shares[shares++] = (float)weight_of_absence(text->segments[s].weight);
            *masked += count;
        }
    }
    if (shares > 1)
        weight_normalise(p->shares, shares);
    for (size_t k = 0; k < count; k++) {
        float *sum = p->part + k * window;
        if (shares == 1) {
            from_empty(p, tower, reading, first + k, reading->rows[first + k], sum);
            continue;
        }
        for (size_t share = 0; share < shares; share++) {
            uint32_t row = share ? reading->masked[begin + (share - 1) * count + k] : reading->rows[first + k];
            from_empty(p, tower, reading, first + k, row, p->window);
            weight_mix(sum, p->window, p->shares[share], share == 0, tower->tokens, tower->width);
        }
    }
}

static size_t part_size(const struct chunks *chunks, size_t first) {
    size_t count = 1;
    while (first + count < chunks->count && chunks->list[first + count].part == chunks->list[first].part)
        count++;
    return count;
}

static void weigh_part(struct pipeline *p, const struct tower *tower, const struct reading *reading, size_t count, double weight) {
    for (size_t i = 0; i < tower->tokens; i++)
        p->weights[i] = weight;
    for (size_t k = 0; k < count && weight != 1; k++)
        weight_from_empty(p->part + k * window_floats(tower), row_states(tower, reading->empty), p->weights, tower->tokens,
                          tower->width);
}

void weigh_join(struct pipeline *p, struct tower *tower, struct reading *reading) {
    const struct dialect_text *text = &reading->prompt.text;
    const struct chunks *chunks = &reading->prompt.chunks;
    size_t window = window_floats(tower), masked = 0, at = 0, count;
    if (dialects[p->params.dialect].rule != DIALECT_FROM_EMPTY_AND_MASK)
        return;
    for (size_t i = 0; i < text->part_count; i++)
        p->blend[i] = (float)text->parts[i].weight;
    if (text->join == DIALECT_BLEND && text->normalised)
        weight_normalise(p->blend, text->part_count);
    for (size_t first = 0; first < chunks->count; first += count) {
        uint32_t part = chunks->list[first].part;
        count = part_size(chunks, first);
        mix_part(p, tower, reading, first, count, &masked);
        if (text->join == DIALECT_BLEND) {
            for (size_t k = 0; k < reading->windows; k++)
                weight_mix(p->joined + k * window, k < count ? p->part + k * window : row_states(tower, reading->empty),
                           p->blend[part], part == 0, tower->tokens, tower->width);
            continue;
        }
        weigh_part(p, tower, reading, count, text->parts[part].weight);
        memcpy(p->joined + at * window, p->part, count * window * sizeof *p->joined);
        at += count;
    }
}

const float *weigh_window(struct pipeline *p, struct tower *tower, struct reading *reading, size_t own) {
    if (dialects[p->params.dialect].rule == DIALECT_FROM_EMPTY_AND_MASK)
        return p->joined + own * window_floats(tower);
    if (dialects[p->params.dialect].rule == DIALECT_MULTIPLIES)
        multiplied(p, tower, reading, own, p->window);
    else
        from_empty(p, tower, reading, own, reading->rows[own], p->window);
    return p->window;
}
