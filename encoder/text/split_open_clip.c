/* split_open_clip.c - the pattern
 *
 *     <start_of_text> | <end_of_text> | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
 *
 * read by hand, as open_clip_torch compiles it: with IGNORECASE. The text is in lower case, so of all characters only the
 * long s, U+017F, is one that another pattern would not take: it is an s there. "<\u017ftart_of_text>" is one piece, and an
 * ordinary one.
 */
#include <string.h>

#include "../base/utf8.h"
#include "open_clip_table.h"
#include "split.h"

static const char long_s[] = "\xC5\xBF";
#define LONG_S (sizeof long_s - 1)

static unsigned category_at(const struct split *split, size_t at, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(split->text + at, split->end - at, &point);
    return open_clip_of(point)->flags & UNICODE_CATEGORY;
}

static size_t run_of(const struct split *split, size_t at, unsigned category) {
    size_t length;
    while (at < split->end && category_at(split, at, &length) == category)
        at += length;
    return at;
}

/* Bytes of an s at the beginning, 0 if there is none. */
static size_t any_s(const char *text, size_t room) {
    if (room > 0 && text[0] == 's')
        return 1;
    return room >= LONG_S && memcmp(text, long_s, LONG_S) == 0 ? LONG_S : 0;
}

/* Bytes of the contraction at an apostrophe, 0 if it begins none. */
static size_t contraction(const char *text, size_t room) {
    static const char *const short_forms[] = {"t", "re", "ve", "m", "ll", "d"};
    size_t s = any_s(text + 1, room - 1);
    if (s)
        return 1 + s;
    for (size_t i = 0; i < sizeof short_forms / sizeof *short_forms; i++) {
        size_t size = strlen(short_forms[i]);
        if (room > size && memcmp(text + 1, short_forms[i], size) == 0)
            return 1 + size;
    }
    return 0;
}

/* Bytes of the special string at a '<', 0 if it begins none. */
static size_t special(const char *text, size_t room, enum split_kind *kind) {
    static const char rest_of_start[] = "tart_of_text>", end[] = "<end_of_text>";
    size_t s = any_s(text + 1, room - 1), rest = sizeof rest_of_start - 1;
    if (s && room > s + rest && memcmp(text + 1 + s, rest_of_start, rest) == 0) {
        *kind = s == 1 ? SPLIT_START : SPLIT_PIECE;
        return 1 + s + rest;
    }
    if (room >= sizeof end - 1 && memcmp(text, end, sizeof end - 1) == 0) {
        *kind = SPLIT_END;
        return sizeof end - 1;
    }
    return 0;
}

enum split_kind split_next_open_clip(struct split *split, size_t *begin, size_t *end) {
    size_t length, at = split->at;
    unsigned category = UNICODE_SPACE;
    while (at < split->end && (category = category_at(split, at, &length)) == UNICODE_SPACE)
        at += length;
    *begin = split->at = at;
    if (at == split->end)
        return SPLIT_NONE;
    enum split_kind kind = SPLIT_PIECE;
    size_t room = split->end - at, fixed = 0;
    if (split->text[at] == '<')
        fixed = special(split->text + at, room, &kind);
    else if (split->text[at] == '\'')
        fixed = contraction(split->text + at, room);
    *end = fixed                         ? at + fixed
           : category == UNICODE_NUMBER ? at + length
                                         : run_of(split, at, category);
    split->at = *end;
    return kind;
}
