/* structs.c - copies between the caller's structs and ours, whatever their sizes. */
#include "structs.h"

#include <stdio.h>
#include <string.h>

/* No struct of the ABI will ever be so large: a size above it is a field that was never set. */
#define SIZE_LIMIT 65536u

static int copy_in(void *own, size_t own_size, const unsigned char *theirs, size_t size, const char *what,
                   struct fault *fault) {
    memcpy(own, theirs, size < own_size ? size : own_size);
    if (size < own_size)
        memset((char *)own + size, 0, own_size - size);
    for (size_t i = own_size; i < size; i++)
        if (theirs[i] != 0)
            return fault_set(fault, FAULT_UNSUPPORTED, "%s: byte %zu is set, but this library knows %zu bytes of it: a field of "
                             "a later version is in use", what, i, own_size);
    return 0;
}

int struct_size_check(const void *theirs, size_t own_size, const char *what, struct fault *fault) {
    uint32_t size;
    if (!theirs)
        return fault_set(fault, FAULT_ARGUMENT, "%s is NULL", what);
    memcpy(&size, theirs, sizeof size);
    if (size < 8 || size > SIZE_LIMIT)
        return fault_set(fault, FAULT_ARGUMENT, "%s: struct_size is %u, expected sizeof of the struct (here %zu)", what, size,
                         own_size);
    return 0;
}

int struct_in(void *own, size_t own_size, const void *theirs, const char *what, struct fault *fault) {
    uint32_t size;
    int status = struct_size_check(theirs, own_size, what, fault);
    if (status)
        return status;
    memcpy(&size, theirs, sizeof size);
    return copy_in(own, own_size, theirs, size, what, fault);
}

void struct_out(void *theirs, const void *own, size_t own_size) {
    uint32_t size;
    memcpy(&size, theirs, sizeof size);
    memcpy(theirs, own, size < own_size ? size : own_size);
    memcpy(theirs, &size, sizeof size);
    if (size > own_size)
        memset((char *)theirs + own_size, 0, size - own_size);
}

int stride_check(size_t stride, const char *what, struct fault *fault) {
    if (stride < 8 || stride > SIZE_LIMIT)
        return fault_set(fault, FAULT_ARGUMENT, "%s is %zu, expected sizeof of an element", what, stride);
    return 0;
}

int element_in(void *own, size_t own_size, const void *base, size_t stride, size_t index, const char *what,
               struct fault *fault) {
    char name[64];
    snprintf(name, sizeof name, "%s[%zu]", what, index);
    return copy_in(own, own_size, (const unsigned char *)base + index * stride, stride, name, fault);
}

void element_out(void *base, size_t stride, size_t index, const void *own, size_t own_size) {
    char *to = (char *)base + index * stride;
    memcpy(to, own, stride < own_size ? stride : own_size);
    if (stride > own_size)
        memset(to + own_size, 0, stride - own_size);
}
