/* cpu.c - CPUID says what the CPU can, XCR0 which registers the system saves: without the second a kernel that uses them
 * ends in SIGILL, or loses its registers at the next switch. Bits: Intel SDM volume 2A, CPUID, and volume 1, 13.3. */
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

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
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };                                   /* leaf 7, EDX */
    enum { AVX512_BF16 = 1 << 5 };                                                     /* leaf 7.1, EAX */
    const uint32_t AVX512VL = UINT32_C(1) << 31;
    /* XCR0: SSE and AVX; with them opmask and both halves of ZMM; with those the tiles' configuration and data */
    enum { YMM = 0x6, ZMM = 0xE6, TILES = 0x600E6 };
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
    if (features & CPU_AVX512 && (state & TILES) == TILES && all(d, AMX_BF16 | AMX_TILE))
        features |= CPU_AMX;
    if (features & CPU_AVX512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && all(a, AVX512_BF16))
        features |= CPU_AVX512_BF16;
    return features;
}

int cpu_take_amx(void) {
    enum { GET_PERMISSION = 0x1022, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* arch/x86/include/uapi/asm/prctl.h */
    uint64_t granted = 0;
    int before = errno;
    int has = syscall(SYS_arch_prctl, GET_PERMISSION, &granted) == 0 && granted >> TILE_DATA & 1;
    has = has || syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
    errno = before;
    return has;
}

#else

unsigned cpu_features(void) {
    return 0;
}

int cpu_take_amx(void) {
    return 0;
}

#endif
