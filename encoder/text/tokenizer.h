/* tokenizer.h - text to ids, as transformers' CLIPTokenizerFast or open_clip.tokenize does it on the same files. This header is the face of
 * text/ towards the rest of the engine; it knows no tensor and no tower.
 *
 *     bytes -> text between added tokens ("!", "<|endoftext|>")            added.c
 *           -> clean: NFC, white space, lower case                        clean.c, normalise.c, unicode_table.c
 *           -> text between added tokens that are spelt in clean text     added.c
 *           -> pieces (letters, one number, symbols)                      split.c
 *           -> ids by byte-pair merges                                    bpe.c
 *           -> start, end, padding; what was cut                          prompt.c
 *
 * and for open_clip
 *
 *     bytes -> letters without entities, ligatures, controls, in NFC        ftfy.c, html.c
 *           -> clean: entities again, white space, lower case              open_clip.c, html.c
 *           -> pieces and special strings                                  split_open_clip.c
 *           -> ids, and the rest, as above
 */
#ifndef ENCODER_TEXT_TOKENIZER_H
#define ENCODER_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "../base/fault.h"

/* Longer texts are FAULT_LIMIT. */
#define TOKENIZER_TEXT_LIMIT (1 << 28)

struct vocab_files; /* format/vocab.h */
struct tokenizer;   /* immutable once open: any thread may use it */

/* Bytes of the text behind an id. Where cleaning changed nothing, or one byte for one, they are exact to the byte, even
 * inside a character (the reference gives whole characters there); where it changed the number of bytes, they are the
 * whole segment: a character with the marks behind it, or an HTML entity. */
struct token_span {
    uint64_t begin, end;
};

/* What became of a text. */
struct token_frame {
    size_t body_count;   /* ids of the text that were kept */
    size_t cut_count;    /* ids of the text that were cut off */
    uint64_t cut_begin;  /* first byte that the cut left without an id; text_bytes if nothing was cut */
    size_t end_position; /* index of the first end id in the framed row */
};

/* note is called for each finding that is not a fault (an unknown key that is safe to ignore, ...). May be NULL. */
typedef void tokenizer_note(void *user, const char *subject, const char *message);

enum tokenizer_mode {
    TOKENIZER_TRANSFORMERS,
    TOKENIZER_OPEN_CLIP /* as open_clip.tokenize */
};

/* What the padding token's string is in a text. Where the pad is the start or the end it is special in any case. */
enum pad_in_text {
    PAD_AS_FILES_SAY,
    PAD_IS_TEXT,
    PAD_IS_SPECIAL /* cut out wherever it stands; not with TOKENIZER_OPEN_CLIP */
};

struct tokenizer_options {
    enum tokenizer_mode mode;
    enum pad_in_text pad_in_text;
    int32_t default_pad; /* of a compact vocabulary, which does not say: an id, or -1 for the end id */
};

/* path: a directory with tokenizer.json, or with vocab.json and merges.txt, or with clip.vocab; or a tokenizer.json or a
 * compact vocabulary itself. options NULL: zeros, and a default_pad of -1. */
int tokenizer_open(struct tokenizer **out, const char *path, const struct tokenizer_options *options,
                   tokenizer_note *note, void *user, struct fault *fault);
/* clip.vocab of that directory, whatever else lies there. */
int tokenizer_open_compact(struct tokenizer **out, const char *directory, const struct tokenizer_options *options,
                           tokenizer_note *note, void *user, struct fault *fault);
/* The same from files in memory. */
int tokenizer_open_files(struct tokenizer **out, const struct vocab_files *files,
                         const struct tokenizer_options *options, tokenizer_note *note, void *user,
                         struct fault *fault);
void tokenizer_close(struct tokenizer *tokenizer);
/* 1 if the directory holds something tokenizer_open would read; tokenizer_compact_is_in: a clip.vocab. */
int tokenizer_is_in(const char *directory);
int tokenizer_compact_is_in(const char *directory);

/* The name of the file that the vocabulary came from, as "tokenizer.json". */
const char *tokenizer_source(const struct tokenizer *tokenizer);
/* 1 if that file says nothing of padding, so that the default counted. */
int tokenizer_pads_by_default(const struct tokenizer *tokenizer);

int32_t tokenizer_start_id(const struct tokenizer *tokenizer);
int32_t tokenizer_end_id(const struct tokenizer *tokenizer);
int32_t tokenizer_pad_id(const struct tokenizer *tokenizer);
/* 1 + the largest id it can produce: must not exceed the rows of the token embedding. */
int32_t tokenizer_id_limit(const struct tokenizer *tokenizer);

/* Scratch for a text of at most that many bytes, and the most ids it can become; SIZE_MAX above TOKENIZER_TEXT_LIMIT.
 * No other memory is used to tokenize. */
size_t tokenizer_scratch_bytes(const struct tokenizer *tokenizer, size_t text_bytes);
size_t tokenizer_id_count_limit(size_t text_bytes);

/* All ids of the text, unframed and uncut. ids and spans (which may be NULL) have room for
 * tokenizer_id_count_limit(text_bytes) elements; scratch is aligned as malloc aligns. FAULT_TEXT for invalid UTF-8,
 * with the offset of the first byte that is wrong. */
int tokenizer_body(const struct tokenizer *tokenizer, const char *text, size_t text_bytes, void *scratch, int32_t *ids,
                   struct token_span *spans, size_t *count, struct fault *fault);

/* [start] + body cut at length - 2 + [end] + padding: ids and spans (which may be NULL) have room for `length`, at
 * least 2. The spans of start, end and padding are empty and lie at the ends of the text. On failure ids and spans are
 * untouched. */
size_t tokenizer_frame_scratch_bytes(const struct tokenizer *tokenizer, size_t text_bytes);
int tokenizer_frame(const struct tokenizer *tokenizer, const char *text, size_t text_bytes, void *scratch,
                    size_t length, int32_t *ids, struct token_span *spans, struct token_frame *frame,
                    struct fault *fault);

#endif
