/* fuzz_conditioning.c - any bytes as a conditioning file: a manifest; behind a NUL a safetensors header, into whose object the
 * manifest is put where a writer puts it; behind another the data. An empty manifest: the rest is a file as it stands.
 *
 * Protects: no byte beyond the file is read; what is refused has a sentence of printable ASCII, which a hostile file cannot fill
 * with its own words; of what is read, every tensor lies in the file with the size of its shape, and every token, window and size is
 * in its range.
 */
#include <stdlib.h>
#include <string.h>

#include "../../samples/penult/conditioning_file.h"
#include "fuzz.h"
#include "parts.h"

static size_t put(unsigned char *to, size_t used, const char *text, size_t size) {
    memcpy(to + used, text, size);
    return used + size;
}

/* The manifest as a string of the header. */
static size_t put_quoted(unsigned char *to, size_t used, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"' || text[i] == '\\')
            used = put(to, used, "\\", 1);
        used = put(to, used, text + i, 1);
    }
    return used;
}

static unsigned char *make_file(const struct parts *parts, size_t *size) {
    static const char begin[] = "{\"__metadata__\":{\"penult\":\"0\",\"" CONDITIONING_KEY "\":\"", middle[] = "\"},", close[] = "\"}";
    const char *rest = parts->at[1] + 1;
    size_t rest_size = parts->size[1] > 0 ? parts->size[1] - 1 : 0, used = 8;
    unsigned char *file = malloc(8 + sizeof begin + 2 * parts->size[0] + sizeof middle + parts->size[1] + parts->size[2] + 2);
    fuzz_require(file != NULL, "the test has no memory");
    if (parts->size[0] > 0) {
        int is_last = rest_size == 0 || rest[0] == '}';
        used = put(file, used, begin, sizeof begin - 1);
        used = put_quoted(file, used, parts->at[0], parts->size[0]);
        used = is_last ? put(file, used, close, sizeof close - 1) : put(file, used, middle, sizeof middle - 1);
        used = put(file, used, rest, rest_size);
        for (unsigned i = 0; i < 8; i++)
            file[i] = (unsigned char)((uint64_t)(used - 8) >> 8 * i & 255);
    } else {
        used = put(file, 0, parts->at[1], parts->size[1]);
    }
    *size = put(file, used, parts->at[2], parts->size[2]);
    unsigned char *exact = realloc(file, *size ? *size : 1); /* so that a sanitizer sees a step too far */
    fuzz_require(exact != NULL, "the test has no memory");
    return exact;
}

static void check_tensors(const struct conditioning_file *file, const unsigned char *bytes, size_t size) {
    fuzz_require(file->tensor_count > 0 && file->tensor_count <= CONDITIONING_TENSORS_MAX, "a file without tensors");
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct tensor *tensor = &file->tensors[i];
        const unsigned char *data = tensor->data;
        uint64_t count = 1;
        for (unsigned k = 0; k < tensor->rank; k++)
            count *= tensor->shape[k];
        fuzz_require(tensor->rank >= 1 && tensor->rank <= TENSOR_RANK_MAX && count == tensor->count && count > 0, "a shape");
        fuzz_require(tensor->bytes == count * (tensor->dtype == PENULT_F32 ? 4 : 2), "a size that is not the shape's");
        fuzz_require(data >= bytes && tensor->bytes <= (size_t)(bytes + size - data), "a tensor outside the file");
        fuzz_require(tensor->name[sizeof tensor->name - 1] == '\0', "a name without an end");
        (void)tensor_summarise(tensor);
    }
}

static void check_tokens(const struct conditioning_file *file) {
    size_t at = 0;
    uint64_t cut = 0;
    for (size_t t = 0; t < file->tower_count; t++) {
        for (int side = 0; side < 2; side++) {
            fuzz_require(file->towers[t].first[side] == at, "tokens of a tower elsewhere");
            for (size_t i = 0; i < file->towers[t].count[side]; i++, at++) {
                const penult_condition_token *token = &file->tokens[at];
                int is_cut = token->chunk == PENULT_CHUNK_CUT;
                cut += (uint64_t)is_cut;
                fuzz_require(token->tower == t && token->negative == (uint32_t)side && token->id >= 0, "a token of another tower");
                fuzz_require(is_cut || (token->chunk < CONDITIONING_WINDOWS_MAX && token->row >= 1 && token->row + 1 < file->window),
                             "a token in no window");
                fuzz_require(token->begin <= token->end && token->end <= CONDITIONING_MANIFEST_MAX, "a token without a text");
            }
        }
        fuzz_require(file->towers[t].name && file->towers[t].model && file->towers[t].width > 0, "a tower without a name");
        fuzz_require(!file->towers[t].weights || strlen(file->towers[t].weights) == 64, "a hash of another length");
    }
    fuzz_require(at == file->token_count && cut == file->cut, "tokens that are not counted");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct parts parts = parts_of(data, size, 3);
    struct conditioning_file file;
    size_t file_size;
    char why[256] = "";
    unsigned char *bytes = make_file(&parts, &file_size);
    bool done = conditioning_file_read(&file, bytes, file_size, why, sizeof why);
    if (done) {
        check_tensors(&file, bytes, file_size);
        check_tokens(&file);
        fuzz_require(file.tower_count >= 1 && file.tower_count <= CONDITIONING_TOWERS_MAX, "no towers");
        fuzz_require(file.recipe && file.penult && file.prompt && file.applied.dialect && file.dtype, "a string that is not there");
        fuzz_require(file.applied.dtype >= PENULT_F32 && file.applied.dtype <= PENULT_BF16, "a dtype");
        fuzz_require(file.chunks >= file.own_chunks && file.chunks <= CONDITIONING_WINDOWS_MAX && file.window >= 3, "windows");
    } else {
        fuzz_require(why[0] != '\0', "a refusal without a sentence");
        for (const char *at = why; *at != '\0'; at++)
            fuzz_require(*at >= 0x20 && *at < 0x7F, "a refusal in the file's own words");
    }
    conditioning_file_free(&file);
    free(bytes);
    return 0;
}

static const char *const keys[] = {
    "format", "penult", "recipe", "dialect", "emphasis", "clip_skip", "split", "skip_all", "prompt", "prompt_2", "negative", "negative_2",
    "sizes", "negative_sizes", "original", "crop", "target", "score", "dtype", "kernels", "open_clip", "pad_in_text", "window", "chunks",
    "own_chunks", "negative_chunks", "negative_own_chunks", "negative_zero", "cut", "towers", "name", "model", "weights", "width",
    "projection", "second_prompt", "activation", "computed_with", "tokens", "negative_tokens", "id", "weight", "chunk", "row", "begin", "end", "tensors",
    "prompt_embeds", "vector", "shape", "data_offsets", NULL};
static const char *const values[] = {
    "0", "1", "-1", "2", "77", "1.5", "1e300", "1e999", "-0", "4294967296", "9007199254740993", "null", "true", "false", "\"\"", "\"f32\"",
    "\"f16\"", "\"bf16\"", "\"best\"", "\"a1111\"", "\"compel\"", "\"original\"", "[]", "[1,2]", "[1,1]", "[0,4]", "[null]", "{}", "\"F32\"",
    "\"F16\"", "\"BF16\"", "\"\\u0000\"", "\"\\\\\"", "\"\\ud83d\\ude00\"", NULL};
static const struct json_words words = {keys, values};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    return parts_mutate(data, size, room, seed, 3, SIZE_MAX, &words);
}
