/* json_mutate.h - changes JSON by its values and members instead of its bytes. Knows no key; the target brings the words.
 * Takes text that is not quite JSON as well: it is what comes out of a mutator. */
#ifndef PENULT_TESTS_JSON_MUTATE_H
#define PENULT_TESTS_JSON_MUTATE_H

#include <stddef.h>
#include <stdint.h>

#define JSON_NODES 512

/* A value; what opens and is never closed ends with the text. */
struct json_node {
    size_t member;     /* where its member begins, at the quote of the key; the value itself in a list */
    size_t begin, end;
    int parent;        /* an earlier node, or -1 */
    char kind;         /* { [ " or 0: a number or a word */
};

size_t json_scan(const char *text, size_t size, struct json_node *nodes, size_t room);
/* The member of that key in the object, or -1. */
int json_child(const char *text, const struct json_node *nodes, size_t count, int parent, const char *key);
/* Replaces text[at .. at + gone) by `with`; the new size, or the old one where there is no room. */
size_t json_splice(char *text, size_t size, size_t room, size_t at, size_t gone, const char *with, size_t with_size);

/* What the format is made of; lists that end in NULL. Keys without quotes, values as they stand in a file. */
struct json_words {
    const char *const *keys, *const *values;
};

/* One to four changes. Returns the new size, at most room. */
size_t json_mutate(char *text, size_t size, size_t room, uint32_t *random, const struct json_words *words);

#endif
