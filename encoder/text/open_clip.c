/* open_clip.c - _clean_lower of open_clip's tokenizer.py, on letters that know where they came from.
 */
#include "open_clip.h"

#include "../base/utf8.h"
#include "ftfy.h"
#include "html.h"
#include "open_clip_table.h"

#define CAPITAL_SIGMA 0x3A3u
#define FINAL_SIGMA 0x3C2u

_Static_assert(sizeof(struct letter) == 3 * sizeof(uint32_t), "a letter is three elements of scratch");

static uint32_t flags_of(const struct letter *letter) {
    return open_clip_of(letter_point(letter))->flags;
}

/* U+0345 counts as a space where pieces are looked for, and only there. */
static int is_space(const struct letter *letter) {
    return (flags_of(letter) & (UNICODE_CATEGORY | UNICODE_CASE_IGNORABLE)) == UNICODE_SPACE;
}

/* " ".join(text.split()), in place. */
static size_t join_words(struct letter *letters, size_t count) {
    size_t kept = 0;
    for (size_t at = 0; at < count; at++) {
        struct letter letter = letters[at];
        if (is_space(&letter)) {
            if (kept == 0 || letter_point(&letters[kept - 1]) == ' ')
                continue;
            letter.marked = ' ' | LETTER_MADE;
        }
        letters[kept++] = letter;
    }
    return kept - (kept > 0 && letter_point(&letters[kept - 1]) == ' ');
}

/* Whether a capital sigma ends a word: a letter with case before it and none behind it, looking over what has no say
 * (CPython's handle_capital_sigma). What is looked over lies between two sigmas, so it is walked twice at most. */
static int is_final(const struct letter *letters, size_t count, size_t at) {
    size_t before = at, behind = at + 1;
    while (before > 0 && (flags_of(&letters[before - 1]) & UNICODE_CASE_IGNORABLE))
        before--;
    if (before == 0 || !(flags_of(&letters[before - 1]) & UNICODE_CASED))
        return 0;
    while (behind < count && (flags_of(&letters[behind]) & UNICODE_CASE_IGNORABLE))
        behind++;
    return behind == count || !(flags_of(&letters[behind]) & UNICODE_CASED);
}

/* At most 3 bytes for each byte of the text, as UNICODE_GROWTH says. */
static size_t put_lower(char *to, const struct letter *letters, size_t count, size_t at) {
    uint32_t point = letter_point(&letters[at]);
    const struct unicode_record *record = open_clip_of(point);
    if (point == CAPITAL_SIGMA && is_final(letters, count, at))
        return utf8_put(to, FINAL_SIGMA);
    if (record->flags & UNICODE_LOWER_TWO) {
        to[0] = 'i';
        return 1 + utf8_put(to + 1, 0x307);
    }
    return utf8_put(to, (uint32_t)((int32_t)point + record->lower));
}

static void put_letter(struct clean *out, const struct letter *letters, size_t count, size_t at) {
    const struct letter *letter = &letters[at];
    char bytes[8];
    size_t size = put_lower(bytes, letters, count, at);
    int is_exact = !(letter->marked & LETTER_MADE) && letter->end - letter->begin == size;
    for (size_t i = 0; i < size; i++) {
        out->bytes[out->count] = bytes[i];
        out->origin[out->count] = letter->begin + (is_exact ? (uint32_t)i : 0);
        out->ends[out->count++] = is_exact ? letter->begin + (uint32_t)i + 1 : letter->end;
    }
}

void open_clip_clean(const char *text, size_t size, struct clean *out, uint32_t *scratch) {
    struct letter *letters = (struct letter *)(void *)scratch;
    int32_t *points = (int32_t *)(scratch + 6 * size);
    struct ftfy_room room = {letters + size, points, points + UNICODE_PARTS * size};
    size_t count = ftfy_fix(text, size, letters, &room);
    for (int i = 0; i < 2; i++)
        count = html_unescape(letters, count);
    count = join_words(letters, count);
    out->count = 0;
    for (size_t at = 0; at < count; at++)
        put_letter(out, letters, count, at);
    out->origin[out->count] = (uint32_t)size;
}
