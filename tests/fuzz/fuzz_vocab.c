/* fuzz_vocab.c - any bytes as vocab.json and merges.txt with tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json beside them, a NUL between one and the next, and a text behind the last. An empty one of the last three
 * is not there; where the first is empty, a vocabulary of eight tokens stands in for the first two.
 *
 * Protects: see parts_open.
 */
#include <string.h>

#include "parts.h"

static const uint8_t vocabulary[] = "{\"a\":0,\"b\":1,\"a</w>\":2,\"b</w>\":3,\"ab\":4,\"!\":5,\"<|startoftext|>\":6,"
                                    "\"<|endoftext|>\":7}\0#version: 0.2\na b\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct parts parts = parts_of(data, size, 6), standing = parts_of(vocabulary, sizeof vocabulary - 1, 2);
    const struct parts *first = parts.size[0] ? &parts : &standing;
    struct vocab_files files = {0};
    files.of[VOCAB_VOCAB_JSON] = part_file(first, 0);
    files.of[VOCAB_MERGES_TXT] = part_file(first, 1);
    for (size_t i = 2; i < 5; i++)
        if (parts.size[i])
            files.of[VOCAB_TOKENIZER_CONFIG_JSON + i - 2] = part_file(&parts, i);
    parts_open(&files, parts.at[5], parts.size[5]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    return parts_mutate(data, size, room, seed, 6, 1, &parts_words);
}
