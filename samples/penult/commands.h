/* commands.h - the commands, each of which returns its exit status. */
#ifndef SAMPLES_PENULT_COMMANDS_H
#define SAMPLES_PENULT_COMMANDS_H

#include "options.h"

/* The layer that SDXL takes from both of its text encoders (Podell et al. 2023, arXiv 2307.01952, section 2.1;
 * diffusers takes hidden_states[-2]). */
#define PENULTIMATE (-2)

/* The Makefile's VERSION. */
extern const char command_version[];

int command_encode(const struct options *options);
int command_tokenize(const struct options *options);
int command_info(const struct options *options);
int command_condition(const struct options *options);
int command_recipes(const struct options *options);
int command_help(const struct options *options);
int command_show_version(const struct options *options);

#endif
