/* tensor.c - finding tensors by name, and saying what shape they have. */
#include "tensor.h"

#include <stdio.h>
#include <string.h>

int tensor_name_compare(const char *a, size_t a_size, const char *b, size_t b_size) {
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

size_t tensor_find(const struct tensor_set *set, const char *name, size_t name_size) {
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct named_tensor *item = &set->items[middle];
        int order = tensor_name_compare(item->name, item->name_size, name, name_size);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return set->count;
}

const char *shape_print(struct shape_text *out, const uint64_t *shape, unsigned rank) {
    size_t at = 0;
    out->bytes[at++] = '[';
    for (unsigned i = 0; i < rank; i++)
        at += (size_t)snprintf(out->bytes + at, sizeof out->bytes - at, "%s%llu", i ? ", " : "",
                               (unsigned long long)shape[i]);
    memcpy(out->bytes + at, "]", 2);
    return out->bytes;
}
