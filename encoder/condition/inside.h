/* inside.h - what the parsers of the dialects write into. For the files of condition/ that parse, only.
 */
#ifndef ENCODER_CONDITION_INSIDE_H
#define ENCODER_CONDITION_INSIDE_H

#include "dialect.h"

/* Of every byte of a prompt: room for text, segments and parts, and spare room for a parser's own stack. A blank can come
 * in behind each byte, and a segment can be empty. */
#define INSIDE_TEXT 4
#define INSIDE_SEGMENTS 2
#define INSIDE_SPARE 16
#define INSIDE_ALWAYS 64 /* bytes and elements beyond those */

struct building {
    const char *prompt; /* valid UTF-8 */
    size_t size;
    char *text;
    uint32_t *origin;
    size_t count;
    struct dialect_segment *segments;
    size_t segment_count;
    struct dialect_part *parts;
    size_t part_count;
    void *spare; /* INSIDE_SPARE bytes for each of the prompt's, aligned for anything */
    unsigned char *marks; /* 2 for each of the prompt's bytes */
    enum dialect_join join;
    int normalised;
};

static inline void building_put(struct building *to, char byte, size_t origin) {
    to->text[to->count] = byte;
    to->origin[to->count++] = (uint32_t)origin;
}

/* Copies prompt[begin..end) into the text. */
static inline void building_copy(struct building *to, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++)
        building_put(to, to->prompt[i], i);
}

/* A segment from `begin` to the end of the text so far. */
static inline void building_segment(struct building *to, size_t begin, double weight) {
    to->segments[to->segment_count++] = (struct dialect_segment){
        .begin = (uint32_t)begin, .end = (uint32_t)to->count, .part = (uint32_t)to->part_count, .weight = weight};
}

/* A part from segment `first` on. */
static inline void building_part(struct building *to, size_t first, double weight) {
    to->parts[to->part_count++] =
        (struct dialect_part){.first = (uint32_t)first, .count = (uint32_t)(to->segment_count - first), .weight = weight};
}

int a1111_parse(struct building *to, struct fault *fault);
int comfyui_parse(struct building *to, struct fault *fault);
int compel_parse(struct building *to, struct fault *fault);

/* FAULT_LIMIT about brackets. */
int building_too_deep(size_t at, struct fault *fault);

#endif
