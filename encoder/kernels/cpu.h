/* cpu.h - what this CPU has and this system allows. The file behind it is built without the flags that it asks about. */
#ifndef ENCODER_KERNELS_CPU_H
#define ENCODER_KERNELS_CPU_H

enum cpu_feature {
    CPU_AVX2 = 1,   /* AVX2, FMA and F16C */
    CPU_AVX512 = 2, /* AVX-512 F, BW, DQ and VL */
};

/* A set of cpu_feature. 0 on other architectures. */
unsigned cpu_features(void);

#endif
