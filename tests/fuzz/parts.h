/* parts.h - inputs that are several files, with a NUL between one and the next: for targets that read a tokenizer.
 * Knows the files of a vocabulary, not what stands in them. */
#ifndef PENULT_TESTS_PARTS_H
#define PENULT_TESTS_PARTS_H

#include "../../encoder/format/vocab.h"
#include "json_mutate.h"

#define PARTS_MOST 6

struct parts {
    const char *at[PARTS_MOST];
    size_t size[PARTS_MOST];
};

/* The first `count` parts; the last one takes the rest, NULs and all, and those that are not there are empty. */
struct parts parts_of(const uint8_t *data, size_t size, size_t count);
/* A copy in a block of its own, exactly as long, so that a sanitizer sees a step too far. */
struct vocab_file part_file(const struct parts *parts, size_t index);

/* Opens a tokenizer from the files (and frees them), checks what a refusal says and what memory it took, and leads both
 * texts through what opened: plain, and `text`. */
void parts_open(struct vocab_files *files, const char *text, size_t text_size);
/* The same with a padding for a compact vocabulary. */
void parts_open_padded(struct vocab_files *files, int32_t default_pad, const char *text, size_t text_size);

/* Changes one part as JSON, or as merges where `merges` is its index, or leaves all to libFuzzer. */
size_t parts_mutate(uint8_t *data, size_t size, size_t room, unsigned seed, size_t count, size_t merges,
                    const struct json_words *words);

/* What the files around a vocabulary say. */
extern const struct json_words parts_words;

#endif
