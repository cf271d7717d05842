/* scale.c - see scale.h. */
#include "scale.h"

#include <math.h>
#include <stdlib.h>

#define LINEAR_UP_TO 10.0 /* medians */
#define LINEAR_STEP 0.2 /* of the limit: at most five numbers on each side of zero */

static int compare_floats(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

bool scale_of(struct scale *scale, const float *values, size_t count) {
    *scale = (struct scale){0};
    float *magnitudes = malloc(count > 0 ? count * sizeof *magnitudes : 1);
    if (magnitudes == NULL) {
        return false;
    }
    size_t finite = 0;
    for (size_t i = 0; i < count; i++) {
        if (isfinite(values[i])) {
            magnitudes[finite++] = fabsf(values[i]);
        }
    }
    scale->not_finite = count - finite;
    if (finite > 0) {
        qsort(magnitudes, finite, sizeof *magnitudes, compare_floats);
        scale->limit = (double)magnitudes[finite - 1];
        scale->median = (double)magnitudes[(finite - 1) / 2];
        scale->percentile = (double)magnitudes[(size_t)(0.99 * (double)(finite - 1))];
    }
    /* Where half of the values are zero there is nothing to bend at. */
    if (scale->median > 0 && scale->limit > LINEAR_UP_TO * scale->median) {
        scale->bend = scale->median / 2;
    }
    free(magnitudes);
    return true;
}

double scale_position(const struct scale *scale, double value) {
    if (isnan(value)) {
        return value;
    }
    if (!(scale->limit > 0)) {
        return 0;
    }
    double position = scale->bend > 0 ? asinh(value / scale->bend) / asinh(scale->limit / scale->bend)
                                      : value / scale->limit;
    return fmax(-1, fmin(1, position));
}

double scale_round_step(double least) {
    double power = pow(10, floor(log10(least)));
    static const double steps[] = {1, 2, 5};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        /* pow is not exact: a step that is short by rounding only will do */
        if (steps[i] * power >= least * (1 - 1e-9)) {
            return steps[i] * power;
        }
    }
    return 10 * power;
}

/* Keeps `value` and its negative if they are far enough from what is kept already. `count` is of positive ticks. */
static size_t keep(const struct scale *scale, double apart, double *kept, size_t count, double value) {
    double position = scale_position(scale, value);
    if (count == SCALE_TICKS_MAX / 2 - 1 || position < apart) {
        return count;
    }
    for (size_t i = 0; i < count; i++) {
        if (fabs(scale_position(scale, kept[i]) - position) < apart) {
            return count;
        }
    }
    kept[count] = value;
    return count + 1;
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

size_t scale_ticks(const struct scale *scale, double apart, double *ticks) {
    double positive[SCALE_TICKS_MAX];
    size_t count = 0, total = 0;
    if (scale->limit > 0) {
        positive[count++] = scale->limit;
        if (scale->bend > 0) {
            /* powers of ten first, then what fits between them */
            static const double leading[] = {1, 2, 5};
            double top = floor(log10(scale->limit));
            for (size_t i = 0; i < sizeof leading / sizeof leading[0]; i++) {
                for (int below = 0; below < 12; below++) {
                    double value = leading[i] * pow(10, top - below);
                    if (value < scale->limit) {
                        count = keep(scale, apart, positive, count, value);
                    }
                }
            }
        } else {
            double step = scale_round_step(scale->limit * fmax(apart, LINEAR_STEP));
            for (unsigned multiple = 1; multiple * step < scale->limit; multiple++) {
                count = keep(scale, apart, positive, count, multiple * step);
            }
        }
    }
    ticks[total++] = 0;
    for (size_t i = 0; i < count; i++) {
        ticks[total++] = positive[i];
        ticks[total++] = -positive[i];
    }
    qsort(ticks, total, sizeof *ticks, compare_doubles);
    return total;
}
