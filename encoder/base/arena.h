/* arena.h - cuts one block of memory into aligned pieces. With base NULL it only counts, so that one function both measures
 * and lays out. */
#ifndef ENCODER_BASE_ARENA_H
#define ENCODER_BASE_ARENA_H

#include <stddef.h>

#define ARENA_ALIGN 64

struct arena {
    char *base;
    size_t used;
    int overflow; /* a size did not fit in size_t */
};

static inline void *arena_take(struct arena *arena, size_t count, size_t size) {
    size_t bytes, end;
    size_t begin = arena->used;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, ARENA_ALIGN - 1, &bytes) ||
        __builtin_add_overflow(begin, bytes & ~(size_t)(ARENA_ALIGN - 1), &end)) {
        arena->overflow = 1;
        return NULL;
    }
    arena->used = end;
    return arena->base ? arena->base + begin : NULL;
}

#endif
