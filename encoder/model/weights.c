/* weights.c - walks the roles of a tower, finds and checks each tensor, and puts it in its place. */
#include "weights.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/fpu.h"
#include "../base/memory.h"

struct binder {
    struct text_weights *out;
    const struct tensor_set *set;
    const struct kernels *kernels;
    const char *file, *config;
    const struct report *report;
    struct fault *fault;
    unsigned char *used; /* one byte per tensor of the set */
    unsigned wrong;
    size_t vector_floats; /* first walk: counted; second: taken */
    int filling;
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
__attribute__((format(printf, 3, 4))) static void wrong(struct binder *b, const char *name, const char *format, ...) {
    char message[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (b->wrong++ == 0)
        fault_set(b->fault, FAULT_MISMATCH, "%s: tensor \"%s\" %s", b->file, name, message);
    report_say(b->report, REPORT_ERROR, name, "%s", message);
}

static const struct tensor *find(struct binder *b, enum role role, unsigned block) {
    const struct geometry *g = &b->out->geometry;
    struct layout_name name;
    struct shape_text found, expected;
    unsigned rank = roles[role].columns == SIZE_NONE ? 1 : 2;
    uint64_t shape[2] = {size_of(g, roles[role].rows), size_of(g, roles[role].columns)};
    layout_spell(b->out->layout, role, block, &name);
    size_t index = tensor_find(b->set, name.bytes, name.size);
    if (index == b->set->count) {
        wrong(b, name.bytes, "is missing; %s calls for it, as %s", b->config, shape_print(&expected, shape, rank));
        return NULL;
    }
    const struct tensor *tensor = &b->set->items[index].tensor;
    b->used[index] = 1;
    if (tensor->rank != rank || memcmp(tensor->shape, shape, rank * sizeof *shape) != 0) {
        wrong(b, name.bytes, "has shape %s; by %s it is %s", shape_print(&found, tensor->shape, tensor->rank), b->config,
              shape_print(&expected, shape, rank));
        return NULL;
    }
    if (!dtype_is_weight(tensor->dtype)) {
        wrong(b, name.bytes, "has dtype %s; weights are read as F32, F16 or BF16", dtype_name(tensor->dtype));
        return NULL;
    }
    return tensor;
}

static void place(struct binder *b, enum role role, unsigned block) {
    const struct geometry *g = &b->out->geometry;
    const struct tensor *tensor = find(b, role, block);
    size_t rows = (size_t)size_of(g, roles[role].rows), columns = (size_t)size_of(g, roles[role].columns);
    if (!tensor)
        return;
    char *owner = role < BLOCK_ROLES ? (char *)&b->out->blocks[block] : (char *)b->out;
    if (!becomes_floats(role)) {
        struct matrix matrix = {tensor->data, tensor->dtype, columns * dtype_bits(tensor->dtype) / 8};
        memcpy(owner + roles[role].place, &matrix, sizeof matrix);
    } else if (b->filling) {
        float *to = b->out->vectors + b->vector_floats;
        const float *held = to;
        /* raises Invalid for a signalling NaN: not in the host's mode. Held here and not around the walk, because the host's
         * report callback runs in between, in the mode that is the host's. */
        uint64_t kept = fpu_hold();
        b->kernels->widen(tensor->data, tensor->dtype, to, rows * columns);
        fpu_restore(kept);
        memcpy(owner + roles[role].place, &held, sizeof held);
    }
    if (becomes_floats(role))
        b->vector_floats += rows * columns;
    if (!b->filling)
        b->out->parameters += (uint64_t)rows * columns;
}

static void walk(struct binder *b) {
    const struct geometry *g = &b->out->geometry;
    b->vector_floats = 0;
    for (int role = ROLE_TOKEN_EMBEDDING; role < ROLES; role++)
        if (role != ROLE_PROJECTION || g->projection)
            place(b, (enum role)role, 0);
    for (unsigned block = 0; block < g->layers; block++)
        for (int role = 0; role < BLOCK_ROLES; role++)
            place(b, (enum role)role, block);
}

static void report_unused(const struct binder *b) {
    struct fault_text quoted;
    for (size_t i = 0; i < b->set->count; i++) {
        const struct named_tensor *item = &b->set->items[i];
        const char *why = layout_ignorable(item->name, item->name_size);
        if (b->used[i])
            continue;
        const char *subject = item->name_size ? fault_quote(&quoted, item->name, item->name_size) : "\"\"";
        if (why)
            report_say(b->report, REPORT_NOTE, subject, "not used: %s", why);
        else
            report_say(b->report, REPORT_WARNING, subject, "not used: %s does not call for it", b->config);
    }
}

static int bind(struct binder *b) {
    struct text_weights *out = b->out;
    walk(b);
    report_unused(b);
    if (b->wrong > 1) {
        size_t used = strlen(b->fault->message);
        snprintf(b->fault->message + used, sizeof b->fault->message - used, " (and %u more)", b->wrong - 1);
    }
    if (b->wrong)
        return b->fault->code;
    out->vectors = memory_array(b->vector_floats, sizeof *out->vectors);
    if (!out->vectors)
        return fault_set(b->fault, FAULT_NO_MEMORY, "%s: no memory for %zu floats of norms and biases", b->file,
                         b->vector_floats);
    b->filling = 1;
    walk(b);
    out->dtype = out->blocks[0].q.dtype;
    return 0;
}

int weights_bind(struct text_weights *out, const struct geometry *geometry, const struct tensor_set *set,
                 const struct kernels *kernels, const char *file, const char *config, const struct report *report,
                 struct fault *fault) {
    struct binder b = {.out = out, .set = set, .kernels = kernels, .file = file, .config = config, .report = report,
                       .fault = fault};
    *out = (struct text_weights){.geometry = *geometry, .layout = layout_of(set)};
    if (!out->layout)
        return fault_set(fault, FAULT_MISMATCH, "%s: holds no text tower: found neither "
                         "\"text_model.embeddings.token_embedding.weight\" nor \"embeddings.token_embedding.weight\" among its "
                         "%zu tensors", file, set->count);
    out->blocks = memory_array(geometry->layers, sizeof *out->blocks);
    b.used = memory_array(set->count, 1);
    int status = out->blocks && b.used ? bind(&b) : fault_set(fault, FAULT_NO_MEMORY, "%s: no memory to bind it", file);
    memory_free(b.used);
    if (status)
        weights_unbind(out);
    return status;
}

void weights_unbind(struct text_weights *weights) {
    memory_free(weights->blocks);
    memory_free(weights->vectors);
    weights->blocks = NULL;
    weights->vectors = NULL;
}
