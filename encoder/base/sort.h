/* sort.h - an in-place sort that asks for no memory (glibc's qsort does) and is never quadratic. */
#ifndef ENCODER_BASE_SORT_H
#define ENCODER_BASE_SORT_H

#include <stddef.h>

/* Heapsort of `count` items of `size` bytes, at most SORT_ITEM. Not stable. order: <0, 0, >0 as for qsort. */
#define SORT_ITEM 256
void sort_items(void *items, size_t count, size_t size, int (*order)(const void *a, const void *b));

#endif
