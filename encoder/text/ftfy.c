/* ftfy.c - in one pass and a stack what ftfy does in a loop.
 *
 * ftfy cuts the text into segments, behind each line feed or after a million characters, and applies all of its fixes to a
 * segment until nothing changes. "&amp;amp;amp;lt;" takes a round for each level, so doing the same would be quadratic. What
 * a second round can find is little, because
 *
 *   - no fix of a character makes a character that another fix of characters changes (make_open_clip_tables.py checks that),
 *   - control characters, and ESC among them, are gone after the first round, and no entity stands for one that stays,
 *   - NFC makes ASCII of three characters alone (check_passes there), and what ASCII a mark stands behind is in no entity;
 *
 * so from the second round on only entities are left to find, among letters that the first round left. An entity is a
 * factor '&' '#'? [0-9A-Za-z]+ ';' without another '&' or ';' in it. Two of them never overlap, and undoing one leaves the
 * others whole: the rules are orthogonal, so that the order does not matter and there is one end (Newman's lemma; each step
 * is shorter by two letters at least). We undo them from left to right, on a stack: whenever a ';' comes to lie on top, the
 * 26 letters below it are looked at. Each look that finds something makes the stack shorter, so all of it is linear.
 *
 * Room: a character of n bytes becomes at most n code points, before NFC and behind it, and an entity fewer than it has
 * letters (check_bounds).
 */
#include "ftfy.h"

#include <string.h>

#include "../base/utf8.h"
#include "html.h"
#include "normalise.h"
#include "open_clip_table.h"

#define SEGMENT 1000000 /* TextFixerConfig.max_decode_length */
#define ESCAPE 0x1Bu

struct fixer {
    const struct ftfy_room *room;
    struct letter *segment;
    size_t count; /* letters of the segment so far */
    struct letter *out;
    size_t out_count;
    int undoes; /* HTML entities: until a segment has a '<' in it */
};

static int is_alphanumeric(uint32_t point) {
    return (point >= '0' && point <= '9') || ((point | 0x20) >= 'a' && (point | 0x20) <= 'z');
}

/* ---- characters ---- */

static const struct open_clip_fix *fix_of(uint32_t point) {
    size_t low = 0, high = open_clip_fix_count;
    if (point < 0x80 && point != '\r')
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (open_clip_fixes[middle].point == point)
            return &open_clip_fixes[middle];
        if (open_clip_fixes[middle].point < point)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int is_removed(uint32_t point) {
    for (size_t i = 0; i < open_clip_removed_count && open_clip_removed[i].first <= point; i++) {
        if (point <= open_clip_removed[i].last)
            return 1;
    }
    return 0;
}

/* What NFC makes ASCII of. */
static uint32_t singleton(uint32_t point) {
    return point == 0x37E ? ';' : point == 0x1FEF ? '`' : point == 0x212A ? 'K' : point;
}

static void put(struct fixer *fixer, uint32_t point, uint32_t made, uint32_t begin, uint32_t end) {
    const struct open_clip_fix *fix = fix_of(point);
    if (!fix) {
        fixer->segment[fixer->count++] = (struct letter){point | made, begin, end};
        return;
    }
    for (size_t i = 0; i < OPEN_CLIP_FIX && fix->to[i]; i++)
        fixer->segment[fixer->count++] = (struct letter){fix->to[i] | LETTER_MADE, begin, end};
}

/* ---- the first round ---- */

/* Bytes of the reference at `text`, 0 if there is none. */
static size_t reference_at(const char *text, size_t room) {
    size_t at = 1;
    at += at < room && text[at] == '#';
    size_t first = at;
    while (at < room && at - first <= HTML_FTFY_NAME && is_alphanumeric((unsigned char)text[at]))
        at++;
    return at > first && at - first <= HTML_FTFY_NAME && at < room && text[at] == ';' ? at + 1 : 0;
}

static void read_segment(struct fixer *fixer, const char *text, size_t begin, size_t end) {
    fixer->count = 0;
    while (begin < end) {
        uint32_t points[ENTITY_POINTS] = {0}; /* the text was found to be UTF-8: analysers cannot see that decoding fills one */
        size_t size = fixer->undoes && text[begin] == '&' ? reference_at(text + begin, end - begin) : 0;
        int count = size ? html_ftfy(text + begin, size, points) : -1;
        if (count < 0) {
            size = utf8_decode(text + begin, end - begin, points);
            put(fixer, points[0], 0, (uint32_t)begin, (uint32_t)(begin + size));
        }
        for (int i = 0; i < count; i++)
            put(fixer, points[i], LETTER_MADE, (uint32_t)begin, (uint32_t)(begin + size));
        begin += size;
    }
}

/* Letters of the terminal escape at `at`: ESC [ digits and semicolons, an ASCII letter. 0: there is none. */
static size_t escape_at(const struct fixer *fixer, size_t at) {
    size_t stop = at + 2;
    if (letter_point(&fixer->segment[at]) != ESCAPE || at + 1 >= fixer->count || letter_point(&fixer->segment[at + 1]) != '[')
        return 0;
    while (stop < fixer->count) {
        uint32_t point = letter_point(&fixer->segment[stop]);
        if (point != ';' && !(open_clip_of(point)->flags & UNICODE_DECIMAL))
            return (point | 0x20) >= 'a' && (point | 0x20) <= 'z' ? stop + 1 - at : 0;
        stop++;
    }
    return 0;
}

static void remove_controls(struct fixer *fixer) {
    size_t kept = 0;
    for (size_t at = 0; at < fixer->count;) {
        size_t escape = escape_at(fixer, at);
        struct letter letter = fixer->segment[at];
        at += escape ? escape : 1;
        if (escape || is_removed(letter_point(&letter)))
            continue;
        letter.marked = (letter.marked & LETTER_MADE) | singleton(letter_point(&letter));
        fixer->segment[kept++] = letter;
    }
    fixer->count = kept;
}

/* ---- the other rounds ---- */

/* Undoes the entity that ends at the top of the stack: 1 if there is one. */
static int undo_top(struct fixer *fixer) {
    char reference[HTML_FTFY];
    uint32_t points[ENTITY_POINTS];
    size_t end = fixer->count, at = end - 1;
    while (at > 0 && end - 1 - at <= HTML_FTFY_NAME && is_alphanumeric(letter_point(&fixer->segment[at - 1])))
        at--;
    if (at == end - 1 || end - 1 - at > HTML_FTFY_NAME || at == 0)
        return 0;
    at--;
    if (at > 0 && letter_point(&fixer->segment[at]) == '#')
        at--;
    if (letter_point(&fixer->segment[at]) != '&')
        return 0;
    for (size_t i = at; i < end; i++)
        reference[i - at] = (char)letter_point(&fixer->segment[i]);
    int count = html_ftfy(reference, end - at, points);
    if (count < 0)
        return 0;
    uint32_t begin = fixer->segment[at].begin, stop = fixer->segment[end - 1].end;
    fixer->count = at;
    for (int i = 0; i < count; i++) {
        if (!is_removed(points[i]))
            put(fixer, singleton(points[i]), LETTER_MADE, begin, stop);
    }
    return 1;
}

static void undo_entities(struct fixer *fixer) {
    size_t count = fixer->count;
    fixer->count = 0;
    for (size_t at = 0; at < count; at++) {
        fixer->segment[fixer->count++] = fixer->segment[at];
        int undone = 1;
        while (undone && fixer->count && letter_point(&fixer->segment[fixer->count - 1]) == ';')
            undone = undo_top(fixer);
    }
}

/* ---- NFC ---- */

static uint32_t role_of(const struct letter *letter) {
    return open_clip_of(letter_point(letter))->flags & UNICODE_ROLE;
}

static void compose(struct fixer *fixer, size_t begin, size_t end) {
    int32_t *points = fixer->room->points;
    const struct letter *letters = fixer->segment;
    size_t count = 0;
    for (size_t i = begin; i < end; i++)
        count = normalise_add(letter_point(&letters[i]), points, count);
    count = normalise_finish(points, count, fixer->room->spare);
    int is_same = count == end - begin;
    for (size_t i = 0; i < count && is_same; i++)
        is_same = (uint32_t)points[i] == letter_point(&letters[begin + i]);
    for (size_t i = 0; i < count; i++)
        fixer->out[fixer->out_count++] = is_same ? letters[begin + i]
                                                 : (struct letter){(uint32_t)points[i] | LETTER_MADE, letters[begin].begin,
                                                                   letters[end - 1].end};
}

static void compose_all(struct fixer *fixer) {
    for (size_t at = 0; at < fixer->count;) {
        uint32_t role = role_of(&fixer->segment[at]);
        size_t stop = at + 1;
        while (role != UNICODE_PLAIN && stop < fixer->count && role_of(&fixer->segment[stop]) == UNICODE_JOIN)
            stop++;
        if (role == UNICODE_PLAIN || (role == UNICODE_FIRST && stop == at + 1))
            fixer->out[fixer->out_count++] = fixer->segment[at];
        else
            compose(fixer, at, stop);
        at = stop;
    }
}

/* ---- all together ---- */

static size_t segment_end(const char *text, size_t begin, size_t size) {
    size_t at = begin;
    for (size_t count = 0; at < size && count < SEGMENT; count++) {
        if (text[at] == '\n')
            return at + 1;
        at++;
        while (at < size && ((unsigned char)text[at] & 0xC0u) == 0x80u)
            at++;
    }
    return at;
}

size_t ftfy_fix(const char *text, size_t size, struct letter *out, const struct ftfy_room *room) {
    struct fixer fixer = {.room = room, .segment = room->segment, .out = out, .undoes = 1};
    for (size_t begin = 0; begin < size;) {
        size_t end = segment_end(text, begin, size);
        if (memchr(text + begin, '<', end - begin))
            fixer.undoes = 0;
        read_segment(&fixer, text, begin, end);
        remove_controls(&fixer);
        if (fixer.undoes)
            undo_entities(&fixer);
        compose_all(&fixer);
        begin = end;
    }
    return fixer.out_count;
}
