/* option_condition.c - the options that `penult condition` has to itself, and those that it takes tower by tower. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../api/penult_condition.h"
#include "option_values.h"
#include "say.h"

#define SIDE_MAX 0x7FFFFFFF

/* "clip_g=PATH". Another word before an equals sign is part of the value: paths may hold one. */
static void add_tower_value(struct tower_value *list, size_t *count, const char *text) {
    static const char *const names[] = {"clip_l", "clip_h", "clip_g", "text_encoder", "text_encoder_2"};
    struct tower_value *added = &list[(*count)++];
    *added = (struct tower_value){.value = text};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(text, names[i], length) == 0 && text[length] == '=') {
            memcpy(added->tower, names[i], length + 1);
            added->value = text + length + 1;
        }
    }
}

static int add_activation(struct options *options, const char *text) {
    add_tower_value(options->activations, &options->activation_count, text);
    const char *value = options->activations[options->activation_count - 1].value;
    if (strcmp(value, "gelu") != 0 && strcmp(value, "quick_gelu") != 0) {
        return say_usage("--activation takes gelu or quick_gelu, or a tower's: clip_l=quick_gelu; found \"%s\"", text);
    }
    return STATUS_OK;
}

/* Two whole numbers with a letter between them. */
static int set_pair(uint32_t pair[2], const char *name, const char *text, char between, const char *example, int64_t lowest) {
    char first[16];
    int64_t numbers[2];
    const char *at = strchr(text, between);
    size_t length = at != NULL ? (size_t)(at - text) : 0;
    if (length == 0 || length >= sizeof first) {
        return say_usage("--%s takes two whole numbers, such as %s; found \"%s\"", name, example, text);
    }
    memcpy(first, text, length);
    first[length] = '\0';
    if (!option_number(first, lowest, SIDE_MAX, &numbers[0]) || !option_number(at + 1, lowest, SIDE_MAX, &numbers[1])) {
        return say_usage("--%s takes two whole numbers, such as %s; found \"%s\"", name, example, text);
    }
    pair[0] = (uint32_t)numbers[0];
    pair[1] = (uint32_t)numbers[1];
    return STATUS_OK;
}

static int set_size(struct size_options *sizes, uint32_t pair[2], const char *name, const char *text) {
    sizes->given = true;
    return set_pair(pair, name, text, 'x', "1024x768 (height, width)", 1);
}

static int set_crop(struct size_options *sizes, const char *name, const char *text) {
    sizes->given = true;
    return set_pair(sizes->crop, name, text, ',', "0,128 (top, left)", 0);
}

static int set_score(struct size_options *sizes, const char *name, const char *text) {
    char *end;
    double score = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(score)) {
        return say_usage("--%s takes a number such as 6.0; found \"%s\"", name, text);
    }
    sizes->given = true;
    sizes->score = score;
    return STATUS_OK;
}

static int set_emphasis(struct options *options, const char *value) {
    static const struct word words[] = {{"original", PENULT_EMPHASIS_ORIGINAL},
                                        {"no-norm", PENULT_EMPHASIS_NO_NORM},
                                        {"ignore", PENULT_EMPHASIS_IGNORE},
                                        {"none", PENULT_EMPHASIS_NONE}};
    if (!option_word(words, sizeof words / sizeof words[0], value, &options->emphasis)) {
        return say_usage("--emphasis takes original, no-norm, ignore or none; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_clip_skip(struct options *options, const char *value) {
    int64_t skip;
    if (!option_number(value, INT32_MIN, INT32_MAX, &skip)) {
        return say_usage("--clip-skip takes a whole number, as the recipe's host counts it; found \"%s\"", value);
    }
    options->clip_skip = (int32_t)skip;
    options->has_clip_skip = true;
    return STATUS_OK;
}

static int set_max_windows(struct options *options, const char *value) {
    int64_t windows;
    if (!option_number(value, 1, 1024, &windows)) {
        return say_usage("--max-windows takes a whole number from 1 to 1024; found \"%s\"", value);
    }
    options->max_windows = (uint32_t)windows;
    return STATUS_OK;
}

static int set_cache(struct options *options, const char *value) {
    int64_t bytes;
    if (!option_number(value, 0, INT32_MAX, &bytes)) {
        return say_usage("--cache takes a number of bytes up to %d, 0 for no cache; found \"%s\"", INT32_MAX, value);
    }
    options->cache_bytes = (uint64_t)bytes;
    options->no_cache = bytes == 0;
    return STATUS_OK;
}

/* What a conditioning file says itself, by name; NULL: what says how it is to be computed or shown. */
static const char *told_by_a_file(enum option option) {
    switch (option) {
    case OPTION_NEGATIVE: return "negative";
    case OPTION_PROMPT_2: return "prompt-2";
    case OPTION_NEGATIVE_2: return "negative-2";
    case OPTION_SIZE: return "size";
    case OPTION_ORIGINAL: return "original";
    case OPTION_CROP: return "crop";
    case OPTION_SCORE: return "score";
    case OPTION_NEGATIVE_ORIGINAL: return "negative-original";
    case OPTION_NEGATIVE_CROP: return "negative-crop";
    case OPTION_NEGATIVE_SIZE: return "negative-size";
    case OPTION_NEGATIVE_SCORE: return "negative-score";
    case OPTION_CLIP_SKIP: return "clip-skip";
    case OPTION_DIALECT: return "dialect";
    case OPTION_EMPHASIS: return "emphasis";
    case OPTION_SPLIT: return "split";
    case OPTION_SKIP_ALL: return "skip-all";
    case OPTION_WANTED: return "tensors";
    case OPTION_OUT: return "out";
    case OPTION_PROMPTS: return "prompts";
    case OPTION_DTYPE: return "dtype";
    case OPTION_KERNELS: return "kernels";
    case OPTION_ARITHMETIC: return "arithmetic";
    case OPTION_OPEN_CLIP: return "open-clip";
    case OPTION_PAD_IN_TEXT: return "pad-in-text";
    default: return NULL;
    }
}

int option_apply_condition(struct options *options, enum option option, const char *value, bool *known) {
    struct size_options *sizes = &options->sizes[0], *negative = &options->sizes[1];
    const char *told = told_by_a_file(option);
    *known = options->command == COMMAND_CONDITION;
    if (*known && told != NULL) {
        options->conditioning_given = told;
    }
    if (*known) {
        switch (option) {
        case OPTION_TOKENIZER: add_tower_value(options->tokenizers, &options->tokenizer_count, value); return STATUS_OK;
        case OPTION_ACTIVATION: return add_activation(options, value);
        case OPTION_MODEL: add_tower_value(options->models, &options->model_count, value); return STATUS_OK;
        case OPTION_NEGATIVE: options->negative = value; return STATUS_OK;
        case OPTION_PROMPT_2: options->prompt_2 = value; return STATUS_OK;
        case OPTION_NEGATIVE_2: options->negative_2 = value; return STATUS_OK;
        case OPTION_SIZE: return set_size(sizes, sizes->target, "size", value);
        case OPTION_ORIGINAL: return set_size(sizes, sizes->original, "original", value);
        case OPTION_CROP: return set_crop(sizes, "crop", value);
        case OPTION_SCORE: return set_score(sizes, "score", value);
        case OPTION_NEGATIVE_ORIGINAL: return set_size(negative, negative->original, "negative-original", value);
        case OPTION_NEGATIVE_CROP: return set_crop(negative, "negative-crop", value);
        case OPTION_NEGATIVE_SIZE: return set_size(negative, negative->target, "negative-size", value);
        case OPTION_NEGATIVE_SCORE: return set_score(negative, "negative-score", value);
        case OPTION_CLIP_SKIP: return set_clip_skip(options, value);
        case OPTION_DIALECT: options->dialect = value; return STATUS_OK;
        case OPTION_EMPHASIS: return set_emphasis(options, value);
        case OPTION_SPLIT: options->split = true; return STATUS_OK;
        case OPTION_SKIP_ALL: options->skip_all = true; return STATUS_OK;
        case OPTION_MAX_WINDOWS: return set_max_windows(options, value);
        case OPTION_CACHE: return set_cache(options, value);
        case OPTION_NO_HASH: options->no_hash = true; return STATUS_OK;
        case OPTION_WANTED: options->wanted = value; return STATUS_OK;
        case OPTION_CHECK: options->check = value; return STATUS_OK;
        default: break;
        }
    }
    *known = false;
    return STATUS_OK;
}
