/* epilogue.h - what happens to a product before it is written. Shared by all kernels: the loops run over a group's rows. */
#ifndef ENCODER_KERNELS_EPILOGUE_H
#define ENCODER_KERNELS_EPILOGUE_H

#include "kernels.h"
#include "scalar_math.h"

/* sum[LANES] is the product of one column with the rows of one group. */
static inline void epilogue(const struct linear *op, const double *sum, size_t group, size_t column) {
    float *y = op->y + (group * op->y_width + column) * LANES;
    float bias = op->bias ? op->bias[column] : 0.0f;
    float r[LANES];
    for (size_t i = 0; i < LANES; i++)
        r[i] = (float)sum[i] + bias;
    switch (op->epilogue) {
    case EPILOGUE_STORE:
        for (size_t i = 0; i < LANES; i++)
            y[i] = r[i];
        break;
    case EPILOGUE_ADD:
        for (size_t i = 0; i < LANES; i++)
            y[i] += r[i];
        break;
    case EPILOGUE_GELU:
        for (size_t i = 0; i < LANES; i++)
            y[i] = scalar_gelu(r[i]);
        break;
    case EPILOGUE_QUICK_GELU:
        for (size_t i = 0; i < LANES; i++)
            y[i] = scalar_quick_gelu(r[i]);
        break;
    }
}

#endif
