/* modes.c - see modes.h. */
#include "modes.h"

#include <fenv.h>
#include <stdint.h>

static void round_up(void) {
    fesetround(FE_UPWARD);
}

static void round_down(void) {
    fesetround(FE_DOWNWARD);
}

static void round_to_zero(void) {
    fesetround(FE_TOWARDZERO);
}

static void unmask(void) {
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_ALL_EXCEPT);
}

#if defined(__x86_64__)
static void set_mxcsr(uint32_t bits) {
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    mxcsr |= bits;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
}

static void set_x87_precision(uint16_t bits) {
    uint16_t control;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    control = (uint16_t)((control & ~0x300u) | bits);
    __asm__ volatile("fldcw %0" ::"m"(control));
}

static void flush(void) {
    set_mxcsr(0x8040u);
}

/* What FE_ALL_EXCEPT leaves out. */
static void trap_denormals(void) {
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    mxcsr &= ~0x102u;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
}

static void raise_flags(void) {
    set_mxcsr(0x3Fu);
}

static void x87_single(void) {
    set_x87_precision(0);
}

static void x87_double(void) {
    set_x87_precision(0x200u);
}

static void all_of_it(void) {
    unmask();
    fesetround(FE_UPWARD);
    set_mxcsr(0x8040u);
    set_x87_precision(0);
}
#endif

const struct mode modes[] = {
    {"a plain thread", NULL},
    {"rounding up", round_up},
    {"rounding down", round_down},
    {"rounding to zero", round_to_zero},
    {"every floating-point exception unmasked", unmask},
#if defined(__x86_64__)
    {"FTZ and DAZ", flush},
    {"the denormal exception unmasked", trap_denormals},
    {"every exception flag raised", raise_flags},
    {"x87 in single precision", x87_single},
    {"x87 in double precision", x87_double},
    {"rounding up, FTZ, DAZ, exceptions unmasked, x87 in single precision", all_of_it},
#endif
};
const size_t mode_count = sizeof modes / sizeof modes[0];
