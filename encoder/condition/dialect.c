/* dialect.c - the table of dialects, and what is the same for all: UTF-8, room, one part.
 */
#include "inside.h"

#include <string.h>

#include "../base/arena.h"
#include "../base/utf8.h"

const struct dialect dialects[DIALECTS] = {
    [DIALECT_PLAIN] = {"plain", "diffusers 58eb52c, StableDiffusionXLPipeline.encode_prompt", DIALECT_UNWEIGHTED,
                       DIALECT_EMPTY_CHUNKS, 0},
    [DIALECT_A1111] = {"a1111", "AUTOMATIC1111 prompt_parser.parse_prompt_attention, sd_hijack_clip.tokenize_line, as Forge "
                                "dfdcbab has them",
                       DIALECT_MULTIPLIES, DIALECT_EMPTY_CHUNKS, 0},
    [DIALECT_COMFYUI] = {"comfyui", "ComfyUI 443393b, sd1_clip.token_weights, SDTokenizer.tokenize_with_weights, conds",
                         DIALECT_FROM_EMPTY, DIALECT_REPEATS, 0},
    [DIALECT_COMPEL] = {"compel", "compel 2.5.1 (c60b9fb), prompt_parser, embeddings_provider", DIALECT_FROM_EMPTY_AND_MASK,
                        DIALECT_EMPTY_CHUNKS, 1},
};

enum dialect_kind dialect_find(const char *name, size_t size) {
    enum dialect_kind kind = DIALECT_PLAIN;
    while (kind < DIALECTS && (strlen(dialects[kind].name) != size || memcmp(dialects[kind].name, name, size) != 0))
        kind++;
    return kind;
}

static void lay_out(struct building *to, struct arena *arena, size_t prompt_bytes) {
    size_t text = INSIDE_TEXT * prompt_bytes + INSIDE_ALWAYS;
    to->text = arena_take(arena, text, 1);
    to->origin = arena_take(arena, text, sizeof *to->origin);
    to->segments = arena_take(arena, INSIDE_SEGMENTS * prompt_bytes + INSIDE_ALWAYS, sizeof *to->segments);
    to->parts = arena_take(arena, prompt_bytes + INSIDE_ALWAYS, sizeof *to->parts);
    to->spare = arena_take(arena, prompt_bytes + INSIDE_ALWAYS, INSIDE_SPARE);
    to->marks = arena_take(arena, 2 * prompt_bytes + INSIDE_ALWAYS, 1);
}

size_t dialect_scratch_bytes(size_t prompt_bytes) {
    struct building building = {0};
    struct arena arena = {0};
    if (prompt_bytes > DIALECT_TEXT_LIMIT)
        return SIZE_MAX;
    lay_out(&building, &arena, prompt_bytes);
    return arena.used;
}

static int check_text(const char *prompt, size_t size, struct fault *fault) {
    if (size > DIALECT_TEXT_LIMIT)
        return fault_set(fault, FAULT_LIMIT, "the prompt has %zu bytes, expected at most %d", size, DIALECT_TEXT_LIMIT);
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_length(prompt + at, size - at);
        if (length == 0) {
            struct fault_text quoted;
            return fault_set(fault, FAULT_TEXT, "the prompt: found \"%s\" at byte %zu, expected UTF-8",
                             fault_quote(&quoted, prompt + at, size - at < 4 ? size - at : 4), at);
        }
    }
    return 0;
}

int building_too_deep(size_t at, struct fault *fault) {
    return fault_set(fault, FAULT_LIMIT, "the prompt: found brackets more than %d deep at byte %zu, expected at most that many",
                     DIALECT_DEPTH, at);
}

int dialect_parse(enum dialect_kind kind, const char *prompt, size_t prompt_bytes, void *scratch, struct dialect_text *out,
                  struct fault *fault) {
    int status = check_text(prompt, prompt_bytes, fault);
    if (status)
        return status;
    struct building building = {.prompt = prompt, .size = prompt_bytes, .join = DIALECT_ONE};
    struct arena arena = {.base = scratch};
    lay_out(&building, &arena, prompt_bytes);
    switch (kind) {
    case DIALECT_A1111:
        status = a1111_parse(&building, fault);
        break;
    case DIALECT_COMFYUI:
        status = comfyui_parse(&building, fault);
        break;
    case DIALECT_COMPEL:
        status = compel_parse(&building, fault);
        break;
    case DIALECT_PLAIN:
        building_copy(&building, 0, prompt_bytes);
        building_segment(&building, 0, 1.0);
        break;
    case DIALECTS:
    default:
        return fault_set(fault, FAULT_ARGUMENT, "dialect %d, expected 0 to %d", (int)kind, DIALECTS - 1);
    }
    if (status)
        return status;
    if (building.part_count == 0)
        building_part(&building, 0, 1.0);
    *out = (struct dialect_text){.text = building.text,
                                 .origin = building.origin,
                                 .text_bytes = building.count,
                                 .prompt_bytes = prompt_bytes,
                                 .segments = building.segments,
                                 .segment_count = building.segment_count,
                                 .parts = building.parts,
                                 .part_count = building.part_count,
                                 .join = building.join,
                                 .normalised = building.normalised};
    return 0;
}
