/* block.h - one transformer block, computed by all workers together. */
#ifndef ENCODER_MODEL_BLOCK_H
#define ENCODER_MODEL_BLOCK_H

#include "text_tower.h"

/* Called by every worker, before a product of `x`, `depth` wide: pass->prepared, where the kernels want that. */
void block_prepare(struct worker *worker, struct text_pass *pass, const float *x, size_t groups, size_t depth);
/* What `linear` is to be given as prepared. */
static inline const void *block_prepared(const struct text_pass *pass) {
    return pass->kernels->prepare ? pass->prepared : NULL;
}

/* Called by every worker: x = block(x). Uses h and wide. With `ends_only` what follows attention is computed for each prompt's
 * end row alone, into ends_x, by way of ends_h. */
void block_run(struct worker *worker, struct text_pass *pass, const struct block *block, int ends_only);

#endif
