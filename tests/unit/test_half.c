/* test_half.c - protects the small float formats: every code, and rounding to nearest even against a search in double. */
#include "../../encoder/base/half.h"
#include "unit.h"

#include <float.h>
#include <math.h>

/* The value of a binary16 or bfloat16 code, from its definition. */
static double value_of(uint32_t code, int exponent_bits, int fraction_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1;
    uint32_t fraction = code & ((1u << fraction_bits) - 1);
    int exponent = (int)(code >> fraction_bits & ((1u << exponent_bits) - 1));
    double sign = code >> 15 ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? NAN : sign * INFINITY;
    double scaled = exponent ? 1.0 + ldexp(fraction, -fraction_bits) : ldexp(fraction, 1 - fraction_bits);
    return sign * ldexp(scaled, exponent - bias);
}

static int same(float a, double b) {
    return isnan(a) ? isnan(b) : (double)a == b && !signbit(a) == !signbit(b);
}

static void every_code_widens_exactly(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        assert_true(same(f16_to_f32((uint16_t)code), value_of(code, 5, 10)));
        assert_true(same(bf16_to_f32((uint16_t)code), value_of(code, 8, 7)));
    }
}

/* E4M3 has no infinity: its largest exponent is one like the others, but for the one code of all ones. */
static void every_code_of_eight_bits_widens_exactly(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 256; code++) {
        uint32_t sixteen = (code & 0x80) << 8;
        assert_true(same(f8_e5m2_to_f32((uint8_t)code), value_of(sixteen | (code & 0x7F), 5, 2)));
        double e4m3 = (code & 0x7F) == 0x7F ? NAN
                      : (code & 0x78) == 0x78
                          ? (code & 0x80 ? -1.0 : 1.0) * ldexp(1.0 + ldexp((double)(code & 7), -3), 8)
                          : value_of(sixteen | (code & 0x7F), 4, 3);
        assert_true(same(f8_e4m3_to_f32((uint8_t)code), e4m3));
    }
    assert_true(f8_e4m3_to_f32(0x7E) == 448 && f8_e5m2_to_f32(0x7B) == 57344); /* the largest of each, as published */
}

static void every_code_survives_a_round_trip(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        if (!isnan(value_of(code, 5, 10)))
            assert_int_equal(f16_from_f32(f16_to_f32((uint16_t)code)), code);
        if (!isnan(value_of(code, 8, 7)))
            assert_int_equal(bf16_from_f32(bf16_to_f32((uint16_t)code)), code);
    }
    assert_true(isnan(f16_to_f32(f16_from_f32(NAN))));
    assert_true(isnan(bf16_to_f32(bf16_from_f32(NAN))));
    /* a NaN whose payload lies in the bits that are dropped must not become an infinity */
    assert_true(isnan(bf16_to_f32(bf16_from_f32(float_from_bits(0x7F800001u)))));
    assert_true(isnan(f16_to_f32(f16_from_f32(float_from_bits(0x7F800001u)))));
}

/* Between two neighbours: the nearer one, and of two equally near ones the even. */
static void check_rounding(uint16_t (*from)(float), int exponent_bits, int fraction_bits) {
    uint32_t top = ((1u << exponent_bits) - 1) << fraction_bits;
    for (uint32_t code = 0; code + 1 < top; code++) {
        double low = value_of(code, exponent_bits, fraction_bits), high = value_of(code + 1, exponent_bits, fraction_bits);
        double middle = low + (high - low) / 2;
        float quarter = (float)(low + (high - low) / 4);
        assert_int_equal(from(quarter), code);
        assert_int_equal(from((float)middle), code & 1u ? code + 1 : code);
        assert_int_equal(from(nextafterf((float)middle, INFINITY)), code + 1);
        assert_int_equal(from(-nextafterf((float)middle, INFINITY)), (code + 1) | 0x8000u);
    }
    assert_int_equal(from(FLT_MAX), top);
}

static void rounds_to_nearest_even(void **state) {
    (void)state;
    check_rounding(f16_from_f32, 5, 10);
    check_rounding(bf16_from_f32, 8, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_widens_exactly),
        cmocka_unit_test(every_code_of_eight_bits_widens_exactly),
        cmocka_unit_test(every_code_survives_a_round_trip),
        cmocka_unit_test(rounds_to_nearest_even),
    };
    return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}
