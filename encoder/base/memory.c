/* memory.c - malloc and mmap, once. Knows no caller. */
#include "memory.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

void *memory_array(size_t count, size_t size) {
    return calloc(count ? count : 1, size ? size : 1);
}

void *memory_resize(void *block, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return realloc(block, bytes ? bytes : 1);
}

void memory_free(void *block) {
    free(block);
}

size_t memory_page_size(void) {
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (size_t)size : 4096;
}

int memory_back(void *pages, size_t bytes) {
    int kept = errno;
    size_t page = memory_page_size();
    size_t size = (bytes + page - 1) & ~(page - 1);
    int backed = madvise(pages, size, MADV_POPULATE_WRITE) == 0;
    if (!backed && errno != ENOMEM && errno != EFAULT) {
        /* before Linux 5.14, or a sandbox forbids it: by hand; fresh pages are zero already */
        for (size_t at = 0; at < size; at += page)
            *(volatile char *)((char *)pages + at) = 0;
        backed = 1;
    }
    errno = kept;
    return backed;
}

void *memory_pages(size_t bytes, size_t align, enum memory_backing backing) {
    size_t page = memory_page_size();
    size_t size, room;
    if (__builtin_add_overflow(bytes, page - 1, &size))
        return NULL;
    size &= ~(page - 1);
    if (size == 0 || align < page || __builtin_add_overflow(size, align - page, &room))
        return NULL;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (backing == MEMORY_RESERVED ? MAP_NORESERVE : 0);
    char *base = mmap(NULL, room, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    size_t beyond = (size_t)((uintptr_t)base & (align - 1));
    size_t skip = beyond ? align - beyond : 0;
    if (skip)
        munmap(base, skip);
    if (room - skip > size)
        munmap(base + skip + size, room - skip - size);
    if (backing == MEMORY_NOW && !memory_back(base + skip, size)) {
        munmap(base + skip, size);
        return NULL;
    }
    if (backing == MEMORY_RESERVED) {
        int kept = errno;
        madvise(base + skip, size, MADV_NOHUGEPAGE); /* else a byte may cost 2 MiB; a kernel without huge pages refuses */
        errno = kept;
    }
    return base + skip;
}

void memory_release(void *pages, size_t bytes) {
    if (!pages)
        return;
    int kept = errno;
    size_t page = memory_page_size();
    munmap(pages, (bytes + page - 1) & ~(page - 1));
    errno = kept;
}
