/* chunk_row.c - a window as the tower takes it: ids, weights, keys; and two prompts to one number of windows.
 */
#include <string.h>

#include "chunk.h"

static void frame(const struct chunk_rules *rules, const struct tokenizer *tokenizer, size_t count, int32_t *ids) {
    int32_t end = tokenizer_end_id(tokenizer);
    ids[0] = tokenizer_start_id(tokenizer);
    ids[count + 1] = end;
    for (size_t i = count + 2; i < rules->length; i++)
        ids[i] = rules->pad_id;
    if (rules->kind != DIALECT_A1111)
        return;
    size_t first = 1;
    while (ids[first] != end)
        first++;
    for (first++; first < rules->length; first++)
        ids[first] = rules->pad_id == end ? ids[first] : rules->pad_id;
}

void chunks_row(const struct chunk_rules *rules, const struct tokenizer *tokenizer, const struct dialect_text *text,
                const struct chunks *chunks, size_t k, int32_t *ids, double *weights) {
    const struct chunk *chunk = &chunks->list[k];
    for (size_t i = 0; i < rules->length && weights; i++)
        weights[i] = 1;
    for (size_t i = 0; i < chunk->count; i++) {
        const struct chunk_token *token = &chunks->tokens[chunk->first + i];
        double weight = text->segments[token->segment].weight;
        ids[1 + i] = token->id;
        if (weights)
            weights[1 + i] = rules->kind == DIALECT_COMPEL ? (double)(float)weight : weight;
    }
    frame(rules, tokenizer, chunk->count, ids);
}

void chunks_empty_row(const struct chunk_rules *rules, const struct tokenizer *tokenizer, int32_t *ids) {
    frame(rules, tokenizer, 0, ids);
}

int chunks_weighted(const struct dialect_text *text, const struct chunks *chunks) {
    size_t i = 0;
    while (i < chunks->token_count &&
           (chunks->tokens[i].chunk == CHUNK_NONE || text->segments[chunks->tokens[i].segment].weight == 1))
        i++;
    return i < chunks->token_count;
}

int chunks_mask_without(const struct chunk_rules *rules, const struct dialect_text *text, const struct chunks *chunks,
                        size_t segment, unsigned char *mask) {
    uint32_t part = text->segments[segment].part;
    size_t first_chunk = 0, length = rules->length, windows = 0, begin = SIZE_MAX, end = 0;
    while (chunks->list[first_chunk].part != part)
        first_chunk++;
    while (first_chunk + windows < chunks->count && chunks->list[first_chunk + windows].part == part)
        windows++;
    for (size_t i = 0; i < chunks->token_count; i++) {
        const struct chunk_token *token = &chunks->tokens[i];
        if (token->segment != segment)
            continue;
        /* what was cut off would have stood behind the row: compel takes the row's end with it */
        end = token->chunk == CHUNK_NONE ? length : (token->chunk - first_chunk) * length + token->row + 1;
        begin = begin == SIZE_MAX ? end - 1 : begin;
    }
    /* the row of the end belongs to nobody; a segment that begins there has been cut off whole */
    if (begin == SIZE_MAX || (!rules->splits && begin >= length - 1))
        return 0;
    memset(mask, 1, windows * length);
    memset(mask + begin, 0, end - begin);
    for (size_t i = 0; i < windows && rules->splits; i++)
        mask[i * length] = mask[i * length + length - 1] = 1;
    return 1;
}

/* ---- two prompts ---- */

size_t chunks_equal(enum dialect_kind kind, size_t positive, size_t negative) {
    size_t most = positive > negative ? positive : negative, least = positive > negative ? negative : positive;
    if (dialects[kind].equal == DIALECT_EMPTY_CHUNKS)
        return most;
    size_t a = most, b = least; /* Euclid */
    while (b > 0) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    size_t times = most / a; /* of the shorter, in their least common multiple */
    return times <= 4 ? times * least : 0;
}

uint32_t chunks_source(enum dialect_kind kind, size_t own, size_t k) {
    if (dialects[kind].equal == DIALECT_REPEATS)
        return (uint32_t)(k % own);
    return k < own ? (uint32_t)k : CHUNK_NONE;
}
