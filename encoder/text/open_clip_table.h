/* open_clip_table.h - what each code point is to open_clip's tokenizer: unicode_table.h's questions, answered by Python, by
 * `regex` and by ftfy. Knows no text.
 */
#ifndef ENCODER_TEXT_OPEN_CLIP_TABLE_H
#define ENCODER_TEXT_OPEN_CLIP_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "unicode_table.h"

extern const char *const open_clip_reference; /* the libraries and versions that were asked */
extern const struct unicode_record open_clip_records[];
extern const uint16_t open_clip_blocks[];
extern const uint8_t open_clip_kinds[][128];

static inline const struct unicode_record *open_clip_of(uint32_t point) {
    return &open_clip_records[open_clip_kinds[open_clip_blocks[point >> 7]][point & 127]];
}

/* Characters that ftfy writes as others: C1 controls, ligatures, wide and narrow forms, curly quotes, line breaks. Ordered;
 * unused code points are 0, which is none of theirs. */
#define OPEN_CLIP_FIX 3
struct open_clip_fix {
    uint32_t point;
    uint32_t to[OPEN_CLIP_FIX];
};
extern const struct open_clip_fix open_clip_fixes[];
extern const size_t open_clip_fix_count;

/* Characters that ftfy takes out. Ordered. */
struct open_clip_range {
    uint32_t first, last;
};
extern const struct open_clip_range open_clip_removed[];
extern const size_t open_clip_removed_count;

#endif
