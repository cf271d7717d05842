/* fuzz_vocab_compact.c - any bytes as a clip.vocab. The first byte says (bit 0) whether the magic and the checksum are put
 * round what follows, so that an input gets beyond them, or not; the second is the padding to ask for (255: -1); the third
 * how many merges' bytes the file has at most. A text is behind them.
 *
 * Protects: see parts_open.
 */
#include <stdlib.h>
#include <string.h>

#include "../../encoder/base/wrap.h"
#include "fuzz.h"
#include "parts.h"

#define HEAD 3

WRAPS("FNV-1a multiplies modulo 2^64")
static uint64_t fnv(const char *bytes, size_t size) {
    uint64_t value = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++)
        value = (value ^ (unsigned char)bytes[i]) * 0x100000001B3u;
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD)
        return 0;
    size_t left = size - HEAD, own = 8 + 4 * (size_t)data[2];
    own = own < left ? own : left;
    const char *text = (const char *)data + HEAD + own;
    struct vocab_files files = {0};
    size_t sealed = data[0] & 1 ? 0 : 8;
    char *bytes = malloc(own + 2 * sealed + 1);
    fuzz_require(bytes != NULL, "the test has no memory");
    if (sealed)
        memcpy(bytes, "PENVOCAB", 8);
    memcpy(bytes + sealed, data + HEAD, own);
    uint64_t check = fnv(bytes, own + sealed);
    for (size_t i = 0; i < sealed; i++)
        bytes[own + sealed + i] = (char)(check >> 8 * i & 0xFF);
    files.of[VOCAB_COMPACT] = (struct vocab_file){bytes, own + 2 * sealed};
    parts_open_padded(&files, data[1] == 255 ? -1 : (int32_t)(data[1] * 7), text, left - own);
    return 0;
}

/* Ids are 16 bits: one is made small enough to name a token, or the numbers in front are changed. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    uint32_t random = fuzz_seed(seed);
    if (size < HEAD + 12 || fuzz_below(&random, 2) == 0)
        return LLVMFuzzerMutate(data, size, room);
    size_t merges = (size - HEAD - 8) / 4, at = HEAD + 8 + 2 * fuzz_below(&random, 2 * merges);
    uint32_t id = fuzz_below(&random, 512 + (uint32_t)merges);
    data[at] = (uint8_t)id;
    data[at + 1] = (uint8_t)(id >> 8);
    if (fuzz_below(&random, 4) == 0) {
        size_t count = 1 + fuzz_below(&random, (uint32_t)merges);
        data[2] = (uint8_t)(count > 255 ? 255 : count);
        data[HEAD + 4] = data[2];
        memset(data + HEAD + 5, 0, 3);
    }
    return size;
}
