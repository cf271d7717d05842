/* ftfy.h - ftfy.fix_text (6.3.1, Speer 2019) but for its repair of mojibake: HTML entities, C1 controls, ligatures, wide
 * and narrow forms, quotes, line breaks, terminal escapes, control characters, NFC. Knows no token.
 */
#ifndef ENCODER_TEXT_FTFY_H
#define ENCODER_TEXT_FTFY_H

#include "letters.h"

struct ftfy_room {
    struct letter *segment; /* as many elements as the text has bytes */
    int32_t *points;        /* UNICODE_PARTS times as many */
    int32_t *spare;         /* the same */
};

/* text is valid UTF-8 and shorter than 4 GiB; out has room for as many letters as it has bytes. Returns how many there
 * are. */
size_t ftfy_fix(const char *text, size_t size, struct letter *out, const struct ftfy_room *room);

#endif
