/* unicode_table.h - what each code point is to the reference tokenizer: category, part in NFC, lower case.
 * The table answers as the reference does, which is not what the newest Unicode says: its NFC is years older than its
 * letters. Knows no text.
 */
#ifndef ENCODER_TEXT_UNICODE_TABLE_H
#define ENCODER_TEXT_UNICODE_TABLE_H

#include <stdint.h>

/* Category: the classes of the splitting pattern. */
#define UNICODE_OTHER 0u
#define UNICODE_LETTER 1u
#define UNICODE_NUMBER 2u
#define UNICODE_SPACE 3u
#define UNICODE_CATEGORY 3u

/* Part in NFC. Text may be cut before everything but JOIN without changing its NFC. */
#define UNICODE_PLAIN 0u     /* stays as it is, whatever stands beside it */
#define UNICODE_FIRST 4u     /* stays as it is unless a JOIN follows */
#define UNICODE_JOIN 8u      /* a mark, or something that composes with what stands before it */
#define UNICODE_CHANGES 12u  /* becomes something else by itself */
#define UNICODE_ROLE 12u

#define UNICODE_WORD 16u      /* beside it, an added token that must be a single word is none */
#define UNICODE_LOWER_TWO 32u /* U+0130 alone: its lower case is i and U+0307 */

/* Of open_clip_table.h's records alone: what a capital sigma looks at, and digits. */
#define UNICODE_CASED 64u
#define UNICODE_CASE_IGNORABLE 128u /* counts as neither, and is looked over */
#define UNICODE_DECIMAL 256u

/* Bounds, checked where the table is made: bytes that one byte of text can become, and code points of NFD per byte. */
#define UNICODE_GROWTH 3
#define UNICODE_PARTS 2

struct unicode_record {
    int32_t lower; /* distance to the lower case */
    uint32_t flags;
};

extern const char *const unicode_reference; /* the library and version that was asked */
extern const struct unicode_record unicode_records[];
extern const uint16_t unicode_blocks[];
extern const uint8_t unicode_kinds[][128];

/* point is at most 0x10FFFF. */
static inline const struct unicode_record *unicode_of(uint32_t point) {
    return &unicode_records[unicode_kinds[unicode_blocks[point >> 7]][point & 127]];
}

#endif
