/* test_rows.c - protects the kernels that work on rows: attention, norm, rounding, exp and the activations, against double,
 * with guards round the results, and bit for bit between the tables. */
#include "../../encoder/kernels/scalar_math.h"
#include "table.h"

/* Norm, attention and rounding are one source built several times: their bits are the same in every table but for widen,
 * whose results are exact and therefore the same too. */
static void check_rows(const struct kernels *kernels) {
    enum { TOKENS = 77, WIDTH = 64, ROWS = 80 + 2 * LANES };
    struct kernels scalar;
    static float qkv[ROWS * 3 * WIDTH], out[2][ROWS * WIDTH];
    uint32_t row[TOKENS];
    static unsigned char narrow[2][2 * ROWS * WIDTH];
    kernels_scalar(&scalar);
    for (size_t i = 0; i < ROWS * 3 * WIDTH; i++)
        qkv[i] = 3 * random_float();
    for (uint32_t i = 0; i < TOKENS; i++) /* the first ones are another prompt's, before and behind its own */
        row[i] = i < 3 ? i : i < 21 ? 70 + i : 16 + i;
    for (int t = 0; t < 2; t++) {
        const struct kernels *k = t ? kernels : &scalar;
        struct attend op = {.in = qkv, .in_width = 3 * WIDTH, .k = WIDTH, .v = 2 * WIDTH, .out = out[t], .out_width = WIDTH,
                            .row = row, .own = 21, .tokens = TOKENS, .head_width = WIDTH, .scale = 0.125f};
        run((struct job){.kernels = k, .attend = &op, .scratch = kernels_attend_scratch(TOKENS, WIDTH)});
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    for (size_t width = 1; width < 400; width += 1 + width / 3) {
        scalar.layer_norm(qkv, out[0], qkv + 2000, qkv + 4000, width, 1e-5);
        kernels->layer_norm(qkv, out[1], qkv + 2000, qkv + 4000, width, 1e-5);
        assert_memory_equal(out[0], out[1], width * LANES * sizeof(float));
        for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
            size_t bytes = width * dtype_bits((enum dtype)dtype) / 8;
            assert_int_equal(scalar.narrow(out[0], (enum dtype)dtype, narrow[0], width),
                             kernels->narrow(out[0], (enum dtype)dtype, narrow[1], width));
            assert_memory_equal(narrow[0], narrow[1], bytes);
            unsigned char *exact = malloc(bytes + 1); /* so that a sanitizer sees a read beyond the last element */
            assert_non_null(exact);
            memcpy(exact + 1, narrow[0], bytes);
            scalar.widen(exact + 1, (enum dtype)dtype, out[0], width);
            kernels->widen(exact + 1, (enum dtype)dtype, out[1], width);
            assert_memory_equal(out[0], out[1], width * sizeof(float));
            free(exact);
        }
    }
}

/* Every code of a type of 16 or 8 bits, and doubles of every kind, at every place in a vector. */
static void check_codes(const struct kernels *kernels) {
    static const enum dtype dtypes[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F8_E4M3, DTYPE_F8_E5M2, DTYPE_F64};
    static unsigned char codes[65536 * 8];
    static float expected[65536], found[65536];
    struct kernels scalar;
    kernels_scalar(&scalar);
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        size_t bytes = dtype_bits(dtypes[d]) / 8, count = bytes == 1 ? 256 : 65536;
        for (size_t i = 0; i < count; i++) {
            uint64_t code = bytes == 8 ? (uint64_t)i << 48 | (uint64_t)(i * 2654435761u & 0xFFFFFFFFu) : i;
            if (bytes == 8 && (i & 0x7FF0) == 0x7FF0 && i % 16)
                code |= (uint64_t)1 << 51; /* quiet: the others become so, which scalar code may leave to the compiler */
            memcpy(codes + i * bytes, &code, bytes);
        }
        scalar.widen(codes, dtypes[d], expected, count);
        for (size_t begin = 0; begin < 17 && begin < count; begin++) {
            kernels->widen(codes + begin * bytes, dtypes[d], found, count - begin);
            for (size_t i = 0; i < count - begin; i++) {
                if (isnan(expected[begin + i]) ? !isnan(found[i]) : memcmp(&expected[begin + i], &found[i], 4) != 0)
                    fail_msg("%s: %s code %zx: %a, expected %a", kernels->name, dtype_name(dtypes[d]), begin + i, (double)found[i],
                             (double)expected[begin + i]);
            }
        }
    }
}

static void every_code_of_every_type(void **state) {
    (void)state;
    each_table(check_codes);
}

static void rows_have_the_same_bits_in_every_table(void **state) {
    (void)state;
    each_table(check_rows);
}

/* Key masks, which all begin with 1: gaps, the second half hidden, gaps at random, all but the first hidden. */
static void fill_mask(unsigned char *mask, size_t tokens, size_t kind) {
    for (size_t j = 0; j < tokens; j++) {
        const int seen[4] = {j % 3 != 1, j <= tokens / 2, random_float() > 0, 0};
        mask[j] = j == 0 || seen[kind % 4];
    }
}

/* q, k and v of packed rows, and where the result goes: exactly as many floats as there are groups, so that a
 * sanitizer sees a read beyond them. Rows before and behind are other prompts': NaN, which must not be seen in any result. */
struct attended {
    struct attend op;
    uint32_t *row;
    float *qkv, *block, *out;
    size_t out_count;
};

/* The prompt's own rows begin at `first`, with token `own`; of those before, every third token's lies behind them, the others
 * before. */
static struct attended make_attended(size_t first, size_t own, size_t tokens, size_t width, const unsigned char *mask) {
    size_t groups = packed_groups(first + tokens), pitch = 3 * width + 1;
    struct attended a = {.out_count = groups * LANES * (width + 1)};
    uint32_t before = (uint32_t)first, behind = (uint32_t)(first + tokens - own);
    a.row = malloc(tokens * sizeof *a.row);
    assert_non_null(a.row);
    for (size_t i = 0; i < tokens; i++)
        a.row[i] = i >= own ? (uint32_t)(first + i - own) : i % 3 && before ? --before : behind++;
    a.qkv = malloc(groups * LANES * pitch * sizeof *a.qkv);
    a.block = guarded(a.out_count);
    a.out = a.block + MARGIN;
    assert_non_null(a.qkv);
    for (size_t i = 0; i < groups * LANES * pitch; i++)
        a.qkv[i] = NAN;
    for (size_t i = 0; i < a.out_count; i++)
        a.out[i] = 7;
    for (size_t i = 0; i < tokens; i++)
        for (size_t d = 0; d < pitch; d++)
            a.qkv[packed_at(a.row[i], pitch) + d * LANES] = 4 * random_float();
    a.op = (struct attend){.in = a.qkv, .in_width = pitch, .q = 0, .k = width, .v = 2 * width, .out = a.out, .out_width = width + 1,
                           .out_at = 1, .mask = mask, .row = a.row, .own = own, .tokens = tokens, .head_width = width,
                           .scale = 1 / sqrtf((float)width)};
    return a;
}

static void free_attended(struct attended *a) {
    free(a->qkv);
    free(a->row);
    free(a->block);
}

static void attend(const struct kernels *kernels, const struct attended *a) {
    run((struct job){.kernels = kernels, .attend = &a->op, .scratch = kernels_attend_scratch(a->op.tokens, a->op.head_width)});
    check_guards(a->block, a->out_count);
}

static float in(const struct attended *a, size_t feature, size_t token, size_t d) {
    return a->qkv[packed_at(a->row[token], a->op.in_width) + (feature + d) * LANES];
}

static float result(const struct attended *a, size_t token, size_t d) {
    return a->out[packed_at(a->row[token], a->op.out_width) + (a->op.out_at + d) * LANES];
}

static void check_attend(size_t first, size_t own, size_t tokens, size_t width, const unsigned char *mask) {
    struct kernels kernels;
    struct attended a = make_attended(first, own, tokens, width, mask);
    double *p = malloc(tokens * sizeof *p);
    size_t written = 0;
    assert_non_null(p);
    kernels_scalar(&kernels);
    attend(&kernels, &a);
    for (size_t i = own; i < tokens; i++) {
        double largest = -INFINITY, sum = 0;
        for (size_t j = 0; j <= i; j++) {
            p[j] = 0;
            for (size_t d = 0; d < width; d++)
                p[j] += (double)in(&a, a.op.q, i, d) * (double)in(&a, a.op.k, j, d);
            p[j] = mask && !mask[j] ? -INFINITY : p[j] * (double)a.op.scale;
            largest = fmax(largest, p[j]);
        }
        for (size_t j = 0; j <= i; j++)
            sum += p[j] = exp(p[j] - largest);
        for (size_t d = 0; d < width; d++) {
            double o = 0;
            for (size_t j = 0; j <= i; j++)
                o += p[j] / sum * (double)in(&a, a.op.v, j, d);
            /* values are at most 4; the scores' own error, about width * 2^-24 * |q||k|, goes through exp */
            if (!(fabs(o - (double)result(&a, i, d)) < 4e-5))
                fail_msg("tokens %zu width %zu row %zu: %.9g, expected %.9g", tokens, width, i, (double)result(&a, i, d), o);
        }
    }
    for (size_t i = 0; i < a.out_count; i++)
        written += a.out[i] != 7;
    assert_int_equal(written, (tokens - own) * width); /* and nothing of another's */
    free_attended(&a);
    free(p);
}

static void attention_is_causal_and_exact(void **state) {
    (void)state;
    for (size_t n = 1; n <= 67; n += 3)
        check_attend(n * 5 % 23, 0, n, 1 + n * 11 % 67, NULL);
    check_attend(0, 0, 77, 64, NULL);
    check_attend(77, 0, 248, 64, NULL);
}

static void first_rows_may_be_elsewhere(void **state) {
    (void)state;
    for (size_t n = 1; n <= 67; n += 3)
        for (size_t own = 0; own <= n; own += 1 + own / 2)
            check_attend(n * 5 % 23, own, n, 1 + n * 11 % 67, NULL);
}

static void hidden_keys_are_not_attended_to(void **state) {
    unsigned char mask[77];
    (void)state;
    for (size_t n = 1; n <= 77; n += n < 68 ? 1 : 9) {
        fill_mask(mask, n, n);
        check_attend(n * 5 % 23, n / 2, n, 1 + n * 11 % 67, mask);
    }
}

static void same_rows(const struct attended *a, const float *expected, size_t tokens) {
    for (size_t i = a->op.own; i < tokens; i++)
        for (size_t d = 0; d < a->op.head_width; d++) {
            size_t at = packed_at(a->row[i], a->op.out_width) + (a->op.out_at + d) * LANES;
            assert_memory_equal(&a->out[at], &expected[at], sizeof *expected);
        }
}

/* The bits under a mask are scalar's in every table; those of rows before the first hidden key are those of no mask; and a hidden
 * key and its value have no part in any row, whatever they are; nor has a later one. */
static void check_masks(const struct kernels *kernels) {
    struct kernels scalar;
    kernels_scalar(&scalar);
    for (size_t n = 1; n <= 77; n += n < 36 ? 1 : 10) {
        size_t width = 1 + n * 11 % 67, first_hidden = 0;
        unsigned char *mask = malloc(n); /* of its own, so that a sanitizer sees a read beyond it */
        assert_non_null(mask);
        fill_mask(mask, n, n);
        struct attended a = make_attended(n * 7 % 31, n / 5, n, width, mask);
        float *expected = malloc(a.out_count * sizeof *expected), *plain = malloc(a.out_count * sizeof *plain);
        assert_non_null(expected);
        assert_non_null(plain);
        attend(&scalar, &a);
        memcpy(expected, a.out, a.out_count * sizeof *expected);
        attend(kernels, &a);
        same_rows(&a, expected, n);
        a.op.mask = NULL;
        attend(kernels, &a);
        memcpy(plain, a.out, a.out_count * sizeof *plain);
        while (first_hidden < n && mask[first_hidden])
            first_hidden++;
        same_rows(&a, expected, first_hidden);
        if (first_hidden < n) /* and the mask does something */
            assert_memory_not_equal(plain, expected, a.out_count * sizeof *plain);
        memset(mask, 1, n);
        a.op.mask = mask;
        attend(kernels, &a);
        same_rows(&a, plain, n);
        a.op.tokens = n / 2 + 1; /* the rows behind are not there: the same */
        attend(kernels, &a);
        same_rows(&a, plain, n / 2 + 1);
        a.op.tokens = n;
        for (size_t d = 0; d < 3 * width; d++) /* the last is not a number to those before it */
            a.qkv[packed_at(a.row[n - 1], a.op.in_width) + d * LANES] = d % 2 ? NAN : INFINITY;
        attend(kernels, &a);
        same_rows(&a, plain, n - 1);
        free_attended(&a);
        struct attended b = make_attended(n * 7 % 31, n / 5, n, width, mask);
        fill_mask(mask, n, n);
        attend(kernels, &b);
        memcpy(expected, b.out, b.out_count * sizeof *expected);
        for (size_t j = 0; j < n; j++)
            for (size_t d = 0; d < 2 * width && !mask[j]; d++)
                b.qkv[packed_at(b.row[j], b.op.in_width) + (width + d) * LANES] = d % 2 ? NAN : 1e30f * random_float();
        attend(kernels, &b);
        same_rows(&b, expected, n);
        free_attended(&b);
        free(expected);
        free(plain);
        free(mask);
    }
}

static void masks_in_every_table(void **state) {
    (void)state;
    each_table(check_masks);
}

/* Scores of a thousand must neither overflow nor lose the row. */
static void attention_survives_large_scores(void **state) {
    enum { TOKENS = 3, WIDTH = 4 };
    struct kernels kernels;
    (void)state;
    kernels_scalar(&kernels);
    struct attended a = make_attended(0, 0, TOKENS, WIDTH, NULL);
    for (size_t i = 0; i < TOKENS; i++)
        for (size_t d = 0; d < WIDTH; d++) {
            a.qkv[(0 * WIDTH + d) * LANES + i] = 1000;
            a.qkv[(1 * WIDTH + d) * LANES + i] = i == 0 ? 1000.0f : -1000.0f;
            a.qkv[(2 * WIDTH + d) * LANES + i] = (float)(i * WIDTH + d);
        }
    attend(&kernels, &a);
    for (size_t d = 0; d < WIDTH; d++) /* all weight is on the first key */
        assert_true(result(&a, 2, d) == (float)d);
    free_attended(&a);
}

static void layer_norm_against_double(void **state) {
    struct kernels kernels;
    (void)state;
    kernels_scalar(&kernels);
    for (size_t width = 1; width <= 1280; width = width < 70 ? width + 1 : width * 3 + 1) {
        static float x[1280 * LANES], gain[1280], bias[1280];
        float *block = guarded(width * LANES), *y = block + MARGIN;
        for (size_t i = 0; i < width * LANES; i++)
            x[i] = 100 + 30 * random_float();
        for (size_t i = 0; i < width; i++) {
            gain[i] = random_float();
            bias[i] = random_float();
            x[i * LANES + 5] = 7; /* a constant row has no variance: the result is the bias, and no division by zero */
        }
        kernels.layer_norm(x, y, gain, bias, width, 1e-5);
        check_guards(block, width * LANES);
        for (size_t row = 0; row < LANES; row++) {
            double mean = 0, variance = 0;
            for (size_t i = 0; i < width; i++)
                mean += (double)x[i * LANES + row] / (double)width;
            for (size_t i = 0; i < width; i++)
                variance += ((double)x[i * LANES + row] - mean) * ((double)x[i * LANES + row] - mean) / (double)width;
            for (size_t i = 0; i < width; i++) {
                double expected = ((double)x[i * LANES + row] - mean) / sqrt(variance + 1e-5) * (double)gain[i] + (double)bias[i];
                assert_true(row == 5 ? y[i * LANES + row] == bias[i] : fabs((double)y[i * LANES + row] - expected) < 1e-6);
            }
        }
        free(block);
    }
}

static void narrow_rounds_and_reports(void **state) {
    struct kernels kernels;
    unsigned char out[9];
    float good[2] = {1.0f, -65519.0f}, large[2] = {1.0f, 65520.0f}, nan[2] = {NAN, 0}, infinite[2] = {0, -INFINITY};
    (void)state;
    kernels_scalar(&kernels);
    assert_int_equal(kernels.narrow(good, DTYPE_F16, out + 1, 2), 0);
    assert_memory_equal(out + 1, "\x00\x3c\xff\xfb", 4);
    assert_int_equal(kernels.narrow(good, DTYPE_BF16, out + 1, 2), 0);
    assert_int_equal(kernels.narrow(good, DTYPE_F32, out + 1, 2), 0);
    assert_memory_equal(out + 1, good, sizeof good);
    assert_int_not_equal(kernels.narrow(large, DTYPE_F16, out + 1, 2), 0);
    assert_int_equal(kernels.narrow(large, DTYPE_BF16, out + 1, 2), 0);
    for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
        assert_int_not_equal(kernels.narrow(nan, (enum dtype)dtype, out + 1, 2), 0);
        assert_int_not_equal(kernels.narrow(infinite, (enum dtype)dtype, out + 1, 2), 0);
    }
}

/* exp within 2 units in the last place, the activations within 2^-22 of their argument's size. */
static void functions_against_double(void **state) {
    double worst_exp = 0, worst_gelu = 0, worst_quick = 0;
    (void)state;
    for (int i = -870000; i <= 880000; i++) {
        float x = (float)i * 1e-4f;
        double truth = exp((double)x), error = fabs((double)scalar_exp(x) - truth) / truth;
        worst_exp = fmax(worst_exp, error);
        double v = (double)x, size = fmax(1, fabs(v));
        worst_gelu = fmax(worst_gelu, fabs((double)scalar_gelu(x) - finish(v, 0, EPILOGUE_GELU)) / size);
        worst_quick = fmax(worst_quick, fabs((double)scalar_quick_gelu(x) - finish(v, 0, EPILOGUE_QUICK_GELU)) / size);
    }
    printf("# exp %.2f x 2^-23, gelu %.2f x 2^-23, quick_gelu %.2f x 2^-23\n", worst_exp * 0x1p23, worst_gelu * 0x1p23,
           worst_quick * 0x1p23);
    assert_true(worst_exp < 2 * 0x1p-23);
    assert_true(worst_gelu < 2 * 0x1p-23);
    assert_true(worst_quick < 2 * 0x1p-23);
    assert_true(scalar_exp(-1e30f) == 0 && scalar_exp(1e30f) == INFINITY && isnan(scalar_exp(NAN)));
    assert_true(scalar_gelu(-1e30f) == 0 && scalar_gelu(1e30f) == 1e30f && isnan(scalar_gelu(NAN)));
    assert_true(scalar_quick_gelu(1e30f) == 1e30f && scalar_quick_gelu(-1e30f) == 0 && isnan(scalar_quick_gelu(NAN)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_have_the_same_bits_in_every_table),
        cmocka_unit_test(every_code_of_every_type),
        cmocka_unit_test(attention_is_causal_and_exact),
        cmocka_unit_test(first_rows_may_be_elsewhere),
        cmocka_unit_test(hidden_keys_are_not_attended_to),
        cmocka_unit_test(masks_in_every_table),
        cmocka_unit_test(attention_survives_large_scores),
        cmocka_unit_test(layer_norm_against_double),
        cmocka_unit_test(narrow_rounds_and_reports),
        cmocka_unit_test(functions_against_double),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
