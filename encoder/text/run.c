/* run.c - leads a text through the parts of a tokenizer, in memory that the caller gave. Knows no file.
 */
#include <string.h>

#include "../base/utf8.h"
#include "clean.h"
#include "inside.h"
#include "open_clip.h"
#include "split.h"
#include "unicode_table.h"

/* ---- scratch ----
 *
 *     origin  uint32_t [growth * bytes + 1]
 *     work    uint32_t [BPE_SCRATCH * growth * bytes]: code points while cleaning, merging afterwards
 *     ends    uint32_t [growth * bytes], for open_clip alone
 *     clean   char     [growth * bytes]
 */
_Static_assert(BPE_SCRATCH *UNICODE_GROWTH >= 2 * UNICODE_PARTS, "cleaning fits into the room for merging");
_Static_assert(BPE_SCRATCH *UNICODE_GROWTH >= OPEN_CLIP_SCRATCH, "so does open_clip's");

size_t tokenizer_scratch_bytes(const struct tokenizer *tokenizer, size_t text_bytes) {
    if (text_bytes > TOKENIZER_TEXT_LIMIT)
        return SIZE_MAX;
    size_t clean = UNICODE_GROWTH * text_bytes, arrays = BPE_SCRATCH + (tokenizer->mode == TOKENIZER_OPEN_CLIP ? 2 : 1);
    return (arrays * clean + 1) * sizeof(uint32_t) + clean;
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
    ids_add(run->ids, id, run->clean.origin[begin], run->clean.ends ? run->clean.ends[end - 1] : end_of(run, end - 1));
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

static void run_open_clip(struct run *run) {
    struct split split = {.text = run->clean.bytes, .end = run->clean.count};
    size_t begin, end;
    enum split_kind kind;
    while ((kind = split_next_open_clip(&split, &begin, &end)) != SPLIT_NONE) {
        if (kind == SPLIT_PIECE)
            run_piece(run, begin, end);
        else
            add_id(run, kind == SPLIT_START ? run->tokenizer->start_id : run->tokenizer->end_id, begin, end);
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
    uint32_t *behind = run.work + BPE_SCRATCH * room;
    if (tokenizer->mode == TOKENIZER_OPEN_CLIP) {
        run.clean = (struct clean){.bytes = (char *)(behind + room), .origin = origin, .ends = behind};
        open_clip_clean(text, text_bytes, &run.clean, run.work);
        run_open_clip(&run);
        return 0;
    }
    run.clean = (struct clean){.bytes = (char *)behind, .origin = origin};
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
