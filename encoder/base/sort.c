/* sort.c - heapsort. */
#include "sort.h"

#include <string.h>

struct heap {
    char *items;
    size_t size;
    int (*order)(const void *a, const void *b);
};

static char *item(const struct heap *heap, size_t index) {
    return heap->items + index * heap->size;
}

static void swap(const struct heap *heap, size_t a, size_t b) {
    char kept[SORT_ITEM];
    memcpy(kept, item(heap, a), heap->size);
    memcpy(item(heap, a), item(heap, b), heap->size);
    memcpy(item(heap, b), kept, heap->size);
}

static void sink(const struct heap *heap, size_t root, size_t count) {
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && heap->order(item(heap, child), item(heap, child + 1)) < 0)
            child++;
        if (heap->order(item(heap, root), item(heap, child)) >= 0)
            return;
        swap(heap, root, child);
    }
}

void sort_items(void *items, size_t count, size_t size, int (*order)(const void *a, const void *b)) {
    struct heap heap = {items, size, order};
    for (size_t above = count / 2; above > 0; above--)
        sink(&heap, above - 1, count);
    for (size_t left = count; left > 1; left--) {
        swap(&heap, 0, left - 1);
        sink(&heap, 0, left - 1);
    }
}
