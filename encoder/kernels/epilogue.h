/* epilogue.h - what happens to a product before it is written. Shared by the kernels whose GEMM leaves it to plain C. */
#ifndef ENCODER_KERNELS_EPILOGUE_H
#define ENCODER_KERNELS_EPILOGUE_H

#include "kernels.h"
#include "scalar_math.h"

/* sum[0..count) are the products of columns column, column + 1, ...; y is where the first of them goes. */
static inline void epilogue(const struct linear *op, const float *sum, size_t column, float *y, size_t count) {
    float r[KERNEL_PANEL];
    for (size_t c = 0; c < count; c++)
        r[c] = sum[c] + (op->bias ? op->bias[column + c] : 0.0f);
    switch (op->epilogue) {
    case EPILOGUE_STORE:
        for (size_t c = 0; c < count; c++)
            y[c] = r[c];
        break;
    case EPILOGUE_ADD:
        for (size_t c = 0; c < count; c++)
            y[c] += r[c];
        break;
    case EPILOGUE_GELU:
        for (size_t c = 0; c < count; c++)
            y[c] = scalar_gelu(r[c]);
        break;
    case EPILOGUE_QUICK_GELU:
        for (size_t c = 0; c < count; c++)
            y[c] = scalar_quick_gelu(r[c]);
        break;
    }
}

#endif
