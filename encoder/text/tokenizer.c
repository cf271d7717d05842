/* tokenizer.c - builds a tokenizer from its files, and leads a text through its parts.
 */
#include "tokenizer.h"

#include <string.h>

#include "../base/file.h"
#include "../base/memory.h"
#include "../base/utf8.h"
#include "../format/vocab.h"
#include "clean.h"
#include "inside.h"
#include "split.h"

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
    return status;
}

int tokenizer_open_files(struct tokenizer **out, const struct vocab_files *files, tokenizer_note *note, void *user,
                         struct fault *fault) {
    struct vocab vocab;
    *out = NULL;
    struct tokenizer *tokenizer = memory_array(1, sizeof *tokenizer);
    if (!tokenizer)
        return fault_set(fault, FAULT_NO_MEMORY, "no memory for a tokenizer");
    int status = vocab_parse(&vocab, files, note, user, fault);
    if (!status) {
        status = build(tokenizer, &vocab, fault);
        vocab_free(&vocab);
    }
    if (status)
        tokenizer_close(tokenizer);
    else
        *out = tokenizer;
    return status;
}

int tokenizer_open(struct tokenizer **out, const char *path, tokenizer_note *note, void *user, struct fault *fault) {
    struct vocab_files files;
    *out = NULL;
    int status = vocab_files_read(&files, path, fault);
    if (status)
        return status;
    status = tokenizer_open_files(out, &files, note, user, fault);
    vocab_files_free(&files);
    return status;
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
            file_exists(directory, vocab_file_names[VOCAB_MERGES_TXT]));
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

/* ---- scratch ----
 *
 *     origin  uint32_t [growth * bytes + 1]
 *     work    uint32_t [BPE_SCRATCH * growth * bytes]: code points of a segment while cleaning, merging afterwards
 *     clean   char     [growth * bytes]
 */
_Static_assert(BPE_SCRATCH *UNICODE_GROWTH >= 2 * UNICODE_PARTS, "cleaning fits into the room for merging");

size_t tokenizer_scratch_bytes(size_t text_bytes) {
    if (text_bytes > TOKENIZER_TEXT_LIMIT)
        return SIZE_MAX;
    size_t clean = UNICODE_GROWTH * text_bytes;
    return (clean + 1 + BPE_SCRATCH * clean) * sizeof(uint32_t) + clean;
}

size_t tokenizer_id_count_limit(size_t text_bytes) {
    return text_bytes > TOKENIZER_TEXT_LIMIT ? SIZE_MAX : UNICODE_GROWTH * text_bytes;
}

/* ---- running ---- */

struct run {
    const struct tokenizer *tokenizer;
    struct ids *ids;
    struct clean clean;
    uint32_t *work;
    size_t after; /* the clean byte whose origin is the next after that of the byte that was asked for last */
};

/* Where the text ends that clean byte `at` came from. */
static uint64_t end_of(struct run *run, size_t at) {
    const uint32_t *origin = run->clean.origin;
    if (run->after <= at || origin[run->after - 1] != origin[at]) /* GCOVR_EXCL_BR_LINE: pieces come in order, so no other */
        run->after = at + 1;
    while (run->after < run->clean.count && origin[run->after] == origin[at])
        run->after++;
    return origin[run->after];
}

static void add_id(struct run *run, int32_t id, size_t begin, size_t end) {
    ids_add(run->ids, id, run->clean.origin[begin], end_of(run, end - 1));
}

static void run_piece(struct run *run, size_t begin, size_t end) {
    const int32_t *ids;
    const uint32_t *begins;
    size_t size = end - begin;
    size_t count = bpe_merge(&run->tokenizer->bpe, run->clean.bytes + begin, size, run->work, &ids, &begins);
    for (size_t i = 0; i < count; i++)
        add_id(run, ids[i], begin + begins[i], begin + (i + 1 < count ? begins[i + 1] : size));
}

static void run_clean(struct run *run) {
    struct added_walk walk;
    struct added_cut cut;
    added_start(&walk, &run->tokenizer->cleaned, run->clean.bytes, run->clean.count);
    while (added_next(&walk, &cut)) {
        if (cut.token) {
            if (cut.begin < cut.end)
                add_id(run, cut.token->id, cut.begin, cut.end);
            else /* all of it is white space that the token before took along */
                ids_add(run->ids, cut.token->id, run->clean.origin[cut.begin], run->clean.origin[cut.begin]);
            continue;
        }
        struct split split = {.text = run->clean.bytes, .at = cut.begin, .end = cut.end};
        size_t begin, end;
        while (split_next(&split, &begin, &end))
            run_piece(run, begin, end);
    }
}

static size_t first_invalid(const char *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        uint64_t eight;
        if (size - at >= sizeof eight) {
            memcpy(&eight, text + at, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                at += sizeof eight;
                continue;
            }
        }
        size_t length = utf8_length(text + at, size - at);
        if (length == 0)
            return at;
        at += length;
    }
    return size;
}

int tokenizer_run(const struct tokenizer *tokenizer, const char *text, size_t text_bytes, void *scratch,
                  struct ids *ids, struct fault *fault) {
    if (text_bytes > TOKENIZER_TEXT_LIMIT)
        return fault_set(fault, FAULT_LIMIT, "the text has %zu bytes, expected at most %d", text_bytes,
                         TOKENIZER_TEXT_LIMIT);
    size_t invalid = first_invalid(text, text_bytes);
    if (invalid < text_bytes) {
        struct fault_text quoted;
        size_t shown = text_bytes - invalid < 4 ? text_bytes - invalid : 4;
        return fault_set(fault, FAULT_TEXT, "the text: found \"%s\" at byte %zu, expected UTF-8",
                         fault_quote(&quoted, text + invalid, shown), invalid);
    }
    size_t room = UNICODE_GROWTH * text_bytes;
    uint32_t *origin = scratch;
    struct run run = {.tokenizer = tokenizer, .ids = ids, .work = origin + room + 1};
    run.clean = (struct clean){.bytes = (char *)(run.work + BPE_SCRATCH * room), .origin = origin};
    struct added_walk walk;
    struct added_cut cut;
    added_start(&walk, &tokenizer->as_written, text, text_bytes);
    while (added_next(&walk, &cut)) {
        if (cut.token) {
            ids_add(ids, cut.token->id, cut.begin, cut.end);
            continue;
        }
        int32_t *points = (int32_t *)run.work;
        clean_text(text, cut.begin, cut.end, &run.clean, points, points + UNICODE_PARTS * (cut.end - cut.begin));
        run.after = 0;
        run_clean(&run);
    }
    return 0;
}
