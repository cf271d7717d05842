/* choose.h - which kernels this machine gets. */
#ifndef ENCODER_KERNELS_CHOOSE_H
#define ENCODER_KERNELS_CHOOSE_H

#include "../base/fault.h"
#include "kernels.h"

/* The best table that passes its check. *rejected: 0, or 1 if OpenBLAS gave wrong numbers and the scalar kernels are used in
 * its place. Fails only for want of memory or of a thread to check on. */
int kernels_choose(struct kernels *out, int *rejected, struct fault *fault);

#endif
