/* clean.h - text as the splitting sees it: NFC, each run of white space one space, lower case. Knows no token.
 */
#ifndef ENCODER_TEXT_CLEAN_H
#define ENCODER_TEXT_CLEAN_H

#include <stddef.h>
#include <stdint.h>

#include "unicode_table.h"

/* origin[i] is the first byte of the text that clean byte i came from, origin[count] the end of the text. Bytes that
 * were only copied, or changed one for one, have one origin each; where the number of bytes changed, all bytes of the
 * segment share its first byte. So what clean byte i came from ends at the next larger origin. */
struct clean {
    char *bytes;      /* room for UNICODE_GROWTH * text bytes */
    uint32_t *origin; /* one more */
    uint32_t *ends;   /* open_clip.c: where what byte i came from ends, as something may have been left out behind it; else NULL */
    size_t count;
};

/* Cleans text[begin..end), which is valid UTF-8 and shorter than 4 GiB. points and spare: UNICODE_PARTS * (end - begin)
 * elements each. */
void clean_text(const char *text, size_t begin, size_t end, struct clean *out, int32_t *points, int32_t *spare);

#endif
