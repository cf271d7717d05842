/* weights.c - walks the roles of a tower, finds and checks each tensor, and puts it in its place. */
#include "weights.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/fpu.h"
#include "../base/half.h"
#include "../base/memory.h"

struct binder {
    struct text_weights *out;
    const struct weights_source *source;
    const struct kernels *kernels; /* NULL: binding; else filling */
    struct fault *fault;
    unsigned char *used; /* one byte per tensor of the set; binding */
    unsigned wrong;
    size_t vector_floats; /* binding: counted; filling: taken */
};

/* Shape letters as rows of the table below. */
enum size { SIZE_NONE, SIZE_D, SIZE_M, SIZE_T, SIZE_V, SIZE_P };

static const struct {
    enum size rows, columns; /* columns SIZE_NONE: a vector */
    size_t place;            /* in struct block, or in struct text_weights from ROLE_TOKEN_EMBEDDING on */
} roles[ROLES] = {
    [ROLE_NORM1_GAIN] = {SIZE_D, SIZE_NONE, offsetof(struct block, norm1_gain)},
    [ROLE_NORM1_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct block, norm1_bias)},
    [ROLE_Q_WEIGHT] = {SIZE_D, SIZE_D, offsetof(struct block, q)},
    [ROLE_Q_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct block, q_bias)},
    [ROLE_K_WEIGHT] = {SIZE_D, SIZE_D, offsetof(struct block, k)},
    [ROLE_K_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct block, k_bias)},
    [ROLE_V_WEIGHT] = {SIZE_D, SIZE_D, offsetof(struct block, v)},
    [ROLE_V_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct block, v_bias)},
    [ROLE_OUT_WEIGHT] = {SIZE_D, SIZE_D, offsetof(struct block, out)},
    [ROLE_OUT_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct block, out_bias)},
    [ROLE_NORM2_GAIN] = {SIZE_D, SIZE_NONE, offsetof(struct block, norm2_gain)},
    [ROLE_NORM2_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct block, norm2_bias)},
    [ROLE_FC1_WEIGHT] = {SIZE_M, SIZE_D, offsetof(struct block, fc1)},
    [ROLE_FC1_BIAS] = {SIZE_M, SIZE_NONE, offsetof(struct block, fc1_bias)},
    [ROLE_FC2_WEIGHT] = {SIZE_D, SIZE_M, offsetof(struct block, fc2)},
    [ROLE_FC2_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct block, fc2_bias)},
    [ROLE_TOKEN_EMBEDDING] = {SIZE_V, SIZE_D, offsetof(struct text_weights, token_embedding)},
    [ROLE_POSITION_EMBEDDING] = {SIZE_T, SIZE_D, offsetof(struct text_weights, positions)},
    [ROLE_FINAL_GAIN] = {SIZE_D, SIZE_NONE, offsetof(struct text_weights, final_gain)},
    [ROLE_FINAL_BIAS] = {SIZE_D, SIZE_NONE, offsetof(struct text_weights, final_bias)},
    [ROLE_PROJECTION] = {SIZE_P, SIZE_D, offsetof(struct text_weights, projection)},
};

static uint64_t size_of(const struct geometry *g, enum size size) {
    switch (size) {
    case SIZE_D:
        return g->width;
    case SIZE_M:
        return g->mlp_width;
    case SIZE_T:
        return g->context;
    case SIZE_V:
        return g->vocabulary;
    case SIZE_P:
        return g->projection;
    case SIZE_NONE:
        break;
    }
    return 1;
}

/* Kept in float32: vectors, and the positions, which are added row by row. */
static int becomes_floats(enum role role) {
    return roles[role].columns == SIZE_NONE || role == ROLE_POSITION_EMBEDDING;
}

/* Reports a finding about a tensor; the first becomes the fault. */
__attribute__((format(printf, 4, 5))) static void wrong(struct binder *b, enum report_kind kind, const char *name,
                                                        const char *format, ...) {
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (b->wrong++ == 0)
        fault_set(b->fault, FAULT_MISMATCH, "%s: tensor \"%s\" %s", b->source->file, name, message);
    report_find(b->source->report, (struct finding){.severity = REPORT_ERROR, .kind = kind, .subject = name}, "%s", message);
}

static int is_fused(const struct binder *b, enum role role) {
    return b->out->layout.layout->scheme->fused && role >= ROLE_Q_WEIGHT && role <= ROLE_V_BIAS;
}

/* A role's tensor as the file has it: its index, or the set's count; its name; whether it is the transpose of what is used. */
static size_t locate(const struct binder *b, enum role role, unsigned block, struct layout_name *name, int *bare) {
    const struct tensor_set *set = b->source->set;
    *bare = 0;
    if (role == ROLE_PROJECTION) {
        size_t index = layout_find_projection(&b->out->layout, set, bare);
        if (index == set->count) {
            layout_spell_projection(&b->out->layout, 0, name);
        } else {
            const struct named_tensor *item = &set->items[index]; /* found by a name of the table: it fits */
            memcpy(name->bytes, item->name, item->name_size);
            name->bytes[item->name_size] = '\0';
            name->size = item->name_size;
        }
        return index;
    }
    layout_spell(&b->out->layout, role, block, name);
    return tensor_find(set, name->bytes, name->size);
}

/* NULL if it is missing or wrong, which is reported while binding. */
static const struct tensor *find(struct binder *b, enum role role, unsigned block, struct layout_name *name, int *bare) {
    const struct geometry *g = &b->out->geometry;
    const struct tensor_set *set = b->source->set;
    const char *config = b->source->config;
    struct shape_text found, expected;
    unsigned rank = roles[role].columns == SIZE_NONE ? 1 : 2;
    size_t index = locate(b, role, block, name, bare);
    uint64_t rows = size_of(g, roles[role].rows) * (is_fused(b, role) ? 3 : 1), columns = size_of(g, roles[role].columns);
    uint64_t shape[2] = {*bare ? columns : rows, *bare ? rows : columns};
    if (index == set->count) {
        wrong(b, REPORT_MISSING, name->bytes, "is missing; %s calls for it, as %s", config, shape_print(&expected, shape, rank));
        return NULL;
    }
    const struct tensor *tensor = &set->items[index].tensor;
    if (b->used)
        b->used[index] = 1;
    if (tensor->dtype == DTYPE_NONE) {
        wrong(b, REPORT_MISSING, name->bytes, "is in a shard that is not there");
        return NULL;
    }
    if (tensor->rank != rank || memcmp(tensor->shape, shape, rank * sizeof *shape) != 0) {
        wrong(b, REPORT_WRONG, name->bytes, "has shape %s; by %s it is %s", shape_print(&found, tensor->shape, tensor->rank),
              config, shape_print(&expected, shape, rank));
        return NULL;
    }
    if (!dtype_is_weight(tensor->dtype)) {
        wrong(b, REPORT_WRONG, name->bytes, "has dtype %s; weights are read as F32, F16, BF16, F64, F8_E4M3 or F8_E5M2",
              dtype_name(tensor->dtype));
        return NULL;
    }
    return tensor;
}

/* ComfyUI's files in 8 bits keep a factor for each matrix beside it: "q_proj.scale_weight", in newer ones
 * "q_proj.weight_scale". Factors for rows or blocks are refused by their shape. */
static const struct tensor *find_scale(struct binder *b, const struct layout_name *of) {
    static const char weight[] = "weight";
    static const char *const tails[] = {"scale_weight", "weight_scale"};
    const struct tensor_set *set = b->source->set;
    size_t head = of->size - (sizeof weight - 1);
    if (of->size < sizeof weight || memcmp(of->bytes + head, weight, sizeof weight - 1) != 0)
        return NULL;
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        struct layout_name name;
        struct shape_text shape;
        name.size = (size_t)snprintf(name.bytes, sizeof name.bytes, "%.*s%s", (int)head, of->bytes, tails[i]);
        size_t index = tensor_find(set, name.bytes, name.size);
        if (index == set->count)
            continue;
        const struct tensor *tensor = &set->items[index].tensor;
        if (b->used)
            b->used[index] = 1;
        if (!dtype_is_weight(tensor->dtype) || tensor->rank > 1 || (tensor->rank == 1 && tensor->shape[0] != 1)) {
            wrong(b, REPORT_WRONG, name.bytes, "is %s %s; a scale is read as one number for the whole matrix",
                  dtype_name(tensor->dtype), shape_print(&shape, tensor->shape, tensor->rank));
            return NULL;
        }
        return tensor;
    }
    return NULL;
}

static int read_scale(struct binder *b, const struct tensor *tensor, const char *of, float *out) {
    uint64_t kept = fpu_hold();
    b->kernels->widen(tensor->data, tensor->dtype, out, 1);
    fpu_restore(kept);
    uint32_t bits = float_to_bits(*out) & 0x7FFFFFFFu;
    if (bits == 0 || bits >= 0x7F800000u)
        return fault_set(b->fault, FAULT_FORMAT, "%s: the scale of \"%s\" is zero, infinite or no number, expected another", b->source->file,
                         of);
    return 0;
}

/* [columns, rows] becomes [rows, columns] of the same type. */
static const unsigned char *transpose(struct binder *b, const struct tensor *tensor, size_t rows, size_t columns) {
    size_t element = dtype_bits(tensor->dtype) / 8;
    unsigned char *to = b->out->transposed = memory_array(rows * columns, element);
    for (size_t row = 0; to && row < rows; row++)
        for (size_t column = 0; column < columns; column++)
            memcpy(to + (row * columns + column) * element, tensor->data + (column * rows + row) * element, element);
    return to;
}

static int fill_matrix(struct binder *b, enum role role, char *owner, const struct tensor *tensor, const struct layout_name *name,
                       int bare) {
    const struct geometry *g = &b->out->geometry;
    size_t rows = (size_t)size_of(g, roles[role].rows), columns = (size_t)size_of(g, roles[role].columns);
    size_t pitch = columns * (dtype_bits(tensor->dtype) / 8);
    size_t part = is_fused(b, role) ? (size_t)(role - ROLE_Q_WEIGHT) / 2 : 0;
    struct matrix matrix = {tensor->data + part * rows * pitch, tensor->dtype, pitch, 0};
    const struct tensor *scale = find_scale(b, name);
    if (scale && read_scale(b, scale, name->bytes, &matrix.scale))
        return b->fault->code;
    if (bare && !(matrix.data = transpose(b, tensor, rows, columns)))
        return fault_set(b->fault, FAULT_NO_MEMORY, "%s: no memory for the projection's transpose", b->source->file);
    memcpy(owner + roles[role].place, &matrix, sizeof matrix);
    return 0;
}

static void fill_vector(struct binder *b, enum role role, char *owner, const struct tensor *tensor, size_t count) {
    float *to = b->out->vectors + b->vector_floats;
    const float *held = to;
    size_t part = is_fused(b, role) ? (size_t)(role - ROLE_Q_WEIGHT) / 2 : 0;
    /* raises Invalid for a signalling NaN: not in the host's mode. Held here and not around the walk, because the host's
     * report callback runs in between, in the mode that is the host's. */
    uint64_t kept = fpu_hold();
    b->kernels->widen(tensor->data + part * count * (dtype_bits(tensor->dtype) / 8), tensor->dtype, to, count);
    fpu_restore(kept);
    memcpy(owner + roles[role].place, &held, sizeof held);
}

static int place(struct binder *b, enum role role, unsigned block) {
    const struct geometry *g = &b->out->geometry;
    struct layout_name name;
    int bare, status = 0;
    const struct tensor *tensor = find(b, role, block, &name, &bare);
    size_t count = (size_t)(size_of(g, roles[role].rows) * size_of(g, roles[role].columns));
    if (!tensor)
        return 0;
    char *owner = role < BLOCK_ROLES ? (char *)&b->out->blocks[block] : (char *)b->out;
    if (!b->kernels) {
        const struct tensor *scale = becomes_floats(role) ? NULL : find_scale(b, &name);
        if (scale && role == ROLE_TOKEN_EMBEDDING)
            wrong(b, REPORT_WRONG, name.bytes, "has a scale, which is read for the matrices of blocks alone");
        b->out->parameters += count;
    } else if (becomes_floats(role)) {
        fill_vector(b, role, owner, tensor, count);
    } else {
        status = fill_matrix(b, role, owner, tensor, &name, bare);
    }
    if (becomes_floats(role))
        b->vector_floats += count;
    return status;
}

static int walk(struct binder *b) {
    const struct geometry *g = &b->out->geometry;
    int status = 0;
    b->vector_floats = 0;
    for (int role = ROLE_TOKEN_EMBEDDING; !status && role < ROLES; role++)
        if (role != ROLE_PROJECTION || (g->projection && !g->identity))
            status = place(b, (enum role)role, 0);
    for (unsigned block = 0; !status && block < g->layers; block++)
        for (int role = 0; !status && role < BLOCK_ROLES; role++)
            status = place(b, (enum role)role, block);
    return status;
}

int weights_bind(struct text_weights *out, const struct geometry *geometry, const struct found_layout *layout,
                 const struct weights_source *source, unsigned char *used, struct fault *fault) {
    struct binder b = {.out = out, .source = source, .fault = fault, .used = used};
    *out = (struct text_weights){.geometry = *geometry, .layout = *layout};
    out->blocks = memory_array(geometry->layers, sizeof *out->blocks);
    if (!out->blocks)
        return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory to bind it", source->file);
    walk(&b);
    if (b.wrong > 1) {
        size_t length = strlen(fault->message);
        snprintf(fault->message + length, sizeof fault->message - length, " (and %u more)", b.wrong - 1);
    }
    if (!b.wrong) {
        out->vectors = memory_array(b.vector_floats, sizeof *out->vectors);
        if (out->vectors)
            return 0;
        fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for %zu floats of norms and biases", source->file, b.vector_floats);
    }
    weights_unbind(out);
    return fault->code;
}

int weights_fill(struct text_weights *weights, const struct weights_source *source, const struct kernels *kernels,
                 struct fault *fault) {
    struct binder b = {.out = weights, .source = source, .kernels = kernels, .fault = fault};
    int status = walk(&b);
    weights->dtype = weights->blocks[0].q.dtype;
    return status;
}

void weights_unbind(struct text_weights *weights) {
    memory_free(weights->blocks);
    memory_free(weights->vectors);
    memory_free(weights->transposed);
    weights->blocks = NULL;
    weights->vectors = NULL;
    weights->transposed = NULL;
}
