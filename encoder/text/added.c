/* added.c - finds added tokens by narrowing down the ordered list byte by byte. */
#include "added.h"

#include <string.h>

#include "../base/sort.h"
#include "../base/utf8.h"
#include "unicode_table.h"

static int compare(const struct added_token *a, const struct added_token *b) {
    size_t common = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->text, b->text, common);
    if (order)
        return order;
    return a->size == b->size ? 0 : a->size < b->size ? -1 : 1;
}

static int compare_any(const void *a, const void *b) {
    return compare(a, b);
}

const struct added_token *added_order(struct added *added, struct added_token *tokens, size_t count) {
    *added = (struct added){.tokens = tokens, .count = count};
    if (count)
        sort_items(tokens, count, sizeof *tokens, compare_any);
    size_t i = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        added->first[byte] = (uint32_t)i;
        while (i < count && (unsigned char)tokens[i].text[0] == byte)
            i++;
    }
    added->first[256] = (uint32_t)count;
    for (i = 1; i < count; i++) {
        if (compare(&tokens[i - 1], &tokens[i]) == 0)
            return &tokens[i];
    }
    return NULL;
}

void added_start(struct added_walk *walk, const struct added *added, const char *text, size_t size) {
    *walk = (struct added_walk){.added = added, .text = text, .size = size};
}

/* The longest token that stands at `at`, or NULL. tokens[low..high) are those that agree with the text so far; shorter
 * ones come first. */
static const struct added_token *token_at(const struct added *added, const char *text, size_t at, size_t size) {
    size_t low = added->first[(unsigned char)text[at]], high = added->first[(unsigned char)text[at] + 1];
    const struct added_token *longest = NULL;
    for (size_t depth = 1; low < high; depth++) {
        if (added->tokens[low].size == depth)
            longest = &added->tokens[low++];
        if (at + depth >= size)
            break;
        unsigned char byte = (unsigned char)text[at + depth];
        size_t end = high;
        while (low < end) { /* the first token whose byte is not less */
            size_t middle = low + (end - low) / 2;
            if ((unsigned char)added->tokens[middle].text[depth] < byte)
                low = middle + 1;
            else
                end = middle;
        }
        size_t begin = low;
        end = high;
        while (begin < end) { /* the first token whose byte is greater */
            size_t middle = begin + (end - begin) / 2;
            if ((unsigned char)added->tokens[middle].text[depth] <= byte)
                begin = middle + 1;
            else
                end = middle;
        }
        high = begin;
    }
    return longest;
}

static unsigned flags_before(const char *text, size_t at, size_t *length) {
    size_t begin = at - 1;
    uint32_t point = 0;
    while (begin > 0 && ((unsigned char)text[begin] & 0xC0u) == 0x80u)
        begin--;
    *length = at - begin;
    utf8_decode(text + begin, at - begin, &point);
    return unicode_of(point)->flags;
}

static unsigned flags_after(const char *text, size_t at, size_t size, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(text + at, size - at, &point);
    return unicode_of(point)->flags;
}

static int stands_alone(const struct added_walk *walk, size_t begin, size_t end) {
    size_t length;
    if (begin > 0 && (flags_before(walk->text, begin, &length) & UNICODE_WORD))
        return 0;
    return end == walk->size || !(flags_after(walk->text, end, walk->size, &length) & UNICODE_WORD);
}

static size_t space_before(const struct added_walk *walk, size_t at) {
    size_t length;
    while (at > walk->done && (flags_before(walk->text, at, &length) & UNICODE_CATEGORY) == UNICODE_SPACE)
        at -= length;
    return at < walk->done ? walk->done : at;
}

static size_t space_after(struct added_walk *walk, size_t at) {
    if (at < walk->space_end)
        return walk->space_end; /* tokens that are white space themselves would walk the same run again and again */
    size_t length;
    while (at < walk->size && (flags_after(walk->text, at, walk->size, &length) & UNICODE_CATEGORY) == UNICODE_SPACE)
        at += length;
    walk->space_end = at;
    return at;
}

static int find(struct added_walk *walk) {
    const struct added *added = walk->added;
    while (added->count && walk->at < walk->size) {
        unsigned char byte = (unsigned char)walk->text[walk->at];
        if (added->first[byte] == added->first[byte + 1]) {
            walk->at++;
            continue;
        }
        const struct added_token *token = token_at(added, walk->text, walk->at, walk->size);
        size_t begin = walk->at;
        walk->at += token ? token->size : 1;
        if (!token || (token->single_word && !stands_alone(walk, begin, begin + token->size)))
            continue;
        size_t end = begin + token->size;
        if (token->strip_left)
            begin = begin > walk->done ? space_before(walk, begin) : walk->done;
        if (token->strip_right)
            end = space_after(walk, end);
        walk->found = token;
        walk->found_begin = begin;
        walk->found_end = end > begin ? end : begin;
        return 1;
    }
    return 0;
}

int added_next(struct added_walk *walk, struct added_cut *cut) {
    if (!walk->found && !find(walk)) {
        *cut = (struct added_cut){.begin = walk->done, .end = walk->size};
        walk->done = walk->size;
        return cut->begin < cut->end;
    }
    if (walk->done < walk->found_begin) {
        *cut = (struct added_cut){.begin = walk->done, .end = walk->found_begin};
        walk->done = walk->found_begin;
        return 1;
    }
    *cut = (struct added_cut){.token = walk->found, .begin = walk->found_begin, .end = walk->found_end};
    walk->done = walk->found_end;
    walk->found = NULL;
    return 1;
}
