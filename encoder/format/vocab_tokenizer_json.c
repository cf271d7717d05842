/* vocab_tokenizer_json.c - tokenizer.json. transformers' CLIPTokenizer takes the vocabulary, the merges and the added
 * tokens from it and builds everything else itself, so the rest of the file must say what it builds: a key that says
 * otherwise, or that we do not know, is refused.
 */
#include <stdio.h>
#include <string.h>

#include "vocab_inside.h"

/* What may stand at one place of the file. A value beginning with " is a string; ANY is any value that is not a list or
 * an object. */
#define ANY "*"

struct leaf {
    const char *path;
    const char *values[2];
    int optional;
};

static const struct leaf leaves[] = {
    {"version", {"\"1.0", NULL}, 1},
    {"normalizer.type", {"\"Sequence", NULL}, 0},
    {"normalizer.normalizers[0].type", {"\"NFC", NULL}, 0},
    {"normalizer.normalizers[1].type", {"\"Replace", NULL}, 0},
    {"normalizer.normalizers[1].pattern.Regex", {"\"\\s+", NULL}, 0},
    {"normalizer.normalizers[1].content", {"\" ", NULL}, 0},
    {"normalizer.normalizers[2].type", {"\"Lowercase", NULL}, 0},
    {"pre_tokenizer.type", {"\"Sequence", NULL}, 0},
    {"pre_tokenizer.pretokenizers[0].type", {"\"Split", NULL}, 0},
    {"pre_tokenizer.pretokenizers[0].pattern.Regex",
     {"\"<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
      "\"'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"}, /* transformers 4; read as the other one */
     0},
    {"pre_tokenizer.pretokenizers[0].behavior", {"\"Removed", NULL}, 0},
    {"pre_tokenizer.pretokenizers[0].invert", {"true", NULL}, 0},
    {"pre_tokenizer.pretokenizers[1].type", {"\"ByteLevel", NULL}, 0},
    {"pre_tokenizer.pretokenizers[1].add_prefix_space", {"false", NULL}, 0},
    {"pre_tokenizer.pretokenizers[1].trim_offsets", {"true", "false"}, 1}, /* about offsets, not ids */
    {"pre_tokenizer.pretokenizers[1].use_regex", {"true", NULL}, 1},
    {"post_processor.type", {"\"RobertaProcessing", NULL}, 0},
    {"post_processor.sep[0]", {ANY, NULL}, 0}, /* compared with the end and start tokens */
    {"post_processor.sep[1]", {ANY, NULL}, 0},
    {"post_processor.cls[0]", {ANY, NULL}, 0},
    {"post_processor.cls[1]", {ANY, NULL}, 0},
    {"post_processor.trim_offsets", {"true", "false"}, 1},
    {"post_processor.add_prefix_space", {"true", "false"}, 1},
    {"model.type", {"\"BPE", NULL}, 1},
    {"model.dropout", {"null", NULL}, 1},
    {"model.unk_token", {ANY, NULL}, 1}, /* tokenizer_config.json's counts */
    {"model.continuing_subword_prefix", {"\"", "null"}, 1},
    {"model.end_of_word_suffix", {"\"</w>", NULL}, 0},
    {"model.fuse_unk", {"false", NULL}, 1},
    {"model.byte_fallback", {"false", NULL}, 1},
    {"model.ignore_merges", {"false", NULL}, 1},
};
#define LEAVES (sizeof leaves / sizeof *leaves)
_Static_assert(LEAVES <= 64, "seen is 64 bits");

/* Keys of the file, and those of the model that are read here. */
enum { ADDED_TOKENS, TRUNCATION, PADDING, DECODER, MODEL, NORMALIZER, PRE_TOKENIZER, POST_PROCESSOR, KEYS };
enum { SEEN_VOCAB = KEYS, SEEN_MERGES };

struct checker {
    struct vocab_build *build;
    struct json *json;
    uint64_t seen; /* one bit a leaf */
};

static int fits(const struct json_event *event, const char *value) {
    if (!value)
        return 0;
    if (value[0] == '"')
        return event->kind == JSON_STRING && json_is(event, value + 1);
    if (strcmp(value, ANY) == 0)
        return 1;
    return (event->kind == JSON_TRUE && strcmp(value, "true") == 0) ||
           (event->kind == JSON_FALSE && strcmp(value, "false") == 0) ||
           (event->kind == JSON_NULL && strcmp(value, "null") == 0);
}

/* post_processor.cls and .sep: a token and its id. */
static int take_frame(struct checker *checker, const char *path, const struct json_event *event, struct fault *fault) {
    static const char prefix[] = "post_processor.";
    if (strncmp(path, prefix, sizeof prefix - 1) != 0 || path[sizeof prefix + 2] != '[')
        return 0;
    struct vocab_mark *mark = &checker->build->frame[path[sizeof prefix - 1] == 's'];
    if (path[sizeof prefix + 3] == '1')
        return json_integer(checker->json, event, path, &mark->id, fault);
    if (event->kind != JSON_STRING)
        return json_expected(checker->json, event, path, "a string", fault);
    mark->form = FORM_STRING;
    mark->content = vocab_keep(checker->build, event);
    return 0;
}

static int check_leaf(struct checker *checker, const char *path, const struct json_event *event, struct fault *fault) {
    for (size_t i = 0; i < LEAVES; i++) {
        if (strcmp(leaves[i].path, path) != 0)
            continue;
        if (checker->seen >> i & 1)
            return fault_set(fault, FAULT_FORMAT, "%s: found the key %s a second time, expected it once",
                             checker->json->name, path);
        checker->seen |= (uint64_t)1 << i;
        if (fits(event, leaves[i].values[0]) || fits(event, leaves[i].values[1]))
            return take_frame(checker, path, event, fault);
        return vocab_refuse(checker->json, event, path, leaves[i].values[0] + (leaves[i].values[0][0] == '"'), fault);
    }
    return vocab_refuse(checker->json, event, path, "no such key (CLIPTokenizer has none)", fault);
}

/* Walks the value that `event` began, and checks each of its scalars under its path: keys joined by dots, [index] in
 * lists. */
static int check_tree(struct checker *checker, const char *root, const struct json_event *begin, struct fault *fault) {
    struct level {
        size_t length; /* of the path of the object or list itself */
        long index;    /* in a list: of the next element; -1: an object */
    } levels[JSON_DEPTH + 1];
    char path[256];
    int is_fresh = 0;
    size_t depth = 0, length = (size_t)snprintf(path, sizeof path, "%.100s", root);
    struct json_event event = *begin;
    for (;;) {
        int status = 0, was_fresh = is_fresh;
        is_fresh = event.kind == JSON_OBJECT || event.kind == JSON_ARRAY;
        if (is_fresh) {
            levels[depth++] = (struct level){length, event.kind == JSON_ARRAY ? 0 : -1};
        } else if (event.kind == JSON_OBJECT_END || event.kind == JSON_ARRAY_END) {
            depth--;
            if (was_fresh) /* nothing in it, so no scalar would speak for it */
                status = check_leaf(checker, path, &event, fault);
        } else if (event.kind != JSON_KEY) {
            status = check_leaf(checker, path, &event, fault);
        }
        if (status || depth == 0)
            return status;
        const struct level *level = &levels[depth - 1];
        if (event.kind != JSON_KEY)
            length = level->length; /* NOLINT(clang-analyzer-core.uninitialized.Assign): depth > 0, so it was begun */
        if ((status = json_next(checker->json, &event, fault)))
            return status;
        size_t room = sizeof path - level->length;
        int wrote = 0;
        if (event.kind == JSON_KEY) {
            struct fault_text quoted;
            wrote = snprintf(path + level->length, room, ".%s", fault_quote(&quoted, event.bytes, event.size));
        } else if (level->index >= 0 && event.kind != JSON_ARRAY_END) {
            wrote = snprintf(path + level->length, room, "[%ld]", levels[depth - 1].index++);
        } else {
            continue;
        }
        if (wrote < 0 || (size_t)wrote >= room) /* GCOVR_EXCL_BR_LINE: snprintf into memory does not fail */
            return vocab_refuse(checker->json, &event, path, "shorter keys", fault);
        length = level->length + (size_t)wrote;
    }
}

static int read_merge(struct vocab_build *build, struct json *json, const struct json_event *event,
                      struct fault *fault) {
    static const char expected[] = "two tokens, as \"a b\" or as a list";
    struct vocab_text left, right;
    if (event->kind == JSON_STRING) {
        struct vocab_text both = vocab_keep(build, event);
        const char *space = memchr(both.bytes, ' ', both.size);
        size_t size = space ? (size_t)(space - both.bytes) : 0;
        if (!space || memchr(space + 1, ' ', both.size - size - 1))
            return json_expected(json, event, "a merge", expected, fault);
        left = (struct vocab_text){both.bytes, size};
        right = (struct vocab_text){space + 1, both.size - size - 1};
    } else if (event->kind == JSON_ARRAY) {
        struct json_event first, second, last;
        int status;
        if ((status = json_next(json, &first, fault)))
            return status;
        if (first.kind != JSON_STRING)
            return json_expected(json, &first, "a merge", expected, fault);
        if ((status = json_next(json, &second, fault)))
            return status;
        if (second.kind != JSON_STRING)
            return json_expected(json, &second, "a merge", expected, fault);
        if ((status = json_next(json, &last, fault)))
            return status;
        if (last.kind != JSON_ARRAY_END)
            return json_expected(json, &last, "a merge", expected, fault);
        left = vocab_keep(build, &first);
        right = vocab_keep(build, &second);
    } else {
        return json_expected(json, event, "a merge", expected, fault);
    }
    return vocab_add_pair(build, left, right, json->name, fault);
}

static int read_merges(struct vocab_build *build, struct json *json, const struct json_event *value,
                       struct fault *fault) {
    if (value->kind != JSON_ARRAY)
        return json_expected(json, value, "model.merges", "a list", fault);
    for (;;) {
        struct json_event event;
        int status = json_next(json, &event, fault);
        if (status || event.kind == JSON_ARRAY_END)
            return status;
        if ((status = read_merge(build, json, &event, fault)))
            return status;
    }
}

static int read_model(struct checker *checker, const struct json_event *value, uint32_t *seen, struct fault *fault) {
    struct json *json = checker->json;
    if (value->kind != JSON_OBJECT)
        return vocab_refuse(json, value, "model", "an object", fault);
    for (;;) {
        struct json_event key, inner;
        char path[128];
        struct fault_text quoted;
        int status = json_next(json, &key, fault);
        if (status || key.kind == JSON_OBJECT_END)
            return status;
        int is_vocab = json_is(&key, "vocab"), is_merges = json_is(&key, "merges");
        if ((is_vocab || is_merges) &&
            (status = vocab_seen(json, &key, is_merges ? SEEN_MERGES : SEEN_VOCAB, seen, fault)))
            return status;
        if ((status = json_next(json, &inner, fault)))
            return status;
        snprintf(path, sizeof path, "model.%.64s", fault_quote(&quoted, key.bytes, key.size));
        status = is_vocab    ? vocab_read_tokens(checker->build, json, &inner, fault)
                 : is_merges ? read_merges(checker->build, json, &inner, fault)
                             : check_tree(checker, path, &inner, fault);
        if (status)
            return status;
    }
}

/* truncation and padding set defaults that CLIPTokenizer's caller overrides, all but the side. */
static int check_side(struct json *json, const char *name, const struct json_event *value, struct fault *fault) {
    if (value->kind == JSON_NULL)
        return 0;
    if (value->kind != JSON_OBJECT)
        return vocab_refuse(json, value, name, "null or an object", fault);
    for (;;) {
        struct json_event key, inner;
        int status = json_next(json, &key, fault);
        if (status || key.kind == JSON_OBJECT_END)
            return status;
        if ((status = json_next(json, &inner, fault)))
            return status;
        if (json_is(&key, "direction") && !(inner.kind == JSON_STRING && json_is(&inner, "Right")))
            return vocab_refuse(json, &inner, name, "the direction \"Right\"", fault);
        if ((status = json_skip(json, &inner, fault)))
            return status;
    }
}

static int check_complete(const struct checker *checker, uint32_t seen, struct fault *fault) {
    const char *missing = !(seen & 1u << SEEN_VOCAB)     ? "model.vocab"
                          : !(seen & 1u << SEEN_MERGES)  ? "model.merges"
                          : !(seen & 1u << ADDED_TOKENS) ? "added_tokens"
                                                         : NULL;
    if (missing)
        return fault_set(fault, FAULT_FORMAT, "%s: found no %s, expected one", checker->json->name, missing);
    for (size_t i = 0; i < LEAVES; i++) {
        if (!leaves[i].optional && !(checker->seen >> i & 1))
            return fault_set(
                fault, FAULT_UNSUPPORTED, "%s: found no %s, expected %s", checker->json->name, leaves[i].path,
                strcmp(leaves[i].values[0], ANY) == 0 ? "one" : leaves[i].values[0] + (leaves[i].values[0][0] == '"'));
    }
    return 0;
}

int vocab_read_tokenizer_json(struct vocab_build *build, const struct vocab_files *files, struct fault *fault) {
    static const char *const keys[KEYS] = {"added_tokens", "truncation", "padding",       "decoder",
                                           "model",        "normalizer", "pre_tokenizer", "post_processor"};
    struct json json;
    struct checker checker = {.build = build, .json = &json};
    struct json_event key, value, last;
    uint32_t seen = 0;
    int status = vocab_begin(&json, VOCAB_TOKENIZER_JSON, files, fault);
    while (!status) {
        if ((status = json_next(&json, &key, fault)) || key.kind == JSON_OBJECT_END)
            break;
        int index = vocab_key(&key, keys, KEYS);
        struct fault_text quoted;
        if (index >= 0 && (status = vocab_seen(&json, &key, index, &seen, fault)))
            break;
        if ((status = json_next(&json, &value, fault)))
            break;
        if (index == ADDED_TOKENS)
            status = vocab_read_added_list(build, &json, &value, fault);
        else if (index == TRUNCATION || index == PADDING)
            status = check_side(&json, keys[index], &value, fault);
        else if (index == DECODER)
            status = json_skip(&json, &value, fault); /* ids to text: not our business */
        else if (index == MODEL)
            status = read_model(&checker, &value, &seen, fault);
        else if (index >= 0 && value.kind != JSON_OBJECT)
            status = vocab_refuse(&json, &value, keys[index], "an object", fault);
        else
            status = check_tree(&checker, index >= 0 ? keys[index] : fault_quote(&quoted, key.bytes, key.size), &value,
                                fault);
    }
    if (!status)
        status = json_next(&json, &last, fault);
    return status ? status : check_complete(&checker, seen, fault);
}
