/* rounding.c - the named arithmetic on a CPU that has no products of bfloat16: operands are rounded, products are float32's. The
 * meaning is the same; nothing is gained in time. */
#include <stdio.h>
#include <string.h>

#include "bf16.h"
#include "kernels.h"

static void round_group(const struct kernels *kernels, const float *x, size_t depth, void *to) {
    float *rounded = to;
    (void)kernels;
    for (size_t i = 0; i < depth * LANES; i++)
        rounded[i] = bf16_rounded(x[i]);
}

static size_t rounded_bytes(const struct kernels *kernels, size_t depth) {
    (void)kernels;
    return depth * LANES * sizeof(float);
}

void kernels_rounding(struct kernels *kernels) {
    size_t used = strlen(kernels->name);
    snprintf(kernels->name + used, sizeof kernels->name - used, ", rounded to bf16");
    kernels->arithmetic = ARITHMETIC_BF16;
    kernels->prepare = round_group;
    kernels->prepared_bytes = rounded_bytes;
}
