/* towers.h - the models of a recipe: which -m is for which tower, opened. */
#ifndef SAMPLES_PENULT_TOWERS_H
#define SAMPLES_PENULT_TOWERS_H

#include "recipes.h"

/* hosts[t] has the model of recipe.towers[t], opened as settings[t] say, which point into the options. digests: of their
 * values, once towers_hash was called. */
struct towers {
    struct host plugin;
    const penult_condition_api *condition;
    struct recipe recipe;
    struct options settings[TOWERS_MAX];
    struct host hosts[TOWERS_MAX];
    char digests[TOWERS_MAX][65];
    bool hashed;
};

/* Loads the plugin and reads the recipe. Says what went wrong and returns the exit status; towers_close in any case. */
int towers_load(struct towers *towers, const struct options *options, const char *recipe);

/* Opens every tower's model. */
int towers_open(struct towers *towers, const struct options *options);

/* Fingerprints of all models, which takes some seconds for large ones. */
int towers_hash(struct towers *towers, bool quiet);

void towers_close(struct towers *towers);

#endif
