/* options.c - see options.h. Options and other arguments may come in any order; "--" ends the options, and "--name
 * value" is the same as "--name=value". */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "../../api/penult.h"
#include "say.h"

enum option {
    OPTION_LAYER, OPTION_FINAL_NORM, OPTION_POOLED, OPTION_OUT, OPTION_HEATMAP, OPTION_DTYPE, OPTION_THREADS,
    OPTION_KERNELS, OPTION_TOKENIZER, OPTION_VOCAB, OPTION_OPEN_CLIP, OPTION_PAD_IN_TEXT, OPTION_ACTIVATION, OPTION_COPY,
    OPTION_PLUGIN, OPTION_PROMPTS, OPTION_BODY, OPTION_JSON, OPTION_QUIET, OPTION_HELP, OPTION_VERSION, OPTION_TOWER,
    OPTION_HEADS, OPTION_HASH, OPTION_TENSORS
};

#define ENCODE (1u << COMMAND_ENCODE)
#define TOKENIZE (1u << COMMAND_TOKENIZE)
#define INFO (1u << COMMAND_INFO)
#define VERSION (1u << COMMAND_VERSION)
#define ANY (ENCODE | TOKENIZE | INFO | VERSION | 1u << COMMAND_HELP)

static const struct {
    const char *name;
    enum option option;
    bool takes_value;
    unsigned commands;
} table[] = {
    {"layer", OPTION_LAYER, true, ENCODE},
    {"final-norm", OPTION_FINAL_NORM, false, ENCODE},
    {"pooled", OPTION_POOLED, true, ENCODE},
    {"out", OPTION_OUT, true, ENCODE},
    {"heatmap", OPTION_HEATMAP, true, ENCODE},
    {"dtype", OPTION_DTYPE, true, ENCODE},
    {"threads", OPTION_THREADS, true, ENCODE},
    {"kernels", OPTION_KERNELS, true, ENCODE},
    {"tokenizer", OPTION_TOKENIZER, true, ENCODE | TOKENIZE | INFO},
    {"vocab", OPTION_VOCAB, false, TOKENIZE}, /* or --vocab=FILE */
    {"open-clip", OPTION_OPEN_CLIP, false, ENCODE | TOKENIZE | INFO},
    {"pad-in-text", OPTION_PAD_IN_TEXT, true, ENCODE | TOKENIZE | INFO},
    {"activation", OPTION_ACTIVATION, true, ENCODE | TOKENIZE | INFO},
    {"copy", OPTION_COPY, false, ENCODE | INFO},
    {"tower", OPTION_TOWER, true, ENCODE | TOKENIZE | INFO},
    {"heads", OPTION_HEADS, true, ENCODE | TOKENIZE | INFO},
    {"hash", OPTION_HASH, false, INFO},
    {"tensors", OPTION_TENSORS, false, INFO},
    {"plugin", OPTION_PLUGIN, true, ENCODE | TOKENIZE | INFO | VERSION},
    {"prompts", OPTION_PROMPTS, true, ENCODE | TOKENIZE},
    {"body", OPTION_BODY, false, TOKENIZE},
    {"json", OPTION_JSON, false, ENCODE | TOKENIZE | INFO | VERSION},
    {"quiet", OPTION_QUIET, false, ENCODE | TOKENIZE | INFO},
    {"help", OPTION_HELP, false, ANY},
    {"version", OPTION_VERSION, false, ANY},
};

static const struct {
    const char *name;
    enum command command;
} commands[] = {
    {"encode", COMMAND_ENCODE}, {"tokenize", COMMAND_TOKENIZE}, {"info", COMMAND_INFO}, {"help", COMMAND_HELP},
};

struct word {
    const char *name;
    uint32_t value;
};

static bool read_word(const struct word *words, size_t count, const char *text, uint32_t *value) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i].name, text) == 0) {
            *value = words[i].value;
            return true;
        }
    }
    return false;
}

/* A whole decimal number with an optional minus, nothing around it. */
static bool read_number(const char *text, int64_t lowest, int64_t highest, int64_t *value) {
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
    if (!read_number(value, INT32_MIN, INT32_MAX, &layer)) {
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
    if (!read_word(words, sizeof words / sizeof words[0], value, &kind)) {
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
    if (!read_word(words, sizeof words / sizeof words[0], value, &options->dtype)) {
        return say_usage("--dtype takes f32, f16 or bf16; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_activation(struct options *options, const char *value) {
    static const struct word words[] = {{"gelu", PENULT_GELU}, {"quick_gelu", PENULT_QUICK_GELU}};
    if (!read_word(words, sizeof words / sizeof words[0], value, &options->activation)) {
        return say_usage("--activation takes gelu or quick_gelu; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_pad_in_text(struct options *options, const char *value) {
    static const struct word words[] = {{"text", PENULT_PAD_IS_TEXT}, {"special", PENULT_PAD_IS_SPECIAL}};
    if (!read_word(words, sizeof words / sizeof words[0], value, &options->pad_in_text)) {
        return say_usage("--pad-in-text takes text or special; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_kernels(struct options *options, const char *value) {
    static const struct word words[] = {{"best", 0},
                                        {"scalar", PENULT_KERNELS_SCALAR},
                                        {"openblas", PENULT_KERNELS_OPENBLAS},
                                        {"avx2", PENULT_KERNELS_AVX2},
                                        {"avx512", PENULT_KERNELS_AVX512}};
    if (!read_word(words, sizeof words / sizeof words[0], value, &options->kernels)) {
        return say_usage("--kernels takes best, scalar, openblas, avx2 or avx512; found \"%s\"", value);
    }
    return STATUS_OK;
}

static int set_threads(struct options *options, const char *value) {
    int64_t threads;
    if (!read_number(value, 0, 256, &threads)) {
        return say_usage("--threads takes a number from 1 to 256, or 0 for every CPU this process may use; found "
                         "\"%s\"", value);
    }
    options->threads = (uint32_t)threads;
    return STATUS_OK;
}

static int set_heads(struct options *options, const char *value) {
    int64_t heads;
    if (!read_number(value, 1, 1024, &heads)) {
        return say_usage("--heads takes a whole number from 1 to 1024; found \"%s\"", value);
    }
    options->heads = (uint32_t)heads;
    return STATUS_OK;
}

static int apply(struct options *options, enum option option, const char *value) {
    switch (option) {
    case OPTION_LAYER: return add_layer(options, value);
    case OPTION_POOLED: return add_pooled(options, value);
    case OPTION_DTYPE: return set_dtype(options, value);
    case OPTION_THREADS: return set_threads(options, value);
    case OPTION_KERNELS: return set_kernels(options, value);
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
    case OPTION_HELP:
    case OPTION_VERSION: break; /* options_parse has seen to them */
    }
    return STATUS_OK;
}

/* Reads the option at argv[*at] and its value; moves *at to the last argument used. */
static int read_option(struct options *options, int argc, char **argv, int *at, const char *command) {
    const char *given = argv[*at];
    const char *name = given + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    for (size_t i = 0; given[1] == '-' && i < sizeof table / sizeof table[0]; i++) {
        if (strlen(table[i].name) != length || memcmp(table[i].name, name, length) != 0) {
            continue;
        }
        if ((table[i].commands & 1u << options->command) == 0) {
            return say_usage("--%s means nothing to \"penult %s\"; \"penult help %s\" lists its options", table[i].name,
                             command, command);
        }
        if (table[i].option == OPTION_VOCAB) {
            return apply(options, OPTION_VOCAB, equals != NULL ? equals + 1 : "");
        }
        if (!table[i].takes_value) {
            return equals != NULL ? say_usage("--%s takes no value; found \"%s\"", table[i].name, equals + 1)
                                  : apply(options, table[i].option, "");
        }
        if (equals == NULL && *at + 1 >= argc) {
            return say_usage("--%s needs a value, and the command line ends there", table[i].name);
        }
        return apply(options, table[i].option, equals != NULL ? equals + 1 : argv[++*at]);
    }
    return say_usage("there is no option \"%s\"; \"penult help %s\" lists them, and a prompt that begins with \"-\" "
                     "goes after \"--\"", given, command);
}

static int read_argument(struct options *options, const char *argument, bool options_ended) {
    if (options->command == COMMAND_HELP && options->topic == NULL) {
        options->topic = argument;
    } else if (options->command != COMMAND_HELP && options->model == NULL && !options->vocab) {
        options->model = argument;
    } else if (options->command == COMMAND_ENCODE || options->command == COMMAND_TOKENIZE) {
        bool from_file = strcmp(argument, "-") == 0 && !options_ended;
        options->sources[options->source_count++] = (struct prompt_source){argument, from_file};
    } else {
        return say_usage("\"%s\" is one argument too many", argument);
    }
    return STATUS_OK;
}

static int read_command(struct options *options, const char *name) {
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            options->command = commands[i].command;
            return STATUS_OK;
        }
    }
    return say_usage("there is no command \"%s\"; there are encode, tokenize, info and help", name);
}

/* What can be said without a model. */
static int check(const struct options *options, const char *command) {
    if (options->command == COMMAND_HELP || options->command == COMMAND_VERSION) {
        return STATUS_OK;
    }
    if (options->model == NULL && !options->vocab) {
        return say_usage("%s: which model? Give a safetensors file, an index of shards, or a directory that holds one", command);
    }
    if (options->command == COMMAND_INFO) {
        return STATUS_OK;
    }
    size_t inputs = 0;
    for (size_t i = 0; i < options->source_count; i++) {
        inputs += options->sources[i].from_file && strcmp(options->sources[i].value, "-") == 0;
    }
    if (options->source_count == 0) {
        return say_usage("%s: no prompt; give one in quotes, a file with --prompts, or \"-\" for standard input",
                         command);
    }
    return inputs > 1 ? say_usage("%s: standard input is named twice", command) : STATUS_OK;
}

/* --help and --version win over whatever else is there, also over what would be an error. */
static bool asks_for(int argc, char **argv, const char *option) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], option) == 0) {
            return true;
        }
    }
    return false;
}

/* --vocab or --vocab=FILE. Known before the arguments are read: with it the first of them is not a model. */
static bool asks_for_vocab(int argc, char **argv) {
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--vocab") == 0 || strncmp(argv[i], "--vocab=", sizeof "--vocab=" - 1) == 0) {
            return true;
        }
    }
    return false;
}

int options_parse(struct options *options, int argc, char **argv) {
    *options = (struct options){.command = COMMAND_HELP};
    size_t room = (size_t)(argc > 0 ? argc : 1);
    options->sources = calloc(room, sizeof *options->sources);
    options->layers = calloc(room, sizeof *options->layers);
    options->outs = calloc(room, sizeof *options->outs);
    if (options->sources == NULL || options->layers == NULL || options->outs == NULL) {
        return say_failed("no memory for %d arguments", argc);
    }
    if (argc < 2) {
        return say_usage("what is to be done? penult encode MODEL \"a prompt\"; \"penult help\" tells the rest");
    }
    bool help = asks_for(argc, argv, "--help") || strcmp(argv[1], "-h") == 0;
    if (help || asks_for(argc, argv, "--version")) {
        options->command = help ? COMMAND_HELP : COMMAND_VERSION;
        if (help && argv[1][0] != '-' && strcmp(argv[1], "help") != 0) {
            options->topic = argv[1];
        }
        if (help) {
            return STATUS_OK;
        }
    }
    int first = 1;
    if (options->command != COMMAND_VERSION) {
        int status = read_command(options, argv[1]);
        if (status != STATUS_OK) {
            return status;
        }
        first = 2;
        options->vocab = options->command == COMMAND_TOKENIZE && asks_for_vocab(argc, argv);
    }
    bool ended = false;
    for (int at = first; at < argc; at++) {
        int status;
        if (!ended && strcmp(argv[at], "--") == 0) {
            ended = true;
            continue;
        }
        status = !ended && argv[at][0] == '-' && argv[at][1] != '\0'
                     ? read_option(options, argc, argv, &at, first == 2 ? argv[1] : "--version")
                     : options->command == COMMAND_VERSION ? STATUS_OK : read_argument(options, argv[at], ended);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return check(options, argv[1]);
}

void options_free(struct options *options) {
    free(options->sources);
    free(options->layers);
    free(options->outs);
    *options = (struct options){.command = COMMAND_HELP};
}
