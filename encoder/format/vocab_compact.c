/* vocab_compact.c - clip.vocab: the merges of CLIP's byte-pair vocabulary, from which its tokens and ids follow. Written by
 * make_vocabulary.py (`make vocab`); little-endian:
 *
 *     0    8   "PENVOCAB"
 *     8    4   version, 1
 *     12   4   merges, at most 65022: the last id fits 16 bits
 *     16   4n  for each merge, in order of rank, the ids (2 bytes each) of the two tokens that it joins
 *     .    8   FNV-1a (64 bits) of all that stands before it
 *
 * Ids are those of OpenAI's clip/simple_tokenizer.py: 0 to 255 the byte symbols (visible Latin-1 first), 256 to 511 the
 * same at the end of a word, 512 + k what merge k makes, then the start and the end of a text. The form says nothing of
 * padding: the caller does.
 */
#include <string.h>

#include "../base/memory.h"
#include "../base/utf8.h"
#include "../base/wrap.h"
#include "vocab_inside.h"

#define MAGIC "PENVOCAB"
#define VERSION 1u
#define HEAD ((size_t)16)
#define CHECK ((size_t)8)
#define SYMBOLS 512u
#define MERGES_LIMIT (65536u - SYMBOLS - 2u)
/* CLIP's longest token has as many bytes. A merge can double one, so that thirty could ask for a gigabyte. */
#define TOKEN_LIMIT 64u

static const char suffix[] = "</w>", start_of_text[] = "<|startoftext|>", end_of_text[] = "<|endoftext|>";

int vocab_is_compact(const struct vocab_file *file) {
    return file->size >= sizeof MAGIC - 1 && memcmp(file->bytes, MAGIC, sizeof MAGIC - 1) == 0;
}

static uint32_t number_at(const char *bytes, size_t size) {
    uint32_t value = 0;
    for (size_t i = size; i > 0; i--)
        value = value << 8 | (unsigned char)bytes[i - 1];
    return value;
}

WRAPS("FNV-1a multiplies modulo 2^64")
static uint64_t hash_of(const char *bytes, size_t size) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001B3u;
    return hash;
}

/* The n-th byte symbol: the visible characters of Latin-1 stand for themselves, the others get those from U+0100 on. */
static uint32_t symbol(uint32_t n) {
    return n < 94 ? 33 + n : n < 106 ? 161 + (n - 94) : n < 188 ? 174 + (n - 106) : 256 + (n - 188);
}

static int read_head(const struct vocab_file *file, const char *name, size_t *merges, struct fault *fault) {
    struct fault_text quoted;
    size_t shown = file->size < sizeof MAGIC - 1 ? file->size : sizeof MAGIC - 1;
    if (!vocab_is_compact(file))
        return fault_set(fault, FAULT_FORMAT, "%s: found \"%s\" at its beginning, expected \"" MAGIC "\"", name,
                         fault_quote(&quoted, file->bytes, shown));
    if (file->size < HEAD + CHECK)
        return fault_set(fault, FAULT_TRUNCATED, "%s: found %zu bytes, expected at least %zu", name, file->size, HEAD + CHECK);
    uint32_t version = number_at(file->bytes + 8, 4);
    if (version != VERSION)
        return fault_set(fault, FAULT_UNSUPPORTED, "%s: found version %u, expected %u: make it again with `make vocab`", name,
                         version, VERSION);
    *merges = number_at(file->bytes + 12, 4);
    if (*merges > MERGES_LIMIT)
        return fault_set(fault, FAULT_FORMAT, "%s: found %zu merges, expected at most %u", name, *merges, MERGES_LIMIT);
    size_t expected = HEAD + 4 * *merges + CHECK;
    if (file->size != expected)
        return fault_set(fault, file->size < expected ? FAULT_TRUNCATED : FAULT_TRAILING,
                         "%s: found %zu bytes, expected %zu for its %zu merges", name, file->size, expected, *merges);
    uint64_t hash = hash_of(file->bytes, file->size - CHECK);
    const char *check = file->bytes + file->size - CHECK;
    if (((uint64_t)number_at(check + 4, 4) << 32 | number_at(check, 4)) != hash)
        return fault_set(fault, FAULT_FORMAT, "%s: its checksum is not that of its bytes: the file is damaged", name);
    return 0;
}

/* The ids of merge k, and the size of the token that they make. What is known of the tokens before it: their sizes, and in
 * the place of their bytes whether they end a word. */
static int read_merge(const struct vocab_file *file, const char *name, size_t k, struct vocab *out, struct fault *fault) {
    size_t id = SYMBOLS + k;
    uint32_t left = number_at(file->bytes + HEAD + 4 * k, 2), right = number_at(file->bytes + HEAD + 4 * k + 2, 2);
    if (left >= id || right >= id)
        return fault_set(fault, FAULT_FORMAT, "%s: merge %zu: found the id %u, expected one below its own, %zu", name, k,
                         left >= id ? left : right, id);
    const struct vocab_text *head = &out->tokens[left], *tail = &out->tokens[right];
    if (head->bytes == suffix)
        return fault_set(fault, FAULT_FORMAT, "%s: merge %zu: found the id %u, which ends a word, before another", name, k, left);
    if (head->size + tail->size > TOKEN_LIMIT)
        return fault_set(fault, FAULT_LIMIT, "%s: merge %zu makes a token of %zu bytes, expected at most %u", name, k,
                         head->size + tail->size, TOKEN_LIMIT);
    out->merges[k] = (struct vocab_merge){(int32_t)left, (int32_t)right, (int32_t)id};
    out->tokens[id] = (struct vocab_text){tail->bytes, head->size + tail->size};
    return 0;
}

/* Sizes and merges; *bytes is what all tokens take. */
static int read_merges(const struct vocab_file *file, const char *name, struct vocab *out, size_t *bytes, struct fault *fault) {
    *bytes = sizeof start_of_text + sizeof end_of_text;
    for (uint32_t n = 0; n < SYMBOLS; n++) {
        int is_last = n >= SYMBOLS / 2;
        size_t size = symbol(n % (SYMBOLS / 2)) < 0x80 ? 1 : 2;
        out->tokens[n] = (struct vocab_text){is_last ? suffix : NULL, is_last ? size + sizeof suffix - 1 : size};
        *bytes += out->tokens[n].size;
    }
    for (size_t k = 0; k < out->merge_count; k++) {
        int status = read_merge(file, name, k, out, fault);
        if (status)
            return status;
        *bytes += out->tokens[SYMBOLS + k].size;
    }
    return 0;
}

static char *put(char *to, const char *bytes, size_t size) {
    memcpy(to, bytes, size);
    return to + size;
}

/* Spells the tokens into out->bytes, which has room for them. */
static void spell(struct vocab *out) {
    char *at = out->bytes;
    for (size_t id = 0; id < out->token_count; id++) {
        char *begin = at;
        if (id < SYMBOLS) {
            at += utf8_put(at, symbol((uint32_t)id % (SYMBOLS / 2)));
            if (id >= SYMBOLS / 2)
                at = put(at, suffix, sizeof suffix - 1);
        } else if (id < SYMBOLS + out->merge_count) {
            const struct vocab_merge *merge = &out->merges[id - SYMBOLS];
            at = put(at, out->tokens[merge->left].bytes, out->tokens[merge->left].size);
            at = put(at, out->tokens[merge->right].bytes, out->tokens[merge->right].size);
        } else if (id + 2 == out->token_count) {
            at = put(at, start_of_text, sizeof start_of_text - 1);
        } else {
            at = put(at, end_of_text, sizeof end_of_text - 1);
        }
        out->tokens[id] = (struct vocab_text){begin, (size_t)(at - begin)};
    }
}

static int read_all(const struct vocab_file *file, const char *name, struct vocab *out, struct fault *fault) {
    size_t bytes;
    out->token_count = SYMBOLS + out->merge_count + 2;
    out->merges = memory_array(out->merge_count, sizeof *out->merges);
    out->tokens = memory_array(out->token_count, sizeof *out->tokens);
    out->added = memory_array(3, sizeof *out->added); /* start, end, and room for a pad */
    if (!out->merges || !out->tokens || !out->added)
        return vocab_no_memory(name, fault);
    int status = read_merges(file, name, out, &bytes, fault);
    if (status)
        return status;
    out->bytes = memory_array(bytes, 1);
    if (!out->bytes)
        return vocab_no_memory(name, fault);
    spell(out);
    return vocab_index(out, name, fault);
}

int vocab_read_compact(struct vocab_build *build, const struct vocab_file *file, struct fault *fault) {
    struct vocab *out = build->out;
    const char *name = vocab_file_names[VOCAB_COMPACT];
    int status = read_head(file, name, &out->merge_count, fault);
    if (!status)
        status = read_all(file, name, out, fault);
    if (status)
        return status;
    out->start_id = (int32_t)out->token_count - 2;
    out->end_id = (int32_t)out->token_count - 1;
    out->unknown_id = -1; /* every byte has a symbol */
    out->pad_id = build->default_pad < 0 ? out->end_id : build->default_pad;
    if (out->pad_id > out->end_id)
        return fault_set(fault, FAULT_ARGUMENT, "a padding of id %d, expected at most %d, the last of %s", out->pad_id,
                         out->end_id, name);
    for (int32_t i = 0; i < 2; i++)
        out->added[i] = (struct vocab_added){.content = out->tokens[out->start_id + i], .id = out->start_id + i};
    out->added_count = 2;
    return 0;
}
