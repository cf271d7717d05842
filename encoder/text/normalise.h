/* normalise.h - canonical composition (NFC) of one segment of text. The only file that knows utf8proc.
 */
#ifndef ENCODER_TEXT_NORMALISE_H
#define ENCODER_TEXT_NORMALISE_H

#include <stddef.h>
#include <stdint.h>

/* The NFC of valid UTF-8 that is one segment: a code point and the UNICODE_JOIN ones behind it. points and spare have
 * room for UNICODE_PARTS * bytes elements. Returns how many code points there are in `points`. */
size_t normalise_segment(const char *text, size_t bytes, int32_t *points, int32_t *spare);

/* The same in steps: decomposes one more code point behind the `count` there are, and returns how many there are then;
 * `points` has room for UNICODE_PARTS * their bytes, and `spare` too. Then puts them in order and composes them. */
size_t normalise_add(uint32_t point, int32_t *points, size_t count);
size_t normalise_finish(int32_t *points, size_t count, int32_t *spare);

#endif
