/* size_embedding.c - see size_embedding.h. */
#include "size_embedding.h"

#include <math.h>

void size_embedding(float out[SIZE_EMBEDDING], float value) {
    enum { HALF = SIZE_EMBEDDING / 2 };
    const float ln_period = 9.210340371976184f;
    for (int i = 0; i < HALF; i++) {
        float exponent = -ln_period * (float)i / (float)HALF;
        float frequency = (float)exp((double)exponent);
        float angle = value * frequency;
        out[i] = (float)cos((double)angle);
        out[HALF + i] = (float)sin((double)angle);
    }
}
