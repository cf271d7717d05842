/* fuzz_weights.c - any bytes as a prompt with weights, in each dialect. The first byte is the dialect and whether long prompts
 * are split, the second the length of a row. Run from the repository's root: the shipped tokenizer is read once.
 *
 * Protects: no memory is taken and none is touched beyond what was promised; segments cover the text in order, and every byte
 * of it comes from one of the prompt; every token has its place in one window, or is said to be cut off; rows are framed.
 */
#include <stdlib.h>
#include <string.h>

#include "../../encoder/condition/chunk.h"
#include "../../encoder/condition/number.h"
#include "fuzz.h"

static struct tokenizer *tokenizer;
static const char *const subjects[] = {"the prompt", "the weight ", NULL};

static void check_text(const struct dialect_text *text, size_t size) {
    uint32_t at = 0, segment = 0;
    for (size_t i = 0; i < text->segment_count; i++) {
        const struct dialect_segment *one = &text->segments[i];
        fuzz_require(one->begin == at && one->end >= at, "segments with a gap");
        fuzz_require(one->part < text->part_count, "a segment of no part");
        at = one->end;
    }
    fuzz_require(at == text->text_bytes, "text behind the last segment");
    fuzz_require(fuzz_utf8(text->text, text->text_bytes) == text->text_bytes, "text that is not UTF-8");
    for (size_t i = 0; i < text->text_bytes; i++)
        fuzz_require(text->origin[i] < size && (i == 0 || text->origin[i] >= text->origin[i - 1]), "an origin outside or backwards");
    fuzz_require(text->part_count > 0 && (text->join != DIALECT_ONE || text->part_count == 1), "parts");
    for (size_t i = 0; i < text->part_count; i++) {
        fuzz_require(text->parts[i].first == segment, "parts with a gap");
        for (uint32_t j = 0; j < text->parts[i].count; j++)
            fuzz_require(text->segments[segment++].part == i, "a segment of another part");
    }
    fuzz_require(segment == text->segment_count, "a segment behind the last part");
}

static void check_chunks(const struct chunk_rules *rules, const struct dialect_text *text, const struct chunks *chunks, size_t size) {
    size_t next = 0, cut = 0;
    uint32_t part = 0;
    fuzz_require(chunks->count >= text->part_count, "a part without a window");
    for (size_t k = 0; k <= chunks->count; k++) {
        size_t first = k < chunks->count ? chunks->list[k].first : chunks->token_count;
        for (; next < first; next++, cut++)
            fuzz_require(chunks->tokens[next].chunk == CHUNK_NONE, "a token between windows");
        if (k == chunks->count)
            break;
        fuzz_require(next == first && chunks->list[k].count <= rules->length - 2 && chunks->list[k].part >= part, "windows out of order");
        part = chunks->list[k].part;
        for (uint32_t i = 0; i < chunks->list[k].count; i++, next++)
            fuzz_require(chunks->tokens[next].chunk == k && chunks->tokens[next].row == 1 + i, "a token that is not in its window");
    }
    fuzz_require(cut == chunks->cut_count && (cut > 0) == (chunks->cut_begin != UINT32_MAX), "what was cut off");
    fuzz_require(cut == 0 || rules->kind == DIALECT_PLAIN || (rules->kind == DIALECT_COMPEL && !rules->splits), "a token that is lost");
    for (size_t i = 0; i < chunks->token_count; i++) {
        const struct chunk_token *token = &chunks->tokens[i];
        fuzz_require(token->begin <= token->end && token->end <= size && token->text_end <= text->text_bytes, "bytes of a token");
        fuzz_require(token->segment < text->segment_count && !(text->segments[token->segment].flags & DIALECT_BREAK), "a token's segment");
    }
}

static void check_rows(const struct chunk_rules *rules, const struct dialect_text *text, const struct chunks *chunks) {
    int32_t *ids = malloc(rules->length * sizeof *ids);
    double *weights = malloc(rules->length * sizeof *weights);
    unsigned char *mask = malloc(chunks->count * rules->length);
    fuzz_require(ids && weights && mask, "the test has no memory");
    for (size_t k = 0; k < chunks->count; k++) {
        int ends = 0;
        chunks_row(rules, tokenizer, text, chunks, k, ids, weights);
        for (uint32_t i = 0; i < rules->length; i++) {
            fuzz_require(ids[i] >= 0 && ids[i] < tokenizer_id_limit(tokenizer), "an id beyond the limit");
            ends |= ids[i] == tokenizer_end_id(tokenizer);
        }
        fuzz_require(ends && ids[0] == tokenizer_start_id(tokenizer) && weights[0] == 1, "the frame of a row");
    }
    chunks_weighted(text, chunks);
    for (size_t i = 0; i < text->segment_count && rules->kind == DIALECT_COMPEL; i++)
        chunks_mask_without(rules, text, chunks, i, mask);
    free(ids);
    free(weights);
    free(mask);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fault fault = {0};
    if (!tokenizer)
        fuzz_require(tokenizer_open(&tokenizer, "samples/model", NULL, NULL, NULL, &fault) == 0, "run from the repository's root");
    if (size < 2)
        return 0;
    struct chunk_rules rules = chunk_rules_of((enum dialect_kind)(data[0] & 3), tokenizer_pad_id(tokenizer));
    rules.splits = rules.kind == DIALECT_COMPEL && (data[0] & 4);
    rules.length = 10 + data[1] % 80;
    const char *prompt = (const char *)data + 2;
    size -= 2;
    struct dialect_text text;
    struct chunks chunks;
    double number = 0;
    void *parsed = malloc(dialect_scratch_bytes(size)), *cut = malloc(chunks_scratch_bytes(tokenizer, size));
    fuzz_require(parsed && cut, "the test has no memory");
    fuzz_memory_start();
    int status = dialect_parse(rules.kind, prompt, size, parsed, &text, &fault), cutting = 0;
    if (!status)
        cutting = chunks_cut(&rules, tokenizer, &text, cut, &chunks, &fault);
    int is_text = fuzz_utf8(prompt, size) == size;
    if (is_text)
        number_read(prompt, size, &number);
    fuzz_require(fuzz_memory_end().requested == 0, "weights take no memory");
    fuzz_require((status == FAULT_TEXT) == !is_text && cutting == 0, "text that is UTF-8 or not");
    if (status) {
        fuzz_refused(status, &fault, subjects);
    } else {
        check_text(&text, size);
        check_chunks(&rules, &text, &chunks, size);
        check_rows(&rules, &text, &chunks);
    }
    free(parsed);
    free(cut);
    return 0;
}

/* ---- mutation: signs and words of the dialects ---- */

static const char *const pieces[] = {
    "(", ")", "[", "]", ":", "\\", ":1.2)", ":-1)", " BREAK ", "BREAK", "+", "-", "++", ")1.3", ")+", ")--", "\"", "\\\"", "\\(", "\\)",
    ").and(", ").blend(", "no_normalize)", ".attend(", ".swap(", "withLora(x)", ",", ".", " ", "\n", "=", "1e999", "nan", "inf", "1_0",
    "photo", "cat, ", " embedding:", "\xC3\xA9", "\xE3\x80\x80", "\xD9\xA1", "<|endoftext|>", "\f", "\v", "\\t", "((((((((", "))))))))", "\xFF"};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    uint32_t random = fuzz_seed(seed);
    if (size < 2 || room < 64 || fuzz_below(&random, 4) == 0)
        return LLVMFuzzerMutate(data, size, room);
    for (size_t changes = 1 + fuzz_below(&random, 4); changes > 0; changes--) {
        size_t at = 2 + fuzz_below(&random, size - 1), left = size - at;
        const char *piece = pieces[fuzz_below(&random, sizeof pieces / sizeof pieces[0])];
        size_t length = strlen(piece), copies = fuzz_below(&random, 8) ? 1 : 2 + fuzz_below(&random, 60);
        switch (fuzz_below(&random, 4)) {
        case 0:
        case 1:
            for (; copies > 0 && size + length <= room; copies--) {
                memmove(data + at + length, data + at, left);
                memcpy(data + at, piece, length);
                left += length;
                size += length;
            }
            break;
        case 2:
            length = fuzz_below(&random, left + 1);
            length = length < 8 ? length : 8;
            memmove(data + at, data + at + length, left - length);
            size -= length;
            break;
        default:
            data[fuzz_below(&random, 2)] = (uint8_t)fuzz_random(&random);
        }
    }
    return size;
}
