/* option_values.h - what becomes of an option's value. For options.c, option_values.c and option_condition.c alone. */
#ifndef SAMPLES_PENULT_OPTION_VALUES_H
#define SAMPLES_PENULT_OPTION_VALUES_H

#include "options.h"

enum option {
    OPTION_LAYER, OPTION_FINAL_NORM, OPTION_POOLED, OPTION_OUT, OPTION_HEATMAP, OPTION_DTYPE, OPTION_THREADS,
    OPTION_KERNELS, OPTION_ARITHMETIC, OPTION_TOKENIZER, OPTION_VOCAB, OPTION_OPEN_CLIP, OPTION_PAD_IN_TEXT, OPTION_ACTIVATION, OPTION_COPY,
    OPTION_PLUGIN, OPTION_PROMPTS, OPTION_BODY, OPTION_JSON, OPTION_QUIET, OPTION_HELP, OPTION_VERSION, OPTION_TOWER,
    OPTION_HEADS, OPTION_HASH, OPTION_TENSORS,
    OPTION_MODEL, OPTION_NEGATIVE, OPTION_PROMPT_2, OPTION_NEGATIVE_2, OPTION_SIZE, OPTION_ORIGINAL, OPTION_CROP,
    OPTION_SCORE, OPTION_NEGATIVE_SIZE, OPTION_NEGATIVE_ORIGINAL, OPTION_NEGATIVE_CROP,
    OPTION_NEGATIVE_SCORE, OPTION_CLIP_SKIP, OPTION_DIALECT, OPTION_EMPHASIS, OPTION_SPLIT, OPTION_SKIP_ALL,
    OPTION_MAX_WINDOWS, OPTION_CACHE, OPTION_NO_HASH, OPTION_WANTED, OPTION_CHECK
};

struct word {
    const char *name;
    uint32_t value;
};

bool option_word(const struct word *words, size_t count, const char *text, uint32_t *value);

/* A whole decimal number with an optional minus, nothing around it, in this range. */
bool option_number(const char *text, int64_t lowest, int64_t highest, int64_t *value);

/* Puts the value where it belongs. Returns STATUS_OK, or the status to exit with after the sentence was said. */
int option_apply(struct options *options, enum option option, const char *value);

/* The same for what `penult condition` alone has; *known is false, and nothing is done, where it is another's. */
int option_apply_condition(struct options *options, enum option option, const char *value, bool *known);

#endif
