/* memory.h - the one place that asks the system for memory.
 * Everything the engine allocates passes through here, so that a test can make each request fail in turn. */
#ifndef ENCODER_BASE_MEMORY_H
#define ENCODER_BASE_MEMORY_H

#include <stddef.h>

/* Small and medium blocks, zeroed. NULL when there is no memory, or when count * size overflows. */
void *memory_array(size_t count, size_t size);
/* Grows or shrinks; the new part is not zeroed. On NULL the old block lives on. */
void *memory_resize(void *block, size_t count, size_t size);
void memory_free(void *block);

/* Whole pages straight from the system, zeroed, returned to it at release. NULL when there are none. `align` is a power of
 * two, at least a page. */
enum memory_backing {
    MEMORY_NOW,      /* backed before this returns: no later touch can fail */
    MEMORY_AS_TOUCHED,
    MEMORY_RESERVED, /* address space alone, of which little will be touched */
};
void *memory_pages(size_t bytes, size_t align, enum memory_backing backing);
/* Backs fresh pages, so that running out is an answer here and not a killed process in the middle of an encode. 0: there
 * are none. */
int memory_back(void *pages, size_t bytes);
void memory_release(void *pages, size_t bytes);
size_t memory_page_size(void);

#endif
