/* conditioning_file.c - see conditioning_file.h: the container, and the parts of the manifest that are one value each.
 * conditioning_tokens.c has the towers. */
#include "conditioning_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conditioning_inside.h"

bool conditioning_refuse(struct reader *reader, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reader->why, reader->why_size, format, arguments);
    va_end(arguments);
    return false;
}

bool conditioning_whole(struct reader *reader, const json_value *object, const char *key, int64_t lowest, int64_t highest,
                        int64_t *out) {
    return json_take_whole(json_member(object, key), lowest, highest, out) ||
           conditioning_refuse(reader, "the manifest's %s is not a whole number from %lld to %lld", key, (long long)lowest,
                               (long long)highest);
}

bool conditioning_string(struct reader *reader, const json_value *object, const char *key, bool may_be_null, const char **out) {
    const json_value *value = json_member(object, key);
    *out = NULL;
    return json_take_string(value, out) || (may_be_null && value != NULL && json_kind(value) == JSON_NULL) ||
           conditioning_refuse(reader, "the manifest's %s is not a string%s", key, may_be_null ? " or null" : "");
}

static bool take_bool(struct reader *reader, const char *key, bool *out) {
    return json_take_bool(json_member(reader->file->manifest, key), out) ||
           conditioning_refuse(reader, "the manifest's %s is not true or false", key);
}

static bool take_uint(struct reader *reader, const char *key, uint32_t highest, uint32_t *out) {
    int64_t number;
    if (!conditioning_whole(reader, reader->file->manifest, key, 0, highest, &number)) {
        return false;
    }
    *out = (uint32_t)number;
    return true;
}

/* ---- the container ---- */

static bool take_shape(const json_value *list, struct tensor *tensor) {
    tensor->rank = 0;
    tensor->count = 1;
    for (const json_value *at = json_first(list); at != NULL; at = json_after(at)) {
        int64_t size;
        if (tensor->rank == TENSOR_RANK_MAX || !json_take_whole(at, 1, UINT32_MAX, &size) ||
            __builtin_mul_overflow(tensor->count, (uint64_t)size, &tensor->count)) {
            return false;
        }
        tensor->shape[tensor->rank++] = (uint64_t)size;
    }
    return json_kind(list) == JSON_ARRAY && tensor->rank > 0;
}

/* An entry of the header. Its data begin where those of the entry before it end: the writer leaves no gaps and keeps the
 * order, and so does the safetensors package for tensors of one type. */
static bool take_entry(struct reader *reader, const json_value *entry, unsigned char *data, uint64_t size, uint64_t *used) {
    static const struct {
        const char *name;
        uint32_t dtype;
    } types[] = {{"F32", PENULT_F32}, {"F16", PENULT_F16}, {"BF16", PENULT_BF16}};
    struct conditioning_file *file = reader->file;
    const json_value *offsets = json_member(entry, "data_offsets"), *shape = json_member(entry, "shape");
    const char *key = json_key(entry), *type;
    struct tensor *tensor = &file->tensors[file->tensor_count];
    int64_t begin, end;
    if (file->tensor_count == CONDITIONING_TENSORS_MAX) {
        return conditioning_refuse(reader, "it has more than %d tensors", CONDITIONING_TENSORS_MAX);
    }
    if (strlen(key) >= sizeof tensor->name) {
        return conditioning_refuse(reader, "the name of a tensor is longer than any that a recipe has");
    }
    *tensor = (struct tensor){0};
    memcpy(tensor->name, key, strlen(key) + 1);
    if (json_kind(entry) != JSON_OBJECT || json_count(entry) != 3 || !json_take_string(json_member(entry, "dtype"), &type)) {
        return conditioning_refuse(reader, "the header's entry of a tensor is not dtype, shape and data_offsets");
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        tensor->dtype = strcmp(types[i].name, type) == 0 ? types[i].dtype : tensor->dtype;
    }
    if (tensor->dtype == 0) {
        return conditioning_refuse(reader, "a tensor's dtype is none of F32, F16 and BF16");
    }
    if (shape == NULL || !take_shape(shape, tensor) ||
        __builtin_mul_overflow(tensor->count, tensor_item_bytes(tensor->dtype), &tensor->bytes)) {
        return conditioning_refuse(reader, "a tensor's shape is not of 1 to %d sizes", TENSOR_RANK_MAX);
    }
    if (json_kind(offsets != NULL ? offsets : entry) != JSON_ARRAY || json_count(offsets) != 2 ||
        !json_take_whole(json_first(offsets), 0, INT64_C(1) << 53, &begin) ||
        !json_take_whole(json_after(json_first(offsets)), 0, INT64_C(1) << 53, &end)) {
        return conditioning_refuse(reader, "a tensor's data_offsets are not two whole numbers");
    }
    if ((uint64_t)begin != *used || end < begin || (uint64_t)(end - begin) != tensor->bytes || (uint64_t)end > size) {
        return conditioning_refuse(reader, "the data of a tensor are not where the one before it ends, of its shape's size");
    }
    tensor->data = data + begin;
    *used = (uint64_t)end;
    file->tensor_count++;
    return true;
}

static bool take_header(struct reader *reader, unsigned char *data, uint64_t size) {
    uint64_t used = 0;
    for (const json_value *at = json_first(reader->file->header); at != NULL; at = json_after(at)) {
        if (strcmp(json_key(at), "__metadata__") != 0 && !take_entry(reader, at, data, size, &used)) {
            return false;
        }
    }
    if (reader->file->tensor_count == 0) {
        return conditioning_refuse(reader, "it has no tensor");
    }
    return used == size || conditioning_refuse(reader, "its tensors have %llu bytes, and it holds %llu", (unsigned long long)used,
                                               (unsigned long long)size);
}

static bool open_container(struct reader *reader, unsigned char *bytes, size_t size) {
    struct conditioning_file *file = reader->file;
    uint64_t length = 0;
    const char *why, *text;
    for (unsigned i = 0; i < 8 && size >= 8; i++) {
        length |= (uint64_t)bytes[i] << 8 * i;
    }
    if (size < 8 || length > size - 8) {
        return conditioning_refuse(reader, "it is too short for the safetensors header that it says it has");
    }
    if (length > CONDITIONING_HEADER_MAX) {
        return conditioning_refuse(reader, "its header has %llu bytes, and a conditioning file's has at most %d",
                                   (unsigned long long)length, CONDITIONING_HEADER_MAX);
    }
    file->header = json_parse((const char *)bytes + 8, (size_t)length, &why);
    if (file->header == NULL) {
        return conditioning_refuse(reader, "it is no conditioning file: its header %s", why);
    }
    const json_value *metadata = json_member(file->header, "__metadata__");
    if (!json_take_string(json_member(metadata, CONDITIONING_KEY), &text)) {
        return conditioning_refuse(reader, "it is no conditioning file: its metadata have no %s", CONDITIONING_KEY);
    }
    if (strlen(text) > CONDITIONING_MANIFEST_MAX) {
        return conditioning_refuse(reader, "its manifest has %zu bytes, expected at most %d", strlen(text),
                                   CONDITIONING_MANIFEST_MAX);
    }
    file->manifest = json_parse(text, strlen(text), &why);
    if (file->manifest == NULL) {
        return conditioning_refuse(reader, "its manifest %s", why);
    }
    return json_kind(file->manifest) == JSON_OBJECT || conditioning_refuse(reader, "its manifest is not an object");
}

/* ---- the manifest ---- */

/* As many tensors as the header has, each with its shape there. */
static bool check_tensors(struct reader *reader) {
    const json_value *named = json_member(reader->file->manifest, "tensors");
    if (named == NULL || json_kind(named) != JSON_OBJECT || json_count(named) != reader->file->tensor_count) {
        return conditioning_refuse(reader, "the manifest names other tensors than the %zu of the header", reader->file->tensor_count);
    }
    for (size_t i = 0; i < reader->file->tensor_count; i++) {
        const struct tensor *tensor = &reader->file->tensors[i];
        const json_value *sizes = json_member(named, tensor->name);
        struct tensor told = {0};
        if (sizes == NULL || !take_shape(sizes, &told) || told.rank != tensor->rank ||
            memcmp(told.shape, tensor->shape, tensor->rank * sizeof told.shape[0]) != 0) {
            return conditioning_refuse(reader, "the manifest has another shape for a tensor than the header");
        }
        if (tensor->dtype != reader->file->applied.dtype) {
            return conditioning_refuse(reader, "the manifest's dtype is %s, and a tensor has another", reader->file->dtype);
        }
    }
    return true;
}

static bool take_pair(struct reader *reader, const json_value *object, const char *key, bool may_be_null, uint32_t pair[2]) {
    const json_value *list = json_member(object, key);
    int64_t first, second;
    if (may_be_null && list != NULL && json_kind(list) == JSON_NULL) {
        return true;
    }
    if (list == NULL || json_kind(list) != JSON_ARRAY || json_count(list) != 2 ||
        !json_take_whole(json_first(list), may_be_null, INT32_MAX, &first) ||
        !json_take_whole(json_after(json_first(list)), may_be_null, INT32_MAX, &second)) {
        return conditioning_refuse(reader, "the manifest's %s is not two whole numbers%s", key, may_be_null ? " or null" : "");
    }
    pair[0] = (uint32_t)first;
    pair[1] = (uint32_t)second;
    return true;
}

static bool take_sizes(struct reader *reader, const char *key, struct size_options *sizes) {
    const json_value *object = json_member(reader->file->manifest, key);
    if (object != NULL && json_kind(object) == JSON_NULL) {
        return true;
    }
    if (object == NULL || json_kind(object) != JSON_OBJECT) {
        return conditioning_refuse(reader, "the manifest's %s is not an object or null", key);
    }
    const json_value *score = json_member(object, "score");
    sizes->given = true;
    if (!take_pair(reader, object, "original", true, sizes->original) || !take_pair(reader, object, "crop", false, sizes->crop) ||
        !take_pair(reader, object, "target", true, sizes->target)) {
        return false;
    }
    return json_take_real(score, &sizes->score) || (score != NULL && json_kind(score) == JSON_NULL) ||
           conditioning_refuse(reader, "the manifest's score is not a number or null");
}

/* One of these words, as the number that stands for it. */
static bool take_word(struct reader *reader, const char *key, const char *const *words, size_t count, uint32_t *out) {
    const char *text;
    if (!conditioning_string(reader, reader->file->manifest, key, false, &text)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], text) == 0) {
            *out = (uint32_t)i;
            return true;
        }
    }
    return conditioning_refuse(reader, "the manifest's %s is a word that this version does not know", key);
}

static bool take_emphasis(struct reader *reader) {
    static const char *const words[] = {"original", "no-norm", "ignore", "none"};
    struct conditioning_file *file = reader->file;
    if (!conditioning_string(reader, file->manifest, "emphasis", true, &file->emphasis)) {
        return false;
    }
    return file->emphasis == NULL ||
           take_word(reader, "emphasis", words, sizeof words / sizeof words[0], &file->applied.emphasis);
}

static bool take_skip(struct reader *reader) {
    const json_value *value = json_member(reader->file->manifest, "clip_skip");
    int64_t skip;
    if (value != NULL && json_kind(value) == JSON_NULL) {
        return true;
    }
    if (!conditioning_whole(reader, reader->file->manifest, "clip_skip", INT32_MIN, INT32_MAX, &skip)) {
        return false;
    }
    reader->file->applied.has_clip_skip = true;
    reader->file->applied.clip_skip = (int32_t)skip;
    return true;
}

static bool take_words(struct reader *reader) {
    static const char *const dtypes[] = {"none", "f32", "f16", "bf16"};
    static const char *const kernels[] = {"best", "scalar", "openblas", "avx2", "avx512", "amx"};
    static const char *const arithmetics[] = {"exact", "bf16"}; /* since 0.4.0; files from before are exact */
    static const char *const pads[] = {"files", "text", "special"};
    struct options *applied = &reader->file->applied;
    bool open_clip = false;
    if (!take_word(reader, "dtype", dtypes, sizeof dtypes / sizeof dtypes[0], &applied->dtype) ||
        !take_word(reader, "kernels", kernels, sizeof kernels / sizeof kernels[0], &applied->kernels) ||
        (json_member(reader->file->manifest, "arithmetic") != NULL &&
         !take_word(reader, "arithmetic", arithmetics, sizeof arithmetics / sizeof arithmetics[0], &applied->arithmetic)) ||
        !take_word(reader, "pad_in_text", pads, sizeof pads / sizeof pads[0], &applied->pad_in_text) ||
        !take_bool(reader, "open_clip", &open_clip)) {
        return false;
    }
    reader->file->dtype = dtypes[applied->dtype];
    applied->tokenizer_mode = open_clip ? PENULT_TOKENIZER_OPEN_CLIP : PENULT_TOKENIZER_TRANSFORMERS;
    return take_emphasis(reader) && take_skip(reader) && take_bool(reader, "split", &applied->split) &&
           take_bool(reader, "skip_all", &applied->skip_all);
}

static bool take_counts(struct reader *reader) {
    struct conditioning_file *file = reader->file;
    int64_t cut;
    if (!take_uint(reader, "window", UINT16_MAX, &file->window) || !take_uint(reader, "chunks", CONDITIONING_WINDOWS_MAX, &file->chunks) ||
        !take_uint(reader, "own_chunks", CONDITIONING_WINDOWS_MAX, &file->own_chunks) ||
        !take_uint(reader, "negative_chunks", CONDITIONING_WINDOWS_MAX, &file->negative_chunks) ||
        !take_uint(reader, "negative_own_chunks", CONDITIONING_WINDOWS_MAX, &file->negative_own_chunks) ||
        !take_bool(reader, "negative_zero", &file->negative_zero) ||
        !conditioning_whole(reader, file->manifest, "cut", 0, INT64_C(1) << 53, &cut)) {
        return false;
    }
    file->cut = (uint64_t)cut;
    return (file->window >= 3 && file->chunks >= file->own_chunks && file->negative_chunks >= file->negative_own_chunks) ||
           conditioning_refuse(reader, "the manifest's windows do not add up: %u of %u tokens, %u the prompt's own", file->chunks,
                               file->window, file->own_chunks);
}

static bool take_manifest(struct reader *reader) {
    struct conditioning_file *file = reader->file;
    const json_value *manifest = file->manifest;
    int64_t format;
    if (!conditioning_whole(reader, manifest, "format", 1, INT32_MAX, &format)) {
        return false;
    }
    if (format != CONDITIONING_FORMAT) {
        return conditioning_refuse(reader, "its format is %lld, and this version reads %d", (long long)format, CONDITIONING_FORMAT);
    }
    if (!conditioning_string(reader, manifest, "penult", false, &file->penult) ||
        !conditioning_string(reader, manifest, "recipe", false, &file->recipe) ||
        !conditioning_string(reader, manifest, "dialect", false, &file->applied.dialect) ||
        !conditioning_string(reader, manifest, "prompt", false, &file->prompt) ||
        !conditioning_string(reader, manifest, "prompt_2", true, &file->applied.prompt_2) ||
        !conditioning_string(reader, manifest, "negative", true, &file->applied.negative) ||
        !conditioning_string(reader, manifest, "negative_2", true, &file->applied.negative_2)) {
        return false;
    }
    file->applied.recipe = file->recipe;
    return take_words(reader) && take_sizes(reader, "sizes", &file->applied.sizes[0]) &&
           take_sizes(reader, "negative_sizes", &file->applied.sizes[1]) && take_counts(reader) && check_tensors(reader) &&
           conditioning_take_towers(reader);
}

bool conditioning_file_read(struct conditioning_file *file, unsigned char *bytes, size_t size, char *why, size_t why_size) {
    struct reader reader = {file, why, why_size};
    *file = (struct conditioning_file){0};
    if (!open_container(&reader, bytes, size)) {
        return false;
    }
    uint64_t length = 0;
    for (unsigned i = 0; i < 8; i++) {
        length |= (uint64_t)bytes[i] << 8 * i;
    }
    size_t tokens = conditioning_count_tokens(file->manifest);
    file->tokens = calloc(tokens + 1, sizeof *file->tokens);
    if (file->tokens == NULL) {
        return conditioning_refuse(&reader, "there is no memory for its %zu tokens", tokens);
    }
    return take_header(&reader, bytes + 8 + length, size - 8 - (size_t)length) && take_manifest(&reader);
}

void conditioning_file_free(struct conditioning_file *file) {
    json_drop(file->header);
    json_drop(file->manifest);
    free(file->tokens);
    *file = (struct conditioning_file){0};
}
