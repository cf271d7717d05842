/* read_headers.c - answers, for each safetensors header that comes in, whether the engine's reader takes it and what it
 * read: the C half of test_headers.py. Knows the reader and no oracle.
 *
 * In:  uint32 size, uint64 bytes behind the header, the header; until the end of the input.
 * Out: uint8 fault code, uint32 size of what follows: for an accepted header its tensors, sorted by name, each as
 *      uint32 size of the name, the name, the dtype's name and a NUL, uint8 rank, uint64 shape..., uint64 begin, uint64 end
 *      (counted from the end of the header); for a refused one the sentence.
 * All numbers little-endian, as this machine's are. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../encoder/format/safetensors.h"

static unsigned char *answer;
static size_t used, room;

static void put(const void *bytes, size_t size) {
    if (used + size > room) {
        room = 2 * (used + size);
        answer = realloc(answer, room);
        if (!answer)
            exit(2);
    }
    if (size)
        memcpy(answer + used, bytes, size);
    used += size;
}

static void put_tensor(const struct named_tensor *item, uint64_t data_offset) {
    uint32_t name_size = (uint32_t)item->name_size;
    uint8_t rank = (uint8_t)item->tensor.rank;
    uint64_t begin = item->offset - data_offset, end = begin + item->bytes;
    const char *dtype = dtype_name(item->tensor.dtype);
    put(&name_size, sizeof name_size);
    put(item->name, name_size);
    put(dtype, strlen(dtype) + 1);
    put(&rank, 1);
    put(item->tensor.shape, rank * sizeof item->tensor.shape[0]);
    put(&begin, sizeof begin);
    put(&end, sizeof end);
}

static uint8_t read_header(uint32_t size, uint64_t data) {
    struct safetensors s;
    struct fault fault = {0};
    char *header = malloc(size ? size : 1); /* its own block: a sanitizer sees a read behind its end */
    if (!header || fread(header, 1, size, stdin) != size)
        exit(2);
    used = 0;
    int status = safetensors_parse(&s, "m", header, size, 8 + (uint64_t)size + data, &fault);
    if (status)
        put(fault.message, strlen(fault.message));
    for (size_t i = 0; !status && i < s.set.count; i++)
        put_tensor(&s.set.items[i], s.data_offset);
    if (!status)
        safetensors_close(&s);
    free(header);
    return (uint8_t)status;
}

int main(void) {
    uint32_t size;
    uint64_t data;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        if (fread(&data, sizeof data, 1, stdin) != 1)
            return 2;
        uint8_t status = read_header(size, data);
        uint32_t bytes = (uint32_t)used;
        if (fwrite(&status, 1, 1, stdout) != 1 || fwrite(&bytes, sizeof bytes, 1, stdout) != 1 ||
            fwrite(answer ? answer : (unsigned char *)"", 1, used, stdout) != used)
            return 2;
    }
    free(answer);
    return fflush(stdout) == 0 ? 0 : 2;
}
