/* number.c - characters as Python's `re` sorts them, and float(). The letters, numbers and blanks are those of the
 * tokenizer's table; the decimal digits are of Unicode 14 (Python 3.11), which knows no others than later versions but
 * scripts that are newer still.
 */
#include "number.h"

#include <math.h>

#include "../base/utf8.h"
#include "../text/unicode_table.h"

/* The zeros: each is followed by its script's one to nine. */
static const uint32_t zeros[] = {
    0x30,    0x660,   0x6F0,   0x7C0,   0x966,   0x9E6,   0xA66,   0xAE6,   0xB66,   0xBE6,   0xC66,
    0xCE6,   0xD66,   0xDE6,   0xE50,   0xED0,   0xF20,   0x1040,  0x1090,  0x17E0,  0x1810,  0x1946,
    0x19D0,  0x1A80,  0x1A90,  0x1B50,  0x1BB0,  0x1C40,  0x1C50,  0xA620,  0xA8D0,  0xA900,  0xA9D0,
    0xA9F0,  0xAA50,  0xABF0,  0xFF10,  0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0,
    0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60,
    0x16AC0, 0x16B50, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0};

static int digit_of(uint32_t point) {
    if (point < 0x80)
        return point >= '0' && point <= '9' ? (int)(point - '0') : -1;
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros && zeros[i] <= point; i++) {
        if (point - zeros[i] < 10)
            return (int)(point - zeros[i]);
    }
    return -1;
}

/* Python counts the four separators of ASCII as blanks, Unicode does not. */
static int is_space(uint32_t point) {
    return (unicode_of(point)->flags & UNICODE_CATEGORY) == UNICODE_SPACE || (point >= 0x1C && point <= 0x1F);
}

int number_digit(const char *text, size_t room, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(text, room, &point);
    return *length ? digit_of(point) : -1;
}

int number_is_space(const char *text, size_t room, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(text, room, &point);
    return *length && is_space(point);
}

int number_is_word(const char *text, size_t room, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(text, room, &point);
    unsigned category = unicode_of(point)->flags & UNICODE_CATEGORY;
    return *length && (category == UNICODE_LETTER || category == UNICODE_NUMBER || point == '_');
}

/* ---- float() ---- */

struct reader {
    const char *text;
    size_t size, at;
};

/* The character at the reader, every digit as ASCII's, every blank as ' ', what no number holds as '?'; 0 at the end. */
static int peek(const struct reader *reader, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(reader->text + reader->at, reader->size - reader->at, &point);
    if (*length == 0)
        return 0;
    int digit = digit_of(point);
    if (digit >= 0)
        return '0' + digit;
    if (is_space(point))
        return ' ';
    return point > 0 && point < 0x80 ? (int)point : '?';
}

static int peek_only(const struct reader *reader) {
    size_t length;
    return peek(reader, &length);
}

static int take(struct reader *reader, int wanted) {
    size_t length;
    if (peek(reader, &length) != wanted)
        return 0;
    reader->at += length;
    return 1;
}

/* Letters in any case. */
static int take_word(struct reader *reader, const char *word) {
    struct reader start = *reader;
    for (; *word; word++) {
        if (!take(reader, *word) && !take(reader, *word - ('a' - 'A'))) {
            *reader = start;
            return 0;
        }
    }
    return 1;
}

struct decimal {
    uint64_t digits; /* the first 19 significant ones */
    int significant;
    int exponent; /* of ten, held within +-100000 */
};

static int bounded(int exponent, int by) {
    int sum = exponent + by;
    return sum > 100000 ? 100000 : sum < -100000 ? -100000 : sum;
}

/* Digits with single underscores between them; returns how many digits, -1 for an underscore that is not between two. */
static int take_digits(struct reader *reader, struct decimal *out, int fraction) {
    int count = 0;
    for (size_t length;;) {
        int c = peek(reader, &length);
        if (c == '_' && count > 0) {
            reader->at += length;
            c = peek(reader, &length);
            if (c < '0' || c > '9')
                return -1;
        }
        if (c < '0' || c > '9')
            return count;
        reader->at += length;
        count = 1;
        if (out->significant < 19) {
            out->digits = out->digits * 10 + (uint64_t)(c - '0');
            out->significant += out->digits != 0;
            out->exponent = bounded(out->exponent, -fraction);
        } else {
            out->exponent = bounded(out->exponent, !fraction);
        }
    }
}

static int take_power(struct reader *reader, int *power) {
    int negative = take(reader, '-');
    if (!negative)
        take(reader, '+');
    struct reader start = *reader;
    struct decimal unused = {0, 0, 0};
    if (take_digits(reader, &unused, 0) <= 0)
        return 0;
    *power = 0;
    while (start.at < reader->at) {
        size_t length;
        int c = peek(&start, &length);
        start.at += length;
        if (c != '_')
            *power = bounded(*power * (*power < 50000 ? 10 : 1), c - '0');
    }
    if (negative)
        *power = -*power;
    return 1;
}

static double scaled(struct decimal decimal) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double value = (double)decimal.digits;
    int exponent = decimal.exponent;
    for (; exponent > 22 && isfinite(value) && value > 0; exponent -= 22)
        value *= 1e22;
    for (; exponent < -22 && value > 0; exponent += 22)
        value /= 1e22;
    if (!isfinite(value) || !(value > 0))
        return value;
    /* the loops left it within +-22, or `value` is no number above 0 */
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
    return exponent < 0 ? value / powers[-exponent] : value * powers[exponent];
}

static int read_decimal(struct reader *reader, double *value) {
    struct decimal decimal = {0, 0, 0};
    int power = 0;
    int whole = take_digits(reader, &decimal, 0);
    if (whole < 0)
        return 0;
    int parts = take(reader, '.') ? take_digits(reader, &decimal, 1) : 0;
    if (parts < 0 || whole + parts == 0)
        return 0;
    if ((take(reader, 'e') || take(reader, 'E')) && !take_power(reader, &power))
        return 0;
    decimal.exponent = bounded(decimal.exponent, power);
    *value = scaled(decimal);
    return 1;
}

int number_read(const char *text, size_t size, double *value) {
    struct reader reader = {text, size, 0};
    double found;
    while (take(&reader, ' '))
        ;
    int negative = take(&reader, '-');
    if (!negative)
        take(&reader, '+');
    if (take_word(&reader, "infinity") || take_word(&reader, "inf"))
        found = (double)INFINITY;
    else if (take_word(&reader, "nan"))
        found = (double)NAN;
    else if (!read_decimal(&reader, &found))
        return 0;
    while (take(&reader, ' '))
        ;
    if (peek_only(&reader) != 0 || reader.at != size)
        return 0;
    *value = negative ? -found : found;
    return 1;
}
