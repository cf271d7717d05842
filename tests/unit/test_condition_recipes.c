/* test_condition_recipes.c - protects the table of recipes: that each is whole, that the widths come out as the pipelines'
 * UNets take them, and each host's way of counting skipped blocks.
 */
#include <stdio.h>

#include "../../encoder/condition/recipes.h"
#include "unit.h"

static struct fault fault;

static const struct recipe *find(const char *name) {
    const struct recipe *recipe = recipe_find(name, strlen(name));
    if (!recipe)
        fail_msg("there is no %s", name);
    return recipe;
}

static unsigned width_of(enum recipe_tower_kind kind) {
    return kind == RECIPE_CLIP_L ? 768 : kind == RECIPE_CLIP_H ? 1024 : 1280;
}

/* Widths of context and vector, from the pipelines' configurations. */
static void widths(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned context, vector;
    } rows[] = {
        {"sd1", 768, 0},           {"sd2", 1024, 0},           {"sdxl", 2048, 2816},         {"sdxl@diffusers", 2048, 2816},
        {"sdxl@sgm", 2048, 2816},  {"sdxl@comfyui", 2048, 2816}, {"sdxl@a1111", 2048, 2816}, {"sdxl@compel", 2048, 2816},
        {"sdxl-refiner", 1280, 2560}, {"sd3", 4096, 2048},     {"flux", 0, 768},             {"cascade-prior", 1280, 1280},
        {"cascade-decoder", 0, 1280}, {"kandinsky2.2-prior", 1280, 1280},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct recipe *recipe = find(rows[i].name);
        unsigned context = 0, vector = (unsigned)recipe_sizes(recipe);
        for (unsigned t = 0; t < recipe->tower_count; t++) {
            context += recipe->towers[t].layer ? width_of(recipe->towers[t].kind) : 0;
            vector += recipe->towers[t].pooled ? width_of(recipe->towers[t].kind) : 0;
        }
        context = recipe->context_width > context ? recipe->context_width : context;
        if (context != rows[i].context || vector != rows[i].vector)
            fail_msg("%s: context %u, vector %u", rows[i].name, context, vector);
    }
}

static void whole(void **state) {
    (void)state;
    for (size_t i = 0; i < recipe_count; i++) {
        const struct recipe *recipe = &recipes[i];
        assert_ptr_equal(find(recipe->name), recipe);
        assert_true(!recipe->alias || find(recipe->alias) == recipe);
        assert_true(strlen(recipe->source) > 10 && recipe->tower_count >= 1 && recipe->tower_count <= RECIPE_TOWERS);
        assert_true(recipe->sizes[RECIPE_SIZES] == RECIPE_SIZES_END && recipe->dialect < DIALECTS);
        for (unsigned t = 0; t < recipe->tower_count; t++)
            assert_true(recipe->towers[t].layer <= 0 && (recipe->towers[t].layer || recipe->towers[t].pooled));
        assert_true((recipe->skip == RECIPE_NO_SKIP) == !(recipe->skip_towers | recipe->skip_asked));
    }
    assert_null(recipe_find("sdxl@", 5));
    assert_null(recipe_find("", 0));
    assert_ptr_equal(recipe_find("sdxl@nobody", 4), find("sdxl@diffusers"));
}

/* Clip skip, as spec.md 2.4 and 7 have it: L has 12 blocks, bigG 32. */
static void skips(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned tower, layers;
        int has_skip, skip, optional, negative, layer, norm;
    } rows[] = {
        {"sd1", 0, 12, 0, 0, 0, 0, -1, 1},          {"sd1", 0, 12, 1, 1, 0, 0, -2, 1},          {"sd1", 0, 12, 1, 1, 0, 1, -1, 1},
        {"sd1", 0, 12, 1, 0, 0, 0, -1, 1},          {"sdxl", 0, 12, 1, 1, 0, 0, -3, 0},         {"sdxl", 1, 32, 1, 1, 0, 0, -3, 0},
        {"sdxl", 1, 32, 1, 1, 0, 1, -2, 0},         {"sdxl@a1111", 0, 12, 1, 2, 0, 0, -2, 0},   {"sdxl@a1111", 0, 12, 1, 4, 1, 1, -4, 0},
        {"sdxl@a1111", 0, 12, 1, 4, 0, 0, -2, 0},   {"sdxl@a1111", 1, 32, 1, 4, 1, 0, -2, 0},   {"sdxl@comfyui", 0, 12, 1, -2, 0, 0, -2, 0},
        {"sdxl@comfyui", 1, 32, 1, -4, 0, 1, -4, 0}, {"sd2", 0, 24, 0, 0, 0, 0, -2, 1},       {"cascade-prior", 0, 32, 0, 0, 0, 0, -1, 0},
        {"kandinsky2.2-prior", 0, 32, 0, 0, 0, 1, -1, 1}, {"sd3", 1, 32, 1, 2, 0, 0, -4, 0},    {"sdxl@comfyui", 0, 12, 1, -12, 0, 0, -12, 0},
        /* diffusers' export of SD 2.x ends at its penultimate block */
        {"sd2", 0, 23, 0, 0, 0, 0, -1, 1},          {"sd2", 0, 23, 1, 0, 0, 0, -1, 1},          {"sd2", 0, 23, 1, 1, 0, 0, -2, 1},
        {"sd2", 0, 24, 1, 1, 0, 0, -3, 1},          {"sd2", 0, 23, 1, 2, 0, 1, -1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int layer = 77, norm = 77;
        assert_int_equal(recipe_layer(find(rows[i].name), rows[i].tower, rows[i].has_skip, rows[i].skip, rows[i].optional, rows[i].negative,
                                      rows[i].layers, &layer, &norm, &fault),
                         0);
        if (layer != rows[i].layer || norm != rows[i].norm)
            fail_msg("row %zu: layer %d, norm %d", i, layer, norm);
    }
}

static void impossible_skips(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int skip, code;
    } rows[] = {{"sdxl", 11, FAULT_ARGUMENT},       {"sdxl", -1, FAULT_ARGUMENT},        {"sdxl", INT32_MAX, FAULT_ARGUMENT},
                {"sdxl", INT32_MIN, FAULT_ARGUMENT}, {"sdxl@comfyui", 0, FAULT_ARGUMENT}, {"sdxl@comfyui", -13, FAULT_ARGUMENT},
                {"sdxl@a1111", 0, FAULT_ARGUMENT},   {"sdxl@a1111", INT32_MIN, FAULT_ARGUMENT}, {"sdxl@sgm", 1, FAULT_UNSUPPORTED},
                {"flux", 1, FAULT_UNSUPPORTED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int layer, norm;
        assert_int_equal(recipe_layer(find(rows[i].name), 0, 1, rows[i].skip, 1, 0, 12, &layer, &norm, &fault), rows[i].code);
        assert_names(fault.message, "clip skip");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(widths), cmocka_unit_test(whole), cmocka_unit_test(skips),
                                       cmocka_unit_test(impossible_skips)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
