/* tokenizer_place.h - where a model's tokenizer comes from: the path that was given, a file beside the weights, or CLIP's
 * own vocabulary beside the plugin. Knows no weights. */
#ifndef ENCODER_TOKENIZER_PLACE_H
#define ENCODER_TOKENIZER_PLACE_H

#include "base/fault.h"
#include "base/report.h"
#include "text/tokenizer.h"

/* What to do where there is none, for messages. */
#define TOKENIZER_ADVICE "run `make vocab`, or give tokenizer_path (--tokenizer)"

struct tokenizer_place {
    const char *given;  /* a file or a directory, or NULL */
    const char *beside; /* the directory of the weights, or NULL */
    const char *own;    /* the directory that may hold clip.vocab for all models, or NULL */
    uint32_t rows;      /* of the token embedding; 0: any id will do */
    const char *rows_from; /* what says so, for messages, as "config.json's vocab_size" */
    int needed;         /* none at all is FAULT_NOT_FOUND */
};

/* *out NULL with 0: there is none, and the report says so. A tokenizer that was given or lies beside the weights must
 * fit the rows; the one of `own` is not used where it does not. */
int tokenizer_find(struct tokenizer **out, const struct tokenizer_place *place, const struct tokenizer_options *options,
                   const struct report *report, struct fault *fault);

#endif
