/* dialect.h - prompts with weights in them, as the hosts write them: which bytes are text, and how much each counts.
 * Knows no token and no tensor.
 *
 * How the parts of condition/ are used together, for one prompt:
 *
 *     dialect_parse     prompt -> text without the dialect's signs, in segments of one weight each    dialect.h
 *     chunks_cut        segments -> tokens, cut into windows as that host cuts them                   chunk.h
 *     chunks_row        one window -> ids of a row for the tower, and the weight of each              chunk.h
 *     (the tower runs over all windows, and over the row of an empty prompt where the rule wants one)
 *     weight_...        the host's rule for weights, on the hidden states                             weight.h
 *     recipes           which towers, layers and vectors a pipeline takes                             recipes.h
 *     size_embedding    sizes and crops -> the rest of SDXL's vector                                  size_embedding.h
 *
 * Nothing here allocates, recurses or keeps anything: scratch comes from the caller, results point into it.
 */
#ifndef ENCODER_CONDITION_DIALECT_H
#define ENCODER_CONDITION_DIALECT_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"

enum dialect_kind { DIALECT_PLAIN, DIALECT_A1111, DIALECT_COMFYUI, DIALECT_COMPEL, DIALECTS };

/* How the weights of a dialect change hidden states: weight.h has the formulas. */
enum dialect_rule {
    DIALECT_UNWEIGHTED,
    DIALECT_MULTIPLIES,          /* A1111: weight_multiply, with or without its mean restoration, as the caller asks */
    DIALECT_FROM_EMPTY,          /* ComfyUI: weight_from_empty */
    DIALECT_FROM_EMPTY_AND_MASK, /* compel: weight_from_empty, and weight_mixed for weights below 1 */
};

/* What a host does when positive and negative have different numbers of windows: chunks_equal. */
enum dialect_equal {
    DIALECT_EMPTY_CHUNKS, /* the shorter gets windows of an empty prompt */
    DIALECT_REPEATS,      /* both are repeated to the least common multiple, up to four times the shorter */
};

/* A dialect: a row of data. */
struct dialect {
    const char *name;   /* "a1111" */
    const char *source; /* where its behaviour was read */
    enum dialect_rule rule;
    enum dialect_equal equal;
    int pools_plain; /* pooled comes from the prompt as typed, signs and all, cut at one window; else from window 0 */
};

extern const struct dialect dialects[DIALECTS];
/* DIALECTS if there is none of that name. */
enum dialect_kind dialect_find(const char *name, size_t size);

/* A text nested deeper than this is FAULT_LIMIT: it bounds the work by so many steps a byte. */
#define DIALECT_DEPTH 256
/* Longer prompts are FAULT_LIMIT. */
#define DIALECT_TEXT_LIMIT (1 << 26)

#define DIALECT_BREAK 1u /* the segment is A1111's word BREAK: a window ends here, the segment has no tokens */

/* Text of one weight. Segments come in the order of the text and cover it; each is tokenized by itself. */
struct dialect_segment {
    uint32_t begin, end; /* bytes of dialect_text.text */
    uint32_t part;       /* index of the part it belongs to */
    uint32_t flags;
    double weight; /* may be negative, infinite or not a number where the host lets that through */
};

/* What compel joins by .and() or .blend(); all others have one. Each part is a prompt by itself, with windows of its own. */
struct dialect_part {
    uint32_t first, count; /* segments */
    double weight;
};

enum dialect_join {
    DIALECT_ONE,   /* one part; its weight is 1 */
    DIALECT_AND,   /* parts stand one behind the other along the tokens, each weighted from the empty prompt */
    DIALECT_BLEND, /* the weighted sum of the parts' states; weights divided by their sum first if `normalised` */
};

struct dialect_text {
    const char *text;       /* what is tokenized; not NUL-terminated */
    const uint32_t *origin; /* the byte of the prompt that each byte of text came from; a blank that the host put in has
                               that of the byte before it */
    size_t text_bytes;
    size_t prompt_bytes; /* of the prompt it was */
    const struct dialect_segment *segments;
    size_t segment_count; /* at least 1 but for an empty prompt of comfyui */
    const struct dialect_part *parts;
    size_t part_count; /* at least 1 */
    enum dialect_join join;
    int normalised;
};

/* Scratch for a prompt of at most that many bytes; SIZE_MAX above DIALECT_TEXT_LIMIT. */
size_t dialect_scratch_bytes(size_t prompt_bytes);
/* FAULT_TEXT for invalid UTF-8; FAULT_LIMIT for nesting or length; FAULT_FORMAT where the host itself refuses the prompt (a
 * number such as "1.2.3"); FAULT_UNSUPPORTED for what no tensor can express (.swap(), LoRA). Everything else is a result:
 * brackets that do not match are text wherever the host takes them for that. scratch is aligned as malloc aligns; *out
 * points into it. */
int dialect_parse(enum dialect_kind kind, const char *prompt, size_t prompt_bytes, void *scratch, struct dialect_text *out,
                  struct fault *fault);

/* The bytes of the prompt behind text[begin..end). */
static inline void dialect_origin(const struct dialect_text *text, size_t begin, size_t end, uint32_t *from, uint32_t *to) {
    *from = begin < text->text_bytes ? text->origin[begin] : (uint32_t)text->prompt_bytes;
    *to = end > begin ? text->origin[end - 1] + 1 : *from;
}

#endif
