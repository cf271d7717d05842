/* options.c - see options.h. Options and other arguments may come in any order; "--" ends the options, and "--name
 * value" is the same as "--name=value". */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "option_values.h"
#include "say.h"

#define ENCODE (1u << COMMAND_ENCODE)
#define TOKENIZE (1u << COMMAND_TOKENIZE)
#define INFO (1u << COMMAND_INFO)
#define VERSION (1u << COMMAND_VERSION)
#define CONDITION (1u << COMMAND_CONDITION)
#define RECIPES (1u << COMMAND_RECIPES)
#define ANY (ENCODE | TOKENIZE | INFO | VERSION | CONDITION | RECIPES | 1u << COMMAND_HELP)

static const struct {
    const char *name;
    enum option option;
    bool takes_value;
    unsigned commands;
} table[] = {
    {"layer", OPTION_LAYER, true, ENCODE},
    {"final-norm", OPTION_FINAL_NORM, false, ENCODE},
    {"pooled", OPTION_POOLED, true, ENCODE},
    {"out", OPTION_OUT, true, ENCODE | CONDITION},
    {"heatmap", OPTION_HEATMAP, true, ENCODE},
    {"dtype", OPTION_DTYPE, true, ENCODE | CONDITION},
    {"threads", OPTION_THREADS, true, ENCODE | CONDITION},
    {"kernels", OPTION_KERNELS, true, ENCODE | CONDITION},
    {"arithmetic", OPTION_ARITHMETIC, true, ENCODE | CONDITION},
    {"tokenizer", OPTION_TOKENIZER, true, ENCODE | TOKENIZE | INFO | CONDITION},
    {"vocab", OPTION_VOCAB, false, TOKENIZE}, /* or --vocab=FILE */
    {"open-clip", OPTION_OPEN_CLIP, false, ENCODE | TOKENIZE | INFO | CONDITION},
    {"pad-in-text", OPTION_PAD_IN_TEXT, true, ENCODE | TOKENIZE | INFO | CONDITION},
    {"activation", OPTION_ACTIVATION, true, ENCODE | TOKENIZE | INFO | CONDITION},
    {"copy", OPTION_COPY, false, ENCODE | INFO | CONDITION},
    {"tower", OPTION_TOWER, true, ENCODE | TOKENIZE | INFO},
    {"heads", OPTION_HEADS, true, ENCODE | TOKENIZE | INFO},
    {"hash", OPTION_HASH, false, INFO},
    {"tensors", OPTION_TENSORS, false, INFO},
    {"plugin", OPTION_PLUGIN, true, ENCODE | TOKENIZE | INFO | VERSION | CONDITION | RECIPES},
    {"prompts", OPTION_PROMPTS, true, ENCODE | TOKENIZE | CONDITION},
    {"body", OPTION_BODY, false, TOKENIZE},
    {"json", OPTION_JSON, false, ENCODE | TOKENIZE | INFO | VERSION | CONDITION | RECIPES},
    {"quiet", OPTION_QUIET, false, ENCODE | TOKENIZE | INFO | CONDITION},
    {"model", OPTION_MODEL, true, CONDITION}, /* or -m */
    {"negative", OPTION_NEGATIVE, true, CONDITION},
    {"prompt-2", OPTION_PROMPT_2, true, CONDITION},
    {"negative-2", OPTION_NEGATIVE_2, true, CONDITION},
    {"size", OPTION_SIZE, true, CONDITION},
    {"original", OPTION_ORIGINAL, true, CONDITION},
    {"crop", OPTION_CROP, true, CONDITION},
    {"score", OPTION_SCORE, true, CONDITION},
    {"negative-original", OPTION_NEGATIVE_ORIGINAL, true, CONDITION},
    {"negative-crop", OPTION_NEGATIVE_CROP, true, CONDITION},
    {"negative-size", OPTION_NEGATIVE_SIZE, true, CONDITION},
    {"negative-score", OPTION_NEGATIVE_SCORE, true, CONDITION},
    {"clip-skip", OPTION_CLIP_SKIP, true, CONDITION},
    {"dialect", OPTION_DIALECT, true, CONDITION},
    {"emphasis", OPTION_EMPHASIS, true, CONDITION},
    {"split", OPTION_SPLIT, false, CONDITION},
    {"skip-all", OPTION_SKIP_ALL, false, CONDITION},
    {"max-windows", OPTION_MAX_WINDOWS, true, CONDITION},
    {"cache", OPTION_CACHE, true, CONDITION},
    {"tensors", OPTION_WANTED, true, CONDITION}, /* of info it is another */
    {"no-hash", OPTION_NO_HASH, false, CONDITION},
    {"check", OPTION_CHECK, true, CONDITION},
    {"help", OPTION_HELP, false, ANY},
    {"version", OPTION_VERSION, false, ANY},
};

static const struct {
    const char *name;
    enum command command;
} commands[] = {
    {"encode", COMMAND_ENCODE}, {"tokenize", COMMAND_TOKENIZE}, {"info", COMMAND_INFO},
    {"condition", COMMAND_CONDITION}, {"recipes", COMMAND_RECIPES}, {"help", COMMAND_HELP},
};

/* Reads the option at argv[*at] and its value; moves *at to the last argument used. */
static int read_option(struct options *options, int argc, char **argv, int *at, const char *command) {
    const char *given = argv[*at], *elsewhere = NULL;
    bool is_short = strcmp(given, "-m") == 0;
    const char *name = is_short ? "model" : given + 2;
    const char *equals = is_short ? NULL : strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    for (size_t i = 0; (is_short || given[1] == '-') && i < sizeof table / sizeof table[0]; i++) {
        if (strlen(table[i].name) != length || memcmp(table[i].name, name, length) != 0) {
            continue;
        }
        if ((table[i].commands & 1u << options->command) == 0) {
            elsewhere = table[i].name;
            continue;
        }
        if (table[i].option == OPTION_VOCAB) {
            return option_apply(options, OPTION_VOCAB, equals != NULL ? equals + 1 : "");
        }
        if (!table[i].takes_value) {
            return equals != NULL ? say_usage("--%s takes no value; found \"%s\"", table[i].name, equals + 1)
                                  : option_apply(options, table[i].option, "");
        }
        if (equals == NULL && *at + 1 >= argc) {
            return say_usage("--%s needs a value, and the command line ends there", table[i].name);
        }
        return option_apply(options, table[i].option, equals != NULL ? equals + 1 : argv[++*at]);
    }
    if (elsewhere != NULL) {
        return say_usage("--%s means nothing to \"penult %s\"; \"penult help %s\" lists its options", elsewhere, command,
                         command);
    }
    return say_usage("there is no option \"%s\"; \"penult help %s\" lists them, and a prompt that begins with \"-\" "
                     "goes after \"--\"", given, command);
}

static int read_argument(struct options *options, const char *argument, bool options_ended) {
    bool wants_recipe = options->command == COMMAND_CONDITION || options->command == COMMAND_RECIPES;
    if (options->command == COMMAND_HELP && options->topic == NULL) {
        options->topic = argument;
    } else if (wants_recipe && options->recipe == NULL) {
        options->recipe = argument;
    } else if (!wants_recipe && options->command != COMMAND_HELP && options->model == NULL && !options->vocab) {
        options->model = argument;
    } else if (options->command == COMMAND_ENCODE || options->command == COMMAND_TOKENIZE ||
               options->command == COMMAND_CONDITION) {
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
    return say_usage("there is no command \"%s\"; there are encode, tokenize, info, condition, recipes and help", name);
}

/* What a file is checked against is written in it. */
static int check_alone(const struct options *options) {
    if (options->recipe != NULL) {
        return say_usage("condition --check: \"%s\" is one argument too many; recipe and prompts are those of the file",
                         options->recipe);
    }
    if (options->conditioning_given != NULL) {
        return say_usage("condition --check: --%s is the file's to say", options->conditioning_given);
    }
    return STATUS_OK;
}

/* What can be said without a model. */
static int check(const struct options *options, const char *command) {
    if (options->command == COMMAND_HELP || options->command == COMMAND_VERSION || options->command == COMMAND_RECIPES) {
        return STATUS_OK;
    }
    if (options->command == COMMAND_CONDITION && options->check != NULL) {
        return check_alone(options);
    }
    if (options->command == COMMAND_CONDITION && options->recipe == NULL) {
        return say_usage("condition: which recipe? \"penult recipes\" lists them");
    }
    if (options->command == COMMAND_CONDITION && options->model_count == 0) {
        return say_usage("condition: which models? -m NAME=PATH for each tower of %s, or one -m PATH that holds all",
                         options->recipe);
    }
    if (options->command != COMMAND_CONDITION && options->model == NULL && !options->vocab) {
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
    options->models = calloc(room, sizeof *options->models);
    options->tokenizers = calloc(room, sizeof *options->tokenizers);
    options->activations = calloc(room, sizeof *options->activations);
    if (options->sources == NULL || options->layers == NULL || options->outs == NULL || options->models == NULL ||
        options->tokenizers == NULL || options->activations == NULL) {
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
    free(options->models);
    free(options->tokenizers);
    free(options->activations);
    *options = (struct options){.command = COMMAND_HELP};
}
