/* fuzz_tokenizer_json.c - any bytes as a tokenizer.json; behind a NUL a tokenizer_config.json, if it is not empty; behind
 * another a text.
 *
 * Protects: see parts_open.
 */
#include "parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct parts parts = parts_of(data, size, 3);
    struct vocab_files files = {0};
    files.of[VOCAB_TOKENIZER_JSON] = part_file(&parts, 0);
    if (parts.size[1])
        files.of[VOCAB_TOKENIZER_CONFIG_JSON] = part_file(&parts, 1);
    parts_open(&files, parts.at[2], parts.size[2]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    return parts_mutate(data, size, room, seed, 3, SIZE_MAX, &parts_words);
}
