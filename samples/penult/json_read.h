/* json_read.h - JSON of unknown origin, read strictly: UTF-8 without control characters or NULs, nothing behind it, no key twice
 * in an object, no number that is not asked for by its range. */
#ifndef SAMPLES_PENULT_JSON_READ_H
#define SAMPLES_PENULT_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most members of one object. */
#define JSON_MEMBERS_MAX 64

typedef struct cJSON json_value;

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* NULL: it is not JSON, or there is no memory; *why is a few words, as "is not JSON". Text need not be NUL-terminated. */
json_value *json_parse(const char *text, size_t size, const char **why);
void json_drop(json_value *value);

enum json_kind json_kind(const json_value *value);
size_t json_count(const json_value *array_or_object);
/* Elements and members in order; NULL behind the last. */
const json_value *json_first(const json_value *array_or_object);
const json_value *json_after(const json_value *value);
const char *json_key(const json_value *member);
/* NULL: there is none, or it is not an object. */
const json_value *json_member(const json_value *object, const char *key);

/* False where the value is NULL, of another kind or out of range. */
bool json_take_string(const json_value *value, const char **out);
bool json_take_bool(const json_value *value, bool *out);
bool json_take_real(const json_value *value, double *out);
/* A whole number; the range lies within 2^53. */
bool json_take_whole(const json_value *value, int64_t lowest, int64_t highest, int64_t *out);

#endif
