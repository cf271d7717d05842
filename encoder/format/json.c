/* json.c - the strict JSON reader: one state word, one bit a level, no recursion, no allocation. */
#include "json.h"

#include <string.h>

#include "../base/utf8.h"

/* What may come next. */
enum state {
    WANT_VALUE,         /* exactly a value */
    WANT_VALUE_OR_END,  /* just after [ */
    WANT_KEY_OR_END,    /* just after { */
    WANT_KEY,           /* after , in an object */
    WANT_COMMA_OR_END,  /* after a value inside something */
    WANT_NOTHING        /* after the outermost value */
};

void json_start(struct json *json, const char *name, const char *text, size_t size) {
    *json = (struct json){.text = text, .size = size, .name = name, .state = WANT_VALUE};
}

static int broken(const struct json *json, size_t at, const char *expected, struct fault *fault) {
    struct fault_text quoted;
    if (at >= json->size)
        return fault_set(fault, FAULT_FORMAT, "%s: JSON ends at byte %zu, expected %s", json->name, json->size, expected);
    size_t shown = json->size - at < 8 ? json->size - at : 8;
    return fault_set(fault, FAULT_FORMAT, "%s: JSON at byte %zu: found \"%s\", expected %s", json->name, at,
                     fault_quote(&quoted, json->text + at, shown), expected);
}

static int is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void skip_space(struct json *json) {
    while (json->at < json->size && is_space(json->text[json->at]))
        json->at++;
}

static char peek(const struct json *json, size_t at) {
    return at < json->size ? json->text[at] : '\0';
}

static int hex_value(char c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at p, or -1. */
static int32_t hex4(const char *p, size_t room) {
    int32_t value = 0;
    if (room < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static int is_high_surrogate(int32_t unit) {
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static int is_low_surrogate(int32_t unit) {
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* `at` stands on the backslash; returns the bytes of the escape, 0 if it is none. */
static size_t escape_length(const struct json *json, size_t at) {
    size_t room = json->size - at;
    const char *p = json->text + at;
    if (room < 2)
        return 0;
    if (p[1] != 'u')
        return memchr("\"\\/bfnrt", p[1], 8) ? 2 : 0;
    int32_t unit = hex4(p + 2, room - 2);
    if (unit < 0 || is_low_surrogate(unit))
        return 0;
    if (!is_high_surrogate(unit))
        return 6;
    if (room < 12 || p[6] != '\\' || p[7] != 'u' || !is_low_surrogate(hex4(p + 8, room - 8)))
        return 0;
    return 12;
}

/* json->at stands behind the opening quote. */
static int read_string(struct json *json, struct json_event *event, struct fault *fault) {
    size_t begin = json->at;
    event->escaped = 0;
    for (;;) {
        size_t at = json->at;
        if (at >= json->size)
            return broken(json, at, "the end of a string", fault);
        unsigned char byte = (unsigned char)json->text[at];
        size_t length = 1;
        if (byte == '"')
            break;
        if (byte < 0x20)
            return broken(json, at, "no control character in a string", fault);
        if (byte == '\\') {
            length = escape_length(json, at);
            if (length == 0)
                return broken(json, at, "an escape of JSON", fault);
            event->escaped = 1;
        } else if (byte >= 0x80) {
            length = utf8_length(json->text + at, json->size - at);
            if (length == 0)
                return broken(json, at, "valid UTF-8", fault);
        }
        json->at = at + length;
    }
    event->bytes = json->text + begin;
    event->size = json->at - begin;
    json->at++;
    return 0;
}

static int read_number(struct json *json, struct json_event *event, struct fault *fault) {
    size_t begin = json->at, at = begin;
    if (peek(json, at) == '-')
        at++;
    if (!is_digit(peek(json, at)))
        return broken(json, at, "a digit", fault);
    if (peek(json, at) == '0')
        at++;
    else
        while (is_digit(peek(json, at)))
            at++;
    if (is_digit(peek(json, at)))
        return broken(json, begin, "a number without leading zeros", fault);
    if (peek(json, at) == '.') {
        at++;
        if (!is_digit(peek(json, at)))
            return broken(json, at, "a digit", fault);
        while (is_digit(peek(json, at)))
            at++;
    }
    if (peek(json, at) == 'e' || peek(json, at) == 'E') {
        at++;
        if (peek(json, at) == '+' || peek(json, at) == '-')
            at++;
        if (!is_digit(peek(json, at)))
            return broken(json, at, "a digit", fault);
        while (is_digit(peek(json, at)))
            at++;
    }
    event->kind = JSON_NUMBER;
    event->bytes = json->text + begin;
    event->size = at - begin;
    json->at = at;
    return 0;
}

static int read_word(struct json *json, struct json_event *event, struct fault *fault) {
    static const struct {
        const char *word;
        size_t size;
        enum json_kind kind;
    } words[] = {{"true", 4, JSON_TRUE}, {"false", 5, JSON_FALSE}, {"null", 4, JSON_NULL}};
    size_t room = json->size - json->at;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (room >= words[i].size && memcmp(json->text + json->at, words[i].word, words[i].size) == 0) {
            event->kind = words[i].kind;
            event->bytes = json->text + json->at;
            event->size = words[i].size;
            json->at += words[i].size;
            return 0;
        }
    }
    return broken(json, json->at, "a value", fault);
}

/* The state behind a complete value. */
static unsigned state_after(const struct json *json) {
    return json->depth ? WANT_COMMA_OR_END : WANT_NOTHING;
}

static int open_level(struct json *json, struct json_event *event, enum json_kind kind, struct fault *fault) {
    if (json->depth == JSON_DEPTH)
        return fault_set(fault, FAULT_FORMAT, "%s: JSON at byte %zu is nested deeper than %d levels", json->name, json->at,
                         JSON_DEPTH);
    uint32_t bit = UINT32_C(1) << json->depth;
    json->is_object = kind == JSON_OBJECT ? json->is_object | bit : json->is_object & ~bit;
    json->depth++;
    json->at++;
    json->state = kind == JSON_OBJECT ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    event->kind = kind;
    return 0;
}

static int inside_object(const struct json *json) {
    /* depth is never 0 here; asking keeps a mistake from becoming a shift by more than there is */
    return json->depth > 0 && (json->is_object >> (json->depth - 1) & 1u); /* GCOVR_EXCL_BR_LINE */
}

static int close_level(struct json *json, struct json_event *event) {
    event->kind = inside_object(json) ? JSON_OBJECT_END : JSON_ARRAY_END;
    json->depth--;
    json->at++;
    json->state = state_after(json);
    return 0;
}

static int read_value(struct json *json, struct json_event *event, struct fault *fault) {
    char c = peek(json, json->at);
    int status;
    if (c == '{')
        return open_level(json, event, JSON_OBJECT, fault);
    if (c == '[')
        return open_level(json, event, JSON_ARRAY, fault);
    if (c == '"') {
        json->at++;
        event->kind = JSON_STRING;
        status = read_string(json, event, fault);
    } else if (c == '-' || is_digit(c)) {
        status = read_number(json, event, fault);
    } else {
        status = read_word(json, event, fault);
    }
    json->state = state_after(json);
    return status;
}

static int read_key(struct json *json, struct json_event *event, struct fault *fault) {
    if (peek(json, json->at) != '"')
        return broken(json, json->at, "a key in quotes", fault);
    json->at++;
    event->kind = JSON_KEY;
    int status = read_string(json, event, fault);
    if (status)
        return status;
    skip_space(json);
    if (peek(json, json->at) != ':')
        return broken(json, json->at, "a colon", fault);
    json->at++;
    json->state = WANT_VALUE;
    return 0;
}

int json_next(struct json *json, struct json_event *event, struct fault *fault) {
    skip_space(json);
    if (json->state == WANT_COMMA_OR_END && peek(json, json->at) == ',') {
        json->at++;
        json->state = inside_object(json) ? WANT_KEY : WANT_VALUE;
        skip_space(json);
    }
    *event = (struct json_event){.offset = json->at, .bytes = json->text + json->at};
    char c = peek(json, json->at);
    switch (json->state) {
    case WANT_NOTHING:
        if (json->at < json->size)
            return broken(json, json->at, "nothing after the value", fault);
        event->kind = JSON_END;
        return 0;
    case WANT_COMMA_OR_END:
        if (c == (inside_object(json) ? '}' : ']'))
            return close_level(json, event);
        return broken(json, json->at, inside_object(json) ? "a comma or }" : "a comma or ]", fault);
    case WANT_KEY_OR_END:
        if (c == '}')
            return close_level(json, event);
        return read_key(json, event, fault);
    case WANT_KEY:
        return read_key(json, event, fault);
    case WANT_VALUE_OR_END:
        if (c == ']')
            return close_level(json, event);
        return read_value(json, event, fault);
    default:
        return read_value(json, event, fault);
    }
}

int json_skip(struct json *json, const struct json_event *event, struct fault *fault) {
    if (event->kind != JSON_OBJECT && event->kind != JSON_ARRAY)
        return 0;
    unsigned outside = json->depth - 1;
    struct json_event inner;
    while (json->depth > outside) {
        int status = json_next(json, &inner, fault);
        if (status)
            return status;
    }
    return 0;
}

size_t json_unescape(const struct json_event *event, char *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = event->bytes, *end = p + event->size;
    size_t at = 0;
    if (!event->escaped) {
        memcpy(out, p, event->size);
        return event->size;
    }
    while (p < end) {
        if (*p != '\\') {
            out[at++] = *p++;
        } else if (p[1] != 'u') {
            const char *found = memchr(from, p[1], sizeof from - 1);
            out[at++] = to[found - from];
            p += 2;
        } else {
            int32_t point = hex4(p + 2, 4);
            p += 6;
            if (is_high_surrogate(point)) {
                point = 0x10000 + ((point - 0xD800) << 10) + (hex4(p + 2, 4) - 0xDC00);
                p += 6;
            }
            at += utf8_put(out + at, (uint32_t)point);
        }
    }
    return at;
}

int json_is(const struct json_event *event, const char *text) {
    size_t size = strlen(text);
    if (!event->escaped)
        return event->size == size && memcmp(event->bytes, text, size) == 0;
    char plain[256];
    if (event->size > sizeof plain)
        return 0; /* an escape shortens at most sixfold, and no key that we know is longer than 42 bytes */
    return json_unescape(event, plain) == size && memcmp(plain, text, size) == 0;
}

int json_expected(const struct json *json, const struct json_event *event, const char *what, const char *expected,
                  struct fault *fault) {
    static const char *const kinds[] = {"an object", "}",       "an array", "]",    "a key", "the string",
                                        "the number", "true", "false",    "null", "the end"};
    struct fault_text quoted;
    int has_text = event->kind == JSON_STRING || event->kind == JSON_NUMBER;
    return fault_set(fault, FAULT_FORMAT, "%s: %s: found %s%s%s%s, expected %s (byte %zu)", json->name, what,
                     kinds[event->kind], has_text ? " \"" : "",
                     has_text ? fault_quote(&quoted, event->bytes, event->size) : "", has_text ? "\"" : "", expected,
                     event->offset);
}

int json_integer(const struct json *json, const struct json_event *event, const char *what, int64_t *out,
                 struct fault *fault) {
    if (event->kind != JSON_NUMBER)
        return json_expected(json, event, what, "an integer", fault);
    size_t i = event->bytes[0] == '-';
    int negative = i == 1;
    int64_t value = 0;
    for (; i < event->size; i++) {
        if (!is_digit(event->bytes[i]))
            return json_expected(json, event, what, "an integer", fault);
        int digit = event->bytes[i] - '0';
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(negative ? -digit : digit), &value))
            return json_expected(json, event, what, "an integer of 64 bits", fault);
    }
    *out = value;
    return 0;
}
