/* main.c - the command `penult`: a host of penult.so like any other, which includes nothing of it but api/. This file
 * only chooses the command. */
#include "commands.h"
#include "options.h"
#include "say.h"

static int dispatch(const struct options *options) {
    switch (options->command) {
    case COMMAND_ENCODE: return command_encode(options);
    case COMMAND_TOKENIZE: return command_tokenize(options);
    case COMMAND_INFO: return command_info(options);
    case COMMAND_CONDITION: return command_condition(options);
    case COMMAND_RECIPES: return command_recipes(options);
    case COMMAND_VERSION: return command_show_version(options);
    case COMMAND_HELP: break;
    }
    return command_help(options);
}

int main(int argc, char **argv) {
    struct options options;
    say_begin();
    int status = options_parse(&options, argc, argv);
    if (status == STATUS_OK) {
        status = dispatch(&options);
    }
    options_free(&options);
    return say_end(status);
}
