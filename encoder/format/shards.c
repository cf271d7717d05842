/* shards.c - reads the index of a sharded model. */
#include "shards.h"

#include <string.h>

#include "../base/memory.h"
#include "../base/sort.h"
#include "../base/tensor.h"
#include "json.h"

#define NAME_LIMIT 255 /* of a file, as Linux has it */

struct reader {
    struct json json;
    struct shards *out;
    size_t room, used; /* entries allocated, bytes of names written */
    struct fault *fault;
};

static int refuse_file(const struct reader *r, const char *file, size_t size) {
    struct fault_text quoted;
    return fault_set(r->fault, FAULT_FORMAT, "%s: weight_map names the file \"%s\", expected a plain name in the same folder",
                     r->json.name, fault_quote(&quoted, file, size));
}

/* Tensors of one file mostly stand together, so the last one is tried first. */
static int file_of(struct reader *r, const char *file, size_t size, unsigned *out) {
    struct shards *s = r->out;
    if (size == 0 || size > NAME_LIMIT || file[0] == '.' || memchr(file, '/', size) || memchr(file, '\\', size) ||
        memchr(file, '\0', size))
        return refuse_file(r, file, size);
    for (unsigned i = s->file_count; i > 0; i--) {
        if (strlen(s->files[i - 1]) == size && memcmp(s->files[i - 1], file, size) == 0) {
            *out = i - 1;
            return 0;
        }
    }
    if (s->file_count == SHARDS_FILES)
        return fault_set(r->fault, FAULT_LIMIT, "%s: weight_map names more than %d files, expected at most that many",
                         r->json.name, SHARDS_FILES);
    /* kept where it was unescaped: file_of's caller leaves a NUL behind it */
    s->files[s->file_count] = file;
    *out = s->file_count++;
    return 0;
}

static int read_entry(struct reader *r, const struct json_event *key) {
    struct shards *s = r->out;
    struct json_event event;
    struct fault_text quoted;
    if (s->count == r->room) {
        size_t more = r->room ? r->room * 2 : 64;
        void *entries = memory_resize(s->entries, more, sizeof *s->entries);
        if (!entries)
            return fault_set(r->fault, FAULT_NO_MEMORY, "%s: no memory for a table of %zu tensors", r->json.name, more);
        s->entries = entries;
        r->room = more;
    }
    struct shard_entry *entry = &s->entries[s->count];
    entry->name = s->bytes + r->used;
    entry->name_size = json_unescape(key, s->bytes + r->used);
    r->used += entry->name_size;
    int status = json_next(&r->json, &event, r->fault);
    if (status)
        return status;
    if (event.kind != JSON_STRING)
        return fault_set(r->fault, FAULT_FORMAT, "%s: the file of tensor \"%s\" is not a string (byte %zu)", r->json.name,
                         fault_quote(&quoted, entry->name, entry->name_size), event.offset);
    char *file = s->bytes + r->used;
    size_t size = json_unescape(&event, file);
    unsigned known = s->file_count;
    file[size] = '\0'; /* strings and their quotes take more room in the text */
    if ((status = file_of(r, file, size, &entry->file)))
        return status;
    if (entry->file == known) /* a file that was not known has the number after the last */
        r->used += size + 1;
    s->count++;
    return 0;
}

static int read_map(struct reader *r) {
    struct json_event event;
    int status = json_next(&r->json, &event, r->fault);
    if (status)
        return status;
    if (event.kind != JSON_OBJECT)
        return json_expected(&r->json, &event, "weight_map", "an object", r->fault);
    for (;;) {
        if ((status = json_next(&r->json, &event, r->fault)))
            return status;
        if (event.kind == JSON_OBJECT_END)
            return 0;
        if ((status = read_entry(r, &event)))
            return status;
    }
}

static int read_index(struct reader *r) {
    struct json_event event;
    int maps = 0;
    int status = json_next(&r->json, &event, r->fault);
    if (status)
        return status;
    if (event.kind != JSON_OBJECT)
        return json_expected(&r->json, &event, "the index", "an object", r->fault);
    for (;;) {
        if ((status = json_next(&r->json, &event, r->fault)))
            return status;
        if (event.kind == JSON_OBJECT_END)
            break;
        if (json_is(&event, "weight_map")) {
            if (maps++)
                return fault_set(r->fault, FAULT_FORMAT, "%s: weight_map stands in it twice", r->json.name);
            status = read_map(r);
        } else if (!(status = json_next(&r->json, &event, r->fault))) {
            status = json_skip(&r->json, &event, r->fault);
        }
        if (status)
            return status;
    }
    if (!maps)
        return fault_set(r->fault, FAULT_FORMAT, "%s: weight_map is missing: this is no index of safetensors files", r->json.name);
    return json_next(&r->json, &event, r->fault);
}

static int by_name(const void *a, const void *b) {
    const struct shard_entry *x = a, *y = b;
    return tensor_name_compare(x->name, x->name_size, y->name, y->name_size);
}

static int check_names(const struct reader *r) {
    struct shards *s = r->out;
    struct fault_text quoted;
    sort_items(s->entries, s->count, sizeof *s->entries, by_name);
    for (size_t i = 1; i < s->count; i++)
        if (by_name(&s->entries[i - 1], &s->entries[i]) == 0)
            return fault_set(r->fault, FAULT_FORMAT, "%s: tensor \"%s\" stands in weight_map twice", r->json.name,
                             fault_quote(&quoted, s->entries[i].name, s->entries[i].name_size));
    return 0;
}

int shards_parse(struct shards *out, const char *name, const char *text, size_t size, struct fault *fault) {
    struct reader r = {.out = out, .fault = fault};
    *out = (struct shards){0};
    json_start(&r.json, name, text, size);
    out->bytes = memory_array(size + 1, 1);
    int status = out->bytes ? read_index(&r) : fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for its names", name);
    if (!status)
        status = check_names(&r);
    if (status)
        shards_free(out);
    return status;
}

void shards_free(struct shards *shards) {
    memory_free(shards->entries);
    memory_free(shards->bytes);
    *shards = (struct shards){0};
}
