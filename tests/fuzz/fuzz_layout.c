/* fuzz_layout.c - any set of tensors as a checkpoint: layouts, geometry from shapes, binding, filling, the report, the hash.
 *
 * The input is a list of tensors, eight bytes each: what stands before the name, the name, a block, a dtype, a rank and which
 * of some sizes; the names are those of the layouts, so that what comes out is close to a model. Data is zeros that end
 * where an array does, so that a sanitizer sees a step too far.
 *
 * Protects: whatever names and shapes a file has, it is refused with a sentence or bound within its data; every finding is a
 * sentence; a bound tower has the parameters that its geometry says; nothing is allocated beyond what the shapes justify.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../encoder/base/sort.h"
#include "../../encoder/kernels/kernels.h"
#include "../../encoder/model/digest.h"
#include "../../encoder/model/shapes.h"
#include "../../encoder/model/strangers.h"
#include "fuzz.h"

enum { ENTRY = 8, MOST = 64, DATA = 1 << 16 };

static const char *const heads[] = {
    "text_model.", "", "text.", "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.0.transformer.",
    "conditioner.embedders.1.model.", "conditioner.embedders.0.model.", "cond_stage_model.transformer.text_model.",
    "cond_stage_model.transformer.", "cond_stage_model.model.", "text_encoders.clip_l.transformer.text_model.",
    "text_encoders.clip_g.transformer.", "clip_l.transformer.text_model.", "clip_g.transformer.text_model.", "clip_g.", "visual.",
    "model.diffusion_model.", "model.", "model.text_model.", "module.", "vision_model."};
static const char *const names[] = {
    "embeddings.token_embedding.weight", "embeddings.position_embedding.weight", "final_layer_norm.weight",
    "final_layer_norm.bias", "text_projection.weight", "token_embedding.weight", "positional_embedding", "ln_final.weight",
    "ln_final.bias", "text_projection", "embeddings.position_ids", "logit_scale", "scaled_fp8", "encoder.layers.#.layer_norm1.weight",
    "encoder.layers.#.layer_norm1.bias", "encoder.layers.#.self_attn.q_proj.weight", "encoder.layers.#.self_attn.q_proj.bias",
    "encoder.layers.#.self_attn.k_proj.weight", "encoder.layers.#.self_attn.k_proj.bias", "encoder.layers.#.self_attn.v_proj.weight",
    "encoder.layers.#.self_attn.v_proj.bias", "encoder.layers.#.self_attn.out_proj.weight", "encoder.layers.#.self_attn.out_proj.bias",
    "encoder.layers.#.layer_norm2.weight", "encoder.layers.#.layer_norm2.bias", "encoder.layers.#.mlp.fc1.weight",
    "encoder.layers.#.mlp.fc1.bias", "encoder.layers.#.mlp.fc2.weight", "encoder.layers.#.mlp.fc2.bias",
    "encoder.layers.#.mlp.fc1.scale_weight", "encoder.layers.#.mlp.fc2.weight_scale", "transformer.resblocks.#.ln_1.weight",
    "transformer.resblocks.#.ln_1.bias", "transformer.resblocks.#.attn.in_proj_weight", "transformer.resblocks.#.attn.in_proj_bias",
    "transformer.resblocks.#.attn.out_proj.weight", "transformer.resblocks.#.attn.out_proj.bias", "transformer.resblocks.#.ln_2.weight",
    "transformer.resblocks.#.ln_2.bias", "transformer.resblocks.#.mlp.c_fc.weight", "transformer.resblocks.#.mlp.c_fc.bias",
    "transformer.resblocks.#.mlp.c_proj.weight", "transformer.resblocks.#.mlp.c_proj.bias", "encoder.layers.#", "text_projection.scale_weight"};
static const char *const blocks[] = {"0", "1", "2", "00", "255", "256", "4294967295", "99999999999999999999", "", "-1"};
static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64, DTYPE_F8_E4M3, DTYPE_F8_E5M2, DTYPE_I64, DTYPE_BOOL, DTYPE_NONE};
static const uint64_t sizes[] = {1, 2, 3, 4, 6, 8, 12, 16, 64, 0, 768, 77, (uint64_t)1 << 31, (uint64_t)1 << 33, UINT64_MAX >> 1, 192};

#define PICK(table, byte) (table)[(byte) % (sizeof(table) / sizeof *(table))]

struct checkpoint_like {
    struct named_tensor items[MOST];
    char text[MOST][160];
    struct tensor_set set;
};

static void name_of(char *out, const uint8_t *entry) {
    const char *name = PICK(names, entry[1]);
    const char *mark = strchr(name, '#');
    snprintf(out, 160, "%s%.*s%s%s", PICK(heads, entry[0]), (int)(mark ? mark - name : (long)strlen(name)), name,
             mark ? PICK(blocks, entry[2]) : "", mark ? mark + 1 : "");
}

static int by_name(const void *a, const void *b) {
    const struct named_tensor *x = a, *y = b;
    return tensor_name_compare(x->name, x->name_size, y->name, y->name_size);
}

/* A tensor as a checked header leaves it: its bytes are what its shape comes to. 0: it cannot be one. */
static int make(struct named_tensor *item, const uint8_t *entry) {
    static unsigned char zeros[DATA];
    uint64_t count = 1, bits;
    item->tensor.dtype = PICK(dtypes, entry[3]);
    item->tensor.rank = entry[4] % 4;
    for (unsigned i = 0; i < item->tensor.rank; i++) {
        item->tensor.shape[i] = PICK(sizes, entry[5 + i]);
        if (__builtin_mul_overflow(count, item->tensor.shape[i], &count))
            return 0;
    }
    if (__builtin_mul_overflow(count, (uint64_t)dtype_bits(item->tensor.dtype), &bits) || bits / 8 > INT64_MAX)
        return 0;
    item->bytes = bits / 8;
    item->tensor.data = item->bytes <= DATA ? zeros + DATA - item->bytes : NULL;
    return 1;
}

static void build(struct checkpoint_like *c, const uint8_t *data, size_t size) {
    size_t count = 0;
    for (size_t at = 0; at + ENTRY <= size && count < MOST; at += ENTRY) {
        struct named_tensor *item = &c->items[count];
        *item = (struct named_tensor){.name = c->text[count]};
        name_of(c->text[count], data + at);
        item->name_size = strlen(c->text[count]);
        count += (size_t)make(item, data + at);
    }
    sort_items(c->items, count, sizeof *c->items, by_name);
    c->set = (struct tensor_set){c->items, 0};
    for (size_t i = 0; i < count; i++) /* no name twice, as a header's */
        if (i == 0 || by_name(&c->items[c->set.count - 1], &c->items[i]) != 0)
            c->items[c->set.count++] = c->items[i];
}

static uint64_t parameters_of(const struct geometry *g) {
    uint64_t D = g->width, M = g->mlp_width, block = 4 * D * D + 2 * D * M + 9 * D + M;
    return (g->vocabulary + g->context + 2) * D + block * g->layers + (g->identity ? 0 : g->projection * D);
}

/* Everything that is called for has its data in memory. */
static int is_loaded(const struct checkpoint_like *c, const unsigned char *used) {
    for (size_t i = 0; i < c->set.count; i++)
        if (used[i] && !c->items[i].tensor.data)
            return 0;
    return 1;
}

static void bind(struct checkpoint_like *c, const struct found_layout *found, size_t count, size_t chosen) {
    static const char *const subjects[] = {"m.safetensors: ", "the hash", NULL};
    struct weights_source source = {.set = &c->set, .file = "m.safetensors", .config = "the layout"};
    unsigned char used[MOST] = {0}, digest[SHA256_BYTES];
    struct text_weights weights;
    struct geometry g;
    struct kernels kernels;
    struct fault fault = {0};
    unsigned errors;
    struct report report = fuzz_report(&errors);
    source.report = &report;
    int status = shapes_read(&g, &found[chosen], &c->set, ACTIVATION_NONE, c->set.count & 1, "m.safetensors", &report, &fault);
    if (status) {
        fuzz_refused(status, &fault, subjects);
        return;
    }
    fuzz_memory_start();
    status = weights_bind(&weights, &g, &found[chosen], &source, used, &fault);
    size_t asked = fuzz_memory_end().requested;
    fuzz_require(asked <= g.layers * sizeof(struct block) + 4 * (parameters_of(&g) + 1), "memory that no tensor justifies");
    strangers_report(&c->set, used, found, count, chosen, "the layout", &report);
    if (status) {
        fuzz_refused(status, &fault, subjects);
        fuzz_require(errors > 0 && !weights.blocks && !weights.vectors, "a refused tower without a report, or with memory");
        return;
    }
    fuzz_require(errors == 0 && weights.parameters == parameters_of(&g), "a tower with other values than it has");
    kernels_scalar(&kernels);
    if (is_loaded(c, used)) {
        status = weights_fill(&weights, &source, &kernels, &fault);
        if (!status)
            status = weights_digest(&weights, &kernels, NULL, NULL, digest, &fault);
        if (status)
            fuzz_refused(status, &fault, subjects);
    }
    weights_unbind(&weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct checkpoint_like c;
    struct found_layout found[LAYOUTS_MOST];
    build(&c, data, size);
    size_t count = layouts_find(&c.set, found);
    fuzz_require(count <= LAYOUTS_MOST, "more layouts than there is room");
    for (size_t i = 0; i < count; i++) {
        uint32_t width, layers;
        shapes_look(&found[i], &c.set, &width, &layers);
        fuzz_require(shapes_name(width)[0] != '\0', "a tower without a name");
        bind(&c, found, count, i);
    }
    return 0;
}

/* ---- mutation: tensors come, go and change in one field ---- */

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    uint32_t random = fuzz_seed(seed);
    size_t most = room / ENTRY < MOST ? room / ENTRY : MOST, count = size / ENTRY < most ? size / ENTRY : most;
    for (size_t changes = 1 + fuzz_below(&random, 3); changes > 0; changes--) {
        unsigned what = count == 0 ? 0 : fuzz_below(&random, 8);
        size_t at = fuzz_below(&random, count + 1);
        if (what == 0 && count < most) {
            memmove(data + (at + 1) * ENTRY, data + at * ENTRY, (count - at) * ENTRY);
            for (size_t i = 0; i < ENTRY; i++)
                data[at * ENTRY + i] = (uint8_t)fuzz_random(&random);
            count++;
        } else if (what == 1 && count > 0) {
            at = fuzz_below(&random, count);
            memmove(data + at * ENTRY, data + (at + 1) * ENTRY, (count - at - 1) * ENTRY);
            count--;
        } else if (what == 2 && count > 0) { /* another prefix for all: a tower at another place */
            uint8_t head = (uint8_t)fuzz_random(&random);
            for (size_t i = 0; i < count; i++)
                data[i * ENTRY] = head;
        } else if (count > 0) {
            data[fuzz_below(&random, count) * ENTRY + fuzz_below(&random, ENTRY)] = (uint8_t)fuzz_random(&random);
        }
    }
    return count * ENTRY;
}
