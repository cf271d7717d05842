/* vocab.c - reads the files, the vocabulary and the merges, and checks that they agree. */
#include "vocab.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/file.h"
#include "../base/memory.h"
#include "../base/wrap.h"
#include "vocab_inside.h"

#define FILE_LIMIT ((size_t)64 << 20)

const char *const vocab_file_names[VOCAB_FILES] = {
    "tokenizer.json",          "vocab.json",       "merges.txt", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "clip.vocab"};

/* ---- files ---- */

static int read_one(struct vocab_files *files, enum vocab_file_kind kind, const char *directory, const char *name,
                    struct fault *fault) {
    char *bytes = NULL;
    size_t size = 0;
    int status = file_read_all(directory, name, FILE_LIMIT, &bytes, &size, fault);
    if (status)
        return status;
    files->of[kind] = (struct vocab_file){bytes, size};
    return 0;
}

int vocab_files_read(struct vocab_files *files, const char *path, struct fault *fault) {
    *files = (struct vocab_files){0};
    int status = file_find_directory(path, fault);
    if (status == FAULT_UNSUPPORTED) { /* something else is there: a tokenizer.json or a compact file by whatever name */
        status = read_one(files, VOCAB_TOKENIZER_JSON, NULL, path, fault);
        if (!status && vocab_is_compact(&files->of[VOCAB_TOKENIZER_JSON])) {
            files->of[VOCAB_COMPACT] = files->of[VOCAB_TOKENIZER_JSON];
            files->of[VOCAB_TOKENIZER_JSON] = (struct vocab_file){0};
        }
        return status;
    }
    if (status)
        return status;
    int whole = file_exists(path, vocab_file_names[VOCAB_TOKENIZER_JSON]);
    if (!whole && !file_exists(path, vocab_file_names[VOCAB_VOCAB_JSON]) && file_exists(path, vocab_file_names[VOCAB_COMPACT]))
        return read_one(files, VOCAB_COMPACT, path, vocab_file_names[VOCAB_COMPACT], fault);
    for (int kind = 0; kind < VOCAB_COMPACT && !status; kind++) {
        int is_vocabulary = kind == VOCAB_VOCAB_JSON || kind == VOCAB_MERGES_TXT;
        if (is_vocabulary ? !whole : file_exists(path, vocab_file_names[kind]))
            status = read_one(files, (enum vocab_file_kind)kind, path, vocab_file_names[kind], fault);
    }
    if (status)
        vocab_files_free(files);
    return status;
}

int vocab_files_read_compact(struct vocab_files *files, const char *directory, struct fault *fault) {
    *files = (struct vocab_files){0};
    return read_one(files, VOCAB_COMPACT, directory, vocab_file_names[VOCAB_COMPACT], fault);
}

void vocab_files_free(struct vocab_files *files) {
    for (int kind = 0; kind < VOCAB_FILES; kind++) {
        memory_free((char *)(uintptr_t)files->of[kind].bytes);
        files->of[kind] = (struct vocab_file){0};
    }
}

/* ---- what all readers use ---- */

void vocab_say(const struct vocab_build *build, const char *subject, const char *format, ...) {
    char message[256];
    if (!build->note)
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length > 0) /* GCOVR_EXCL_BR_LINE: into memory it does not fail */
        build->note(build->user, subject, message);
}

int vocab_grow(void **block, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return 1;
    size_t wanted = *room ? *room * 2 : 64;
    void *larger = memory_resize(*block, wanted, size);
    if (!larger)
        return 0;
    *block = larger;
    *room = wanted;
    return 1;
}

void vocab_marks_free(struct vocab_marks *marks) {
    memory_free(marks->of);
    *marks = (struct vocab_marks){0};
}

int vocab_no_memory(const char *name, struct fault *fault) {
    return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for its contents", name);
}

struct vocab_text vocab_keep(struct vocab_build *build, const struct json_event *event) {
    char *to = build->out->bytes + build->bytes_used;
    size_t size = json_unescape(event, to); /* no string is kept twice, so all files together have room */
    build->bytes_used += event->size;
    return (struct vocab_text){to, size};
}

int vocab_same(struct vocab_text a, struct vocab_text b) {
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

int vocab_refuse(const struct json *json, const struct json_event *event, const char *what, const char *expected,
                 struct fault *fault) {
    json_expected(json, event, what, expected, fault);
    fault->code = FAULT_UNSUPPORTED;
    return fault->code;
}

int vocab_key(const struct json_event *key, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (json_is(key, names[i]))
            return (int)i;
    }
    return -1;
}

int vocab_seen(const struct json *json, const struct json_event *key, int index, uint32_t *seen, struct fault *fault) {
    struct fault_text quoted;
    if (*seen & 1u << index)
        return fault_set(fault, FAULT_FORMAT, "%s: found the key \"%s\" a second time at byte %zu, expected it once",
                         json->name, fault_quote(&quoted, key->bytes, key->size), key->offset);
    *seen |= 1u << index;
    return 0;
}

int vocab_begin(struct json *json, enum vocab_file_kind kind, const struct vocab_files *files, struct fault *fault) {
    struct json_event event;
    json_start(json, vocab_file_names[kind], files->of[kind].bytes, files->of[kind].size);
    int status = json_next(json, &event, fault);
    if (status)
        return status;
    return event.kind == JSON_OBJECT ? 0 : json_expected(json, &event, "the file", "an object", fault);
}

/* ---- the vocabulary ---- */

int vocab_read_tokens(struct vocab_build *build, struct json *json, const struct json_event *value,
                      struct fault *fault) {
    if (value->kind != JSON_OBJECT)
        return json_expected(json, value, "the vocabulary", "an object of tokens and ids", fault);
    struct json_event event;
    for (;;) {
        int status = json_next(json, &event, fault);
        if (status || event.kind == JSON_OBJECT_END)
            return status;
        if (build->entry_count == VOCAB_TOKENS_LIMIT)
            return fault_set(fault, FAULT_LIMIT, "%s: found more than %d tokens, expected at most that many",
                             json->name, VOCAB_TOKENS_LIMIT);
        void *block = build->entries;
        if (!vocab_grow(&block, build->entry_count, &build->entry_room, sizeof *build->entries))
            return vocab_no_memory(json->name, fault);
        build->entries = block;
        struct vocab_entry *entry = &build->entries[build->entry_count++];
        struct fault_text quoted;
        char what[480];
        entry->text = vocab_keep(build, &event);
        snprintf(what, sizeof what, "the id of \"%s\"", fault_quote(&quoted, entry->text.bytes, entry->text.size));
        if ((status = json_next(json, &event, fault)) || (status = json_integer(json, &event, what, &entry->id, fault)))
            return status;
    }
}

WRAPS("FNV-1a multiplies modulo 2^32")
static uint32_t hash_more(uint32_t hash, struct vocab_text text) {
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.bytes[i]) * 16777619u;
    return hash;
}

/* No token lies further from the place that its hash names. Spelling that collides on purpose is refused instead of
 * making every search a long one. */
#define PROBES 256

/* The slot of the token head + tail, or the empty one where it would go; NULL if there is neither. */
static uint32_t *slot_of(const struct vocab *vocab, struct vocab_text head, struct vocab_text tail) {
    uint32_t hash = hash_more(hash_more(2166136261u, head), tail);
    size_t at = hash ^ hash >> 15;
    for (size_t probe = 0; probe < PROBES; probe++) {
        uint32_t *slot = &vocab->index[(at + probe) & vocab->index_mask];
        if (*slot == 0)
            return slot;
        struct vocab_text token = vocab->tokens[*slot - 1];
        if (token.size == head.size + tail.size && memcmp(token.bytes, head.bytes, head.size) == 0 &&
            memcmp(token.bytes + head.size, tail.bytes, tail.size) == 0)
            return slot;
    }
    return NULL;
}

static int32_t find_joined(const struct vocab *vocab, struct vocab_text head, struct vocab_text tail) {
    const uint32_t *slot = slot_of(vocab, head, tail);
    return slot ? (int32_t)*slot - 1 : -1;
}

int32_t vocab_find(const struct vocab *vocab, const char *bytes, size_t size) {
    return find_joined(vocab, (struct vocab_text){bytes, size}, (struct vocab_text){"", 0});
}

int vocab_index(struct vocab *out, const char *name, struct fault *fault) {
    size_t count = out->token_count, slots = 64;
    struct fault_text quoted;
    while (slots < 2 * count)
        slots *= 2;
    out->index = memory_array(slots, sizeof *out->index);
    out->index_mask = slots - 1;
    if (!out->index)
        return vocab_no_memory(name, fault);
    for (size_t id = 0; id < count; id++) {
        uint32_t *slot = slot_of(out, out->tokens[id], (struct vocab_text){"", 0});
        if (!slot)
            return fault_set(fault, FAULT_LIMIT, "%s: found more than %d tokens with one hash, expected a vocabulary",
                             name, PROBES);
        if (*slot)
            return fault_set(fault, FAULT_FORMAT, "%s: found the token \"%s\" twice (ids %u and %zu), expected it once",
                             name, fault_quote(&quoted, out->tokens[id].bytes, out->tokens[id].size), *slot - 1, id);
        *slot = (uint32_t)id + 1;
    }
    return 0;
}

/* Orders the tokens by id: each of 0 .. count - 1 once, no token twice. */
static int order_tokens(struct vocab_build *build, const char *name, struct fault *fault) {
    struct vocab *out = build->out;
    struct fault_text quoted, other;
    size_t count = build->entry_count;
    out->tokens = memory_array(count, sizeof *out->tokens);
    if (!out->tokens)
        return vocab_no_memory(name, fault);
    if (count == 0)
        return fault_set(fault, FAULT_FORMAT, "%s: found an empty vocabulary, expected tokens", name);
    for (size_t i = 0; i < count; i++) {
        struct vocab_entry *entry = &build->entries[i];
        fault_quote(&quoted, entry->text.bytes, entry->text.size);
        if (entry->text.size == 0)
            return fault_set(fault, FAULT_FORMAT, "%s: found an empty token, expected at least one byte", name);
        if (entry->id < 0 || (uint64_t)entry->id >= count)
            return fault_set(
                fault, FAULT_FORMAT,
                "%s: the id of \"%s\": found %lld, expected 0 to %zu (as many ids as there are tokens, none left "
                "out)",
                name, quoted.bytes, (long long)entry->id, count - 1);
        struct vocab_text *token = &out->tokens[entry->id];
        if (token->bytes)
            return fault_set(fault, FAULT_FORMAT, "%s: found the id %lld at \"%s\" and at \"%s\", expected it once",
                             name, (long long)entry->id, fault_quote(&other, token->bytes, token->size), quoted.bytes);
        *token = entry->text;
    }
    out->token_count = count;
    return vocab_index(out, name, fault);
}

/* ---- merges ---- */

int vocab_add_pair(struct vocab_build *build, struct vocab_text left, struct vocab_text right, const char *name,
                   struct fault *fault) {
    if (build->pair_count == VOCAB_MERGES_LIMIT)
        return fault_set(fault, FAULT_LIMIT, "%s: found more than %d merges, expected at most that many", name,
                         VOCAB_MERGES_LIMIT);
    void *block = build->pairs;
    if (!vocab_grow(&block, build->pair_count, &build->pair_room, sizeof *build->pairs))
        return vocab_no_memory(name, fault);
    build->pairs = block;
    build->pairs[build->pair_count++] = (struct vocab_pair){left, right};
    return 0;
}

/* One merge a line, two tokens with one space between them. Lines that begin with #version do not count. */
static int read_merges_txt(struct vocab_build *build, const struct vocab_files *files, struct fault *fault) {
    static const char header[] = "#version";
    const char *name = vocab_file_names[VOCAB_MERGES_TXT];
    const struct vocab_file *file = &files->of[VOCAB_MERGES_TXT];
    const char *at = file->bytes, *end = file->bytes + file->size;
    for (size_t number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        size_t size = (size_t)((stop ? stop : end) - at);
        if (stop && size && at[size - 1] == '\r')
            size--;
        if (size < sizeof header - 1 || memcmp(at, header, sizeof header - 1) != 0) {
            struct fault_text quoted;
            const char *space = memchr(at, ' ', size);
            size_t left = space ? (size_t)(space - at) : 0;
            if (left == 0 || left + 1 >= size || memchr(space + 1, ' ', size - left - 1))
                return fault_set(fault, FAULT_FORMAT,
                                 "%s: line %zu: found \"%s\", expected two tokens with one space between them", name,
                                 number, fault_quote(&quoted, at, size));
            int status = vocab_add_pair(build, (struct vocab_text){at, left},
                                        (struct vocab_text){at + left + 1, size - left - 1}, name, fault);
            if (status)
                return status;
        }
        at = next;
    }
    return 0;
}

static int settle_merges(struct vocab_build *build, const char *name, struct fault *fault) {
    struct vocab *out = build->out;
    out->merges = memory_array(build->pair_count, sizeof *out->merges);
    if (!out->merges)
        return vocab_no_memory(name, fault);
    for (size_t i = 0; i < build->pair_count; i++) {
        const struct vocab_pair *pair = &build->pairs[i];
        struct vocab_text nothing = {"", 0};
        struct vocab_merge merge = {find_joined(out, pair->left, nothing), find_joined(out, pair->right, nothing),
                                    find_joined(out, pair->left, pair->right)};
        if (merge.left < 0 || merge.right < 0 || merge.result < 0) {
            struct fault_text left, right;
            return fault_set(fault, FAULT_MISMATCH, "%s: merge %zu, \"%s\" + \"%s\": %s is not in the vocabulary", name,
                             i, fault_quote(&left, pair->left.bytes, pair->left.size),
                             fault_quote(&right, pair->right.bytes, pair->right.size),
                             merge.left < 0    ? "the first"
                             : merge.right < 0 ? "the second"
                                               : "what they make");
        }
        out->merges[i] = merge;
    }
    out->merge_count = build->pair_count;
    return 0;
}

/* ---- all together ---- */

static int parse(struct vocab_build *build, const struct vocab_files *files, struct fault *fault) {
    int whole = files->of[VOCAB_TOKENIZER_JSON].bytes != NULL;
    const char *name = vocab_file_names[whole ? VOCAB_TOKENIZER_JSON : VOCAB_VOCAB_JSON];
    int status = 0;
    if (files->of[VOCAB_TOKENIZER_CONFIG_JSON].bytes)
        status = vocab_read_config(build, files, fault);
    if (!status && files->of[VOCAB_SPECIAL_TOKENS_MAP_JSON].bytes && !build->has_decoder)
        status = vocab_read_special_map(build, files, fault);
    if (!status && files->of[VOCAB_ADDED_TOKENS_JSON].bytes && !build->has_decoder)
        status = vocab_read_added_file(build, files, fault);
    if (!status && whole) {
        status = vocab_read_tokenizer_json(build, files, fault);
    } else if (!status) {
        struct json json;
        struct json_event value = {.kind = JSON_OBJECT}, last;
        status = vocab_begin(&json, VOCAB_VOCAB_JSON, files, fault);
        if (!status)
            status = vocab_read_tokens(build, &json, &value, fault);
        if (!status)
            status = json_next(&json, &last, fault);
        if (!status)
            status = read_merges_txt(build, files, fault);
    }
    if (!status)
        status = order_tokens(build, name, fault);
    if (!status)
        status = settle_merges(build, whole ? name : vocab_file_names[VOCAB_MERGES_TXT], fault);
    return status ? status : vocab_settle(build, fault);
}

int vocab_parse(struct vocab *out, const struct vocab_files *files, int32_t default_pad, vocab_note *note, void *user,
                struct fault *fault) {
    struct vocab_build build = {.out = out, .note = note, .user = user, .default_pad = default_pad};
    *out = (struct vocab){0};
    int is_json = files->of[VOCAB_TOKENIZER_JSON].bytes || (files->of[VOCAB_VOCAB_JSON].bytes && files->of[VOCAB_MERGES_TXT].bytes);
    if (!is_json && !files->of[VOCAB_COMPACT].bytes)
        return fault_set(fault, FAULT_NOT_FOUND,
                         "found neither tokenizer.json nor vocab.json and merges.txt nor clip.vocab");
    int status;
    if (is_json) {
        for (int kind = 0; kind < VOCAB_COMPACT; kind++)
            build.bytes_room += files->of[kind].bytes ? files->of[kind].size : 0;
        out->bytes = memory_array(build.bytes_room, 1);
        status = out->bytes ? parse(&build, files, fault) : vocab_no_memory("the tokenizer", fault);
    } else {
        status = vocab_read_compact(&build, &files->of[VOCAB_COMPACT], fault);
    }
    memory_free(build.entries);
    memory_free(build.pairs);
    vocab_marks_free(&build.extra);
    vocab_marks_free(&build.listed);
    if (status)
        vocab_free(out);
    return status;
}

void vocab_free(struct vocab *vocab) {
    memory_free(vocab->tokens);
    memory_free(vocab->merges);
    memory_free(vocab->added);
    memory_free(vocab->bytes);
    memory_free(vocab->index);
    *vocab = (struct vocab){0};
}
