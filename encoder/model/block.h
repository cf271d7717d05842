/* block.h - one transformer block, computed by all workers together. */
#ifndef ENCODER_MODEL_BLOCK_H
#define ENCODER_MODEL_BLOCK_H

#include "text_tower.h"

/* Rows that one unit of work norms or writes: any number gives the same bits, since rows do not meet. */
#define ROW_UNIT 8

/* Called by every worker: x = block(x). Uses h and wide. */
void block_run(struct worker *worker, struct text_pass *pass, const struct block *block);

#endif
