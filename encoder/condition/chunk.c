/* chunk.c - tokens of a text, and how each host fills windows with them.
 */
#include "chunk.h"

#include <string.h>

#include "../base/arena.h"
#include "inside.h"
#include "split_point.h"

struct cutting {
    const struct chunk_rules *rules;
    const struct tokenizer *tokenizer;
    const struct dialect_text *text;
    struct chunk_token *tokens;
    size_t token_count;
    struct chunk *list;
    size_t count;
    uint32_t part;
    size_t first; /* the token that the window under way begins with */
    size_t capacity;
    void *scratch; /* the tokenizer's, with ids and spans behind it */
    int32_t *ids;
    struct token_span *spans;
};

/* Bytes of text that a prompt can become (inside.h). */
#define MOST_TEXT(prompt_bytes) (INSIDE_TEXT / 2 * (prompt_bytes) + INSIDE_ALWAYS)

static void lay_out(struct cutting *to, struct arena *arena, const struct tokenizer *tokenizer, size_t prompt_bytes) {
    size_t ids = tokenizer_id_count_limit(MOST_TEXT(prompt_bytes));
    to->tokens = arena_take(arena, ids, sizeof *to->tokens);
    to->list = arena_take(arena, ids + INSIDE_SEGMENTS * prompt_bytes + INSIDE_ALWAYS, sizeof *to->list);
    to->ids = arena_take(arena, ids, sizeof *to->ids);
    to->spans = arena_take(arena, ids, sizeof *to->spans);
    to->scratch = arena_take(arena, tokenizer_scratch_bytes(tokenizer, MOST_TEXT(prompt_bytes)), 1);
}

size_t chunks_scratch_bytes(const struct tokenizer *tokenizer, size_t prompt_bytes) {
    struct cutting cutting;
    struct arena arena = {0};
    if (prompt_bytes > DIALECT_TEXT_LIMIT)
        return SIZE_MAX;
    lay_out(&cutting, &arena, tokenizer, prompt_bytes);
    return arena.used;
}

struct chunk_rules chunk_rules_of(enum dialect_kind kind, int32_t pad_id) {
    return (struct chunk_rules){.kind = kind, .length = 77, .backtrack = 20, .word = 8, .pad_id = pad_id};
}

/* ---- windows ---- */

/* Tokens first .. end - 1 are a window; the next begins behind them. */
static void close_chunk(struct cutting *to, size_t end) {
    for (size_t i = to->first; i < end; i++) {
        to->tokens[i].chunk = (uint32_t)to->count;
        to->tokens[i].row = (uint32_t)(1 + i - to->first);
    }
    to->list[to->count++] = (struct chunk){(uint32_t)to->first, (uint32_t)(end - to->first), to->part};
    to->first = end;
}

/* The segment's tokens behind those that are there; *added is how many. */
static int take_segment(struct cutting *to, size_t index, size_t *added, struct fault *fault) {
    const struct dialect_segment *segment = &to->text->segments[index];
    size_t count = 0;
    int status = tokenizer_body(to->tokenizer, to->text->text + segment->begin, segment->end - segment->begin, to->scratch, to->ids,
                                to->spans, &count, fault);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        uint32_t begin = segment->begin + (uint32_t)to->spans[i].begin, end = segment->begin + (uint32_t)to->spans[i].end;
        struct chunk_token *token = &to->tokens[to->token_count + i];
        *token = (struct chunk_token){.id = to->ids[i], .segment = (uint32_t)index, .chunk = CHUNK_NONE,
                                      .text_begin = begin, .text_end = end};
        dialect_origin(to->text, begin, end, &token->begin, &token->end);
    }
    *added = count;
    return 0;
}

/* ---- a1111 ---- */

static int cut_a1111(struct cutting *to, const struct dialect_part *part, struct fault *fault) {
    int32_t comma = split_point_id(to->tokenizer, ',', to->scratch, to->ids);
    size_t last_comma = SIZE_MAX, added, windows = to->count;
    for (size_t s = part->first; s < (size_t)part->first + part->count; s++) {
        if (to->text->segments[s].flags & DIALECT_BREAK) {
            close_chunk(to, to->token_count);
            last_comma = SIZE_MAX;
            continue;
        }
        int status = take_segment(to, s, &added, fault);
        if (status)
            return status;
        for (; added > 0; added--) {
            size_t at = to->token_count++, filled = at - to->first;
            if (to->tokens[at].id == comma) {
                last_comma = at;
            } else if (to->rules->backtrack > 0 && filled == to->capacity && last_comma != SIZE_MAX &&
                       at - last_comma <= to->rules->backtrack) {
                close_chunk(to, last_comma + 1);
                last_comma = SIZE_MAX;
            }
            if (at - to->first == to->capacity) {
                close_chunk(to, at);
                last_comma = SIZE_MAX; /* also a comma that begins the next window: the host forgets it */
            }
        }
    }
    if (to->token_count > to->first || to->count == windows)
        close_chunk(to, to->token_count);
    return 0;
}

/* ---- comfyui ---- */

static int cut_comfyui(struct cutting *to, const struct dialect_part *part, struct fault *fault) {
    size_t left;
    for (size_t s = part->first; s < (size_t)part->first + part->count; s++) {
        int status = take_segment(to, s, &left, fault);
        if (status)
            return status;
        int is_large = left >= to->rules->word;
        while (left > 0) {
            size_t room = to->capacity - (to->token_count - to->first);
            if (left <= room) {
                to->token_count += left;
                break;
            }
            if (is_large) {
                to->token_count += room;
                left -= room;
            }
            close_chunk(to, to->token_count);
        }
    }
    close_chunk(to, to->token_count);
    return 0;
}

/* ---- plain and compel ---- */

static int cut_whole(struct cutting *to, const struct dialect_part *part, struct fault *fault) {
    size_t added;
    for (size_t s = part->first; s < (size_t)part->first + part->count; s++) {
        int status = take_segment(to, s, &added, fault);
        if (status)
            return status;
        to->token_count += added;
    }
    do {
        size_t size = to->token_count - to->first;
        if (size > to->capacity) {
            size = to->capacity;
            if (to->rules->splits)
                size = split_point(to->tokenizer, to->text, to->tokens + to->first, size, to->scratch, to->ids);
        }
        close_chunk(to, to->first + size);
    } while (to->rules->splits && to->first < to->token_count);
    to->first = to->token_count;
    return 0;
}

/* ---- all ---- */

static int check_rules(const struct chunk_rules *rules, struct fault *fault) {
    if (rules->length < 3 || rules->length > CHUNK_LENGTH_LIMIT || rules->length < 2 + (uint64_t)rules->word)
        return fault_set(fault, FAULT_ARGUMENT, "a row of %u ids, expected 3 to %d, and room for a word of %u beside start and end",
                         rules->length, CHUNK_LENGTH_LIMIT, rules->word);
    return 0;
}

static void count_cut(const struct cutting *from, struct chunks *out) {
    for (size_t i = 0; i < from->token_count; i++) {
        if (from->tokens[i].chunk != CHUNK_NONE)
            continue;
        if (out->cut_count++ == 0)
            out->cut_begin = from->tokens[i].begin;
    }
}

int chunks_cut(const struct chunk_rules *rules, const struct tokenizer *tokenizer, const struct dialect_text *text, void *scratch,
               struct chunks *out, struct fault *fault) {
    struct cutting cutting = {.rules = rules, .tokenizer = tokenizer, .text = text};
    struct arena arena = {.base = scratch};
    int status = check_rules(rules, fault);
    if (status)
        return status;
    lay_out(&cutting, &arena, tokenizer, text->prompt_bytes);
    if (arena.overflow) /* GCOVR_EXCL_BR_LINE: dialect_parse made the text, of no more than DIALECT_TEXT_LIMIT bytes */
        return fault_set(fault, FAULT_LIMIT, "the prompt is too long for its tokens to be counted"); /* GCOVR_EXCL_LINE */
    cutting.capacity = rules->length - 2;
    for (size_t i = 0; i < text->part_count && !status; i++) {
        cutting.part = (uint32_t)i;
        if (rules->kind == DIALECT_A1111)
            status = cut_a1111(&cutting, &text->parts[i], fault);
        else if (rules->kind == DIALECT_COMFYUI)
            status = cut_comfyui(&cutting, &text->parts[i], fault);
        else
            status = cut_whole(&cutting, &text->parts[i], fault);
    }
    if (status)
        return status;
    *out = (struct chunks){cutting.tokens, cutting.token_count, 0, UINT32_MAX, cutting.list, cutting.count};
    count_cut(&cutting, out);
    return 0;
}
