/* test_shapes.c - protects what is made of names and shapes before a byte of weights is read: which towers a file holds, how
 * large they are, where a projection stands, and what is said of tensors that nobody needs. On sets made here, so that each
 * can lie about one thing. */
#include "../../encoder/model/shapes.h"
#include "../../encoder/model/strangers.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct fault fault;

struct item {
    const char *name;
    unsigned rank;
    uint64_t shape[3];
    int away; /* its shard is not there */
};
struct made {
    struct named_tensor items[32];
    struct tensor_set set;
};

static int by_name(const void *a, const void *b) {
    const struct named_tensor *x = a, *y = b;
    return tensor_name_compare(x->name, x->name_size, y->name, y->name_size);
}

static void make(struct made *out, const struct item *items, size_t count) {
    assert_true(count <= sizeof out->items / sizeof *out->items);
    out->set = (struct tensor_set){out->items, count};
    for (size_t i = 0; i < count; i++) {
        struct named_tensor *to = &out->items[i];
        *to = (struct named_tensor){.name = items[i].name, .name_size = strlen(items[i].name), .bytes = 100 + i};
        to->tensor = (struct tensor){.dtype = items[i].away ? DTYPE_NONE : DTYPE_F16, .rank = items[i].rank};
        memcpy(to->tensor.shape, items[i].shape, sizeof items[i].shape);
    }
    qsort(out->items, count, sizeof *out->items, by_name);
}
#define MAKE(made, items) make(made, items, sizeof items / sizeof *items)

/* ---- layouts -------------------------------------------------------------------------------------------------------- */

static void blocks_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t blocks;
    } cases[] = {
        {"text_model.encoder.layers.0.x", 1},          {"text_model.encoder.layers.11.x", 12},
        {"text_model.encoder.layers.007.x", 8},        {"text_model.encoder.layers.", 0},
        {"text_model.encoder.layers.3", 0},            {"text_model.encoder.layers.x.3", 0},
        {"text_model.encoder.layers..3", 0},           {"text_model.encoder.layers.3x", 0},
        {"text_model.encoder.layer", 0},               {"text_model.encoder.layers.4294967295.x", UINT32_MAX},
        {"text_model.encoder.layers.99999999999999999999999.x", UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct item items[] = {{"text_model.embeddings.token_embedding.weight", 2, {9, 64}, 0},
                                     {cases[i].name, 1, {1}, 0},
                                     {"text_model.encoder.layers.a", 1, {1}, 0}};
        struct found_layout found[LAYOUTS_MOST];
        struct made made;
        MAKE(&made, items);
        assert_int_equal(layouts_find(&made.set, found), 1);
        if (layout_count_blocks(&found[0], &made.set) != cases[i].blocks)
            fail_msg("%s: %u blocks", cases[i].name, layout_count_blocks(&found[0], &made.set));
    }
}

/* Each layout once, without a wrapper and behind each; a wrapper that not every name has is none. */
static void layouts_and_wrappers(void **state) {
    (void)state;
    static const char *const wrappers[] = {"", "model.", "module.", "state_dict."};
    for (size_t w = 0; w < sizeof wrappers / sizeof *wrappers; w++) {
        char names[2][64];
        snprintf(names[0], sizeof names[0], "%stext.token_embedding.weight", wrappers[w]);
        snprintf(names[1], sizeof names[1], "%stoken_embedding.weight", wrappers[w]);
        const struct item items[] = {{names[0], 2, {9, 64}, 0}, {names[1], 2, {9, 64}, 0}};
        struct found_layout found[LAYOUTS_MOST];
        struct made made;
        MAKE(&made, items);
        assert_int_equal(layouts_find(&made.set, found), 2);
        assert_string_equal(found[0].layout->name, "openclip");
        assert_string_equal(found[1].layout->name, "openclip, custom text");
        assert_string_equal(found[1].wrapper, wrappers[w]);
        assert_int_equal(layout_covers(&found[1], names[0], strlen(names[0])), 1);
        assert_int_equal(layout_covers(&found[1], names[1], strlen(names[1])), 0);
        assert_int_equal(layout_covers(&found[1], "te", 2), 0);
    }
    static const struct item mixed[] = {{"model.token_embedding.weight", 2, {9, 64}, 0}, {"x", 1, {1}, 0}};
    struct found_layout found[LAYOUTS_MOST];
    struct made made;
    MAKE(&made, mixed);
    assert_int_equal(layouts_find(&made.set, found), 0);
    /* more towers in one file than anybody lists */
    static const struct item many[] = {{"text_model.embeddings.token_embedding.weight", 2, {9, 64}, 0},
                                       {"embeddings.token_embedding.weight", 2, {9, 64}, 0},
                                       {"token_embedding.weight", 2, {9, 64}, 0},
                                       {"text.token_embedding.weight", 2, {9, 64}, 0},
                                       {"conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight", 2, {9, 64}, 0},
                                       {"conditioner.embedders.1.model.token_embedding.weight", 2, {9, 64}, 0},
                                       {"conditioner.embedders.0.model.token_embedding.weight", 2, {9, 64}, 0},
                                       {"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", 2, {9, 64}, 0},
                                       {"cond_stage_model.model.token_embedding.weight", 2, {9, 64}, 0}};
    MAKE(&made, many);
    assert_int_equal(layouts_find(&made.set, found), LAYOUTS_MOST);
}

/* Both places of ComfyUI's, in their order, and neither. */
static void projections_are_found(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int found, bare;
    } cases[] = {{"clip_g.transformer.text_projection.weight", 1, 0}, {"clip_g.text_projection", 1, 1}, {"clip_g.text_projectio", 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct item items[] = {{"clip_g.transformer.text_model.embeddings.token_embedding.weight", 2, {9, 64}, 0},
                                     {cases[i].name, 2, {64, 64}, 0}};
        struct found_layout found[LAYOUTS_MOST];
        struct made made;
        int bare;
        MAKE(&made, items);
        assert_int_equal(layouts_find(&made.set, found), 1);
        assert_int_equal(layout_find_projection(&found[0], &made.set, &bare) < made.set.count, cases[i].found);
        assert_int_equal(bare, cases[i].bare);
    }
}

/* ---- shapes --------------------------------------------------------------------------------------------------------- */

struct said {
    unsigned notes, warnings, errors;
    char all[4096];
};

static void hear(void *user, const struct finding *finding) {
    struct said *said = user;
    said->notes += finding->severity == REPORT_NOTE;
    said->warnings += finding->severity == REPORT_WARNING;
    said->errors += finding->severity == REPORT_ERROR;
    size_t used = strlen(said->all);
    snprintf(said->all + used, sizeof said->all - used, "%s: %s\n", finding->subject, finding->message);
}

/* A tower of that width under transformers' names, one thing about which `with` changes. */
static void tower(struct made *out, uint64_t width, const struct item *with) {
    const struct item items[] = {{"text_model.embeddings.token_embedding.weight", 2, {500, width}, 0},
                                 {"text_model.embeddings.position_embedding.weight", 2, {77, width}, 0},
                                 {"text_model.encoder.layers.0.mlp.fc1.weight", 2, {4 * width, width}, 0},
                                 {"text_projection.weight", 2, {width, width}, 0}};
    struct item changed[4];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        int is_it = with && strcmp(with->name, items[i].name) == 0;
        if (!is_it || with->rank > 0) /* of rank 0: gone */
            changed[count++] = is_it ? *with : items[i];
    }
    make(out, changed, count);
}

static int read(const struct made *made, enum activation activation, uint32_t heads, struct geometry *g, struct said *said) {
    struct found_layout found[LAYOUTS_MOST];
    const struct report report = {hear, said};
    assert_int_equal(layouts_find(&made->set, found), 1);
    *said = (struct said){0};
    return shapes_read(g, &found[0], &made->set, activation, heads, "m.safetensors", &report, &fault);
}

static void what_shapes_say(void **state) {
    (void)state;
    static const struct {
        uint64_t width;
        const char *name;
        enum activation activation;
    } cases[] = {{64, "text", ACTIVATION_QUICK_GELU}, {768, "clip_l", ACTIVATION_QUICK_GELU}, {1024, "clip_h", ACTIVATION_GELU}, {1280, "clip_g", ACTIVATION_GELU}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made made;
        struct geometry g;
        struct said said;
        tower(&made, cases[i].width, NULL);
        assert_int_equal(read(&made, ACTIVATION_NONE, 0, &g, &said), 0);
        assert_true(g.width == cases[i].width && g.heads == cases[i].width / 64 && g.layers == 1 && g.mlp_width == 4 * g.width);
        assert_true(g.vocabulary == 500 && g.context == 77 && g.projection == g.width && !g.identity);
        assert_int_equal(g.activation, cases[i].activation);
        assert_int_equal(said.notes, 2); /* heads and activation */
        assert_string_equal(shapes_name(g.width), cases[i].name);
        assert_int_equal(read(&made, ACTIVATION_GELU, 2, &g, &said), 0);
        assert_true(g.heads == 2 && g.activation == ACTIVATION_GELU && said.notes + said.warnings == 0);
    }
}

static void what_shapes_refuse(void **state) {
    (void)state;
#define TOKENS "text_model.embeddings.token_embedding.weight"
#define POSITIONS "text_model.embeddings.position_embedding.weight"
#define FC1 "text_model.encoder.layers.0.mlp.fc1.weight"
#define PROJECTION "text_projection.weight"
    static const struct {
        struct item with;
        int code;
        const char *names;
    } cases[] = {
        {{TOKENS, 1, {64}, 0}, FAULT_MISMATCH, "[64], expected two dimensions"},
        {{TOKENS, 2, {500, 64}, 1}, FAULT_NOT_FOUND, TOKENS},
        {{TOKENS, 2, {500, 0}, 0}, FAULT_UNSUPPORTED, "0 wide"},
        {{TOKENS, 2, {500, 100}, 0}, FAULT_UNSUPPORTED, "100 wide"},
        {{TOKENS, 2, {500, (uint64_t)1 << 40}, 0}, FAULT_UNSUPPORTED, "4294967295 wide"},
        {{TOKENS, 2, {(uint64_t)1 << 40, 64}, 0}, FAULT_UNSUPPORTED, "vocab_size"},
        {{POSITIONS, 0, {0}, 0}, FAULT_MISMATCH, POSITIONS},
        {{POSITIONS, 3, {77, 64, 1}, 0}, FAULT_MISMATCH, POSITIONS},
        {{FC1, 0, {0}, 0}, FAULT_MISMATCH, FC1},
        {{FC1, 2, {256, 64}, 1}, FAULT_NOT_FOUND, FC1},
        {{PROJECTION, 2, {64, 64}, 1}, FAULT_NOT_FOUND, "the text projection is in a shard"},
        {{PROJECTION, 1, {64}, 0}, FAULT_MISMATCH, "the text projection has shape [64]"},
        {{PROJECTION, 2, {0, 64}, 0}, FAULT_MISMATCH, "expected no zero"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct made made;
        struct geometry g;
        struct said said;
        tower(&made, 64, &cases[i].with);
        if (read(&made, ACTIVATION_NONE, 0, &g, &said) != cases[i].code)
            fail_msg("case %zu is not refused as %d", i, cases[i].code);
        assert_names(fault.message, cases[i].names);
    }
    /* a list of towers says 0 of what it cannot see */
    uint32_t width, layers;
    for (size_t i = 0; i < 2; i++) {
        struct found_layout found[LAYOUTS_MOST];
        struct made made;
        tower(&made, 64, &cases[i].with);
        assert_int_equal(layouts_find(&made.set, found), 1);
        shapes_look(&found[0], &made.set, &width, &layers);
        assert_true(width == 0 && layers == 1);
        made.set.count = 0;
        shapes_look(&found[0], &made.set, &width, &layers);
        assert_true(width == 0 && layers == 0);
    }
}

/* Without a projection CLIP-L's is the identity; of any other layout or width there is none. */
static void missing_projections(void **state) {
    (void)state;
    static const struct item gone = {PROJECTION, 0, {0}, 0};
    for (uint64_t width = 704; width <= 768; width += 64) {
        struct made made;
        struct geometry g;
        struct said said;
        tower(&made, width, &gone);
        assert_int_equal(read(&made, ACTIVATION_GELU, 0, &g, &said), 0);
        assert_int_equal(g.identity, width == 768);
        assert_int_equal(g.projection, width == 768 ? 768 : 0);
        assert_int_equal(said.warnings, width != 768);
        assert_names(said.all, PROJECTION);
    }
}

/* What is assumed of OpenCLIP's own files, narrow and wide, and of Stable Diffusion 2's. */
static void fused_towers(void **state) {
    (void)state;
    static const struct {
        const char *root;
        uint64_t width;
        unsigned warnings;
        const char *names;
    } cases[] = {{"", 512, 1, "name it then"}, {"", 1024, 0, "LAION"}, {"cond_stage_model.model.", 1024, 0, "dummy"},
                 {"cond_stage_model.model.", 768, 0, "as OpenAI's CLIP"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const ends[] = {"token_embedding.weight", "positional_embedding", "transformer.resblocks.0.mlp.c_fc.weight",
                                           "text_projection"};
        const uint64_t rows[] = {500, 77, 2048, cases[i].width};
        char names[4][80];
        struct item items[4];
        for (size_t k = 0; k < 4; k++) {
            snprintf(names[k], sizeof names[k], "%s%s", cases[i].root, ends[k]);
            items[k] = (struct item){names[k], 2, {rows[k], k < 3 ? cases[i].width : 300}, 0};
        }
        struct made made;
        struct geometry g;
        struct said said;
        MAKE(&made, items);
        assert_int_equal(read(&made, ACTIVATION_NONE, 0, &g, &said), 0);
        assert_int_equal(g.projection, 300);
        assert_int_equal(said.warnings, cases[i].warnings);
        assert_names(said.all, cases[i].names);
    }
}

/* ---- strangers ------------------------------------------------------------------------------------------------------ */

static void strangers(const struct made *made, const char *chosen, struct said *said) {
    unsigned char used[32] = {0};
    struct found_layout found[LAYOUTS_MOST];
    const struct report report = {hear, said};
    size_t count = layouts_find(&made->set, found), which = 0;
    while (which < count && strcmp(found[which].layout->name, chosen) != 0)
        which++;
    assert_true(which < count);
    for (size_t i = 0; i < made->set.count; i++)
        used[i] = strstr(made->items[i].name, "token_embedding") != NULL;
    *said = (struct said){0};
    strangers_report(&made->set, used, found, count, which, "a tower of 1 block", &report);
}

static void strangers_are_sorted(void **state) {
    (void)state;
    static const struct item items[] = {
        {"text_model.embeddings.token_embedding.weight", 2, {9, 64}, 0},
        {"text_model.embeddings.position_ids", 1, {77}, 0},
        {"text_model.odd", 1, {1}, 0},
        {"text.token_embedding.weight", 2, {9, 64}, 0},
        {"text.ln_final.weight", 1, {64}, 0},
        {"token_embedding.weight", 2, {9, 64}, 0},
        {"vision_model.x", 1, {1}, 0},
        {"vision_model.y", 1, {1}, 0},
        {"logit_scale", 0, {0}, 0},
        {"", 1, {1}, 0},
        {"odd\n", 1, {1}, 0},
    };
    struct made made;
    struct said said;
    MAKE(&made, items);
    strangers(&made, "transformers", &said);
    assert_names(said.all, "text_model.embeddings.position_ids: not used: a buffer");
    assert_names(said.all, "text_model.odd: not used: a tower of 1 block does not call for it");
    assert_names(said.all, "text.: not used: 1 tensors, ");
    assert_names(said.all, "another text tower");
    assert_names(said.all, "vision_model.: not used: 2 tensors, ");
    assert_names(said.all, "logit_scale: not used: scales");
    assert_names(said.all, "\"\": not used: ");
    assert_names(said.all, "odd\\x0a: not used: ");
    assert_int_equal(said.warnings, 3);
    /* seen from a tower whose names begin at the root, the other's are another's, and the image tower's still are */
    strangers(&made, "openclip", &said);
    assert_names(said.all, "text_model.: not used: 2 tensors, ");
    assert_names(said.all, "text.: not used: 1 tensors, ");
    assert_names(said.all, "vision_model.: not used: 2 tensors, ");
    strangers(&made, "openclip, custom text", &said);
    assert_names(said.all, "text.ln_final.weight: not used: a tower of 1 block does not call for it");
    assert_names(said.all, "text_model.: not used: 2 tensors, ");
}

/* So many of them that a list would help nobody. */
static void very_many_strangers(void **state) {
    (void)state;
    enum { MANY = 100 };
    static char names[MANY][16];
    struct named_tensor items[MANY + 1] = {{.name = "token_embedding.weight", .name_size = 22, .tensor = {.dtype = DTYPE_F16}}};
    unsigned char used[MANY + 1] = {0};
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "odd.%03zu", i);
        items[1 + i] = (struct named_tensor){.name = names[i], .name_size = 7, .bytes = 10, .tensor = {.dtype = DTYPE_F16}};
    }
    struct tensor_set set = {items, MANY + 1};
    qsort(items, MANY + 1, sizeof *items, by_name);
    used[MANY] = 1;
    struct found_layout found[LAYOUTS_MOST];
    struct said said = {0};
    const struct report report = {hear, &said};
    assert_int_equal(layouts_find(&set, found), 1);
    strangers_report(&set, used, found, 1, 0, "a tower", &report);
    assert_int_equal(said.warnings, 65);
    assert_names(said.all, "odd.063: ");
    assert_null(strstr(said.all, "odd.064: "));
    assert_names(said.all, "...: not used: 36 more tensors, 360 bytes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_counted),    cmocka_unit_test(layouts_and_wrappers), cmocka_unit_test(projections_are_found),
        cmocka_unit_test(what_shapes_say),       cmocka_unit_test(what_shapes_refuse),   cmocka_unit_test(missing_projections),
        cmocka_unit_test(fused_towers),          cmocka_unit_test(strangers_are_sorted), cmocka_unit_test(very_many_strangers),
    };
    return cmocka_run_group_tests_name("shapes", tests, NULL, NULL);
}
