/* compact.h - writes files like clip.vocab, by the form that encoder/format/vocab_compact.c reads. For tests. */
#ifndef TESTS_UNIT_COMPACT_H
#define TESTS_UNIT_COMPACT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../encoder/base/wrap.h"

struct compact {
    char bytes[4 * 70000 + 24];
    size_t size;
};

WRAPS("FNV-1a multiplies modulo 2^64")
static inline uint64_t fnv(const char *bytes, size_t size) {
    uint64_t value = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++)
        value = (value ^ (unsigned char)bytes[i]) * 0x100000001B3u;
    return value;
}

static inline void put_number(struct compact *file, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        file->bytes[file->size++] = (char)(value >> 8 * i & 0xFF);
}

static inline void seal(struct compact *file) {
    put_number(file, fnv(file->bytes, file->size), 8);
}

/* A file that says it has `count` merges and holds the ids of `merges`. */
static inline struct compact *compact_of(uint32_t version, uint32_t count, const uint16_t *ids, size_t merges) {
    struct compact *file = calloc(1, sizeof *file);
    memcpy(file->bytes, "PENVOCAB", 8);
    file->size = 8;
    put_number(file, version, 4);
    put_number(file, count, 4);
    for (size_t i = 0; i < 2 * merges; i++)
        put_number(file, ids[i], 2);
    seal(file);
    return file;
}

#endif
