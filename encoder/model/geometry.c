/* geometry.c - limits of what a tower can be. They are far above any CLIP and keep every product of two in 64 bits and every
 * allocation bounded; the tensors, which must be there in full, bound the rest. */
#include "geometry.h"

static int outside(const char *file, const char *what, uint32_t found, uint32_t least, uint32_t most, struct fault *fault) {
    return fault_set(fault, FAULT_UNSUPPORTED, "%s: %s is %u, expected %u to %u", file, what, found, least, most);
}

int geometry_check(const struct geometry *g, const char *name, struct fault *fault) {
    const struct {
        const char *what;
        uint32_t value, least, most;
    } limits[] = {
        {"hidden_size", g->width, 1, 16384},
        {"num_hidden_layers", g->layers, 1, 256},
        {"num_attention_heads", g->heads, 1, 1024},
        {"intermediate_size", g->mlp_width, 1, 131072},
        {"max_position_embeddings", g->context, 2, 4096},
        {"vocab_size", g->vocabulary, 1, 4194304},
        {"projection_dim", g->projection, 0, 16384},
    };
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i].value < limits[i].least || limits[i].value > limits[i].most)
            return outside(name, limits[i].what, limits[i].value, limits[i].least, limits[i].most, fault);
    if (g->width % g->heads)
        return fault_set(fault, FAULT_MISMATCH, "%s: num_attention_heads %u does not divide hidden_size %u", name, g->heads,
                         g->width);
    if (!(g->norm_epsilon > 0 && g->norm_epsilon < 1))
        return fault_set(fault, FAULT_UNSUPPORTED, "%s: layer_norm_eps is outside (0, 1)", name);
    return 0;
}

const char *activation_name(enum activation activation) {
    return activation == ACTIVATION_GELU ? "gelu" : activation == ACTIVATION_QUICK_GELU ? "quick_gelu" : "none";
}
