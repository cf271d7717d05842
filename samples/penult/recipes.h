/* recipes.h - the plugin's table of recipes in words. Knows no pipeline. */
#ifndef SAMPLES_PENULT_RECIPES_H
#define SAMPLES_PENULT_RECIPES_H

#include "../../api/penult_condition.h"
#include "host.h"

/* The most towers of a recipe that this command takes. */
#define TOWERS_MAX 4

struct recipe {
    penult_recipe_info info;
    penult_recipe_tower towers[TOWERS_MAX];
};

/* The extension's table of the plugin that host_load loaded, or NULL after saying that it has none. */
const penult_condition_api *recipes_api(const struct host *host);

/* Row `index` of the table or, with a name, that one. Returns a PENULT_ status, with the sentence in *error. */
int32_t recipes_read(const penult_condition_api *condition, uint32_t index, const char *name, struct recipe *recipe,
                     penult_error *error);

/* P of a recipe's tower, for a model of that width and projection. */
uint32_t recipes_pooled_width(const penult_recipe_tower *tower, uint32_t width, uint32_t projection);

#endif
