/* cpu.c - a CPU that has everything, for kernels whose instructions are emulated beside this file. */
#include "../../../encoder/kernels/cpu.h"

unsigned cpu_features(void) {
    return CPU_AVX512 | CPU_AVX512_BF16 | CPU_AMX; /* and not AVX2, which is tested where it is */
}

int cpu_take_amx(void) {
    return 1;
}
