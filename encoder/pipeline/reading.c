/* reading.c - the prompts of a call: for each tower and side, text without signs, tokens and windows. Owns the scratch of
 * that, which is address space until a text needs it. */
#include "inside.h"

#include "../base/memory.h"

/* Scratch for texts of so many bytes, [side][whether it is the second text]; 0: no such text. */
void reading_lay_out(struct pipeline *p, struct arena *arena, size_t bytes[SIDES][2], void *scratch[RECIPE_TOWERS][SIDES][2]) {
    size_t most = 0;
    for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
        const struct tokenizer *tokenizer = p->params.clips[t]->tokenizer;
        for (unsigned side = 0; side < SIDES; side++) {
            size_t size = bytes[side][p->params.recipe->towers[t].second_prompt];
            scratch[t][side][0] = arena_take(arena, dialect_scratch_bytes(size), 1);
            scratch[t][side][1] = arena_take(arena, chunks_scratch_bytes(tokenizer, size), 1);
            size_t frame = tokenizer_frame_scratch_bytes(tokenizer, size);
            most = frame > most ? frame : most;
        }
    }
    p->frame_scratch = arena_take(arena, most, 1);
}

int reading_back(struct pipeline *p, size_t bytes) {
    if (bytes <= p->text_backed)
        return 1;
    if (!memory_back(p->text_pages, bytes))
        return 0;
    p->text_backed = bytes;
    return 1;
}

struct pipeline_text reading_text(const struct pipeline *p, const struct pipeline_request *request, unsigned side, int second) {
    const struct pipeline_text *texts = request->texts[side];
    int counts = texts[1].text && (texts[1].bytes || !p->params.recipe->second_falls_back);
    struct pipeline_text text = second && counts ? texts[1] : texts[0];
    return text.text ? text : (struct pipeline_text){"", 0};
}

static int is_given(const struct pipeline_request *request, unsigned side) {
    return request->texts[side][0].text || request->texts[side][1].text;
}

static int negative_is_zero(const struct pipeline *p, const struct pipeline_request *request) {
    switch (p->params.recipe->unconditional) {
    case RECIPE_ZEROS_ALWAYS:
        return 1;
    case RECIPE_ZEROS_IF_EMPTY:
        return reading_text(p, request, 1, 0).bytes == 0 && reading_text(p, request, 1, 1).bytes == 0;
    case RECIPE_ZEROS_IF_ABSENT:
        /* diffusers asks for the first text alone */
        return !request->texts[1][0].text;
    case RECIPE_ENCODES:
    case RECIPE_NONE:
    default:
        return 0;
    }
}

static size_t joined_windows(const struct pipeline_prompt *prompt) {
    size_t most = 0, count = 0;
    if (prompt->text.join != DIALECT_BLEND)
        return prompt->chunks.count;
    for (size_t i = 0; i < prompt->chunks.count; i++) {
        int begins = i == 0 || prompt->chunks.list[i].part != prompt->chunks.list[i - 1].part;
        count = begins ? 1 : count + 1;
        most = count > most ? count : most;
    }
    return most;
}

static int read_one(struct pipeline *p, struct tower *tower, unsigned side, struct pipeline_text text, void *scratch[2],
                    struct fault *fault) {
    struct reading *reading = &tower->readings[side];
    struct pipeline_prompt *prompt = &reading->prompt;
    enum dialect_kind kind = p->params.dialect;
    int status = dialect_parse(p->params.emphasis == EMPHASIS_NONE ? DIALECT_PLAIN : kind, text.text, text.bytes, scratch[0],
                               &prompt->text, fault);
    if (!status)
        status = chunks_cut(&tower->rules, tower->clip->tokenizer, &prompt->text, scratch[1], &prompt->chunks, fault);
    if (status) {
        struct fault inner = *fault;
        return side ? fault_set(fault, (enum fault_code)status, "negative: %s", inner.message) : status;
    }
    prompt->unweighted = p->params.emphasis == EMPHASIS_IGNORE || dialects[kind].rule == DIALECT_UNWEIGHTED;
    reading->is_read = 1;
    reading->windows = joined_windows(prompt);
    reading->is_plain = (prompt->unweighted || !chunks_weighted(&prompt->text, &prompt->chunks)) &&
                        (dialects[kind].rule != DIALECT_FROM_EMPTY_AND_MASK || (prompt->text.join == DIALECT_ONE && prompt->chunks.count == 1));
    if (prompt->chunks.count > p->params.max_windows)
        return fault_set(fault, FAULT_LIMIT, "%s comes to %zu windows; the pipeline was opened for max_windows %zu",
                         side ? "negative" : "the prompt", prompt->chunks.count, p->params.max_windows);
    return 0;
}

static int read_all(struct pipeline *p, const struct pipeline_request *request, void *scratch[RECIPE_TOWERS][SIDES][2],
                    struct fault *fault) {
    const struct recipe *recipe = p->params.recipe;
    int status = 0;
    for (unsigned t = 0; t < recipe->tower_count; t++) {
        struct tower *tower = &p->towers[t];
        for (unsigned side = 0; side < SIDES && !status; side++) {
            struct reading *reading = &tower->readings[side];
            reading->is_read = 0;
            reading->empty = reading->pooled = ROW_NONE;
            reading->prompt.text.text = NULL;
            status = recipe_layer(recipe, t, request->has_skip, request->skip, p->params.skip_all, (int)side,
                                  tower->clip->geometry.layers, &reading->layer, &reading->norm, fault);
            if (!status && (side == 0 || (!p->negative_is_zero && (recipe->unconditional != RECIPE_NONE || is_given(request, 1)))))
                status = read_one(p, tower, side, reading_text(p, request, side, tower->recipe->second_prompt), scratch[t][side], fault);
        }
    }
    return status;
}

/* Windows of both sides' tensors. */
static void count_windows(struct pipeline *p) {
    int negative_is_read = p->towers[0].readings[1].is_read;
    for (unsigned side = 0; side < SIDES; side++) {
        p->own_chunks[side] = 0;
        for (unsigned t = 0; t < p->params.recipe->tower_count; t++) {
            const struct reading *reading = &p->towers[t].readings[side];
            if (reading->is_read && reading->windows > p->own_chunks[side])
                p->own_chunks[side] = reading->windows;
        }
        p->chunks[side] = p->own_chunks[side];
    }
    size_t both = negative_is_read ? chunks_equal(p->params.dialect, p->own_chunks[0], p->own_chunks[1]) : p->own_chunks[0];
    if (both > 0)
        p->chunks[0] = p->chunks[1] = both;
    if (!negative_is_read && !p->negative_is_zero)
        p->chunks[1] = 0;
}

int reading_take(struct pipeline *p, const struct pipeline_request *request, struct fault *fault) {
    void *scratch[RECIPE_TOWERS][SIDES][2];
    size_t bytes[SIDES][2];
    struct arena arena = {.base = p->text_pages};
    for (unsigned side = 0; side < SIDES; side++) {
        for (int second = 0; second < 2; second++) {
            bytes[side][second] = reading_text(p, request, side, second).bytes;
            if (bytes[side][second] > p->params.max_text_bytes)
                return fault_set(fault, FAULT_LIMIT, "%s%s has %zu bytes; the pipeline was opened for max_text_bytes %zu",
                                 side ? "negative" : "prompt", second ? "_2" : "", bytes[side][second], p->params.max_text_bytes);
        }
    }
    reading_lay_out(p, &arena, bytes, scratch);
    if (!reading_back(p, arena.used))
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for %zu bytes of scratch, which prompts of this length take",
                         arena.used);
    p->negative_is_zero = negative_is_zero(p, request);
    int status = read_all(p, request, scratch, fault);
    if (!status)
        count_windows(p);
    return status;
}

const struct pipeline_prompt *pipeline_prompt(const struct pipeline *p, unsigned tower, unsigned negative) {
    const struct reading *reading = &p->towers[tower].readings[negative];
    return reading->is_read ? &reading->prompt : NULL;
}
