/* places.h - where the files of a model are: a path becomes one or more checkpoints, each with what lies beside it. Reads no
 * file's contents. */
#ifndef ENCODER_PLACES_H
#define ENCODER_PLACES_H

#include <stddef.h>

#include "base/fault.h"

struct place {
    char *directory;
    char *name;        /* of the weights, or of the index of their shards, in it */
    char *tokenizer;   /* the directory where a tokenizer would be */
    const char *label; /* the folder of a pipeline, "text_encoder_2"; else NULL */
    int has_config;    /* config.json in directory speaks of these weights */
};

#define PLACES_MOST 3
struct places {
    struct place of[PLACES_MOST];
    size_t count; /* at least 1 */
};

/* path: a file of weights or an index; a directory that holds one; or a pipeline's directory (text_encoder/, text_encoder_2/,
 * as huggingface/diffusers writes it). places_free in any case. */
int places_find(struct places *out, const char *path, struct fault *fault);
void places_free(struct places *places);

#endif
