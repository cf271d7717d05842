/* condition_world.h - the tiny models of the fuzz target `condition`, and what it opens from them. Knows the ABI and the files
 * of a model; the tokenizer is the one that ships. */
#ifndef PENULT_TESTS_CONDITION_WORLD_H
#define PENULT_TESTS_CONDITION_WORLD_H

#include "../../api/penult_condition.h"

enum { WIDE, NARROW, BROKEN, WORLD_MODELS }; /* windows of 77 tokens, of 12, and of 12 with NaN out of the last block */
enum { WORLD_WIDTH = 8, WORLD_LAYERS = 3, WORLD_PROJECTION = 4 };

extern const penult_api *api;
extern const penult_condition_api *condition;
extern penult_model *world_models[WORLD_MODELS];
extern penult_session *world_sessions[WORLD_MODELS]; /* for encode_text: what a pipeline is compared with */
extern const unsigned world_tokens[WORLD_MODELS];

/* Writes the models, opens them and removes their files, once. From the repository's root. */
void world_start(void);

/* A tensor of its own block, exactly as large as the call needs it. */
struct world_tensor {
    const char *name;
    unsigned char *data;
    size_t rows, row_bytes, pitch, bytes;
};
enum { WORLD_TENSORS = 10 };
struct world_tensors {
    struct world_tensor of[WORLD_TENSORS];
    penult_named_tensor named[WORLD_TENSORS];
    uint32_t count;
};
/* The pipeline's tensors whose bit in `wanted` is set, with so many bytes more between rows of a context. */
void world_tensors_make(struct world_tensors *out, const penult_pipeline *pipeline, uint32_t wanted, const uint32_t chunks[2],
                        uint32_t dtype, size_t gap);
void world_tensors_free(struct world_tensors *tensors);
/* Requires that each of `some` has the rows that `all` has of it, and nothing between them. */
void world_tensors_same(const struct world_tensors *some, const struct world_tensors *all, const char *what);

#endif
