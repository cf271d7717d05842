/* fuzz_index.c - any bytes as the index of a sharded model.
 *
 * Protects: an accepted index has its tensors sorted, each once, in a file that it names; every file name is a plain one that
 * cannot leave the folder; a refusal is a sentence about the index; memory stays within the budget.
 */
#include <string.h>

#include "../../encoder/base/tensor.h"
#include "../../encoder/format/shards.h"
#include "fuzz.h"
#include "json_mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const subjects[] = {"m.index.json: ", NULL};
    struct shards s;
    struct fault fault = {0};
    fuzz_memory_start();
    int status = shards_parse(&s, "m.index.json", (const char *)data, size, &fault);
    fuzz_memory_within(size);
    if (status) {
        fuzz_refused(status, &fault, subjects);
        fuzz_require(!s.entries && !s.bytes && s.count == 0 && s.file_count == 0, "a refused index that keeps something");
        return 0;
    }
    fuzz_require(s.file_count <= SHARDS_FILES, "more files than there may be");
    for (unsigned i = 0; i < s.file_count; i++) {
        const char *file = s.files[i];
        fuzz_require(file[0] && file[0] != '.' && !strchr(file, '/') && !strchr(file, '\\') && strlen(file) <= 255,
                     "a file name that is not plain");
        for (unsigned j = 0; j < i; j++)
            fuzz_require(strcmp(file, s.files[j]) != 0, "a file twice");
    }
    for (size_t i = 0; i < s.count; i++) {
        const struct shard_entry *entry = &s.entries[i];
        fuzz_require(entry->file < s.file_count, "a tensor in no file");
        fuzz_require(fuzz_utf8(entry->name, entry->name_size) == entry->name_size, "a name that is not UTF-8");
        fuzz_require(i == 0 || tensor_name_compare(s.entries[i - 1].name, s.entries[i - 1].name_size, entry->name,
                                                   entry->name_size) < 0, "names that are not in order");
    }
    shards_free(&s);
    return 0;
}

static const char *const keys[] = {"weight_map", "metadata", "total_size", "a", "text_model.final_layer_norm.bias", "b", NULL};
static const char *const values[] = {"\"model-00001-of-00002.safetensors\"", "\"a.safetensors\"", "\"../a.safetensors\"", "\"/a\"", "\"\"",
                                     "\"a\\\\b\"", "\".\"", "\"a\\u0000b\"", "{}", "{\"a\":\"b\"}", "1.5", NULL};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    static const struct json_words words = {keys, values};
    uint32_t random = fuzz_seed(seed);
    if (room < 16 || fuzz_below(&random, 3) == 0)
        return LLVMFuzzerMutate(data, size, room);
    return json_mutate((char *)data, size, room, &random, &words);
}
