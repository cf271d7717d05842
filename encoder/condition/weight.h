/* weight.h - what weights do to hidden states, as each host does it: pure functions of float32 arrays [length, width] in row
 * order, packed. The order of operations is part of what is promised: one rounding for each, so that the same input gives
 * the same bits everywhere (the file is compiled without contraction). Knows neither token nor text.
 *
 *     plain     nothing
 *     a1111     weight_multiply over each window; then, unless "No norm" is asked for, weight_restore_mean with the mean
 *               that weight_mean gave before. One window and one tower at a time, all its rows. Where every
 *               weight is 1 that changes nothing, and may be left out
 *     comfyui   if chunks_weighted: weight_from_empty over each window of each tower, with the empty prompt's states of the
 *               same layer and padding
 *     compel    base = each window like comfyui's, with a part's `float32` weights. For each segment of the part whose weight
 *               is below 1, in order, one more encoding under chunks_mask_without, weighted the same way. The part is
 *               weight_mix of base with 1 and of each of those with weight_of_absence(weight), divided by their sum. (Several
 *               windows keep their own end rows: copying window 0's is the default of compel's EmbeddingsProvider, and
 *               Compel, which everybody goes through, turns it off.) Then the parts: DIALECT_AND, weight_from_empty with the
 *               part's weight for every row (if it is not 1) and one behind the other; DIALECT_BLEND, shorter parts are
 *               filled up with the empty prompt's states, then weight_mix
 *
 * Pooled vectors are never weighted.
 */
#ifndef ENCODER_CONDITION_WEIGHT_H
#define ENCODER_CONDITION_WEIGHT_H

#include <stddef.h>

/* states[i] *= weights[i], rounded to float32 first. */
void weight_multiply(float *states, const double *weights, size_t length, size_t width);
/* The mean of all elements, summed up in double in the order of memory, as a float. torch sums float32 in an order of its
 * own, which the last digits show where the mean is near 0. */
float weight_mean(const float *states, size_t length, size_t width);
/* states *= before / weight_mean(states). A mean of 0 gives what dividing by it gives: infinity or not a number. */
void weight_restore_mean(float *states, float before, size_t length, size_t width);

/* states[i] = (states[i] - empty[i]) * weights[i] + empty[i] where weights[i] is not 1; a weight is rounded to float32 after
 * that question. */
void weight_from_empty(float *states, const float *empty, const double *weights, size_t length, size_t width);

/* compel: tan((1 - max(weight, 0.00001)) * pi / 2), the share of an encoding that does not see a segment of that weight. */
double weight_of_absence(double weight);
/* Divides float32 weights by their sum, as compel does before it mixes. */
void weight_normalise(float *weights, size_t count);
/* sum = states * weight, or sum += states * weight for all but the first that are mixed. */
void weight_mix(float *sum, const float *states, float weight, int is_first, size_t length, size_t width);

#endif
