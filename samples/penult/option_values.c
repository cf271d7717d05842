/* option_values.c - see option_values.h. Words and numbers that encode, tokenize and info take; those of condition are in
 * option_condition.c. */
#include "option_values.h"

#include <string.h>

#include "../../api/penult.h"
#include "say.h"

bool option_word(const struct word *words, size_t count, const char *text, uint32_t *value) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i].name, text) == 0) {
            *value = words[i].value;
            return true;
        }
    }
    return false;
}

/* A whole decimal number with an optional minus, nothing around it. */
bool option_number(const char *text, int64_t lowest, int64_t highest, int64_t *value) {
    bool negative = *text == '-';
    int64_t number = 0;
    text += negative;
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || number > INT32_MAX) {
            return false;
        }
        number = number * 10 + (*text - '0');
    }
    *value = negative ? -number : number;
    return *value >= lowest && *value <= highest;
}

static int add_layer(struct options *options, const char *value) {
    int64_t layer;
    if (!option_number(value, INT32_MIN, INT32_MAX, &layer)) {
        return say_usage("--layer takes a whole number such as -2 (counted from the end) or 3 (the output of block 3); "
                         "found \"%s\"", value);
    }
    for (size_t i = 0; i < options->layer_count; i++) {
        if (options->layers[i] == (int32_t)layer) {
            return say_usage("--layer %s is given twice", value);
        }
    }
    options->layers[options->layer_count++] = (int32_t)layer;
    return STATUS_OK;
}

static int add_pooled(struct options *options, const char *value) {
    static const struct word words[] = {
        {"raw", PENULT_POOLED_RAW},
        {"projected", PENULT_POOLED_PROJECTED},
        {"normalised", PENULT_POOLED_NORMALISED},
    };
    uint32_t kind;
    if (!option_word(words, sizeof words / sizeof words[0], value, &kind)) {
        return say_usage("--pooled takes raw, projected or normalised; found \"%s\"", value);
    }
    for (size_t i = 0; i < options->pooled_count; i++) {
        if (options->pooled[i] == kind) {
            return say_usage("--pooled %s is given twice", value);
        }
    }
    options->pooled[options->pooled_count++] = kind;
    return STATUS_OK;
}

static int set_dtype(struct options *options, const char *value) {
    static const struct word words[] = {{"f32", PENULT_F32}, {"f16", PENULT_F16}, {"bf16", PENULT_BF16}};
    if (!option_word(words, sizeof words / sizeof words[0], value, &options->dtype)) {
        return say_usage("--dtype takes f32, f16 or bf16; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_activation(struct options *options, const char *value) {
    static const struct word words[] = {{"gelu", PENULT_GELU}, {"quick_gelu", PENULT_QUICK_GELU}};
    if (!option_word(words, sizeof words / sizeof words[0], value, &options->activation)) {
        return say_usage("--activation takes gelu or quick_gelu; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_pad_in_text(struct options *options, const char *value) {
    static const struct word words[] = {{"text", PENULT_PAD_IS_TEXT}, {"special", PENULT_PAD_IS_SPECIAL}};
    if (!option_word(words, sizeof words / sizeof words[0], value, &options->pad_in_text)) {
        return say_usage("--pad-in-text takes text or special; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_kernels(struct options *options, const char *value) {
    static const struct word words[] = {{"best", 0},
                                        {"scalar", PENULT_KERNELS_SCALAR},
                                        {"openblas", PENULT_KERNELS_OPENBLAS},
                                        {"avx2", PENULT_KERNELS_AVX2},
                                        {"avx512", PENULT_KERNELS_AVX512},
                                        {"amx", PENULT_KERNELS_AMX}};
    if (!option_word(words, sizeof words / sizeof words[0], value, &options->kernels)) {
        return say_usage("--kernels takes best, scalar, openblas, avx2, avx512 or amx; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_arithmetic(struct options *options, const char *value) {
    static const struct word words[] = {{"exact", PENULT_ARITHMETIC_EXACT}, {"bf16", PENULT_ARITHMETIC_BF16}};
    if (!option_word(words, sizeof words / sizeof words[0], value, &options->arithmetic)) {
        return say_usage("--arithmetic takes exact or bf16; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_threads(struct options *options, const char *value) {
    int64_t threads;
    if (!option_number(value, 0, 256, &threads)) {
        return say_usage("--threads takes a number from 1 to 256, or 0 for every CPU this process may use; found "
                         "\"%s\"", value);
    }
    options->threads = (uint32_t)threads;
    return STATUS_OK;
}

static int set_heads(struct options *options, const char *value) {
    int64_t heads;
    if (!option_number(value, 1, 1024, &heads)) {
        return say_usage("--heads takes a whole number from 1 to 1024; found \"%s\"", value);
    }
    options->heads = (uint32_t)heads;
    return STATUS_OK;
}

int option_apply(struct options *options, enum option option, const char *value) {
    bool known = true;
    int status = option_apply_condition(options, option, value, &known);
    if (known) {
        return status;
    }
    switch (option) {
    case OPTION_LAYER: return add_layer(options, value);
    case OPTION_POOLED: return add_pooled(options, value);
    case OPTION_DTYPE: return set_dtype(options, value);
    case OPTION_THREADS: return set_threads(options, value);
    case OPTION_KERNELS: return set_kernels(options, value);
    case OPTION_ARITHMETIC: return set_arithmetic(options, value);
    case OPTION_ACTIVATION: return set_activation(options, value);
    case OPTION_FINAL_NORM: options->final_norm = true; break;
    case OPTION_OUT: options->outs[options->out_count++] = value; break;
    case OPTION_HEATMAP: options->heatmap = value; break;
    case OPTION_TOKENIZER: options->tokenizer = value; break;
    case OPTION_TOWER: options->tower = value; break;
    case OPTION_HEADS: return set_heads(options, value);
    case OPTION_HASH: options->hash = true; break;
    case OPTION_TENSORS: options->tensors = true; break;
    case OPTION_VOCAB: options->tokenizer = *value != '\0' ? value : options->tokenizer; break;
    case OPTION_OPEN_CLIP: options->tokenizer_mode = PENULT_TOKENIZER_OPEN_CLIP; break;
    case OPTION_PAD_IN_TEXT: return set_pad_in_text(options, value);
    case OPTION_COPY: options->access = PENULT_COPY; break;
    case OPTION_PLUGIN: options->plugin = value; break;
    case OPTION_PROMPTS: options->sources[options->source_count++] = (struct prompt_source){value, true}; break;
    case OPTION_BODY: options->body = true; break;
    case OPTION_JSON: options->json = true; break;
    case OPTION_QUIET: options->quiet = true; break;
    default: break; /* help and version: options_parse has seen to them */
    }
    return STATUS_OK;
}
