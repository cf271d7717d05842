/* normalise.c - decomposes with utf8proc, orders the marks, composes with utf8proc.
 *
 * The reference's Unicode is older than utf8proc's, and utf8proc's depends on the host it was built on. The table cuts
 * segments so that only code points which the reference knows come here together; for those no later Unicode may change
 * the NFC (its stability policy), so the result does not depend on utf8proc's version.
 *
 * utf8proc_decompose orders marks by swapping neighbours, in quadratic time for a long run of them; we order them
 * ourselves. Nothing here allocates.
 */
#include "normalise.h"

#include <string.h>
#include <utf8proc.h>

#include "../base/utf8.h"
#include "unicode_table.h"

/* Of the canonical decomposition of one code point (Unicode 16 has four, of three bytes: room is never short). */
#define MOST_PARTS 4

static unsigned class_of(int32_t point) {
    return (unsigned)utf8proc_get_property(point)->combining_class & 255u;
}

/* Stable: marks of one class keep their order. */
static void order_few(int32_t *marks, size_t count) {
    for (size_t i = 1; i < count; i++) {
        int32_t mark = marks[i];
        unsigned class = class_of(mark);
        size_t j = i;
        for (; j > 0 && class_of(marks[j - 1]) > class; j--)
            marks[j] = marks[j - 1];
        marks[j] = mark;
    }
}

static void order_many(int32_t *marks, size_t count, int32_t *spare) {
    size_t begin[256] = {0};
    for (size_t i = 0; i < count; i++)
        begin[class_of(marks[i])]++;
    size_t at = 0;
    for (size_t class = 0; class < 256; class ++) {
        size_t of_class = begin[class];
        begin[class] = at;
        at += of_class;
    }
    for (size_t i = 0; i < count; i++)
        spare[begin[class_of(marks[i])]++] = marks[i];
    memcpy(marks, spare, count * sizeof *marks);
}

static void order_marks(int32_t *points, size_t count, int32_t *spare) {
    size_t i = 0;
    while (i < count) {
        size_t end = i;
        while (end < count && class_of(points[end]) != 0)
            end++;
        if (end - i > 24)
            order_many(points + i, end - i, spare);
        else
            order_few(points + i, end - i);
        i = end + 1;
    }
}

size_t normalise_add(uint32_t point, int32_t *points, size_t count) {
    int boundary = 0;
    utf8proc_ssize_t parts = utf8proc_decompose_char((int32_t)point, points + count, MOST_PARTS,
                                                     UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
    return count + (parts > 0 && parts <= MOST_PARTS ? (size_t)parts : 0); /* GCOVR_EXCL_BR_LINE: no point has more */
}

size_t normalise_finish(int32_t *points, size_t count, int32_t *spare) {
    order_marks(points, count, spare);
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(points, (utf8proc_ssize_t)count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    return composed > 0 ? (size_t)composed : 0;
}

size_t normalise_segment(const char *text, size_t bytes, int32_t *points, int32_t *spare) {
    size_t count = 0;
    for (size_t i = 0; i < bytes;) {
        uint32_t point = 0;
        i += utf8_decode(text + i, bytes - i, &point);
        count = normalise_add(point, points, count);
    }
    return normalise_finish(points, count, spare);
}
