/* html.c - names by binary search, numbers by Python's rules: what HTML gives another meaning has it, what is no character
 * is U+FFFD or nothing.
 */
#include "html.h"

#include <string.h>

#define NO_CHARACTER 0xFFFDu

static int compare(const struct html_entity *entity, const char *name, size_t size) {
    size_t common = entity->size < size ? entity->size : size;
    int order = memcmp(html_entity_names + entity->at, name, common);
    return order ? order : (int)entity->size - (int)size;
}

/* How many code points the name stands for, 0 if there is no such name. */
static int find(const char *name, size_t size, unsigned flag, uint32_t to[ENTITY_POINTS]) {
    size_t low = 0, high = html_entity_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct html_entity *entity = &html_entities[middle];
        int order = compare(entity, name, size);
        if (order == 0) {
            int count = 0;
            while (entity->flags & flag && count < ENTITY_POINTS && entity->to[count]) {
                to[count] = entity->to[count];
                count++;
            }
            return count;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static int is_digit(uint32_t point, uint32_t base) {
    return (point >= '0' && point <= '9') || (base == 16 && ((point | 0x20) >= 'a' && (point | 0x20) <= 'f'));
}

/* One more digit; beyond the last code point it stays there. */
static uint32_t with_digit(uint32_t number, uint32_t base, uint32_t digit) {
    number = number * base + (digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    return number > 0x110000 ? 0x110000 : number;
}

/* 1 and the character, or 0 for a number that stands for nothing. */
static int character_of(uint32_t number, uint32_t *to) {
    int32_t low = number < HTML_LOW ? html_low_references[number] : 0;
    if (number >= HTML_LOW && ((number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE))
        low = -1;
    *to = number < HTML_LOW                                              ? (uint32_t)low
          : (number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF ? NO_CHARACTER
                                                                         : number;
    return low >= 0;
}

int html_ftfy(const char *reference, size_t size, uint32_t to[ENTITY_POINTS]) {
    const char *name = reference + 1;
    size--;
    if (name[0] != '#') {
        int count = find(name, size, ENTITY_FTFY, to);
        return count ? count : -1;
    }
    uint32_t base = (name[1] | 0x20) == 'x' ? 16 : 10, number = 0;
    size_t first = base == 16 ? 2 : 1, at = first;
    while (is_digit((unsigned char)name[at], base))
        number = with_digit(number, base, (unsigned char)name[at++]);
    /* html.unescape would take "&#12" out of "&#12ab;": ftfy wants all of it or nothing, and no semicolon that stays */
    if (at == first || name[at] != ';')
        return -1;
    int count = character_of(number, to);
    return count && to[0] == ';' ? -1 : count;
}

/* ---- html.unescape ---- */

struct pass {
    struct letter *letters;
    size_t count, read, written;
};

static uint32_t peek(const struct pass *pass, size_t at) {
    return at < pass->count ? letter_point(&pass->letters[at]) : 0;
}

/* Puts what the letters read .. end - 1 stand for in their place. It is never more than they are. */
static void replace(struct pass *pass, size_t end, const uint32_t *points, int count) {
    uint32_t begin = pass->letters[pass->read].begin, stop = pass->letters[end - 1].end;
    for (int i = 0; i < count; i++)
        pass->letters[pass->written++] = (struct letter){points[i] | LETTER_MADE, begin, stop};
    pass->read = end;
}

/* "&#38;": 1 if it is one. */
static int take_number(struct pass *pass) {
    uint32_t base = (peek(pass, pass->read + 2) | 0x20) == 'x' ? 16 : 10, number = 0, point;
    size_t first = pass->read + (base == 16 ? 3 : 2), at = first;
    while (at < pass->count && is_digit(peek(pass, at), base))
        number = with_digit(number, base, peek(pass, at++));
    if (at == first)
        return 0;
    at += peek(pass, at) == ';';
    int count = character_of(number, &point);
    replace(pass, at, &point, count);
    return 1;
}

/* A name of up to 32 characters, whatever they are, and its semicolon: the whole if there is such a name, else the longest
 * beginning of two or more that is one. */
static int take_name(struct pass *pass) {
    char name[ENTITY_NAME + 1];
    uint32_t points[ENTITY_POINTS];
    size_t size = 0, first = pass->read + 1;
    while (size < ENTITY_NAME && first + size < pass->count) {
        uint32_t point = peek(pass, first + size);
        if (point >= 0x80 || point == '\t' || point == '\n' || point == '\f' || point == ' ' || point == '<' ||
            point == '&' || point == '#' || point == ';')
            break;
        name[size++] = (char)point;
    }
    if (size > 0 && peek(pass, first + size) == ';')
        name[size++] = ';';
    for (; size > 1; size--) {
        int count = find(name, size, ENTITY_HTML5, points);
        if (count) {
            replace(pass, first + size, points, count);
            return 1;
        }
    }
    return 0;
}

size_t html_unescape(struct letter *letters, size_t count) {
    struct pass pass = {letters, count, 0, 0};
    while (pass.read < count) {
        if (peek(&pass, pass.read) == '&' && (peek(&pass, pass.read + 1) == '#' ? take_number(&pass) : take_name(&pass)))
            continue;
        letters[pass.written++] = letters[pass.read++];
    }
    return pass.written;
}
