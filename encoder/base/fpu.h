/* fpu.h - the floating-point mode of a thread that we own. The host's threads keep theirs. */
#ifndef ENCODER_BASE_FPU_H
#define ENCODER_BASE_FPU_H

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>

/* Round to nearest, no traps, denormals are zero: a file of denormal weights is a valid file, and would make a GEMM a
 * hundred times slower. A new thread starts with its maker's mode, so it must be set and not assumed. */
static inline void fpu_for_computing(void) {
    __asm__ volatile("fninit");
    _mm_setcsr(0x1F80u /* all exceptions masked */ | 0x8000u /* FTZ */ | 0x0040u /* DAZ */);
}

/* For the few lines that compute on the host's thread: a plain mode, and afterwards the host's again, flags and all. */
static inline uint64_t fpu_hold(void) {
    uint64_t kept = _mm_getcsr();
    _mm_setcsr(0x1F80u);
    return kept;
}

static inline void fpu_restore(uint64_t kept) {
    _mm_setcsr((uint32_t)kept);
}

static inline void cpu_relax(void) {
    _mm_pause();
}

#elif defined(__aarch64__)

static inline void fpu_for_computing(void) {
    uint64_t mode = UINT64_C(1) << 24; /* FZ */
    __asm__ volatile("msr fpcr, %0" ::"r"(mode));
}

static inline uint64_t fpu_hold(void) {
    uint64_t mode, status;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr\n\tmsr fpcr, xzr" : "=r"(mode), "=r"(status));
    return mode << 32 | (status & 0xFFFFFFFFu);
}

static inline void fpu_restore(uint64_t kept) {
    uint64_t mode = kept >> 32, status = kept & 0xFFFFFFFFu;
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" ::"r"(mode), "r"(status));
}

static inline void cpu_relax(void) {
    __asm__ volatile("yield");
}

#else
#error "Penult knows how to set the floating-point mode of x86-64 and of 64-bit ARM"
#endif

#endif
