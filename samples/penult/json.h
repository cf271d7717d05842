/* json.h - JSON to be written: the command's --json and the headers of files. json_read.h is the other
 * direction; no other file knows cJSON. Any bytes may go in: what is not UTF-8 becomes U+FFFD. Integers keep all their digits. */
#ifndef SAMPLES_PENULT_JSON_H
#define SAMPLES_PENULT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A value that grows, by value. Running out of memory is remembered and comes out at json_text. */
typedef struct json {
    void *node;
    bool *failed;
} json;

/* A new object; *failed must outlive it. */
json json_begin(bool *failed);
void json_end(json root);

/* key is NULL where the parent is an array. */
json json_add_object(json into, const char *key);
json json_add_array(json into, const char *key);
void json_add_text(json into, const char *key, const char *bytes, size_t count);
void json_add_string(json into, const char *key, const char *string);
void json_add_integer(json into, const char *key, int64_t value);
void json_add_unsigned(json into, const char *key, uint64_t value);
/* Nine digits, which is all that a float has; null if it is not finite. */
void json_add_real(json into, const char *key, double value);
/* As many digits as it takes to read the same double back; null if it is not finite. */
void json_add_exact(json into, const char *key, double value);
void json_add_bool(json into, const char *key, bool value);
void json_add_null(json into, const char *key);

/* The whole as text, indented or in one line; the caller frees it. NULL: memory ran out, now or before. */
char *json_text(json root, bool indented);

/* Prints json_text, indented, on stdout, with a newline. Returns the exit status. */
int json_print(json root);

#endif
