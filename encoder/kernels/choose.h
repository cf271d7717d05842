/* choose.h - which kernels this machine gets. */
#ifndef ENCODER_KERNELS_CHOOSE_H
#define ENCODER_KERNELS_CHOOSE_H

#include "../base/fault.h"
#include "kernels.h"

/* From the lowest to the highest. */
enum kernel_set { KERNELS_BEST, KERNELS_SCALAR, KERNELS_OPENBLAS, KERNELS_AVX2, KERNELS_AVX512, KERNELS_AMX };

/* The highest set that is not above `most`, that `features` (cpu.h) allow and that this build has. A pure function. */
enum kernel_set kernels_fill(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, unsigned features);
/* The same for this machine, compared with the scalar kernels before it is trusted; one that disagrees gives way to the next
 * lower, and *rejected is 1. Fails only for want of memory or of a thread to check on. */
int kernels_choose(struct kernels *out, enum kernel_set most, enum arithmetic arithmetic, int *rejected, struct fault *fault);

#endif
