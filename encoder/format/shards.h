/* shards.h - the index of a model whose tensors lie in several safetensors files: an object with "weight_map", tensor name ->
 * file name (huggingface/transformers, modeling_utils.py and huggingface_hub's split_state_dict_into_shards_factory write it).
 * A file name is a plain name in the index's own folder, or the index is refused. Opens no file, knows no CLIP name. */
#ifndef ENCODER_FORMAT_SHARDS_H
#define ENCODER_FORMAT_SHARDS_H

#include <stddef.h>

#include "../base/fault.h"

#define SHARDS_FILES 256 /* the largest models people share have some tens */
#define SHARDS_INDEX_LIMIT ((size_t)16 << 20)

struct shard_entry {
    const char *name; /* not NUL-terminated */
    size_t name_size;
    unsigned file;
};

/* Entries are sorted by name, no name twice. */
struct shards {
    struct shard_entry *entries;
    size_t count;
    const char *files[SHARDS_FILES]; /* NUL-terminated */
    unsigned file_count;
    char *bytes; /* what the names point into */
};

/* `name` is the index's, for messages. */
int shards_parse(struct shards *out, const char *name, const char *text, size_t size, struct fault *fault);
void shards_free(struct shards *shards);

#endif
