/* config.c - reads the keys of a CLIPTextConfig (huggingface/transformers models/clip/configuration_clip.py), at the top of the
 * file or, in a CLIPModel's, as its text_config. Nothing is guessed: a key that the arithmetic depends on and that is not there
 * is an error; in a text_config, of which transformers writes what differs from its class's defaults, it is that default. */
#include "config.h"

#include <string.h>

#include "base/file.h"
#include "base/fpu.h"
#include "base/memory.h"
#include "format/json.h"

#define CONFIG_LIMIT ((size_t)1 << 20)

enum key {
    KEY_HIDDEN_SIZE,
    KEY_LAYERS,
    KEY_HEADS,
    KEY_INTERMEDIATE,
    KEY_POSITIONS,
    KEY_VOCABULARY,
    KEY_PROJECTION,
    KEY_EPSILON,
    KEY_ACTIVATION,
    KEY_EOS,
    KEY_ARCHITECTURES,
    KEY_MODEL_TYPE,
    KEY_TEXT_CONFIG,
    KEYS
};

static const char *const names[KEYS] = {
    "hidden_size",          "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "vocab_size",     "projection_dim",      "layer_norm_eps",
    "hidden_act",           "eos_token_id",      "architectures",       "model_type",
    "text_config",
};

struct config {
    struct json json;
    struct geometry *geometry;
    const struct report *report;
    struct fault *fault;
    unsigned seen;
    int overridden;
    int has_projection; /* the class is CLIPTextModelWithProjection or CLIPModel */
    int is_clip;        /* model_type or architectures say that both towers are there: the tower's keys are in text_config */
    int nested;         /* inside text_config */
    int has_text;       /* text_config was an object */
    struct geometry text, *outer;
    unsigned outer_seen;
};

static int read_count(struct config *c, const struct json_event *event, enum key key, uint32_t *out) {
    int64_t value;
    int status = json_integer(&c->json, event, names[key], &value, c->fault);
    if (status)
        return status;
    if (value < 0 || value > INT32_MAX)
        return json_expected(&c->json, event, names[key], "a count of 31 bits", c->fault);
    *out = (uint32_t)value;
    return 0;
}

static int read_activation(struct config *c, const struct json_event *event) {
    struct fault_text quoted;
    if (c->overridden)
        return json_skip(&c->json, event, c->fault);
    if (event->kind != JSON_STRING)
        return json_expected(&c->json, event, "hidden_act", "a string", c->fault);
    c->geometry->activation = json_is(event, "gelu")         ? ACTIVATION_GELU
                              : json_is(event, "quick_gelu") ? ACTIVATION_QUICK_GELU
                                                             : ACTIVATION_NONE;
    if (c->geometry->activation == ACTIVATION_NONE)
        return fault_set(c->fault, FAULT_UNSUPPORTED, "%s: hidden_act is \"%s\", expected \"gelu\" or \"quick_gelu\"",
                         c->json.name, fault_quote(&quoted, event->bytes, event->size));
    return 0;
}

static int read_end(struct config *c, const struct json_event *event) {
    int64_t value;
    if (event->kind == JSON_NULL)
        return 0;
    int status = json_integer(&c->json, event, "eos_token_id", &value, c->fault);
    if (status)
        return status;
    if (value < 0 || value > INT32_MAX)
        return json_expected(&c->json, event, "eos_token_id", "an id of 31 bits", c->fault);
    c->geometry->legacy_end = value == 2;
    c->geometry->end_id = value == 2 ? -1 : (int32_t)value;
    return 0;
}

static int read_architectures(struct config *c, const struct json_event *begin) {
    struct json_event event;
    struct fault_text quoted;
    unsigned count = 0;
    if (begin->kind != JSON_ARRAY)
        return json_expected(&c->json, begin, "architectures", "an array", c->fault);
    for (;;) {
        int status = json_next(&c->json, &event, c->fault);
        if (status)
            return status;
        if (event.kind == JSON_ARRAY_END)
            break;
        count++;
        if (event.kind == JSON_STRING && json_is(&event, "CLIPTextModelWithProjection"))
            c->has_projection = 1;
        else if (event.kind == JSON_STRING && json_is(&event, "CLIPModel"))
            c->is_clip = 1;
        else if (event.kind != JSON_STRING || !json_is(&event, "CLIPTextModel"))
            return fault_set(c->fault, FAULT_UNSUPPORTED, "%s: architectures names \"%s\", expected CLIPTextModel, "
                             "CLIPTextModelWithProjection or CLIPModel", c->json.name,
                             fault_quote(&quoted, event.bytes, event.size));
    }
    if (count != 1)
        return fault_set(c->fault, FAULT_UNSUPPORTED, "%s: architectures names %u classes, expected one", c->json.name, count);
    return 0;
}

/* model_type of a CLIPModel is "clip"; inside, and alone, that of the text tower. */
static int read_type(struct config *c, const struct json_event *event) {
    struct fault_text quoted;
    if (event->kind == JSON_STRING && json_is(event, "clip_text_model"))
        return 0;
    if (event->kind == JSON_STRING && json_is(event, "clip") && !c->nested) {
        c->is_clip = 1;
        return 0;
    }
    return fault_set(c->fault, FAULT_UNSUPPORTED, "%s: model_type is \"%s\", expected \"clip_text_model\"%s", c->json.name,
                     fault_quote(&quoted, event->bytes, event->size), c->nested ? "" : " or \"clip\"");
}

/* CLIPTextConfig's defaults stand for what is not there. One level: a text_config inside is a key that is not known. */
static int enter_text_config(struct config *c) {
    c->text = (struct geometry){.width = 512, .layers = 12, .heads = 8, .mlp_width = 2048, .context = 77, .vocabulary = 49408,
                                .activation = c->overridden ? c->geometry->activation : ACTIVATION_QUICK_GELU,
                                .norm_epsilon = 1e-5, .end_id = 49407};
    c->outer = c->geometry;
    c->outer_seen = c->seen;
    c->geometry = &c->text;
    c->seen = 0;
    c->nested = c->has_text = 1;
    return 0;
}

static void leave_text_config(struct config *c) {
    c->geometry = c->outer;
    c->seen = c->outer_seen;
    c->nested = 0;
}

static int read_value(struct config *c, enum key key) {
    struct geometry *g = c->geometry;
    struct json_event event;
    int status = json_next(&c->json, &event, c->fault);
    if (status)
        return status;
    switch (key) {
    case KEY_HIDDEN_SIZE:
        return read_count(c, &event, key, &g->width);
    case KEY_LAYERS:
        return read_count(c, &event, key, &g->layers);
    case KEY_HEADS:
        return read_count(c, &event, key, &g->heads);
    case KEY_INTERMEDIATE:
        return read_count(c, &event, key, &g->mlp_width);
    case KEY_POSITIONS:
        return read_count(c, &event, key, &g->context);
    case KEY_VOCABULARY:
        return read_count(c, &event, key, &g->vocabulary);
    case KEY_PROJECTION:
        return event.kind == JSON_NULL ? 0 : read_count(c, &event, key, &g->projection);
    case KEY_EPSILON: {
        uint64_t kept = fpu_hold();
        status = json_real(&c->json, &event, names[key], &g->norm_epsilon, c->fault);
        fpu_restore(kept);
        return status;
    }
    case KEY_ACTIVATION:
        return read_activation(c, &event);
    case KEY_EOS:
        return read_end(c, &event);
    case KEY_ARCHITECTURES:
        return c->nested ? json_skip(&c->json, &event, c->fault) : read_architectures(c, &event);
    case KEY_MODEL_TYPE:
        return read_type(c, &event);
    case KEY_TEXT_CONFIG:
        return event.kind == JSON_OBJECT && !c->nested ? enter_text_config(c) : json_skip(&c->json, &event, c->fault);
    case KEYS:
    default:
        break;
    }
    return json_skip(&c->json, &event, c->fault);
}

static enum key key_of(const struct json_event *event) {
    int key = 0;
    while (key < KEYS && !json_is(event, names[key]))
        key++;
    return (enum key)key;
}

/* The file's members, to its end, and those of text_config among them. */
static int read_members(struct config *c) {
    struct json_event event;
    for (;;) {
        int status = json_next(&c->json, &event, c->fault);
        if (status)
            return status;
        if (event.kind == JSON_OBJECT_END && !c->nested)
            return 0;
        if (event.kind == JSON_OBJECT_END) {
            leave_text_config(c);
            continue;
        }
        enum key key = key_of(&event);
        if (key < KEYS && (c->seen >> key & 1u))
            return fault_set(c->fault, FAULT_FORMAT, "%s: %s stands in it twice", c->json.name, names[key]);
        if (key < KEYS)
            c->seen |= 1u << key;
        if ((status = read_value(c, key)))
            return status;
    }
}

static int read_file(struct config *c) {
    struct json_event event;
    int status = json_next(&c->json, &event, c->fault);
    if (status)
        return status;
    if (event.kind != JSON_OBJECT)
        return json_expected(&c->json, &event, "the file", "an object", c->fault);
    status = read_members(c);
    return status ? status : json_next(&c->json, &event, c->fault);
}

static int has(const struct config *c, enum key key) {
    return (int)(c->seen >> key & 1u);
}

/* A CLIPModel's projection_dim stands beside text_config (the one inside is CLIPTextConfig's own affair); 512 is the default. */
static int check_clip(struct config *c) {
    struct geometry *g = c->geometry;
    uint32_t projection = has(c, KEY_PROJECTION) ? g->projection : 512;
    if (!c->has_text)
        return fault_set(c->fault, FAULT_FORMAT, "%s: is of a CLIPModel, but text_config is missing", c->json.name);
    *g = c->text;
    g->projection = projection;
    if (projection == 0)
        return fault_set(c->fault, FAULT_FORMAT, "%s: CLIPModel needs projection_dim, found 0", c->json.name);
    if (c->overridden)
        report_say(c->report, REPORT_NOTE, "hidden_act", "overridden by the host: %s", activation_name(g->activation));
    return geometry_check(g, c->json.name, c->fault);
}

static int check(struct config *c) {
    /* without any of these the tower cannot be computed; epsilon is 1e-5 in every CLIP and CLIPTextConfig's default */
    static const enum key needed[] = {KEY_HIDDEN_SIZE, KEY_LAYERS,    KEY_HEADS,      KEY_INTERMEDIATE, KEY_POSITIONS,
                                      KEY_VOCABULARY,  KEY_ACTIVATION, KEY_ARCHITECTURES};
    struct geometry *g = c->geometry;
    if (c->is_clip)
        return check_clip(c);
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!has(c, needed[i]) && !(needed[i] == KEY_ACTIVATION && c->overridden))
            return fault_set(c->fault, FAULT_FORMAT, "%s: %s is missing", c->json.name, names[needed[i]]);
    if (!has(c, KEY_EPSILON))
        report_say(c->report, REPORT_NOTE, "layer_norm_eps", "missing; taken as 1e-5, transformers' default");
    if (!has(c, KEY_EOS))
        report_say(c->report, REPORT_NOTE, "eos_token_id", "missing; the end id is the tokenizer's");
    if (c->overridden)
        report_say(c->report, REPORT_NOTE, "hidden_act", "overridden by the host: %s", activation_name(g->activation));
    if (c->has_projection && g->projection == 0)
        return fault_set(c->fault, FAULT_FORMAT, "%s: CLIPTextModelWithProjection needs projection_dim, found %s", c->json.name,
                         has(c, KEY_PROJECTION) ? "0" : "none");
    if (!c->has_projection)
        g->projection = 0; /* a CLIPTextModel's config carries the number of the model it came from */
    return geometry_check(g, c->json.name, c->fault);
}

int config_parse(struct geometry *out, const char *name, const char *text, size_t size, enum activation activation,
                 const struct report *report, struct fault *fault) {
    struct config c = {.geometry = out, .report = report, .fault = fault, .overridden = activation != ACTIVATION_NONE};
    *out = (struct geometry){.activation = activation, .norm_epsilon = 1e-5, .end_id = -1};
    json_start(&c.json, name, text, size);
    int status = read_file(&c);
    return status ? status : check(&c);
}

int config_read(struct geometry *out, const char *directory, enum activation activation, const struct report *report,
                struct fault *fault) {
    char *text;
    size_t size;
    int status = file_read_all(directory, "config.json", CONFIG_LIMIT, &text, &size, fault);
    if (status)
        return status;
    status = config_parse(out, "config.json", text, size, activation, report, fault);
    memory_free(text);
    return status;
}
