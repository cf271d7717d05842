/* open_clip.h - text as open_clip's tokenizer sees it before it splits: ftfy, HTML undone twice, white space, lower case.
 * Knows no token.
 */
#ifndef ENCODER_TEXT_OPEN_CLIP_H
#define ENCODER_TEXT_OPEN_CLIP_H

#include "clean.h"

/* Elements of scratch for each byte of the text. */
#define OPEN_CLIP_SCRATCH (3 + 3 + 2 * UNICODE_PARTS)

/* text is valid UTF-8 and shorter than 4 GiB; out->ends has room, too. */
void open_clip_clean(const char *text, size_t size, struct clean *out, uint32_t *scratch);

#endif
