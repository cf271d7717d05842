/* shapes.c - reads sizes off tensors. Sources of what is assumed: heads are width / 64 in every published text tower, epsilon is
 * 1e-5, a row ends at its largest id (openai/CLIP clip/model.py: build_model, encode_text); activations as
 * mlfoundations/open_clip pretrained.py marks them. */
#include "shapes.h"

#include <string.h>

#define HEAD_WIDTH 64

static uint32_t clamp(uint64_t size) {
    return size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

static const struct tensor *tensor_of(const struct found_layout *found, const struct tensor_set *set, enum role role) {
    struct layout_name name;
    layout_spell(found, role, 0, &name);
    size_t index = tensor_find(set, name.bytes, name.size);
    return index < set->count && set->items[index].tensor.dtype != DTYPE_NONE ? &set->items[index].tensor : NULL;
}

void shapes_look(const struct found_layout *found, const struct tensor_set *set, uint32_t *width, uint32_t *layers) {
    const struct tensor *tokens = tensor_of(found, set, ROLE_TOKEN_EMBEDDING);
    *width = tokens && tokens->rank == 2 ? clamp(tokens->shape[1]) : 0;
    *layers = layout_count_blocks(found, set);
}

const char *shapes_name(uint32_t width) {
    return width == 768 ? "clip_l" : width == 1024 ? "clip_h" : width == 1280 ? "clip_g" : "text";
}

/* A matrix of two dimensions under that role, or a fault that names it. */
static int matrix_of(const struct tensor **out, const struct found_layout *found, const struct tensor_set *set, enum role role,
                     const char *file, struct fault *fault) {
    struct layout_name name;
    struct shape_text shape;
    layout_spell(found, role, 0, &name);
    size_t index = tensor_find(set, name.bytes, name.size);
    if (index == set->count)
        return fault_set(fault, FAULT_MISMATCH, "%s: tensor \"%s\" is missing; without it and a config.json there is no geometry",
                         file, name.bytes);
    *out = &set->items[index].tensor;
    if ((*out)->dtype == DTYPE_NONE)
        return fault_set(fault, FAULT_NOT_FOUND, "%s: tensor \"%s\" is in a shard that is not there", file, name.bytes);
    if ((*out)->rank != 2)
        return fault_set(fault, FAULT_MISMATCH, "%s: tensor \"%s\" has shape %s, expected two dimensions", file, name.bytes,
                         shape_print(&shape, (*out)->shape, (*out)->rank));
    return 0;
}

static int read_projection(struct geometry *g, const struct found_layout *found, const struct tensor_set *set, const char *file,
                           const struct report *report, struct fault *fault) {
    struct shape_text shape;
    struct layout_name name;
    int bare;
    size_t index = layout_find_projection(found, set, &bare);
    if (index == set->count) {
        layout_spell_projection(found, 0, &name);
        g->identity = found->layout->identity && g->width == 768;
        g->projection = g->identity ? g->width : 0;
        report_find(report, (struct finding){.severity = g->identity ? REPORT_NOTE : REPORT_WARNING, .kind = REPORT_ASSUMPTION,
                                             .subject = name.bytes},
                    g->identity ? "not in the file; taken as the identity, as CLIP-L's is in every pipeline that has none"
                                : "not in the file: there is no projected output");
        return 0;
    }
    const struct tensor *tensor = &set->items[index].tensor;
    if (tensor->dtype == DTYPE_NONE)
        return fault_set(fault, FAULT_NOT_FOUND, "%s: the text projection is in a shard that is not there", file);
    if (tensor->rank != 2)
        return fault_set(fault, FAULT_MISMATCH, "%s: the text projection has shape %s, expected two dimensions", file,
                         shape_print(&shape, tensor->shape, tensor->rank));
    g->projection = clamp(tensor->shape[bare ? 1 : 0]);
    if (g->projection == 0)
        return fault_set(fault, FAULT_MISMATCH, "%s: the text projection has shape %s, expected no zero in it", file,
                         shape_print(&shape, tensor->shape, tensor->rank));
    if (found->layout->doubt)
        report_find(report, (struct finding){.severity = REPORT_NOTE, .kind = REPORT_ASSUMPTION, .subject = "text_projection"},
                    "%s", found->layout->doubt);
    return 0;
}

/* OpenCLIP's own files are of towers with either: 768 wide and less, both were published. */
static void assume_activation(struct geometry *g, const struct found_layout *found, const struct report *report) {
    int own = found->layout->scheme->fused && !found->layout->tower;
    int doubtful = own && g->width < 1024;
    g->activation = own || g->width >= 1024 ? ACTIVATION_GELU : ACTIVATION_QUICK_GELU;
    report_find(report, (struct finding){.severity = doubtful ? REPORT_WARNING : REPORT_NOTE, .kind = REPORT_ASSUMPTION,
                                         .subject = "activation"},
                "no config says it; taken as %s, %s", activation_name(g->activation),
                doubtful         ? "as LAION's towers of this width; OpenAI's, MetaCLIP's and DFN's are quick_gelu: name it then"
                : g->width < 1024 ? "as OpenAI's CLIP"
                                  : "as LAION's CLIP of this width; MetaCLIP's and DFN's are quick_gelu: name it then");
}

int shapes_read(struct geometry *out, const struct found_layout *found, const struct tensor_set *set, enum activation activation,
                uint32_t heads, const char *file, const struct report *report, struct fault *fault) {
    const struct tensor *tokens, *positions, *fc1;
    *out = (struct geometry){.activation = activation, .heads = heads, .norm_epsilon = 1e-5, .end_id = -1, .legacy_end = 1};
    int status = matrix_of(&tokens, found, set, ROLE_TOKEN_EMBEDDING, file, fault);
    if (!status)
        status = matrix_of(&positions, found, set, ROLE_POSITION_EMBEDDING, file, fault);
    if (!status)
        status = matrix_of(&fc1, found, set, ROLE_FC1_WEIGHT, file, fault);
    if (status)
        return status;
    out->vocabulary = clamp(tokens->shape[0]);
    out->width = clamp(tokens->shape[1]);
    out->context = clamp(positions->shape[0]);
    out->mlp_width = clamp(fc1->shape[0]);
    out->layers = layout_count_blocks(found, set);
    if (!heads && (out->width == 0 || out->width % HEAD_WIDTH))
        return fault_set(fault, FAULT_UNSUPPORTED, "%s: the tower is %u wide, which heads of %d do not divide, and no config says "
                         "how many there are: name them", file, out->width, HEAD_WIDTH);
    if (!heads) {
        out->heads = out->width / HEAD_WIDTH;
        report_find(report, (struct finding){.severity = REPORT_NOTE, .kind = REPORT_ASSUMPTION, .subject = "heads"},
                    "no config says it; taken as %u, each %d wide, as in every published text tower", out->heads, HEAD_WIDTH);
    }
    if (activation == ACTIVATION_NONE)
        assume_activation(out, found, report);
    status = read_projection(out, found, set, file, report, fault);
    return status ? status : geometry_check(out, file, fault);
}
