/* json_mutate.c - a scanner that forgives, and ten kinds of change. */
#include "json_mutate.h"

#include <stdio.h>
#include <string.h>

#include "fuzz.h"

#define NOWHERE ((size_t)-1)

/* ---- scanning ---- */

static size_t string_end(const char *text, size_t size, size_t at) {
    for (at++; at < size && text[at] != '"'; at++)
        at += text[at] == '\\';
    return at < size ? at + 1 : size;
}

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int is_key(const char *text, size_t size, size_t end) {
    while (end < size && is_blank(text[end]))
        end++;
    return end < size && text[end] == ':';
}

static size_t scalar_end(const char *text, size_t size, size_t at) {
    size_t begin = at;
    while (at < size && text[at] != '\0' && !strchr(",:{}[]\" \t\r\n", text[at]))
        at++;
    return at > begin ? at : begin + 1;
}

size_t json_scan(const char *text, size_t size, struct json_node *nodes, size_t room) {
    size_t count = 0, at = 0, key = NOWHERE;
    int open = -1;
    while (at < size && count < room) {
        char c = text[at];
        size_t begin = at;
        if (is_blank(c) || c == ',' || c == ':') {
            at++;
            key = c == ',' ? NOWHERE : key;
            continue;
        }
        if (c == '}' || c == ']') {
            if (open < 0)
                break;
            nodes[open].end = ++at;
            open = nodes[open].parent;
            key = NOWHERE;
            continue;
        }
        int opens = c == '{' || c == '[';
        at = c == '"' ? string_end(text, size, at) : opens ? at + 1 : scalar_end(text, size, at);
        if (c == '"' && key == NOWHERE && open >= 0 && nodes[open].kind == '{' && is_key(text, size, at)) {
            key = begin;
            continue;
        }
        nodes[count] = (struct json_node){key == NOWHERE ? begin : key, begin, opens ? size : at, open,
                                          (char)(opens || c == '"' ? c : 0)};
        key = NOWHERE;
        if (opens)
            open = (int)count;
        count++;
    }
    return count;
}

int json_child(const char *text, const struct json_node *nodes, size_t count, int parent, const char *key) {
    size_t length = strlen(key);
    for (size_t i = (size_t)parent + 1; i < count && nodes[i].begin < nodes[parent].end; i++)
        if (nodes[i].parent == parent && nodes[i].begin - nodes[i].member >= length + 2 &&
            memcmp(text + nodes[i].member + 1, key, length) == 0 && text[nodes[i].member + 1 + length] == '"')
            return (int)i;
    return -1;
}

size_t json_splice(char *text, size_t size, size_t room, size_t at, size_t gone, const char *with, size_t with_size) {
    if (at > size || gone > size - at || size - gone > room || with_size > room - (size - gone))
        return size;
    memmove(text + at + with_size, text + at + gone, size - at - gone);
    memcpy(text + at, with, with_size);
    return size - gone + with_size;
}

/* ---- changing ---- */

static const char *const numbers[] = {
    "0",          "1",          "-1",         "-2",         "2",       "3",       "7",         "8",
    "9",          "63",         "64",         "76",         "77",      "78",      "255",       "256",       "1023",
    "1024",       "4095",       "4096",       "4097",       "65535",   "65536",   "100000000", "2147483647",
    "2147483648", "4294967295", "4294967296", "9007199254740993",      "4611686018427387904",  "9223372036854775807",
    "9223372036854775808",      "18446744073709551615",     "-9223372036854775808",            "18446744073709551616",
    "-0",         "0.5",        "1e-5",       "1e-320",     "1e308",   "1e309",   "-1e400",    "1e-400",
    "1E+2",       "01",         "1.",         ".5",         "+1",      "0x10",    "NaN",       "1e",
};
static const char *const values[] = {
    "null", "true", "false", "\"\"", "{}", "[]", "[[]]", "{\"\":{}}", "\"a\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "[0,0]",
    "[1,2,3,4,5,6,7,8]", "nul", "\"", "{", "]",
};
static const char *const escapes[] = {
    "\\u0000", "\\ud800", "\\udc00", "\\ud83d\\ude00", "\\\"", "\\\\", "\\/", "\\n", "\\u0041", "\\x", "\\", "\"", "\n", "\t",
    "\x7F",    "\xC3\xA9", "\xC0\x80", "\xED\xA0\x80", "\xF0\x9F\x98\x80", "\xF4\x90\x80\x80", "\xFF", "\xC4\xA0", "</w>",
    "a", "!", " ",
};
#define PICK(random, list) (list)[fuzz_below(random, sizeof(list) / sizeof *(list))]

static const char *pick_word(uint32_t *random, const char *const *list) {
    size_t count = 0;
    while (list[count])
        count++;
    return list[fuzz_below(random, count)];
}

/* Room for copies; what does not fit is not copied. */
#define SPARE 8192
static char spare[2][SPARE];

static size_t keep(char *to, const char *text, size_t begin, size_t end) {
    size_t size = end - begin < SPARE ? end - begin : SPARE;
    memcpy(to, text + begin, size);
    return size;
}

static size_t nudge(char *text, size_t size, size_t room, const struct json_node *node, uint32_t *random) {
    char digits[32];
    uint64_t value = 0;
    for (size_t i = node->begin; i < node->end; i++) {
        if (text[i] < '0' || text[i] > '9' || i - node->begin > 17)
            return size;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    switch (fuzz_below(random, 5)) {
    case 0:
        value++;
        break;
    case 1:
        value--;
        break;
    case 2:
        value *= 2;
        break;
    case 3:
        value /= 2;
        break;
    default:
        value += fuzz_below(random, 64);
    }
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    return json_splice(text, size, room, node->begin, node->end - node->begin, digits, (size_t)length);
}

static size_t delete_member(char *text, size_t size, size_t room, const struct json_node *node) {
    size_t begin = node->member, end = node->end;
    while (end < size && is_blank(text[end]))
        end++;
    if (end < size && text[end] == ',') {
        end++;
    } else {
        while (begin > 0 && is_blank(text[begin - 1]))
            begin--;
        begin -= begin > 0 && text[begin - 1] == ',';
    }
    return json_splice(text, size, room, begin, end - begin, "", 0);
}

static size_t duplicate(char *text, size_t size, size_t room, const struct json_node *node) {
    size_t length = keep(spare[0] + 1, text, node->member, node->end < node->member + SPARE - 1 ? node->end : node->member);
    spare[0][0] = ',';
    return json_splice(text, size, room, node->end, 0, spare[0], length + 1);
}

/* The later one first, so that the earlier one stays where it is. */
static size_t swap(char *text, size_t size, size_t room, const struct json_node *a, const struct json_node *b, int whole) {
    const struct json_node *first = a->begin < b->begin ? a : b, *second = a->begin < b->begin ? b : a;
    size_t from = whole ? first->member : first->begin, to = whole ? second->member : second->begin;
    if (first == second || first->end > to)
        return size;
    size_t one = keep(spare[0], text, from, first->end), other = keep(spare[1], text, to, second->end);
    size = json_splice(text, size, room, to, second->end - to, spare[0], one);
    return json_splice(text, size, room, from, first->end - from, spare[1], other);
}

/* `key` brings its closing quote. */
static size_t rename_key(char *text, size_t size, size_t room, const struct json_node *node, const char *key) {
    if (node->member == node->begin)
        return size;
    return json_splice(text, size, room, node->member + 1, string_end(text, size, node->member) - node->member - 1, key,
                       strlen(key));
}

static size_t add_member(char *text, size_t size, size_t room, const struct json_node *node, uint32_t *random,
                         const struct json_words *words) {
    size_t at = node->begin + 1, look = at;
    while (look < size && is_blank(text[look]))
        look++;
    const char *comma = look < size && (text[look] == '}' || text[look] == ']') ? "" : ",";
    const char *value = fuzz_below(random, 2) ? pick_word(random, words->values) : PICK(random, numbers);
    int length = node->kind == '{' ? snprintf(spare[0], SPARE, "\"%s\":%s%s", pick_word(random, words->keys), value, comma)
                                   : snprintf(spare[0], SPARE, "%s%s", value, comma);
    return json_splice(text, size, room, at, 0, spare[0], (size_t)length);
}

static size_t wrap(char *text, size_t size, size_t room, const struct json_node *node, uint32_t *random) {
    size_t levels = fuzz_below(random, 4) ? 1 : 1 + fuzz_below(random, 40);
    int object = (int)fuzz_below(random, 2);
    for (size_t i = 0; i < levels && size + 6 <= room; i++) {
        size = json_splice(text, size, room, node->end + i * (object ? 6 : 2) - i, 0, object ? "}" : "]", 1);
        size = json_splice(text, size, room, node->begin, 0, object ? "{\"a\":" : "[", object ? 5 : 1);
    }
    return size;
}

static size_t change(char *text, size_t size, size_t room, uint32_t *random, const struct json_words *words) {
    static struct json_node nodes[JSON_NODES];
    size_t count = json_scan(text, size, nodes, JSON_NODES);
    if (count == 0)
        return json_splice(text, size, room, 0, 0, "{}", 2);
    const struct json_node *a = &nodes[fuzz_below(random, count)], *b = &nodes[fuzz_below(random, count)];
    size_t length = a->end - a->begin;
    const char *word;
    switch (fuzz_below(random, 14)) {
    case 0:
        return delete_member(text, size, room, a);
    case 1:
        return duplicate(text, size, room, a);
    case 2:
        return swap(text, size, room, a, b, 0);
    case 3:
        return swap(text, size, room, a, b, 1);
    case 4:
        return json_splice(text, size, room, a->begin, length, spare[0], keep(spare[0], text, b->begin, b->end));
    case 5:
        word = PICK(random, numbers);
        return json_splice(text, size, room, a->begin, length, word, strlen(word));
    case 6:
    case 7: /* a change to a number, wherever the next one is */
        for (; a < nodes + count; a++)
            if (a->kind == 0)
                return nudge(text, size, room, a, random);
        return size;
    case 8:
        word = fuzz_below(random, 2) ? pick_word(random, words->values) : PICK(random, values);
        return json_splice(text, size, room, a->begin, length, word, strlen(word));
    case 9:
        snprintf(spare[0], SPARE, "%s\"", pick_word(random, words->keys));
        return rename_key(text, size, room, a, spare[0]);
    case 10:
    case 11:
        while (a > nodes && a->kind != '{' && a->kind != '[')
            a--;
        return a->kind ? add_member(text, size, room, a, random, words) : size;
    case 12:
        return wrap(text, size, room, a, random);
    default: /* inside a string, or right into a key */
        word = PICK(random, escapes);
        length = a->kind == '"' && fuzz_below(random, 2) ? a->begin + 1 + fuzz_below(random, length) : a->member + 1;
        return json_splice(text, size, room, length < size ? length : size, 0, word, strlen(word));
    }
}

size_t json_mutate(char *text, size_t size, size_t room, uint32_t *random, const struct json_words *words) {
    size_t changes = 1 + fuzz_below(random, 4);
    for (size_t i = 0; i < changes; i++)
        size = change(text, size, room, random, words);
    return size;
}
