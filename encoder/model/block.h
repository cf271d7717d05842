/* block.h - one transformer block, computed by all workers together. */
#ifndef ENCODER_MODEL_BLOCK_H
#define ENCODER_MODEL_BLOCK_H

#include "text_tower.h"

/* Called by every worker: x = block(x). Uses h and wide. With `ends_only` what follows attention is computed for each prompt's
 * end row alone, into ends_x, by way of ends_h. */
void block_run(struct worker *worker, struct text_pass *pass, const struct block *block, int ends_only);

#endif
