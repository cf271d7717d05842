/* vocab_inside.h - what the files that read a vocabulary share. For vocab*.c only. */
#ifndef ENCODER_FORMAT_VOCAB_INSIDE_H
#define ENCODER_FORMAT_VOCAB_INSIDE_H

#include "json.h"
#include "vocab.h"

/* A token as a file writes it: a string, or an object with flags (Python's AddedToken). */
enum vocab_form { FORM_ABSENT, FORM_NULL, FORM_STRING, FORM_TOKEN };

struct vocab_mark {
    struct vocab_text content;
    int64_t id;   /* where a file gives one; else -1 */
    size_t order; /* place in its list */
    enum vocab_form form;
    signed char normalized; /* -1: not said, and then the opposite of special */
    unsigned char single_word, lstrip, rstrip, special;
    unsigned char late; /* the reference does not know it as a special token yet when it reads added_tokens.json */
};

struct vocab_marks {
    struct vocab_mark *of;
    size_t count, room;
};

/* The special tokens that have names, in the order in which the reference goes through them. */
enum vocab_name { NAME_BOS, NAME_EOS, NAME_UNK, NAME_SEP, NAME_PAD, NAME_CLS, NAME_MASK, VOCAB_NAMES };
extern const char *const vocab_names[VOCAB_NAMES];

struct vocab_entry {
    struct vocab_text text;
    int64_t id;
};

struct vocab_pair {
    struct vocab_text left, right;
};

/* Everything found so far. */
struct vocab_build {
    struct vocab *out;
    vocab_note *note;
    void *user;
    size_t bytes_used, bytes_room; /* of out->bytes */
    int32_t default_pad;           /* of a compact vocabulary */
    struct vocab_entry *entries;
    size_t entry_count, entry_room;
    struct vocab_pair *pairs;
    size_t pair_count, pair_room;
    struct vocab_mark named[VOCAB_NAMES]; /* tokenizer_config.json, then special_tokens_map.json over it */
    struct vocab_marks extra;             /* special tokens without a name */
    int has_extra;                        /* the key was there, even if empty */
    struct vocab_marks listed;            /* added tokens that came with ids */
    int has_decoder;                      /* they came from tokenizer_config.json, and other lists do not count */
    struct vocab_mark frame[2];           /* what tokenizer.json's post-processor puts before (0) and behind (1) */
};

__attribute__((format(printf, 3, 4))) void vocab_say(const struct vocab_build *build, const char *subject,
                                                     const char *format, ...);

/* Makes room for one more element; 0 if there is no memory. */
int vocab_grow(void **block, size_t count, size_t *room, size_t size);
void vocab_marks_free(struct vocab_marks *marks);
int vocab_no_memory(const char *name, struct fault *fault);

/* A copy of a key or string that lives as long as the vocabulary. */
struct vocab_text vocab_keep(struct vocab_build *build, const struct json_event *event);
int vocab_same(struct vocab_text a, struct vocab_text b);
/* json_expected, but FAULT_UNSUPPORTED: the file is well-formed and says something else. */
int vocab_refuse(const struct json *json, const struct json_event *event, const char *what, const char *expected,
                 struct fault *fault);
/* Index of the key in names, or -1. */
int vocab_key(const struct json_event *key, const char *const *names, size_t count);
/* The next key of an object (JSON_KEY) or its end (JSON_OBJECT_END); seen: one bit a name, a second time is a fault. */
int vocab_seen(const struct json *json, const struct json_event *key, int index, uint32_t *seen, struct fault *fault);
/* Any object of a file: begins reading and takes its {. */
int vocab_begin(struct json *json, enum vocab_file_kind kind, const struct vocab_files *files, struct fault *fault);

/* vocab.c: the vocabulary object and the merges, wherever they stand. value is the event that begins them. */
int vocab_read_tokens(struct vocab_build *build, struct json *json, const struct json_event *value,
                      struct fault *fault);
int vocab_add_pair(struct vocab_build *build, struct vocab_text left, struct vocab_text right, const char *name,
                   struct fault *fault);

/* Makes the index of out->tokens, which has no token twice. */
int vocab_index(struct vocab *out, const char *name, struct fault *fault);

/* vocab_compact.c: the whole vocabulary, which needs no vocab_settle. */
int vocab_is_compact(const struct vocab_file *file);
int vocab_read_compact(struct vocab_build *build, const struct vocab_file *file, struct fault *fault);

/* vocab_tokenizer_json.c */
int vocab_read_tokenizer_json(struct vocab_build *build, const struct vocab_files *files, struct fault *fault);

/* vocab_config.c: tokenizer_config.json, special_tokens_map.json, added_tokens.json; also the added_tokens of
 * tokenizer.json. */
int vocab_read_config(struct vocab_build *build, const struct vocab_files *files, struct fault *fault);
int vocab_read_special_map(struct vocab_build *build, const struct vocab_files *files, struct fault *fault);
int vocab_read_added_file(struct vocab_build *build, const struct vocab_files *files, struct fault *fault);
int vocab_read_added_list(struct vocab_build *build, struct json *json, const struct json_event *value,
                          struct fault *fault);

/* vocab_settle.c: which added tokens there are in the end, and their ids. */
int vocab_settle(struct vocab_build *build, struct fault *fault);

#endif
