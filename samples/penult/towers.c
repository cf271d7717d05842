/* towers.c - see towers.h. A recipe calls its towers by what they are, a diffusers pipeline by where they stand: both
 * kinds of names are taken. */
#include "towers.h"

#include <stdio.h>
#include <string.h>

#include "interrupt.h"
#include "say.h"

/* Whether a name of the command line means tower t: "clip_g", or "text_encoder_2" for the second. A pipeline of one tower
 * may keep it as either, as SDXL's refiner does. */
static bool means(const struct recipe *recipe, uint32_t t, const char *name) {
    if (strcmp(name, recipe->towers[t].name) == 0) {
        return true;
    }
    bool first = strcmp(name, "text_encoder") == 0, second = strcmp(name, "text_encoder_2") == 0;
    return recipe->info.tower_count == 1 ? first || second : (t == 0 && first) || (t == 1 && second);
}

/* The value for a tower: the one that names it, else the one that names none. NULL: there is neither. */
static const struct tower_value *find(const struct recipe *recipe, uint32_t t, const struct tower_value *list, size_t count) {
    const struct tower_value *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (list[i].tower[0] != '\0' && means(recipe, t, list[i].tower)) {
            return &list[i];
        }
        found = list[i].tower[0] == '\0' ? &list[i] : found;
    }
    return found;
}

/* Every value is for some tower, and none for two. */
static int check_values(const struct recipe *recipe, const struct tower_value *list, size_t count, const char *option) {
    for (size_t i = 0; i < count; i++) {
        bool known = list[i].tower[0] == '\0';
        for (uint32_t t = 0; t < recipe->info.tower_count; t++) {
            known = known || means(recipe, t, list[i].tower);
        }
        if (!known) {
            return say_usage("--%s %s=%s: %s has no such tower; \"penult recipes %s\" names them", option, list[i].tower,
                             list[i].value, recipe->info.name, recipe->info.name);
        }
        for (size_t k = 0; k < i; k++) {
            bool both = list[i].tower[0] == '\0' && list[k].tower[0] == '\0';
            for (uint32_t t = 0; t < recipe->info.tower_count && list[i].tower[0] != '\0' && list[k].tower[0] != '\0'; t++) {
                both = both || (means(recipe, t, list[i].tower) && means(recipe, t, list[k].tower));
            }
            if (both) {
                return say_usage("--%s is given twice for %s: \"%s\" and \"%s\"", option,
                                 list[i].tower[0] != '\0' ? list[i].tower : "every tower", list[k].value, list[i].value);
            }
        }
    }
    return STATUS_OK;
}

int towers_load(struct towers *towers, const struct options *options, const char *recipe) {
    char why[1024];
    penult_error error;
    *towers = (struct towers){0};
    if (!host_load(&towers->plugin, options, why, sizeof why)) {
        return say_failed("%s", why);
    }
    towers->condition = recipes_api(&towers->plugin);
    if (towers->condition == NULL) {
        return STATUS_FAILED;
    }
    int32_t status = recipes_read(towers->condition, 0, recipe, &towers->recipe, &error);
    if (status == PENULT_E_NOT_FOUND) {
        return say_failed("there is no recipe \"%s\"; \"penult recipes\" lists them", recipe);
    }
    return status == PENULT_OK ? STATUS_OK : say_failed("%s", error.message);
}

/* Opens the tower by what it is or, where it is of a width that no tower is known by, by its place in a pipeline or because
 * the command line says so. The sentence of a failure is that of the first try. */
static int32_t open_some(struct host *host, struct options *settings, const struct recipe *recipe, uint32_t t, bool is_named,
                         penult_error *error) {
    const char *const tries[] = {recipe->towers[t].name, t == 0 ? "text_encoder" : "text_encoder_2",
                                 recipe->info.tower_count == 1 ? "text_encoder_2" : NULL, is_named ? "text" : NULL};
    penult_error ignored;
    settings->tower = tries[0];
    int32_t status = host_open_model(host, settings, error);
    for (size_t i = 1; i < sizeof tries / sizeof tries[0] && status == PENULT_E_NOT_FOUND; i++) {
        if (tries[i] == NULL) {
            continue;
        }
        host_close_model(host);
        settings->tower = tries[i];
        status = host_open_model(host, settings, &ignored);
        /* of a known width, it is another tower than the one that is meant */
        bool is_another = host->info.width == 768 || host->info.width == 1024 || host->info.width == 1280;
        status = status != PENULT_OK || is_another ? PENULT_E_NOT_FOUND : PENULT_OK;
    }
    return status;
}

/* The model of tower t. */
static int open_one(struct towers *towers, const struct options *options, uint32_t t) {
    const struct recipe *recipe = &towers->recipe;
    const char *name = recipe->towers[t].name;
    struct options *settings = &towers->settings[t];
    struct host *host = &towers->hosts[t];
    penult_error error;
    char why[1024];
    const struct tower_value *model = find(recipe, t, options->models, options->model_count);
    const struct tower_value *tokenizer = find(recipe, t, options->tokenizers, options->tokenizer_count);
    const struct tower_value *activation = find(recipe, t, options->activations, options->activation_count);
    if (model == NULL) {
        return say_usage("%s takes %s too: -m %s=PATH", recipe->info.name, name, name);
    }
    *settings = *options;
    settings->model = model->value;
    settings->tokenizer = tokenizer != NULL ? tokenizer->value : NULL;
    settings->activation = activation == NULL                               ? 0
                           : strcmp(activation->value, "quick_gelu") == 0 ? PENULT_QUICK_GELU
                                                                            : PENULT_GELU;
    settings->tower = name;
    if (options->tokenizer_mode == PENULT_TOKENIZER_TRANSFORMERS && options->pad_in_text == PENULT_PAD_AS_FILES_SAY) {
        settings->tokenizer_mode = recipe->towers[t].tokenizer_mode; /* as the recipe's host reads text */
        settings->pad_in_text = recipe->towers[t].pad_in_text;
    }
    if (!host_load(host, options, why, sizeof why)) {
        return say_failed("%s", why);
    }
    int32_t status = open_some(host, settings, recipe, t, model->tower[0] != '\0', &error);
    if (status != PENULT_OK) {
        return host_refused(host, &error);
    }
    if (!options->quiet) {
        host_warn(host);
    }
    return STATUS_OK;
}

int towers_open(struct towers *towers, const struct options *options) {
    int status = check_values(&towers->recipe, options->models, options->model_count, "model");
    if (status == STATUS_OK) {
        status = check_values(&towers->recipe, options->tokenizers, options->tokenizer_count, "tokenizer");
    }
    if (status == STATUS_OK) {
        status = check_values(&towers->recipe, options->activations, options->activation_count, "activation");
    }
    for (uint32_t t = 0; t < towers->recipe.info.tower_count && status == STATUS_OK; t++) {
        status = open_one(towers, options, t);
    }
    return status;
}

int towers_hash(struct towers *towers, bool quiet) {
    int status = STATUS_OK;
    for (uint32_t t = 0; t < towers->recipe.info.tower_count && status == STATUS_OK; t++) {
        status = host_hash(&towers->hosts[t], quiet, towers->digests[t]);
    }
    towers->hashed = status == STATUS_OK;
    return status;
}

void towers_close(struct towers *towers) {
    for (uint32_t t = 0; t < TOWERS_MAX; t++) {
        host_close(&towers->hosts[t]);
    }
    host_close(&towers->plugin);
}
