/* options.h - the command line as a struct. Knows which option belongs to which command and what its value may be;
 * knows nothing of models. */
#ifndef SAMPLES_PENULT_OPTIONS_H
#define SAMPLES_PENULT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* command */
enum command { COMMAND_HELP, COMMAND_VERSION, COMMAND_ENCODE, COMMAND_TOKENIZE, COMMAND_INFO, COMMAND_CONDITION, COMMAND_RECIPES };

/* One prompt of the command line, or the place of many: from_file with the name "-" is standard input. */
struct prompt_source {
    const char *value;
    bool from_file;
};

/* "clip_l=VALUE", or VALUE for all towers that none names: then tower is empty. */
struct tower_value {
    char tower[24];
    const char *value;
};

/* As given, zeros where nothing was: penult_condition.h says what they then are. */
struct size_options {
    bool given;
    uint32_t original[2], crop[2], target[2]; /* height, width; top, left */
    double score;
};

/* Pointers are into argv; the arrays are the struct's own. topic: what help is about, or NULL. pooled holds
 * PENULT_POOLED_ kinds, dtype, activation, tokenizer_mode and pad_in_text PENULT_
 * values (0: not given). */
struct options {
    enum command command;
    const char *topic;
    const char *model;
    struct prompt_source *sources;
    size_t source_count;
    int32_t *layers;
    size_t layer_count;
    uint32_t pooled[3];
    size_t pooled_count;
    const char **outs;
    size_t out_count;
    const char *heatmap;
    const char *tokenizer;
    uint32_t tokenizer_mode;
    uint32_t pad_in_text;
    const char *plugin;
    uint32_t dtype;
    uint32_t activation;
    uint32_t threads;
    uint32_t kernels;
    uint32_t arithmetic;
    uint32_t access;
    uint32_t heads;
    const char *tower;
    bool hash;
    bool tensors;
    bool vocab; /* no model, only a tokenizer */
    bool final_norm;
    bool body;
    bool json;
    bool quiet;
    /* of condition */
    const char *recipe;
    struct tower_value *models, *tokenizers, *activations;
    size_t model_count, tokenizer_count, activation_count;
    const char *prompt_2, *negative, *negative_2;
    struct size_options sizes[2]; /* [negative] */
    const char *dialect;
    const char *wanted; /* names of tensors, with commas between them */
    const char *check;
    const char *conditioning_given; /* an option that a file that is checked says itself */
    int32_t clip_skip;
    uint32_t emphasis;
    uint32_t max_windows; /* 0: as many as are needed */
    uint64_t cache_bytes; /* 0: the plugin's default */
    bool has_clip_skip;
    bool split, skip_all, no_cache, no_hash;
};

/* Fills *options. Returns STATUS_OK, or the status to exit with after the sentence was said. options_free in any case.
 * */
int options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

#endif
