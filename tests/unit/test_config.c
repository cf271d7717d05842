/* test_config.c - protects the reading of config.json: every key that the arithmetic depends on must be there, once, and be
 * a number or a name that the tower can have; what is assumed is reported. tests/model/test_open.py asks the same through the
 * plugin; here each sentence is asked of the parser alone, which sanitizers can follow.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../encoder/config.h"
#include "unit.h"

static const char right[] =
    "{\"architectures\": [\"CLIPTextModelWithProjection\"], \"model_type\": \"clip_text_model\", \"hidden_size\": 64,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"intermediate_size\": 128,"
    " \"max_position_embeddings\": 77, \"vocab_size\": 1000, \"projection_dim\": 32, \"layer_norm_eps\": 1e-05,"
    " \"hidden_act\": \"gelu\", \"eos_token_id\": 999, \"dropout\": [0.0, {\"x\": null}]}";

static struct fault fault;
static char reports[2048];

static void keep_report(void *user, const struct finding *finding) {
    size_t used = strlen(reports);
    (void)user;
    snprintf(reports + used, sizeof reports - used, "%s: %s\n", finding->subject, finding->message);
}

/* From a block of the text's exact size, so that a sanitizer sees a byte read beyond it. */
static int parse(const char *text, enum activation activation, struct geometry *out) {
    const struct report report = {keep_report, NULL};
    size_t size = strlen(text);
    char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    reports[0] = '\0';
    memset(&fault, 0xA5, sizeof fault);
    int status = config_parse(out, "config.json", copy, size, activation, &report, &fault);
    free(copy);
    return status;
}

/* The right one with the first `find` replaced. */
static char *edited(const char *find, const char *with) {
    const char *at = strstr(right, find);
    if (!at)
        fail_msg("there is no %s to replace", find);
    size_t head = (size_t)(at - right), size = sizeof right + strlen(with);
    char *text = malloc(size);
    assert_non_null(text);
    snprintf(text, size, "%.*s%s%s", (int)head, right, with, at + strlen(find));
    return text;
}

static int parse_edited(const char *find, const char *with, enum activation activation, struct geometry *out) {
    char *text = edited(find, with);
    int status = parse(text, activation, out);
    free(text);
    return status;
}

static void a_right_config_is_taken_as_it_is(void **state) {
    struct geometry g;
    (void)state;
    assert_int_equal(parse(right, ACTIVATION_NONE, &g), 0);
    assert_int_equal(g.width, 64);
    assert_int_equal(g.layers, 2);
    assert_int_equal(g.heads, 4);
    assert_int_equal(g.mlp_width, 128);
    assert_int_equal(g.context, 77);
    assert_int_equal(g.vocabulary, 1000);
    assert_int_equal(g.projection, 32);
    assert_true(g.norm_epsilon > 0.99e-5 && g.norm_epsilon < 1.01e-5);
    assert_int_equal(g.activation, ACTIVATION_GELU);
    assert_int_equal(g.end_id, 999);
    assert_false(g.legacy_end);
    assert_string_equal(reports, "");
}

static void what_is_wrong_is_named(void **state) {
    static const struct {
        const char *find, *with;
        int code;
        const char *names;
    } edits[] = {
        {"{\"arch", "[\"arch", FAULT_FORMAT, "an object"},
        {right, "", FAULT_FORMAT, "JSON ends at byte 0"},
        {right, "{", FAULT_FORMAT, "config.json"},
        {"]}", "]} x", FAULT_FORMAT, "nothing after the value"},
        {"64", "\"64\"", FAULT_FORMAT, "hidden_size"},
        {"64", "-1", FAULT_FORMAT, "31 bits"},
        {"64", "2147483648", FAULT_FORMAT, "31 bits"},
        {"64", "64,\"hidden_size\": 64", FAULT_FORMAT, "twice"},
        {"64", "0", FAULT_UNSUPPORTED, "hidden_size is 0, expected 1 to 16384"},
        {"64", "16385", FAULT_UNSUPPORTED, "hidden_size is 16385"},
        {"64", "", FAULT_FORMAT, "a value"},
        {"\"hidden_size\": 64,", "", FAULT_FORMAT, "hidden_size is missing"},
        {"\"num_hidden_layers\": 2,", "", FAULT_FORMAT, "num_hidden_layers is missing"},
        {"\"num_attention_heads\": 4,", "", FAULT_FORMAT, "num_attention_heads is missing"},
        {"\"intermediate_size\": 128,", "", FAULT_FORMAT, "intermediate_size is missing"},
        {"\"max_position_embeddings\": 77,", "", FAULT_FORMAT, "max_position_embeddings is missing"},
        {"\"vocab_size\": 1000,", "", FAULT_FORMAT, "vocab_size is missing"},
        {"\"hidden_act\": \"gelu\",", "", FAULT_FORMAT, "hidden_act is missing"},
        {"\"architectures\": [\"CLIPTextModelWithProjection\"],", "", FAULT_FORMAT, "architectures is missing"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": []", FAULT_FORMAT, "num_hidden_layers"},
        {"\"num_attention_heads\": 4", "\"num_attention_heads\": 3", FAULT_MISMATCH, "3 does not divide hidden_size 64"},
        {"\"num_attention_heads\": 4", "\"num_attention_heads\": 0", FAULT_UNSUPPORTED, "num_attention_heads is 0"},
        {"77", "1", FAULT_UNSUPPORTED, "max_position_embeddings is 1, expected 2"},
        {"1e-05", "0", FAULT_UNSUPPORTED, "layer_norm_eps"},
        {"1e-05", "1", FAULT_UNSUPPORTED, "layer_norm_eps"},
        {"1e-05", "1e999", FAULT_FORMAT, "layer_norm_eps"},
        {"1e-05", "null", FAULT_FORMAT, "layer_norm_eps"},
        {"\"gelu\"", "\"gelu_new\"", FAULT_UNSUPPORTED, "gelu_new"},
        {"\"gelu\"", "1", FAULT_FORMAT, "hidden_act"},
        {"999", "-1", FAULT_FORMAT, "eos_token_id"},
        {"999", "2147483648", FAULT_FORMAT, "eos_token_id"},
        {"999", "[999]", FAULT_FORMAT, "eos_token_id"},
        {"32", "0", FAULT_FORMAT, "needs projection_dim, found 0"},
        {"\"projection_dim\": 32,", "", FAULT_FORMAT, "needs projection_dim, found none"},
        {"32", "true", FAULT_FORMAT, "projection_dim"},
        {"[\"CLIPTextModelWithProjection\"]", "\"CLIPTextModel\"", FAULT_FORMAT, "architectures"},
        {"[\"CLIPTextModelWithProjection\"]", "[]", FAULT_UNSUPPORTED, "names 0 classes"},
        {"[\"CLIPTextModelWithProjection\"]", "[\"CLIPTextModel\", \"CLIPTextModel\"]", FAULT_UNSUPPORTED, "names 2 classes"},
        {"[\"CLIPTextModelWithProjection\"]", "[\"CLIPModel\"]", FAULT_FORMAT, "text_config is missing"},
        {"[\"CLIPTextModelWithProjection\"]", "[\"T5EncoderModel\"]", FAULT_UNSUPPORTED, "T5EncoderModel"},
        {"[\"CLIPTextModelWithProjection\"]", "[1]", FAULT_UNSUPPORTED, "architectures names \"1\""},
        {"[\"CLIPTextModelWithProjection\"]", "[\"CLIPTextModel\" 1]", FAULT_FORMAT, "a comma"},
        {"clip_text_model", "clip", FAULT_FORMAT, "text_config is missing"},
        {"clip_text_model", "bert", FAULT_UNSUPPORTED, "model_type is \"bert\", expected \"clip_text_model\" or \"clip\""},
        {"\"clip_text_model\"", "{}", FAULT_UNSUPPORTED, "model_type"},
        {"null}", "nul}", FAULT_FORMAT, "a value"},
    };
    struct geometry g;
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        int status = parse_edited(edits[i].find, edits[i].with, ACTIVATION_NONE, &g);
        if (status != edits[i].code)
            fail_msg("%s -> %s: status %d, expected %d: %s", edits[i].find, edits[i].with, status, edits[i].code,
                     status ? fault.message : "taken");
        assert_int_equal(fault.code, status);
        assert_names(fault.message, "config.json");
        assert_names(fault.message, edits[i].names);
    }
}

/* A host that says which activation it is need not have one in the file; what the file has there is read over, whole. */
/* A CLIPModel's file: its text_config, whatever stands before and behind it; its class's defaults for what is not there. */
static void a_config_of_both_towers(void **state) {
    static const char *const right_ones[] = {
        "{\"model_type\":\"clip\",\"projection_dim\":32,\"text_config\":{\"hidden_size\":64,\"architectures\":null,"
        "\"model_type\":\"clip_text_model\",\"text_config\":{\"hidden_size\":1},\"projection_dim\":7,\"hidden_act\":\"gelu\"},"
        "\"vision_config\":{\"hidden_size\":9}}",
        "{\"text_config\":{\"hidden_act\":\"gelu\",\"hidden_size\":64},\"projection_dim\":32,\"architectures\":[\"CLIPModel\"]}"};
    static const struct {
        const char *text;
        enum fault_code code;
        const char *word;
    } wrong_ones[] = {
        {"{\"model_type\":\"clip\"}", FAULT_FORMAT, "text_config is missing"},
        {"{\"model_type\":\"clip\",\"text_config\":null}", FAULT_FORMAT, "text_config is missing"},
        {"{\"model_type\":\"clip\",\"text_config\":{},\"projection_dim\":0}", FAULT_FORMAT, "projection_dim"},
        {"{\"model_type\":\"clip\",\"text_config\":{},\"text_config\":{}}", FAULT_FORMAT, "text_config stands in it twice"},
        {"{\"model_type\":\"clip\",\"text_config\":{\"model_type\":\"clip\"}}", FAULT_UNSUPPORTED, "model_type is \"clip\""},
        {"{\"model_type\":\"clip\",\"text_config\":{\"num_attention_heads\":3}}", FAULT_MISMATCH, "num_attention_heads"},
        {"{\"model_type\":\"clip\",\"text_config\":{", FAULT_FORMAT, "ends"},
    };
    struct geometry g;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(parse(right_ones[i], ACTIVATION_NONE, &g), 0);
        assert_int_equal(g.width, 64);
        assert_int_equal(g.projection, 32);
        assert_int_equal(g.layers, 12);
        assert_int_equal(g.vocabulary, 49408);
        assert_int_equal(g.activation, ACTIVATION_GELU);
        assert_int_equal(g.end_id, 49407);
    }
    assert_int_equal(parse("{\"model_type\":\"clip\",\"text_config\":{}}", ACTIVATION_GELU, &g), 0);
    assert_int_equal(g.projection, 512);
    assert_int_equal(g.activation, ACTIVATION_GELU);
    assert_names(reports, "overridden");
    for (size_t i = 0; i < sizeof wrong_ones / sizeof wrong_ones[0]; i++) {
        assert_int_equal(parse(wrong_ones[i].text, ACTIVATION_NONE, &g), wrong_ones[i].code);
        assert_names(fault.message, wrong_ones[i].word);
    }
}

static void an_activation_can_be_overridden(void **state) {
    static const char *const values[] = {"\"quick_gelu\"", "\"gelu_new\"", "null", "[1, [2]]", "{\"vocab_size\": 5}"};
    struct geometry g;
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (parse_edited("\"gelu\"", values[i], ACTIVATION_QUICK_GELU, &g))
            fail_msg("%s: %s", values[i], fault.message);
        assert_int_equal(g.activation, ACTIVATION_QUICK_GELU);
        assert_int_equal(g.vocabulary, 1000);
        assert_int_equal(g.end_id, 999);
        assert_names(reports, "overridden by the host: quick_gelu");
    }
    assert_int_equal(parse_edited("\"hidden_act\": \"gelu\",", "", ACTIVATION_GELU, &g), 0);
    assert_int_equal(g.activation, ACTIVATION_GELU);
    assert_names(reports, "overridden by the host: gelu");
    assert_int_equal(parse_edited("\"gelu\"", "{]", ACTIVATION_GELU, &g), FAULT_FORMAT);
}

static void what_is_assumed_is_reported(void **state) {
    struct geometry g;
    (void)state;
    assert_int_equal(parse_edited("\"layer_norm_eps\": 1e-05,", "", ACTIVATION_NONE, &g), 0);
    assert_names(reports, "layer_norm_eps: missing");
    assert_int_equal(parse_edited("\"eos_token_id\": 999,", "", ACTIVATION_NONE, &g), 0);
    assert_names(reports, "eos_token_id: missing");
    assert_int_equal(g.end_id, -1);
    assert_int_equal(parse_edited("999", "null", ACTIVATION_NONE, &g), 0);
    assert_int_equal(g.end_id, -1);
    assert_false(g.legacy_end);
    /* configs from before transformers' #24773 */
    assert_int_equal(parse_edited("999", "2", ACTIVATION_NONE, &g), 0);
    assert_int_equal(g.end_id, -1);
    assert_true(g.legacy_end);
}

/* A CLIPTextModel's config carries the projection of the model that it came from; it has none itself. */
static void the_class_says_whether_there_is_a_projection(void **state) {
    struct geometry g;
    (void)state;
    assert_int_equal(parse_edited("WithProjection", "", ACTIVATION_NONE, &g), 0);
    assert_int_equal(g.projection, 0);
    assert_int_equal(parse_edited("[\"CLIPTextModelWithProjection\"]", "[\"CLIPTextModel\"], \"projection_dim\": null",
                                  ACTIVATION_NONE, &g),
                     FAULT_FORMAT); /* twice */
    assert_names(fault.message, "projection_dim stands in it twice");
    assert_int_equal(parse_edited("32", "null", ACTIVATION_NONE, &g), FAULT_FORMAT);
    assert_names(fault.message, "projection_dim, found 0");
}

static void activations_have_names(void **state) {
    (void)state;
    assert_string_equal(activation_name(ACTIVATION_GELU), "gelu");
    assert_string_equal(activation_name(ACTIVATION_QUICK_GELU), "quick_gelu");
    assert_string_equal(activation_name(ACTIVATION_NONE), "none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_right_config_is_taken_as_it_is),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_config_of_both_towers),
        cmocka_unit_test(an_activation_can_be_overridden),
        cmocka_unit_test(what_is_assumed_is_reported),
        cmocka_unit_test(the_class_says_whether_there_is_a_projection),
        cmocka_unit_test(activations_have_names),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
