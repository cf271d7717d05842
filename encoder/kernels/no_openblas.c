/* no_openblas.c - stands in for openblas.c where the distribution has no static serial build of OpenBLAS. */
#include "kernels.h"

int kernels_openblas(struct kernels *kernels) {
    (void)kernels;
    return 0;
}
