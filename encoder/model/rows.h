/* rows.h - which rows a pass computes and where they lie among the packed ones, and the ways in (embeddings) and out (taps, end
 * rows). Knows no block.
 *
 * A prompt of which a hidden state is wanted has all its rows; one of which only pooled embeddings are wanted has them up to its
 * end, because attention is causal and what comes later has no part in it. For the same reason prompts that begin with the same ids
 * have those rows in common, and they are computed once. Rows of prompts follow each other without a gap, but where the kernels
 * want whole prompts: then each begins a group and has all its rows, for itself. */
#ifndef ENCODER_MODEL_ROWS_H
#define ENCODER_MODEL_ROWS_H

#include "text_tower.h"

/* Fills pass->rows, pass->row and the counts of groups. On the caller's thread. */
void rows_settle(struct text_pass *pass);

/* The rest is called by every worker. x = embeddings + positions */
void rows_embed(struct worker *worker, struct text_pass *pass);
/* Hidden states after `layer` blocks into the taps that want them. */
void rows_deliver(struct worker *worker, struct text_pass *pass, uint32_t layer);
/* The end row of each prompt, side by side: ends_x from x, and ends_h from h if `both`. */
void rows_take_ends(struct worker *worker, struct text_pass *pass, int both);

/* Row of ends_x, ends_h and pooled that is a prompt's. */
size_t rows_end(const struct text_pass *pass, size_t prompt);
/* Feature 0.. of a row to to[0..width). */
void rows_copy(const float *packed, size_t width, size_t row, float *to);
/* One row into a tap's buffer, in its type. */
void rows_write(struct text_pass *pass, const struct tap *tap, size_t prompt, size_t token, const float *row, size_t width);

#endif
