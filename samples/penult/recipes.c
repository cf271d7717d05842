/* recipes.c - `penult recipes`: which towers a pipeline takes what from, and as which host makes it. */
#include "recipes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "say.h"

#define COLUMNS 12
#define VECTOR_NUMBERS 256u /* of each of add_time_ids' numbers in a vector */

struct row {
    char cells[COLUMNS][40];
};

struct table {
    struct row *rows;
    size_t count, room;
};

const penult_condition_api *recipes_api(const struct host *host) {
    const penult_condition_api *condition = host->api->extension(PENULT_CONDITION);
    if (condition == NULL) {
        say_failed("%s is penult %s, which has no recipes (%s)", host->plugin_path, host->plugin_version, PENULT_CONDITION);
    }
    return condition;
}

int32_t recipes_read(const penult_condition_api *condition, uint32_t index, const char *name, struct recipe *recipe,
                     penult_error *error) {
    *recipe = (struct recipe){.info.struct_size = sizeof recipe->info};
    int32_t status = condition->recipe(index, name, &recipe->info, error);
    if (status == PENULT_OK && recipe->info.tower_count > TOWERS_MAX) {
        *error = (penult_error){.status = PENULT_E_UNSUPPORTED};
        snprintf(error->message, sizeof error->message, "%s has %u towers, and this command takes at most %d",
                 recipe->info.name, recipe->info.tower_count, TOWERS_MAX);
        return error->status;
    }
    for (uint32_t t = 0; t < recipe->info.tower_count && status == PENULT_OK; t++) {
        recipe->towers[t].struct_size = sizeof recipe->towers[t];
        status = condition->recipe_tower(recipe->info.name, t, &recipe->towers[t], error);
    }
    return status;
}

uint32_t recipes_pooled_width(const penult_recipe_tower *tower, uint32_t width, uint32_t projection) {
    switch (tower->pooled) {
    case PENULT_POOLED_RAW: return width;
    case PENULT_POOLED_PROJECTED: return projection;
    case PENULT_POOLED_PROJECTED_IF_ANY: return projection > 0 ? projection : width;
    default: return 0;
    }
}

/* ---- words ---- */

static const char *word(const char *const *words, size_t count, uint32_t value) {
    return value < count ? words[value] : "unknown";
}

static const char *unconditional_word(uint32_t value) {
    static const char *const words[] = {"the empty prompt", "zeros if absent", "zeros if empty", "zeros always", "none"};
    return word(words, sizeof words / sizeof words[0], value);
}

static const char *skip_word(uint32_t value) {
    static const char *const words[] = {"none", "blocks more", "layer from end", "layer index"};
    return word(words, sizeof words / sizeof words[0], value);
}

static const char *pooled_word(uint32_t value) {
    return value == PENULT_POOLED_RAW                ? "raw"
           : value == PENULT_POOLED_PROJECTED        ? "projected"
           : value == PENULT_POOLED_PROJECTED_IF_ANY ? "projected if any"
           : value == PENULT_POOLED_NONE             ? "-"
                                                     : "unknown";
}

static const char *tokens_word(const penult_recipe_tower *tower) {
    return tower->tokenizer_mode == PENULT_TOKENIZER_OPEN_CLIP ? "open_clip"
           : tower->pad_in_text == PENULT_PAD_IS_TEXT          ? "transformers, the padding's string being text"
                                                               : "transformers, as the tokenizer's files say";
}

static const char *unconditional_sentence(uint32_t value) {
    static const char *const words[] = {
        "that of the empty prompt", "zeros, context and pooled vector; an empty prompt that is given is encoded",
        "zeros, context and pooled vector, for an empty prompt too", "zeros, context and pooled vector, whatever the negative says",
        "there is none: negative tensors need a negative prompt"};
    return word(words, sizeof words / sizeof words[0], value);
}

static const char *skip_sentence(uint32_t value) {
    static const char *const words[] = {"none", "N blocks more than the recipe leaves out, from 0",
                                        "the output of the N-th block from the end, the last being 1",
                                        "the layer itself, from -1, the last block's"};
    return word(words, sizeof words / sizeof words[0], value);
}

/* ---- the table ---- */

static struct row *add_row(struct table *table) {
    if (table->count == table->room) {
        size_t room = table->room > 0 ? table->room * 2 : 32;
        struct row *grown = realloc(table->rows, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        table->rows = grown;
        table->room = room;
    }
    struct row *row = &table->rows[table->count++];
    memset(row, 0, sizeof *row);
    return row;
}

static void set(struct row *row, unsigned column, const char *text) {
    snprintf(row->cells[column], sizeof row->cells[column], "%s", text);
}

static void fill_tower(struct row *row, const penult_recipe_tower *tower) {
    set(row, 3, tower->name);
    char layer[16];
    snprintf(layer, sizeof layer, "%" PRId32, tower->layer);
    set(row, 4, tower->layer != 0 ? layer : "-");
    set(row, 5, tower->final_norm ? "final" : "-");
    set(row, 6, pooled_word(tower->pooled));
    set(row, 7, tower->pads_with_zero ? "0" : "end");
    set(row, 8, tower->key_mask ? "no" : "yes");
}

static void fill_recipe(struct row *row, const penult_recipe_info *info) {
    char vector[40];
    set(row, 0, info->name);
    set(row, 1, info->alias != NULL ? info->alias : "-");
    set(row, 2, info->dialect);
    set(row, 9, unconditional_word(info->unconditional));
    set(row, 10, skip_word(info->skip));
    snprintf(vector, sizeof vector, "pooled + %u x %u", info->time_ids, VECTOR_NUMBERS);
    set(row, 11, info->time_ids > 0 ? vector : info->text_mask ? "text mask" : "-");
}

static bool add_recipe(struct table *table, const struct recipe *recipe) {
    for (uint32_t t = 0; t < recipe->info.tower_count; t++) {
        struct row *row = add_row(table);
        if (row == NULL) {
            return false;
        }
        fill_tower(row, &recipe->towers[t]);
        if (t == 0) {
            fill_recipe(row, &recipe->info);
        }
    }
    return true;
}

static void show_table(const struct table *table) {
    int widths[COLUMNS] = {0};
    for (size_t i = 0; i < table->count; i++) {
        for (unsigned c = 0; c < COLUMNS; c++) {
            int length = (int)strlen(table->rows[i].cells[c]);
            widths[c] = length > widths[c] ? length : widths[c];
        }
    }
    for (size_t i = 0; i < table->count; i++) {
        unsigned last = COLUMNS - 1;
        while (last > 0 && table->rows[i].cells[last][0] == '\0') {
            last--;
        }
        for (unsigned c = 0; c < last; c++) {
            printf("%-*s  ", widths[c], table->rows[i].cells[c]);
        }
        puts(table->rows[i].cells[last]);
    }
}

/* ---- one recipe ---- */

static void show_recipe(const struct recipe *recipe) {
    const penult_recipe_info *info = &recipe->info;
    printf("%-14s  %s\n", "recipe", info->name);
    printf("%-14s  %s\n", "alias", info->alias != NULL ? info->alias : "none");
    printf("%-14s  %s\n", "read from", info->source);
    printf("%-14s  %s\n", "dialect", info->dialect);
    if (info->context_width > 0) {
        printf("%-14s  zeros on the right up to %u columns\n", "context", info->context_width);
    }
    printf("%-14s  %s\n", "unconditional", unconditional_sentence(info->unconditional));
    printf("%-14s  %s%s\n", "clip skip", skip_sentence(info->skip),
           info->skip == PENULT_SKIP_NONE ? "" : info->skip_negative ? "; the negative prompt's too" : "; not the negative prompt's");
    if (info->time_ids > 0) {
        printf("%-14s  %u numbers, in the vector as %u cosines and %u sines each, behind the pooled vector\n", "add_time_ids",
               info->time_ids, VECTOR_NUMBERS / 2, VECTOR_NUMBERS / 2);
    }
    if (info->text_mask) {
        printf("%-14s  1 for start, prompt and end, 0 for padding\n", "text_mask");
    }
    for (uint32_t t = 0; t < info->tower_count; t++) {
        const penult_recipe_tower *tower = &recipe->towers[t];
        printf("%-14s  context ", tower->name);
        if (tower->layer != 0) {
            printf("hidden[%" PRId32 "], %s", tower->layer, tower->final_norm ? "with the final norm" : "without the final norm");
        } else {
            fputs("none", stdout);
        }
        printf("; pooled %s; padded with %s, which it %s\n", tower->pooled == PENULT_POOLED_NONE ? "none" : pooled_word(tower->pooled),
               tower->pads_with_zero ? "id 0" : "the end id", tower->key_mask ? "does not see" : "sees");
        printf("%-14s  text read as by %s\n", "", tokens_word(tower));
        if (tower->cut_to > 0) {
            printf("%-14s  of an export of %" PRIu32 " blocks, which ends there, the last\n", "", tower->cut_to);
        }
        if (tower->second_prompt) {
            printf("%-14s  takes the second prompt where one is given\n", "");
        }
        if (tower->skips > 0) {
            printf("%-14s  clip skip moves its layer%s\n", "", tower->skips == 2 ? " if --skip-all is given" : "");
        }
    }
}

static void add_json(json into, const struct recipe *recipe) {
    static const char *const rules[] = {"encodes", "zero_if_absent", "zero_if_empty", "zero_always", "none"};
    static const char *const skips[] = {"none", "more", "layer", "index"};
    const penult_recipe_info *info = &recipe->info;
    json_add_string(into, "name", info->name);
    if (info->alias != NULL) {
        json_add_string(into, "alias", info->alias);
    } else {
        json_add_null(into, "alias");
    }
    json_add_string(into, "source", info->source);
    json_add_string(into, "dialect", info->dialect);
    json_add_unsigned(into, "context_width", info->context_width);
    json_add_string(into, "unconditional", word(rules, sizeof rules / sizeof rules[0], info->unconditional));
    json_add_string(into, "skip", word(skips, sizeof skips / sizeof skips[0], info->skip));
    json_add_bool(into, "skip_negative", info->skip_negative != 0);
    json_add_unsigned(into, "time_ids", info->time_ids);
    json_add_bool(into, "text_mask", info->text_mask != 0);
    json towers = json_add_array(into, "towers");
    for (uint32_t t = 0; t < info->tower_count; t++) {
        const penult_recipe_tower *tower = &recipe->towers[t];
        json row = json_add_object(towers, NULL);
        json_add_string(row, "name", tower->name);
        json_add_integer(row, "layer", tower->layer);
        json_add_bool(row, "final_norm", tower->final_norm != 0);
        json_add_string(row, "pooled", tower->pooled == PENULT_POOLED_NONE ? "none" : pooled_word(tower->pooled));
        json_add_bool(row, "pads_with_zero", tower->pads_with_zero != 0);
        json_add_string(row, "tokenizer", tower->tokenizer_mode == PENULT_TOKENIZER_OPEN_CLIP ? "open_clip" : "transformers");
        json_add_string(row, "pad_in_text", tower->pad_in_text == PENULT_PAD_IS_TEXT ? "text" : "files");
        json_add_bool(row, "key_mask", tower->key_mask != 0);
        json_add_bool(row, "second_prompt", tower->second_prompt != 0);
        json_add_unsigned(row, "skips", tower->skips);
    }
}

/* ---- the command ---- */

static int show_all(const penult_condition_api *condition, json list, bool as_json) {
    static const char *const titles[COLUMNS] = {"recipe", "alias",   "dialect", "tower",         "layer",     "norm",
                                                "pooled", "padding", "seen",    "unconditional", "clip skip", "vector"};
    struct table table = {0};
    struct recipe recipe;
    penult_error error;
    int32_t status = PENULT_OK;
    struct row *head = add_row(&table);
    bool fits = head != NULL;
    for (unsigned c = 0; fits && c < COLUMNS; c++) {
        set(head, c, titles[c]);
    }
    for (uint32_t index = 0; fits && status == PENULT_OK; index++) {
        status = recipes_read(condition, index, NULL, &recipe, &error);
        if (status == PENULT_OK) {
            fits = add_recipe(&table, &recipe);
            add_json(json_add_object(list, NULL), &recipe);
        }
    }
    if (fits && status == PENULT_E_NOT_FOUND && !as_json) {
        show_table(&table);
        puts("\n\"penult recipes NAME\" tells all about one, and where it was read.");
    }
    free(table.rows);
    if (!fits) {
        return say_failed("no memory for the table of recipes");
    }
    /* what stands behind the last is not found */
    return status == PENULT_E_NOT_FOUND ? STATUS_OK : say_failed("%s", error.message);
}

static int show_one(const penult_condition_api *condition, const char *name, json list, bool as_json) {
    struct recipe recipe;
    penult_error error;
    if (recipes_read(condition, 0, name, &recipe, &error) != PENULT_OK) {
        return say_failed("there is no recipe \"%s\"; \"penult recipes\" lists them", name);
    }
    add_json(json_add_object(list, NULL), &recipe);
    if (!as_json) {
        show_recipe(&recipe);
    }
    return STATUS_OK;
}

int command_recipes(const struct options *options) {
    struct host host = {0};
    char why[1024];
    bool failed;
    if (!host_load(&host, options, why, sizeof why)) {
        return say_failed("%s", why);
    }
    const penult_condition_api *condition = recipes_api(&host);
    json root = json_begin(&failed);
    json_add_string(root, "command", "recipes");
    host_plugin_json(&host, root);
    json list = json_add_array(root, "recipes");
    int status = condition == NULL         ? STATUS_FAILED
                 : options->recipe == NULL ? show_all(condition, list, options->json)
                                           : show_one(condition, options->recipe, list, options->json);
    if (status == STATUS_OK && options->json) {
        status = json_print(root);
    }
    json_end(root);
    host_close(&host);
    return status;
}
