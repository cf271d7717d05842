/* vocab_config.c - tokenizer_config.json, special_tokens_map.json, added_tokens.json and the list of added tokens in
 * tokenizer.json: what they say about special tokens, uninterpreted. Knows no vocabulary.
 */
#include <stdio.h>
#include <string.h>

#include "vocab_inside.h"

const char *const vocab_names[VOCAB_NAMES] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                              "pad_token", "cls_token", "mask_token"};

static struct vocab_mark *new_mark(struct vocab_marks *marks, const struct json *json, struct fault *fault) {
    if (marks->count == VOCAB_ADDED_LIMIT) {
        fault_set(fault, FAULT_LIMIT, "%s: found more than %d added tokens, expected at most that many", json->name,
                  VOCAB_ADDED_LIMIT);
        return NULL;
    }
    void *block = marks->of;
    if (!vocab_grow(&block, marks->count, &marks->room, sizeof *marks->of)) {
        vocab_no_memory(json->name, fault);
        return NULL;
    }
    marks->of = block;
    marks->of[marks->count] = (struct vocab_mark){.id = -1, .order = marks->count, .normalized = -1};
    return &marks->of[marks->count++];
}

static int take_content(struct vocab_build *build, struct json *json, const struct json_event *value, const char *what,
                        struct vocab_mark *mark, struct fault *fault) {
    if (value->kind != JSON_STRING || value->size == 0)
        return json_expected(json, value, what, "a string that is not empty", fault);
    mark->content = vocab_keep(build, value);
    if (mark->content.size > VOCAB_ADDED_BYTES_LIMIT)
        return fault_set(fault, FAULT_LIMIT, "%s: %s: found %zu bytes, expected at most %d", json->name, what,
                         mark->content.size, VOCAB_ADDED_BYTES_LIMIT);
    return 0;
}

/* Keys of an added token. The object's { is taken. typed: "__type" marks it as one, as tokenizer_config.json does. */
static int read_token(struct vocab_build *build, struct json *json, const char *what, int typed, int with_id,
                      struct vocab_mark *mark, struct fault *fault) {
    enum { CONTENT, SINGLE_WORD, LSTRIP, RSTRIP, NORMALIZED, SPECIAL, TYPE, ID, KEYS };
    static const char *const keys[KEYS] = {"content",    "single_word", "lstrip", "rstrip",
                                           "normalized", "special",     "__type", "id"};
    struct json_event key, value;
    uint32_t seen = 0;
    char where[128];
    mark->form = FORM_TOKEN;
    mark->late = (unsigned char)typed;
    for (;;) {
        int status = json_next(json, &key, fault);
        if (status)
            return status;
        if (key.kind == JSON_OBJECT_END)
            break;
        int index = vocab_key(&key, keys, KEYS);
        if (index < 0 || (index == TYPE && !typed) || (index == ID && !with_id))
            return vocab_refuse(json, &key, what, "the keys of an added token", fault);
        snprintf(where, sizeof where, "%s, %s", what, keys[index]);
        if ((status = vocab_seen(json, &key, index, &seen, fault)) || (status = json_next(json, &value, fault)))
            return status;
        if (index == CONTENT) {
            status = take_content(build, json, &value, where, mark, fault);
        } else if (index == TYPE) {
            status = value.kind == JSON_STRING && json_is(&value, "AddedToken")
                         ? 0
                         : vocab_refuse(json, &value, where, "\"AddedToken\"", fault);
        } else if (index == ID) {
            status = json_integer(json, &value, where, &mark->id, fault);
        } else if (value.kind != JSON_TRUE && value.kind != JSON_FALSE) {
            status = json_expected(json, &value, where, "true or false", fault);
        } else {
            unsigned char yes = value.kind == JSON_TRUE;
            if (index == NORMALIZED)
                mark->normalized = (signed char)yes;
            else
                *(index == SINGLE_WORD ? &mark->single_word
                  : index == LSTRIP    ? &mark->lstrip
                  : index == RSTRIP    ? &mark->rstrip
                                       : &mark->special) = yes;
        }
        if (status)
            return status;
    }
    if (!(seen & 1u << CONTENT) || (typed && !(seen & 1u << TYPE)) || (with_id && !(seen & 1u << ID)))
        return fault_set(fault, FAULT_FORMAT, "%s: %s: found no key \"%s\", expected one", json->name, what,
                         !(seen & 1u << CONTENT) ? "content"
                         : typed                 ? "__type"
                                                 : "id");
    return 0;
}

/* A string, null, or an added token. */
static int read_mark(struct vocab_build *build, struct json *json, const char *what, int typed, int may_be_null,
                     struct vocab_mark *mark, struct fault *fault) {
    struct json_event value;
    int status = json_next(json, &value, fault);
    if (status)
        return status;
    *mark = (struct vocab_mark){.id = -1, .normalized = -1};
    if (value.kind == JSON_OBJECT)
        return read_token(build, json, what, typed, 0, mark, fault);
    if (value.kind == JSON_NULL && may_be_null) {
        mark->form = FORM_NULL;
        return 0;
    }
    mark->form = FORM_STRING;
    return take_content(build, json, &value, what, mark, fault);
}

/* A list of special tokens without names, behind what marks holds already. */
static int read_extra(struct vocab_build *build, struct json *json, const char *what, int typed,
                      struct vocab_marks *marks, struct fault *fault) {
    struct json_event value;
    int status = json_next(json, &value, fault);
    if (status || value.kind == JSON_NULL)
        return status;
    if (value.kind != JSON_ARRAY)
        return vocab_refuse(json, &value, what, "a list of tokens", fault);
    for (;;) {
        struct json ahead = *json;
        if ((status = json_next(&ahead, &value, fault)))
            return status;
        if (value.kind == JSON_ARRAY_END) {
            *json = ahead;
            return 0;
        }
        struct vocab_mark *mark = new_mark(marks, json, fault);
        if (!mark)
            return fault->code;
        if ((status = read_mark(build, json, what, typed, 0, mark, fault)))
            return status;
    }
}

/* {"49407": {"content": ...}, ...} */
static int read_decoder(struct vocab_build *build, struct json *json, struct fault *fault) {
    static const char what[] = "added_tokens_decoder";
    struct json_event key, value;
    int status = json_next(json, &value, fault);
    if (status)
        return status;
    if (value.kind != JSON_OBJECT)
        return json_expected(json, &value, what, "an object of ids and tokens", fault);
    build->has_decoder = 1;
    for (;;) {
        if ((status = json_next(json, &key, fault)))
            return status;
        if (key.kind == JSON_OBJECT_END)
            return 0;
        struct vocab_mark *mark = new_mark(&build->listed, json, fault);
        if (!mark)
            return fault->code;
        struct json_event number = key;
        number.kind = JSON_NUMBER;
        if ((status = json_integer(json, &number, "a key of added_tokens_decoder", &mark->id, fault)) ||
            (status = json_next(json, &value, fault)))
            return status;
        if (value.kind != JSON_OBJECT)
            return json_expected(json, &value, what, "an object for each id", fault);
        if ((status = read_token(build, json, what, 0, 0, mark, fault)))
            return status;
    }
}

int vocab_read_added_list(struct vocab_build *build, struct json *json, const struct json_event *value,
                          struct fault *fault) {
    static const char what[] = "added_tokens";
    if (value->kind != JSON_ARRAY)
        return json_expected(json, value, what, "a list of tokens", fault);
    struct vocab_marks none = {0}, *to = build->has_decoder ? &none : &build->listed;
    int status = 0;
    while (!status) {
        struct json_event event;
        struct vocab_mark *mark;
        if ((status = json_next(json, &event, fault)) || event.kind == JSON_ARRAY_END)
            break;
        if (event.kind != JSON_OBJECT)
            status = json_expected(json, &event, what, "an object for each token", fault);
        else if (!(mark = new_mark(to, json, fault)))
            status = fault->code;
        else
            status = read_token(build, json, what, 0, 1, mark, fault);
        none.count = 0; /* checked, but tokenizer_config.json's list is the one that counts */
    }
    vocab_marks_free(&none);
    return status;
}

int vocab_read_special_map(struct vocab_build *build, const struct vocab_files *files, struct fault *fault) {
    struct json json;
    struct json_event key;
    uint32_t seen = 0;
    int status = vocab_begin(&json, VOCAB_SPECIAL_TOKENS_MAP_JSON, files, fault);
    /* additional_special_tokens counts only if tokenizer_config.json has neither of the two keys */
    struct vocab_marks additional = {0};
    int has_additional = 0;
    while (!status) {
        if ((status = json_next(&json, &key, fault)) || key.kind == JSON_OBJECT_END)
            break;
        int index = vocab_key(&key, vocab_names, VOCAB_NAMES);
        if (index >= 0) {
            struct vocab_mark *mark = &build->named[index];
            if (!(status = vocab_seen(&json, &key, index, &seen, fault)) &&
                !(status = read_mark(build, &json, vocab_names[index], 0, 1, mark, fault)) && mark->form == FORM_TOKEN)
                mark->special = 1;
        } else if (json_is(&key, "additional_special_tokens")) {
            has_additional = 1;
            if (!(status = vocab_seen(&json, &key, VOCAB_NAMES, &seen, fault)))
                status = read_extra(build, &json, "additional_special_tokens", 1, &additional, fault);
        } else if (json_is(&key, "extra_special_tokens")) {
            size_t first = build->extra.count;
            build->has_extra = 1;
            if (!(status = vocab_seen(&json, &key, VOCAB_NAMES + 1, &seen, fault)))
                status = read_extra(build, &json, "extra_special_tokens", 0, &build->extra, fault);
            for (; first < build->extra.count; first++)
                build->extra.of[first].special |= build->extra.of[first].form == FORM_TOKEN;
        } else {
            status = vocab_refuse(&json, &key, "the file", "names of special tokens", fault);
        }
    }
    if (!status && has_additional && !build->has_extra) {
        vocab_marks_free(&build->extra);
        build->extra = additional;
        build->has_extra = 1;
        for (size_t i = 0; i < additional.count; i++)
            build->extra.of[i].late = 1;
    } else {
        vocab_marks_free(&additional);
    }
    struct json_event last;
    return status ? status : json_next(&json, &last, fault);
}

/* Whether one of the files so far calls it a special token. */
static unsigned char is_special(const struct vocab_build *build, struct vocab_text content) {
    for (int name = 0; name < VOCAB_NAMES; name++) {
        const struct vocab_mark *mark = &build->named[name];
        if (mark->content.size && !mark->late && vocab_same(mark->content, content))
            return 1;
    }
    for (size_t i = 0; i < build->extra.count; i++) {
        if (!build->extra.of[i].late && vocab_same(build->extra.of[i].content, content))
            return 1;
    }
    return 0;
}

int vocab_read_added_file(struct vocab_build *build, const struct vocab_files *files, struct fault *fault) {
    struct json json;
    struct json_event key, value;
    int status = vocab_begin(&json, VOCAB_ADDED_TOKENS_JSON, files, fault);
    while (!status) {
        if ((status = json_next(&json, &key, fault)) || key.kind == JSON_OBJECT_END)
            break;
        struct vocab_mark *mark = new_mark(&build->listed, &json, fault);
        if (!mark)
            return fault->code;
        struct json_event content = key;
        content.kind = JSON_STRING;
        mark->form = FORM_TOKEN;
        if (!(status = take_content(build, &json, &content, "a token", mark, fault)) &&
            !(status = json_next(&json, &value, fault)))
            status = json_integer(&json, &value, "the id of an added token", &mark->id, fault);
        mark->special = !status && is_special(build, mark->content);
        mark->normalized = !mark->special;
    }
    return status ? status : json_next(&json, &value, fault);
}

/* ---- tokenizer_config.json ---- */

/* Keys that must say what CLIPTokenizer does anyway. */
static const struct {
    const char *key, *values[2];
} fixed[] = {
    {"tokenizer_class", {"CLIPTokenizer", "CLIPTokenizerFast"}},
    {"backend", {"tokenizers", "tokenizers"}},
    {"padding_side", {"right", "right"}},
    {"truncation_side", {"right", "right"}},
};

/* Keys that make the reference do something else, or that it would read in place of the files. */
static const char *const refused[] = {"vocab",
                                      "merges",
                                      "tokenizer_object",
                                      "gguf_file",
                                      "post_processor",
                                      "tokenizer_padding",
                                      "tokenizer_truncation",
                                      "_json_padding",
                                      "_json_truncation",
                                      "model_specific_special_tokens",
                                      "fast_tokenizer_files",
                                      "init_inputs"};

/* Keys that change nothing about ids: the length comes from the model, and CLIPTokenizer adds start and end always. */
static const char *const harmless[] = {"model_max_length", "max_len",
                                       "errors",           "do_lower_case",
                                       "add_prefix_space", "clean_up_tokenization_spaces",
                                       "name_or_path",     "special_tokens_map_file",
                                       "tokenizer_file",   "vocab_file",
                                       "merges_file",      "processor_class",
                                       "is_local",         "local_files_only",
                                       "use_fast",         "add_bos_token",
                                       "add_eos_token",    "chat_template",
                                       "auto_map"};

static int has_token_suffix(const struct json_event *key) {
    return key->size > 6 && memcmp(key->bytes + key->size - 6, "_token", 6) == 0;
}

static int read_other(struct vocab_build *build, struct json *json, const struct json_event *key, struct fault *fault) {
    struct json_event value;
    struct fault_text quoted;
    int status = json_next(json, &value, fault);
    if (status)
        return status;
    fault_quote(&quoted, key->bytes, key->size);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        if (!json_is(key, fixed[i].key))
            continue;
        int same =
            value.kind == JSON_STRING && (json_is(&value, fixed[i].values[0]) || json_is(&value, fixed[i].values[1]));
        return same ? 0 : vocab_refuse(json, &value, fixed[i].key, fixed[i].values[0], fault);
    }
    if (json_is(key, "split_special_tokens"))
        return value.kind == JSON_FALSE ? 0 : vocab_refuse(json, &value, "split_special_tokens", "false", fault);
    if (vocab_key(key, refused, sizeof refused / sizeof *refused) >= 0 ||
        (has_token_suffix(key) && (value.kind == JSON_STRING || value.kind == JSON_OBJECT)))
        return vocab_refuse(json, &value, quoted.bytes, "no such key", fault);
    if (vocab_key(key, harmless, sizeof harmless / sizeof *harmless) < 0)
        vocab_say(build, json->name, "the key \"%s\" is not heeded", quoted.bytes);
    return json_skip(json, &value, fault);
}

int vocab_read_config(struct vocab_build *build, const struct vocab_files *files, struct fault *fault) {
    struct json json;
    struct json_event key;
    uint32_t seen = 0;
    struct vocab_marks additional = {0};
    int status = vocab_begin(&json, VOCAB_TOKENIZER_CONFIG_JSON, files, fault);
    while (!status) {
        if ((status = json_next(&json, &key, fault)) || key.kind == JSON_OBJECT_END)
            break;
        int index = vocab_key(&key, vocab_names, VOCAB_NAMES);
        if (index >= 0) {
            if (!(status = vocab_seen(&json, &key, index, &seen, fault)))
                status = read_mark(build, &json, vocab_names[index], 1, 1, &build->named[index], fault);
        } else if (json_is(&key, "extra_special_tokens")) {
            build->has_extra = 1;
            if (!(status = vocab_seen(&json, &key, VOCAB_NAMES, &seen, fault)))
                status = read_extra(build, &json, "extra_special_tokens", 1, &build->extra, fault);
        } else if (json_is(&key, "additional_special_tokens")) {
            build->has_extra = 1;
            if (!(status = vocab_seen(&json, &key, VOCAB_NAMES + 1, &seen, fault)))
                status = read_extra(build, &json, "additional_special_tokens", 1, &additional, fault);
        } else if (json_is(&key, "added_tokens_decoder")) {
            if (!(status = vocab_seen(&json, &key, VOCAB_NAMES + 2, &seen, fault)))
                status = read_decoder(build, &json, fault);
        } else {
            status = read_other(build, &json, &key, fault);
        }
    }
    if (!status && build->extra.count == 0) { /* the old name of the key counts where the new one says nothing */
        vocab_marks_free(&build->extra);
        build->extra = additional;
    } else {
        vocab_marks_free(&additional);
    }
    struct json_event last;
    return status ? status : json_next(&json, &last, fault);
}
