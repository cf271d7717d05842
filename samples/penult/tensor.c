/* tensor.c - see tensor.h. */
#include "tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../api/penult.h"

uint64_t tensor_item_bytes(uint32_t dtype) {
    return dtype == PENULT_F16 || dtype == PENULT_BF16 ? 2 : 4;
}

bool tensor_allocate(struct tensor *tensor) {
    uint64_t count = 1;
    tensor->data = NULL;
    for (unsigned i = 0; i < tensor->rank; i++) {
        if (__builtin_mul_overflow(count, tensor->shape[i], &count)) {
            return false;
        }
    }
    tensor->count = count;
    if (count == 0 || __builtin_mul_overflow(count, tensor_item_bytes(tensor->dtype), &tensor->bytes)) {
        return false;
    }
    tensor->data = calloc(1, tensor->bytes);
    return tensor->data != NULL;
}

void tensor_free(struct tensor *tensor) {
    free(tensor->data);
    tensor->data = NULL;
}

static float from_half(uint16_t half) {
    int exponent = half >> 10 & 31;
    int fraction = half & 0x3FF;
    float magnitude = exponent == 31 ? (fraction != 0 ? NAN : INFINITY)
                      : exponent == 0 ? ldexpf((float)fraction, -24)
                                      : ldexpf((float)(fraction + 1024), exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

float tensor_value(const struct tensor *tensor, uint64_t index) {
    uint16_t half;
    uint32_t bits;
    float value;
    if (tensor->dtype == PENULT_F32) {
        memcpy(&value, (const char *)tensor->data + index * 4, 4);
        return value;
    }
    memcpy(&half, (const char *)tensor->data + index * 2, 2);
    if (tensor->dtype == PENULT_F16) {
        return from_half(half);
    }
    bits = (uint32_t)half << 16;
    memcpy(&value, &bits, 4);
    return value;
}

struct tensor_summary tensor_summarise(const struct tensor *tensor) {
    struct tensor_summary summary = {INFINITY, -INFINITY, 0, 0, 0};
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < tensor->count; i++) {
        double value = (double)tensor_value(tensor, i);
        if (!isfinite(value)) {
            summary.not_finite++;
            continue;
        }
        summary.minimum = fmin(summary.minimum, value);
        summary.maximum = fmax(summary.maximum, value);
        sum += value;
        squares += value * value;
    }
    summary.mean = sum / (double)(tensor->count - summary.not_finite);
    summary.rms = sqrt(squares / (double)(tensor->count - summary.not_finite));
    return summary;
}

void tensor_shape_text(const struct tensor *tensor, char *text, size_t size) {
    size_t used = 0;
    for (unsigned i = 0; i < tensor->rank && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%llu", i > 0 ? " x " : "",
                                 (unsigned long long)tensor->shape[i]);
    }
}
