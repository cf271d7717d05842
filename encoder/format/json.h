/* json.h - a strict reader of JSON (RFC 8259), an event at a time. Knows no key and no file.
 * Stricter than cJSON where a model file must not be trusted (reliability: no duplicate-key policy here, that is the
 * caller's, but valid UTF-8, no control characters, no lone surrogates, no leading zeros, nothing after the end).
 * Allocates nothing and does not recurse: depth is limited to JSON_DEPTH. */
#ifndef ENCODER_FORMAT_JSON_H
#define ENCODER_FORMAT_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"

#define JSON_DEPTH 32

enum json_kind {
    JSON_OBJECT,     /* { : followed by JSON_KEY, a value, ... JSON_OBJECT_END */
    JSON_OBJECT_END,
    JSON_ARRAY,      /* [ : followed by values, JSON_ARRAY_END */
    JSON_ARRAY_END,
    JSON_KEY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_END         /* the one value is complete and only white space followed */
};

/* bytes, size: of a key or string what stands between the quotes, escapes and all; of a number its text. */
struct json_event {
    enum json_kind kind;
    int escaped; /* key or string: holds at least one backslash */
    const char *bytes;
    size_t size;
    size_t offset; /* of the event's first byte in the text */
};

struct json {
    const char *text;
    size_t size;
    const char *name; /* of the file, for messages */
    size_t at;
    unsigned depth;
    unsigned state;
    uint32_t is_object; /* one bit a level */
};

/* The text stays where it is while events are taken from it. */
void json_start(struct json *json, const char *name, const char *text, size_t size);
int json_next(struct json *json, struct json_event *event, struct fault *fault);
/* The value that `event` began, to its end: arrays and objects are read over, everything else is over already. */
int json_skip(struct json *json, const struct json_event *event, struct fault *fault);

/* A key's or string's bytes without escapes, valid UTF-8. out has room for event->size bytes; returns how many were
 * written. "\u0000" becomes a NUL byte: compare with sizes. */
size_t json_unescape(const struct json_event *event, char *out);
/* 1 if the key or string, unescaped, is exactly `text`. */
int json_is(const struct json_event *event, const char *text);
/* A number written as an integer (no fraction, no exponent) that fits; FAULT_FORMAT else. `what` names it in the message. */
int json_integer(const struct json *json, const struct json_event *event, const char *what, int64_t *out, struct fault *fault);
/* Any number, within one unit in the last place, without the host's locale; FAULT_FORMAT if it overflows a double. */
int json_real(const struct json *json, const struct json_event *event, const char *what, double *out, struct fault *fault);
/* FAULT_FORMAT that says where in the file, what was found and what was expected. */
int json_expected(const struct json *json, const struct json_event *event, const char *what, const char *expected,
                  struct fault *fault);

#endif
