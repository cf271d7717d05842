/* fuzz_safetensors.c - libFuzzer target: any bytes as a safetensors header, and as a whole config.json.
 * Asserted beside the sanitizers: an accepted header tiles its data exactly, its names are sorted and unique, and what was
 * allocated stays within 16 times the input plus 1 MiB. */
#include <stdlib.h>
#include <string.h>

#include "../../encoder/config.h"
#include "../../encoder/format/safetensors.h"

static size_t allocated;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);

void *__wrap_calloc(size_t count, size_t size) {
    allocated += count * size;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
    allocated += size;
    return __real_realloc(block, size);
}

static void check(int good) {
    if (!good)
        abort();
}

static void check_accepted(const struct safetensors *s, size_t header_size, uint64_t data) {
    uint64_t total = 0;
    for (size_t i = 0; i < s->set.count; i++) {
        const struct named_tensor *item = &s->set.items[i];
        check(item->offset >= 8 + header_size && item->offset + item->bytes <= 8 + header_size + data);
        check(item->tensor.rank <= TENSOR_RANK && item->tensor.dtype > DTYPE_NONE && item->tensor.dtype < DTYPES);
        check(tensor_find(&s->set, item->name, item->name_size) == i);
        total += item->bytes;
    }
    check(total == data);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct safetensors s;
    struct geometry geometry;
    struct fault fault = {0};
    struct report silent = {0};
    if (size < 1)
        return 0;
    uint64_t data = bytes[0];
    allocated = 0;
    if (safetensors_parse(&s, "m", (const char *)bytes + 1, size - 1, 8 + size - 1 + data, &fault) == 0) {
        check_accepted(&s, size - 1, data);
        safetensors_close(&s);
    } else {
        check(fault.code != 0 && fault.message[0] != '\0' && strlen(fault.message) < sizeof fault.message);
    }
    check(allocated <= 16 * size + (1 << 20));
    if (config_parse(&geometry, "config.json", (const char *)bytes + 1, size - 1, ACTIVATION_NONE, &silent, &fault) == 0)
        check(geometry.width % geometry.heads == 0 && geometry.layers > 0 && geometry.norm_epsilon > 0);
    return 0;
}
