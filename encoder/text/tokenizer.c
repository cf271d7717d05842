/* tokenizer.c - builds a tokenizer from its files. Knows nothing of texts: see run.c.
 */
#include "tokenizer.h"

#include <string.h>

#include "../base/file.h"
#include "../base/memory.h"
#include "../base/utf8.h"
#include "../format/vocab.h"
#include "clean.h"
#include "inside.h"

/* ---- building ---- */

/* The character that stands for a byte in a vocabulary: itself where that is a visible Latin-1 character, else the next
 * one from U+0100 on (Radford et al. 2019, encoder.py: bytes_to_unicode). */
static size_t put_symbol(char *out, unsigned byte) {
    unsigned invisible = 0;
    for (unsigned b = 0; b <= byte; b++) {
        int visible = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte && visible)
            return utf8_put(out, byte);
        invisible += !visible;
    }
    return utf8_put(out, 0xFF + invisible);
}

static int set_symbols(struct tokenizer *tokenizer, const struct vocab *vocab, struct fault *fault) {
    static const char suffix[] = "</w>";
    for (unsigned byte = 0; byte < 256; byte++) {
        char symbol[16];
        size_t size = put_symbol(symbol, byte);
        int32_t plain = vocab_find(vocab, symbol, size);
        memcpy(symbol + size, suffix, sizeof suffix);
        int32_t last = vocab_find(vocab, symbol, size + sizeof suffix - 1);
        if ((plain < 0 || last < 0) && vocab->unknown_id < 0)
            return fault_set(fault, FAULT_MISMATCH,
                             "the vocabulary: found no symbol for byte 0x%02x%s and no unk_token, expected one of them",
                             byte, plain < 0 ? "" : " at the end of a word");
        tokenizer->bpe.symbol[byte] = plain < 0 ? vocab->unknown_id : plain;
        tokenizer->bpe.last_symbol[byte] = last < 0 ? vocab->unknown_id : last;
    }
    return 0;
}

static int set_merges(struct tokenizer *tokenizer, const struct vocab *vocab, struct fault *fault) {
    if (!bpe_open(&tokenizer->bpe, vocab->merge_count))
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for the table of %zu merges", vocab->merge_count);
    for (size_t i = 0; i < vocab->merge_count; i++) {
        const struct vocab_merge *merge = &vocab->merges[i];
        enum bpe_added added = bpe_add(&tokenizer->bpe, merge->left, merge->right, (uint32_t)i, merge->result);
        if (added == BPE_ADDED)
            continue;
        const struct vocab_text *left = &vocab->tokens[merge->left], *right = &vocab->tokens[merge->right];
        struct fault_text one, other;
        return fault_set(fault, added == BPE_THERE ? FAULT_FORMAT : FAULT_LIMIT, "merge %zu, \"%s\" + \"%s\": %s", i,
                         fault_quote(&one, left->bytes, left->size), fault_quote(&other, right->bytes, right->size),
                         added == BPE_THERE ? "found it a second time, expected each merge once"
                                            : "collides with too many other merges, expected those of a vocabulary");
    }
    return 0;
}

/* Takes the padding token out of the special ones, or puts it among them to be cut out wherever it stands. There is room:
 * every form but the compact one has it among them, and that one has room for one more. */
static void settle_pad(struct vocab *vocab, enum pad_in_text pad_in_text) {
    int32_t pad = vocab->pad_id;
    if (pad_in_text == PAD_AS_FILES_SAY || pad == vocab->start_id || pad == vocab->end_id)
        return;
    size_t kept = 0;
    struct vocab_text content = {NULL, 0};
    for (size_t i = 0; i < vocab->added_count; i++) {
        if (vocab->added[i].id == pad)
            content = vocab->added[i].content;
        else
            vocab->added[kept++] = vocab->added[i];
    }
    vocab->added_count = kept;
    if (pad_in_text == PAD_IS_SPECIAL)
        vocab->added[vocab->added_count++] =
            (struct vocab_added){.content = content.bytes ? content : vocab->tokens[pad], .id = pad};
}

/* The tokens of one kind, in order. Cleaned ones are found in clean text, so theirs is cleaned too. */
static int set_added(struct added *added, const struct vocab *vocab, int normalized, char **bytes, void *scratch,
                     struct fault *fault) {
    struct added_token *tokens = memory_array(vocab->added_count, sizeof *tokens);
    if (!tokens)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for %zu added tokens", vocab->added_count);
    size_t count = 0;
    for (size_t i = 0; i < vocab->added_count; i++) {
        const struct vocab_added *from = &vocab->added[i];
        if (from->normalized != normalized)
            continue;
        size_t size = from->content.size;
        if (normalized) {
            uint32_t *origin = scratch;
            int32_t *points = (int32_t *)(origin + UNICODE_GROWTH * VOCAB_ADDED_BYTES_LIMIT + 1);
            struct clean clean = {.bytes = *bytes, .origin = origin};
            clean_text(from->content.bytes, 0, size, &clean, points, points + UNICODE_PARTS * VOCAB_ADDED_BYTES_LIMIT);
            size = clean.count;
        } else {
            memcpy(*bytes, from->content.bytes, size);
        }
        tokens[count++] = (struct added_token){*bytes, size, from->id, from->single_word, from->lstrip, from->rstrip};
        *bytes += size;
    }
    const struct added_token *twice = added_order(added, tokens, count);
    struct fault_text quoted;
    return twice
               ? fault_set(
                     fault, FAULT_UNSUPPORTED,
                     "added tokens: found two that are \"%s\" in lower case, expected one (the reference takes either)",
                     fault_quote(&quoted, twice->text, twice->size))
               : 0;
}

static int set_all_added(struct tokenizer *tokenizer, const struct vocab *vocab, struct fault *fault) {
    size_t bytes = 0;
    for (size_t i = 0; i < vocab->added_count; i++)
        bytes += UNICODE_GROWTH * vocab->added[i].content.size;
    size_t elements = (UNICODE_GROWTH + 2 * UNICODE_PARTS) * VOCAB_ADDED_BYTES_LIMIT + 1;
    void *scratch = memory_array(elements, sizeof(uint32_t));
    char *to = tokenizer->added_bytes = memory_array(bytes, 1);
    int status = 0;
    if (!scratch || !to)
        status = fault_set(fault, FAULT_NO_MEMORY, "no memory for %zu added tokens", vocab->added_count);
    for (int normalized = 0; normalized < 2 && !status; normalized++)
        status = set_added(normalized ? &tokenizer->cleaned : &tokenizer->as_written, vocab, normalized, &to, scratch,
                           fault);
    memory_free(scratch);
    return status;
}

static int build(struct tokenizer *tokenizer, const struct vocab *vocab, struct fault *fault) {
    int status = set_symbols(tokenizer, vocab, fault);
    if (!status)
        status = set_merges(tokenizer, vocab, fault);
    if (!status)
        status = set_all_added(tokenizer, vocab, fault);
    tokenizer->start_id = vocab->start_id;
    tokenizer->end_id = vocab->end_id;
    tokenizer->pad_id = vocab->pad_id;
    tokenizer->id_limit = (int32_t)vocab->token_count;
    for (size_t i = 0; i < vocab->added_count; i++) {
        if (vocab->added[i].id >= tokenizer->id_limit)
            tokenizer->id_limit = vocab->added[i].id + 1;
    }
    const int32_t named[] = {vocab->start_id, vocab->end_id, vocab->pad_id}; /* need not be among the added ones any more */
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        if (named[i] >= tokenizer->id_limit)
            tokenizer->id_limit = named[i] + 1;
    }
    return status;
}

/* The file that holds the vocabulary: tokenizer.json counts before the pair, the pair before the compact form. */
static enum vocab_file_kind source_of(const struct vocab_files *files) {
    return files->of[VOCAB_TOKENIZER_JSON].bytes                                           ? VOCAB_TOKENIZER_JSON
           : files->of[VOCAB_VOCAB_JSON].bytes && files->of[VOCAB_MERGES_TXT].bytes ? VOCAB_VOCAB_JSON
                                                                                           : VOCAB_COMPACT;
}

int tokenizer_open_files(struct tokenizer **out, const struct vocab_files *files,
                         const struct tokenizer_options *options, tokenizer_note *note, void *user,
                         struct fault *fault) {
    static const struct tokenizer_options defaults = {.default_pad = -1};
    struct vocab vocab;
    *out = NULL;
    if (!options)
        options = &defaults;
    struct tokenizer *tokenizer = memory_array(1, sizeof *tokenizer);
    if (!tokenizer)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for a tokenizer");
    int status = vocab_parse(&vocab, files, options->default_pad, note, user, fault);
    if (!status) {
        if (options->mode == TOKENIZER_OPEN_CLIP) { /* knows its own special strings, and pads with zeros */
            vocab.added_count = 0;
            vocab.pad_id = 0;
        } else {
            settle_pad(&vocab, options->pad_in_text);
        }
        status = build(tokenizer, &vocab, fault);
        vocab_free(&vocab);
    }
    enum vocab_file_kind source = source_of(files);
    tokenizer->source = vocab_file_names[source];
    tokenizer->pads_by_default = source == VOCAB_COMPACT && options->mode == TOKENIZER_TRANSFORMERS;
    tokenizer->mode = options->mode;
    if (status)
        tokenizer_close(tokenizer);
    else
        *out = tokenizer;
    return status;
}

static int open_read(struct tokenizer **out, struct vocab_files *files, const struct tokenizer_options *options,
                     tokenizer_note *note, void *user, struct fault *fault) {
    int status = tokenizer_open_files(out, files, options, note, user, fault);
    vocab_files_free(files);
    return status;
}

int tokenizer_open(struct tokenizer **out, const char *path, const struct tokenizer_options *options,
                   tokenizer_note *note, void *user, struct fault *fault) {
    struct vocab_files files;
    *out = NULL;
    int status = vocab_files_read(&files, path, fault);
    return status ? status : open_read(out, &files, options, note, user, fault);
}

int tokenizer_open_compact(struct tokenizer **out, const char *directory, const struct tokenizer_options *options,
                           tokenizer_note *note, void *user, struct fault *fault) {
    struct vocab_files files;
    *out = NULL;
    int status = vocab_files_read_compact(&files, directory, fault);
    return status ? status : open_read(out, &files, options, note, user, fault);
}

void tokenizer_close(struct tokenizer *tokenizer) {
    if (!tokenizer)
        return;
    bpe_close(&tokenizer->bpe);
    memory_free(tokenizer->as_written.tokens);
    memory_free(tokenizer->cleaned.tokens);
    memory_free(tokenizer->added_bytes);
    memory_free(tokenizer);
}

int tokenizer_is_in(const char *directory) {
    return file_exists(directory, vocab_file_names[VOCAB_TOKENIZER_JSON]) ||
           (file_exists(directory, vocab_file_names[VOCAB_VOCAB_JSON]) &&
            file_exists(directory, vocab_file_names[VOCAB_MERGES_TXT])) ||
           tokenizer_compact_is_in(directory);
}

int tokenizer_compact_is_in(const char *directory) {
    return file_exists(directory, vocab_file_names[VOCAB_COMPACT]);
}

const char *tokenizer_source(const struct tokenizer *tokenizer) {
    return tokenizer->source;
}

int tokenizer_pads_by_default(const struct tokenizer *tokenizer) {
    return tokenizer->pads_by_default;
}

int32_t tokenizer_start_id(const struct tokenizer *tokenizer) {
    return tokenizer->start_id;
}

int32_t tokenizer_end_id(const struct tokenizer *tokenizer) {
    return tokenizer->end_id;
}

int32_t tokenizer_pad_id(const struct tokenizer *tokenizer) {
    return tokenizer->pad_id;
}

int32_t tokenizer_id_limit(const struct tokenizer *tokenizer) {
    return tokenizer->id_limit;
}
