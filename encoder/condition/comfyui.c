/* comfyui.c - ComfyUI's weights: ( ) multiplies by 1.1, (text:number) sets the number, whatever stands around; "\(" and "\)"
 * are text, and so is every other sign.
 *
 * The host takes the prompt apart level by level: brackets on the outside first, what is in them by itself. What is left
 * open is text to the end, except that a rest which begins with "(" and ends with ")" counts as bracketed. A ")" too many
 * takes the level below zero, where the next "(" does not open anything. A weight is looked for behind the last colon of
 * the whole inside, at whatever level that stands.
 */
#include "inside.h"

#include <string.h>

#include "number.h"

struct level {
    uint32_t at, end;
    double weight;
};
_Static_assert(sizeof(struct level) <= INSIDE_SPARE, "a level for each byte fits into the spare room");

static const char embedding[] = "embedding:";

static int is_sign(const struct building *from, size_t at, char sign) {
    return from->prompt[at] == sign && !(at > 0 && from->prompt[at - 1] == '\\');
}

/* Where the item that begins at `at` ends: text up to a bracket, or a bracket with all that is in it. */
static size_t end_of_item(const struct building *from, size_t at, size_t end) {
    long level = 0;
    for (size_t i = at; i < end; i++) {
        if (is_sign(from, i, '(')) {
            if (level == 0 && i > at)
                return i;
            level++;
        } else if (is_sign(from, i, ')')) {
            level--;
            if (level == 0)
                return i + 1;
        }
    }
    return end;
}

/* The weight behind the last colon of prompt[begin..*end), which then ends there. */
static void take_weight(const struct building *from, size_t begin, size_t *end, double *weight) {
    size_t colon = *end;
    while (colon > begin && from->prompt[colon - 1] != ':')
        colon--;
    if (colon > begin + 1 && number_read(from->prompt + colon, *end - colon, weight))
        *end = colon - 1;
}

static int is_pair(const struct building *from, size_t at, size_t end, char first, char second) {
    return at + 1 < end && from->prompt[at] == first && from->prompt[at + 1] == second;
}

/* Text of one weight. What could name an embedding begins a segment of its own: the host tokenizes it by itself. */
static void put_text(struct building *to, size_t begin, size_t end, double weight) {
    size_t segment = to->count, length;
    int after_space = 0;
    for (size_t at = begin; at < end;) {
        /* the host marks brackets that are text with \0\1 and \0\2, so those in the prompt become brackets too */
        int closing = is_pair(to, at, end, '\\', ')') || is_pair(to, at, end, '\0', '\1');
        if (closing || is_pair(to, at, end, '\\', '(') || is_pair(to, at, end, '\0', '\2')) {
            building_put(to, closing ? ')' : '(', at + 1);
            after_space = 0;
            at += 2;
            continue;
        }
        size_t size = sizeof embedding - 1;
        if (after_space && end - at >= size && memcmp(to->prompt + at, embedding, size) == 0) {
            building_segment(to, segment, weight);
            segment = to->count;
        }
        after_space = number_is_space(to->prompt + at, end - at, &length);
        building_copy(to, at, at + length);
        at += length;
    }
    building_segment(to, segment, weight);
}

int comfyui_parse(struct building *to, struct fault *fault) {
    struct level *levels = to->spare;
    size_t depth = 1;
    levels[0] = (struct level){0, (uint32_t)to->size, 1.0};
    while (depth > 0) {
        struct level *level = &levels[depth - 1];
        if (level->at == level->end) {
            depth--;
            continue;
        }
        size_t begin = level->at, end = end_of_item(to, begin, level->end);
        level->at = (uint32_t)end;
        if (end - begin < 2 || !is_sign(to, begin, '(') || !is_sign(to, end - 1, ')')) {
            put_text(to, begin, end, level->weight);
            continue;
        }
        if (depth == DIALECT_DEPTH)
            return building_too_deep(begin, fault);
        double weight = level->weight * 1.1;
        begin++;
        end--;
        take_weight(to, begin, &end, &weight);
        levels[depth++] = (struct level){(uint32_t)begin, (uint32_t)end, weight};
    }
    return 0;
}
