/* cpu.c - CPUID says what the CPU can, XCR0 which registers the system saves: without the second a kernel that uses them
 * ends in SIGILL, or loses its registers at the next switch. Bits: Intel SDM volume 2A, CPUID, and volume 1, 13.3. */
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

static uint64_t enabled_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int all(uint32_t word, uint32_t bits) {
    return (word & bits) == bits;
}

unsigned cpu_features(void) {
    enum { FMA = 1 << 12, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29 };          /* leaf 1, ECX */
    enum { AVX2 = 1 << 5, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512BW = 1 << 30 }; /* leaf 7, EBX */
    const uint32_t AVX512VL = UINT32_C(1) << 31;
    enum { YMM = 0x6, ZMM = 0xE6 }; /* XCR0: SSE and AVX; with them opmask and both halves of ZMM */
    uint32_t a, b, c, d;
    unsigned features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !all(c, OSXSAVE | AVX | FMA | F16C))
        return 0;
    uint64_t state = enabled_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (state & YMM) != YMM || !all(b, AVX2))
        return 0;
    features |= CPU_AVX2;
    if ((state & ZMM) == ZMM && all(b, AVX512F | AVX512DQ | AVX512BW | AVX512VL))
        features |= CPU_AVX512;
    return features;
}

#else

unsigned cpu_features(void) {
    return 0;
}

#endif
