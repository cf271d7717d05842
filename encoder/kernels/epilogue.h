/* epilogue.h - what happens to a product before it is written. Shared by all kernels: the loops run over a group's rows.
 *
 * The residual stream is kept in two floats: in one, a channel of 100 loses 4e-6 at each of 64 additions, which for the massive
 * channels of CLIP's start token came to three times the error of torch, by chance (tests/bench/LOG.md, 15). */
#ifndef ENCODER_KERNELS_EPILOGUE_H
#define ENCODER_KERNELS_EPILOGUE_H

#include "kernels.h"
#include "scalar_math.h"

/* sum[LANES] is the product of one column with the rows of one group. */
static inline void epilogue(const struct linear *op, const double *sum, size_t group, size_t column) {
    size_t at = (group * op->y_width + column) * LANES;
    float *y = op->y + at, *low = op->epilogue == EPILOGUE_ADD ? op->low + at : NULL;
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
        for (size_t i = 0; i < LANES; i++) {
            double stream = (double)y[i] + (double)low[i] + (sum[i] + (double)bias);
            y[i] = (float)stream;
            low[i] = (float)(stream - (double)y[i]);
        }
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
