/* vocab.h - the files of a byte-pair tokenizer as plain data: vocab.json and merges.txt or tokenizer.json, with
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json beside them. They are read as
 * transformers 5.23's CLIPTokenizer.from_pretrained reads them; what it would do otherwise than the file says, or what
 * we do not implement, is FAULT_UNSUPPORTED. Where there is none of them, clip.vocab, our own compact form, which holds
 * CLIP's merges and nothing else (vocab_compact.c). Knows no text and no tower.
 */
#ifndef ENCODER_FORMAT_VOCAB_H
#define ENCODER_FORMAT_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"

#define VOCAB_TOKENS_LIMIT (1 << 20)
#define VOCAB_MERGES_LIMIT (1 << 20)
#define VOCAB_ADDED_LIMIT (1 << 12)
#define VOCAB_ADDED_BYTES_LIMIT 1024

struct vocab_text {
    const char *bytes;
    size_t size;
};

/* The symbols left and right become result. The rank is the index. */
struct vocab_merge {
    int32_t left, right, result;
};

struct vocab_added {
    struct vocab_text content;
    int32_t id;
    unsigned char single_word, lstrip, rstrip, normalized;
};

struct vocab {
    struct vocab_text *tokens; /* by id; no id is missing */
    size_t token_count;
    struct vocab_merge *merges;
    size_t merge_count;
    struct vocab_added *added; /* each content once */
    size_t added_count;
    int32_t start_id, end_id, pad_id;
    int32_t unknown_id; /* of a byte that has no symbol; -1: the unknown token is not in the vocabulary */
    char *bytes;        /* what the texts point into */
    uint32_t *index;    /* open addressing: 1 + id, 0 is empty */
    size_t index_mask;
};

/* bytes NULL: there is no such file. */
struct vocab_file {
    const char *bytes;
    size_t size;
};

enum vocab_file_kind {
    VOCAB_TOKENIZER_JSON, /* wins over the next two */
    VOCAB_VOCAB_JSON,
    VOCAB_MERGES_TXT,
    VOCAB_TOKENIZER_CONFIG_JSON,
    VOCAB_SPECIAL_TOKENS_MAP_JSON,
    VOCAB_ADDED_TOKENS_JSON,
    VOCAB_COMPACT, /* counts where the first three are not there */
    VOCAB_FILES
};

struct vocab_files {
    struct vocab_file of[VOCAB_FILES];
};

extern const char *const vocab_file_names[VOCAB_FILES];

/* Called for each finding that is not a fault. May be NULL. */
typedef void vocab_note(void *user, const char *subject, const char *message);

/* path: a directory, or a tokenizer.json or a compact vocabulary by whatever name. */
int vocab_files_read(struct vocab_files *files, const char *path, struct fault *fault);
/* clip.vocab of that directory and nothing else. */
int vocab_files_read_compact(struct vocab_files *files, const char *directory, struct fault *fault);
void vocab_files_free(struct vocab_files *files);

/* The pad of a compact vocabulary, which does not say: -1 is the end id. */
int vocab_parse(struct vocab *out, const struct vocab_files *files, int32_t default_pad, vocab_note *note, void *user,
                struct fault *fault);
void vocab_free(struct vocab *vocab);

/* The id of a token of the vocabulary (added tokens not counted), -1 if there is none. */
int32_t vocab_find(const struct vocab *vocab, const char *bytes, size_t size);

#endif
