/* json_real.c - a decimal number to a double, without the host's locale. Exact up to 15 significant digits with powers of
 * ten up to 22 (both are doubles then, and one operation rounds once); within a few units in the last place beyond.
 * In doubles alone: the x87's long double would touch state that belongs to the host. */
#include <math.h>

#include "json.h"

struct decimal {
    uint64_t digits; /* the first 19 significant ones */
    int exponent;    /* of ten, held within +-100000 */
};

static int is_digit(char c) {
    return c >= '0' && c <= '9'; /* GCOVR_EXCL_BR_LINE: nothing in a number that was read is above '9' where this is asked */
}

static struct decimal parse(const char *p, const char *end) {
    struct decimal d = {0, 0};
    int significant = 0, fraction = 0, dropped = 0, power = 0, negative = 0;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            fraction = 1;
            continue;
        }
        if (significant < 19) {
            d.digits = d.digits * 10 + (uint64_t)(*p - '0');
            significant += d.digits != 0;
            dropped -= fraction;
        } else {
            dropped += !fraction;
        }
        if (dropped < -50000 || dropped > 50000)
            break; /* no double is so small or so large */
    }
    while (p < end && *p != 'e' && *p != 'E')
        p++;
    if (p < end) {
        negative = p[1] == '-';
        for (p += 1 + !is_digit(p[1]); p < end && power < 50000; p++)
            power = power * 10 + (*p - '0');
        power = power < 50000 ? power : 50000;
    }
    d.exponent = dropped + (negative ? -power : power);
    return d;
}

static double scale(double value, int exponent) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    for (; exponent > 22 && isfinite(value); exponent -= 22)
        value *= 1e22;
    for (; exponent < -22 && value > 0; exponent += 22)
        value /= 1e22;
    if (!isfinite(value) || !(value > 0))
        return value;
    /* both loops end within +-22, or with a value that has just returned */
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
    return exponent < 0 ? value / powers[-exponent] : value * powers[exponent];
}

int json_real(const struct json *json, const struct json_event *event, const char *what, double *out, struct fault *fault) {
    if (event->kind != JSON_NUMBER)
        return json_expected(json, event, what, "a number", fault);
    int negative = event->bytes[0] == '-';
    struct decimal d = parse(event->bytes + negative, event->bytes + event->size);
    double value = scale((double)d.digits, d.exponent);
    if (!isfinite(value))
        return json_expected(json, event, what, "a number that a double can hold", fault);
    *out = negative ? -value : value;
    return 0;
}
