/* scale.h - from values to positions on a diverging colour map, symmetric about zero.
 *
 * CLIP's hidden states have a few channels at fifty times the rms of the others. A linear scale to the largest value
 * would leave everything else white, and a clipped one would hide how large the few are. So the scale is
 *     position = asinh(x / bend) / asinh(limit / bend)
 * (linear near zero, logarithmic far out, odd, invertible), with limit the largest magnitude and bend half the median
 * magnitude: the middle half of the values then takes about a third of the colours, however large the few are. Values
 * without outliers (the largest at most ten times the median: a normal distribution has 6 to 7) get a linear scale. */
#ifndef SAMPLES_PICTURE_SCALE_H
#define SAMPLES_PICTURE_SCALE_H

#include <stdbool.h>
#include <stddef.h>

/* limit        the largest finite magnitude; 0: there is nothing but zeros.
 * percentile   99 % of the magnitudes are no larger.
 * bend         0: the scale is linear.
 * not_finite   values that are infinite or NaN; they take no part. */
struct scale {
    double limit;
    double median;
    double percentile;
    double bend;
    size_t not_finite;
};

/* False if there is no memory. */
bool scale_of(struct scale *scale, const float *values, size_t count);

/* In -1 to 1 for finite values up to the limit, the nearest end beyond, NaN for NaN. */
double scale_position(const struct scale *scale, double value);

/* Round numbers from -limit to limit, both included, in rising order and at least `apart` (of a length of 2, the scale
 * from -1 to 1) from each other. Returns how many; at most SCALE_TICKS_MAX. */
#define SCALE_TICKS_MAX 64
size_t scale_ticks(const struct scale *scale, double apart, double *ticks);

/* The smallest of 1, 2, 5 times a power of ten that is at least `least` (which must be positive). */
double scale_round_step(double least);

#endif
