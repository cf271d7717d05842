/* weight.c - see weight.h. Plain loops: a window is a few hundred thousand numbers, once for each prompt.
 */
#include "weight.h"

#include <math.h>

void weight_multiply(float *states, const double *weights, size_t length, size_t width) {
    for (size_t i = 0; i < length; i++) {
        float weight = (float)weights[i];
        for (size_t j = 0; j < width; j++)
            states[i * width + j] *= weight;
    }
}

float weight_mean(const float *states, size_t length, size_t width) {
    double sum = 0;
    for (size_t i = 0; i < length * width; i++)
        sum += (double)states[i];
    return (float)(sum / (double)(length * width));
}

void weight_restore_mean(float *states, float before, size_t length, size_t width) {
    float factor = before / weight_mean(states, length, width);
    for (size_t i = 0; i < length * width; i++)
        states[i] *= factor;
}

void weight_from_empty(float *states, const float *empty, const double *weights, size_t length, size_t width) {
    for (size_t i = 0; i < length; i++) {
        float weight = (float)weights[i];
        if (weights[i] == 1)
            continue;
        for (size_t j = i * width; j < (i + 1) * width; j++) {
            float away = states[j] - empty[j];
            float weighted = away * weight;
            states[j] = weighted + empty[j];
        }
    }
}

double weight_of_absence(double weight) {
    /* Python's max(0.00001, weight): what is not a number gives the first */
    double held = weight > 1e-5 ? weight : 1e-5;
    return tan((1.0 - held) * 3.141592653589793 / 2);
}

void weight_normalise(float *weights, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += weights[i];
    for (size_t i = 0; i < count; i++)
        weights[i] /= sum;
}

void weight_mix(float *sum, const float *states, float weight, int is_first, size_t length, size_t width) {
    for (size_t i = 0; i < length * width; i++) {
        float share = states[i] * weight;
        sum[i] = is_first ? share : sum[i] + share;
    }
}
