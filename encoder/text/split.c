/* split.c - the pattern
 *
 *     <\|startoftext\|> | <\|endoftext\|> | 's | 't | 're | 've | 'm | 'll | 'd | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
 *
 * read by hand: the first alternative that fits at a place wins, then the search goes on behind it, and what fits none
 * (white space) is dropped.
 *
 * transformers 4 wrote the pattern without the first two alternatives, transformers 5 puts them in whatever the file
 * says. They matter only where the added tokens have not already been cut out of the text: in capitals, or in a
 * tokenizer whose start and end are spelt otherwise. The reference then cuts the piece once more with GPT-2's pattern,
 * into symbols, letters and symbols. So the one thing they change is where the symbols behind them begin:
 * "<|endoftext|>!!" ends in "|>" and "!!", not in "|>!!". That is what the fence is for.
 */
#include "split.h"

#include <string.h>

#include "../base/utf8.h"
#include "unicode_table.h"

static unsigned category_at(const char *text, size_t at, size_t end, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(text + at, end - at, &point);
    return unicode_of(point)->flags & UNICODE_CATEGORY;
}

static int starts_with(const char *text, size_t room, const char *what, size_t size) {
    return room >= size && memcmp(text, what, size) == 0;
}

/* Bytes of the contraction at an apostrophe, or 0. */
static size_t contraction(const char *text, size_t room) {
    if (room < 2)
        return 0;
    switch (text[1]) {
    case 's':
    case 't':
    case 'm':
    case 'd':
        return 2;
    case 'r':
    case 'v':
        return room > 2 && text[2] == 'e' ? 3 : 0;
    case 'l':
        return room > 2 && text[2] == 'l' ? 3 : 0;
    default:
        return 0;
    }
}

static size_t literal(const char *text, size_t room) {
    static const char start[] = "<|startoftext|>", end[] = "<|endoftext|>";
    if (starts_with(text, room, start, sizeof start - 1))
        return sizeof start - 1;
    if (starts_with(text, room, end, sizeof end - 1))
        return sizeof end - 1;
    return 0;
}

static size_t run_of(const struct split *split, size_t at, size_t end, unsigned category) {
    size_t length;
    while (at < end && category_at(split->text, at, end, &length) == category)
        at += length;
    return at;
}

int split_next(struct split *split, size_t *begin, size_t *end) {
    const char *text = split->text;
    size_t at = split->at, length;
    while (at < split->end) {
        unsigned category = category_at(text, at, split->end, &length);
        if (category == UNICODE_SPACE) {
            at += length;
            continue;
        }
        size_t stop = at + length;
        if (category == UNICODE_LETTER) {
            stop = run_of(split, stop, split->end, UNICODE_LETTER);
        } else if (category == UNICODE_OTHER) {
            size_t room = split->end - at;
            /* a literal has no other '<', so at is never before the fence here */
            if (text[at] == '<' && at >= split->fence && literal(text + at, room)) /* GCOVR_EXCL_BR_LINE */
                split->fence = at + literal(text + at, room);
            size_t limit = at < split->fence ? split->fence : split->end;
            size_t short_form = text[at] == '\'' ? contraction(text + at, room) : 0;
            stop = short_form ? at + short_form : run_of(split, stop, limit, UNICODE_OTHER);
        }
        *begin = at;
        *end = stop;
        split->at = stop;
        return 1;
    }
    split->at = at;
    return 0;
}
