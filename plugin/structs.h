/* structs.h - the growth rule of penult.h, in one place: a shorter struct is filled up with zeros, of a longer one the part
 * we do not know must be zero. */
#ifndef PLUGIN_STRUCTS_H
#define PLUGIN_STRUCTS_H

#include <stddef.h>
#include <stdint.h>

#include "../encoder/base/fault.h"

/* From the caller's struct, which begins with its size, into ours of own_size bytes. `what` names it in messages. */
int struct_in(void *own, size_t own_size, const void *theirs, const char *what, struct fault *fault);
/* The same check of the size alone: for a struct that is written and not read. */
int struct_size_check(const void *theirs, size_t own_size, const char *what, struct fault *fault);
/* Back into it: as many bytes as it has, its size kept, what we do not know set to zero. */
void struct_out(void *theirs, const void *own, size_t own_size);
/* Element `index` of the caller's array, whose elements are `stride` bytes apart. */
int element_in(void *own, size_t own_size, const void *base, size_t stride, size_t index, const char *what,
               struct fault *fault);
void element_out(void *base, size_t stride, size_t index, const void *own, size_t own_size);
/* A stride that can be one. */
int stride_check(size_t stride, const char *what, struct fault *fault);

#endif
