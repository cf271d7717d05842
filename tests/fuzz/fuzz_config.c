/* fuzz_config.c - any bytes as a config.json.
 *
 * Protects: what is accepted is a geometry within its limits, whole and the same with an activation of the host's; a refusal
 * is a sentence about the file; nothing is allocated.
 */
#include <string.h>

#include "../../encoder/config.h"
#include "fuzz.h"
#include "json_mutate.h"

static const char name[] = "config.json";

static int within(uint32_t value, uint32_t least, uint32_t most) {
    return value >= least && value <= most;
}

static void check_accepted(const struct geometry *g) {
    fuzz_require(within(g->width, 1, 16384) && within(g->layers, 1, 256) && within(g->heads, 1, 1024) &&
                     within(g->mlp_width, 1, 131072) && within(g->context, 2, 4096) && within(g->vocabulary, 1, 4194304) &&
                     within(g->projection, 0, 16384),
                 "a geometry beyond its limits");
    fuzz_require(g->width % g->heads == 0, "heads that do not divide the width");
    fuzz_require(g->norm_epsilon > 0 && g->norm_epsilon < 1, "an epsilon outside (0, 1)");
    fuzz_require(g->activation == ACTIVATION_GELU || g->activation == ACTIVATION_QUICK_GELU, "no activation");
    fuzz_require(g->end_id >= -1 && (!g->legacy_end || g->end_id == -1), "an end id that is none");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const subjects[] = {"config.json: ", NULL};
    struct geometry geometry, other;
    struct fault fault = {0};
    unsigned errors;
    struct report report = fuzz_report(&errors);
    fuzz_memory_start();
    int status = config_parse(&geometry, name, (const char *)data, size, ACTIVATION_NONE, &report, &fault);
    fuzz_require(fuzz_memory_end().requested == 0, "config.json takes no memory");
    if (status) {
        fuzz_refused(status, &fault, subjects);
    } else {
        check_accepted(&geometry);
        fuzz_require(errors == 0, "an accepted file with an error");
    }
    int overridden = config_parse(&other, name, (const char *)data, size, ACTIVATION_QUICK_GELU, &report, &fault);
    if (overridden) {
        fuzz_refused(overridden, &fault, subjects);
        fuzz_require(status != 0, "a file that an override breaks");
        return 0;
    }
    check_accepted(&other);
    fuzz_require(other.activation == ACTIVATION_QUICK_GELU, "an override that does not count");
    if (status)
        return 0;
    other.activation = geometry.activation;
    fuzz_require(memcmp(&other.norm_epsilon, &geometry.norm_epsilon, sizeof other.norm_epsilon) == 0 &&
                     other.width == geometry.width && other.layers == geometry.layers && other.heads == geometry.heads &&
                     other.mlp_width == geometry.mlp_width && other.context == geometry.context &&
                     other.vocabulary == geometry.vocabulary && other.projection == geometry.projection &&
                     other.end_id == geometry.end_id && other.legacy_end == geometry.legacy_end,
                 "an override that changes more than the activation");
    return 0;
}

static const char *const keys[] = {
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings", "vocab_size",
    "projection_dim", "layer_norm_eps", "hidden_act", "eos_token_id", "architectures", "model_type", "bos_token_id",
    "torch_dtype", "a", NULL};
static const char *const values[] = {
    "\"gelu\"", "\"quick_gelu\"", "\"gelu_new\"", "[\"CLIPTextModel\"]", "[\"CLIPTextModelWithProjection\"]", "\"CLIPTextModel\"",
    "[\"CLIPModel\"]", "[\"CLIPTextModel\",\"CLIPTextModel\"]", "\"clip_text_model\"", "\"clip\"", "1280", "77", "49408",
    "16384", "16385", "131072", "4194304", "4194305", "1e-05", "1E-5", "0.00001", "0.0", "1.0", "0.9999999999999999999",
    "5e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "2", "49407", "null", NULL};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    static const struct json_words words = {keys, values};
    uint32_t random = fuzz_seed(seed);
    if (size == 0 || room < 64 || fuzz_below(&random, 3) == 0)
        return LLVMFuzzerMutate(data, size, room);
    return json_mutate((char *)data, size, room, &random, &words);
}
