/* cpu.h - what this CPU has and this system allows. The file behind it is built without the flags that it asks about. */
#ifndef ENCODER_KERNELS_CPU_H
#define ENCODER_KERNELS_CPU_H

enum cpu_feature {
    CPU_AVX2 = 1,   /* AVX2, FMA and F16C */
    CPU_AVX512 = 2, /* AVX-512 F, BW, DQ and VL */
    CPU_AVX512_BF16 = 4,
    CPU_AMX = 8, /* AMX-TILE and AMX-BF16 */
};

/* A set of cpu_feature. 0 on other architectures. CPU_AMX says what the CPU and the system have: cpu_take_amx must be asked
 * besides. */
unsigned cpu_features(void);
/* Linux gives the use of AMX's registers to a process that asks for it, for good (Documentation/arch/x86/xstate.rst). 1: this
 * one has it, now or since long; 0: it was refused, as where the host's sigaltstack is too small for the larger frame. */
int cpu_take_amx(void);

#endif
