/* test_rows.c - protects the kernels that work on rows: attention, norm, rounding, exp and the activations, against double,
 * with guards round the results, and bit for bit between the tables. */
#include "../../encoder/kernels/scalar_math.h"
#include "table.h"

/* Norm, attention and rounding are one source built several times: their bits are the same in every table but for widen,
 * whose results are exact and therefore the same too. */
static void check_rows(const struct kernels *kernels) {
    enum { TOKENS = 77, WIDTH = 64, PITCH = 200 };
    struct kernels scalar;
    static float qkv[TOKENS * PITCH], out[2][TOKENS * WIDTH];
    static unsigned char narrow[2][2 * TOKENS * WIDTH];
    kernels_scalar(&scalar);
    for (size_t i = 0; i < TOKENS * PITCH; i++)
        qkv[i] = 3 * random_float();
    for (int t = 0; t < 2; t++) {
        const struct kernels *k = t ? kernels : &scalar;
        struct attend op = {.q = qkv, .k = qkv + WIDTH, .v = qkv + 2 * WIDTH, .out = out[t], .pitch = PITCH,
                            .out_pitch = WIDTH, .tokens = TOKENS, .head_width = WIDTH, .scale = 0.125f};
        run((struct job){.kernels = k, .attend = &op, .scratch = kernels_attend_scratch(TOKENS, WIDTH)});
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    for (size_t width = 1; width < 1300; width += 1 + width / 3) {
        scalar.layer_norm(qkv, out[0], qkv + 2000, qkv + 4000, width, 1e-5);
        kernels->layer_norm(qkv, out[1], qkv + 2000, qkv + 4000, width, 1e-5);
        assert_memory_equal(out[0], out[1], width * sizeof(float));
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

static void check_attend(size_t tokens, size_t width, const unsigned char *mask) {
    struct kernels kernels;
    size_t pitch = 3 * width + 1, count = tokens * pitch;
    float *qkv = malloc(count * sizeof *qkv), *block = guarded(tokens * width);
    double *p = malloc(tokens * sizeof *p);
    assert_non_null(qkv);
    assert_non_null(p);
    kernels_scalar(&kernels);
    for (size_t i = 0; i < count; i++)
        qkv[i] = 4 * random_float();
    struct attend op = {.q = qkv, .k = qkv + width, .v = qkv + 2 * width, .out = block + MARGIN, .mask = mask, .pitch = pitch,
                        .out_pitch = width, .tokens = tokens, .head_width = width, .scale = 1 / sqrtf((float)width)};
    run((struct job){.kernels = &kernels, .attend = &op, .scratch = kernels_attend_scratch(tokens, width)});
    check_guards(block, tokens * width);
    for (size_t i = 0; i < tokens; i++) {
        double largest = -INFINITY, sum = 0;
        for (size_t j = 0; j <= i; j++) {
            p[j] = 0;
            for (size_t d = 0; d < width; d++)
                p[j] += (double)op.q[i * pitch + d] * (double)op.k[j * pitch + d];
            p[j] = mask && !mask[j] ? -INFINITY : p[j] * (double)op.scale;
            largest = fmax(largest, p[j]);
        }
        for (size_t j = 0; j <= i; j++)
            sum += p[j] = exp(p[j] - largest);
        for (size_t d = 0; d < width; d++) {
            double o = 0;
            for (size_t j = 0; j <= i; j++)
                o += p[j] / sum * (double)op.v[j * pitch + d];
            /* values are at most 4; the scores' own error, about width * 2^-24 * |q||k|, goes through exp */
            if (!(fabs(o - (double)op.out[i * width + d]) < 4e-5))
                fail_msg("tokens %zu width %zu row %zu: %.9g, expected %.9g", tokens, width, i,
                         (double)op.out[i * width + d], o);
        }
    }
    free(qkv);
    free(block);
    free(p);
}

static void attention_is_causal_and_exact(void **state) {
    (void)state;
    for (size_t n = 1; n <= 67; n += 3)
        check_attend(n, 1 + n * 11 % 67, NULL);
    check_attend(77, 64, NULL);
    check_attend(248, 64, NULL);
}

static void hidden_keys_are_not_attended_to(void **state) {
    unsigned char mask[77];
    (void)state;
    for (size_t n = 1; n <= 77; n += n < 68 ? 1 : 9) {
        fill_mask(mask, n, n);
        check_attend(n, 1 + n * 11 % 67, mask);
    }
}

/* What one call of attention gives under a mask, from q, k, v side by side. */
static void attend_masked(const struct kernels *kernels, const float *qkv, size_t tokens, size_t width,
                          const unsigned char *mask, float *block) {
    struct attend op = {.q = qkv, .k = qkv + width, .v = qkv + 2 * width, .out = block + MARGIN, .mask = mask,
                        .pitch = 3 * width, .out_pitch = width, .tokens = tokens, .head_width = width,
                        .scale = 1 / sqrtf((float)width)};
    run((struct job){.kernels = kernels, .attend = &op, .scratch = kernels_attend_scratch(tokens, width)});
    check_guards(block, tokens * width);
}

/* The bits under a mask are scalar's in every table; those of rows before the first hidden key are those of no mask; and a hidden
 * key and its value have no part in any row, whatever they are. */
static void check_masks(const struct kernels *kernels) {
    struct kernels scalar;
    kernels_scalar(&scalar);
    for (size_t n = 1; n <= 77; n += n < 36 ? 1 : 10) {
        size_t width = 1 + n * 11 % 67, count = n * 3 * width, first_hidden = 0;
        unsigned char *mask = malloc(n); /* of its own, so that a sanitizer sees a read beyond it */
        float *qkv = malloc(count * sizeof *qkv), *results[4];
        assert_non_null(mask);
        assert_non_null(qkv);
        fill_mask(mask, n, n);
        for (size_t i = 0; i < count; i++)
            qkv[i] = 4 * random_float();
        for (size_t i = 0; i < 4; i++)
            results[i] = guarded(n * width);
        attend_masked(&scalar, qkv, n, width, mask, results[0]);
        attend_masked(kernels, qkv, n, width, mask, results[1]);
        attend_masked(kernels, qkv, n, width, NULL, results[2]);
        while (first_hidden < n && mask[first_hidden])
            first_hidden++;
        for (size_t j = 0; j < n; j++)
            for (size_t d = 0; d < 2 * width && !mask[j]; d++)
                qkv[j * 3 * width + width + d] = 1e30f * random_float();
        attend_masked(kernels, qkv, n, width, mask, results[3]);
        assert_memory_equal(results[0] + MARGIN, results[1] + MARGIN, n * width * sizeof *qkv);
        assert_memory_equal(results[2] + MARGIN, results[1] + MARGIN, first_hidden * width * sizeof *qkv);
        assert_memory_equal(results[3] + MARGIN, results[1] + MARGIN, n * width * sizeof *qkv);
        if (first_hidden < n) /* and the mask does something */
            assert_memory_not_equal(results[2] + MARGIN + first_hidden * width, results[1] + MARGIN + first_hidden * width,
                                    (n - first_hidden) * width * sizeof *qkv);
        memset(mask, 1, n);
        attend_masked(kernels, qkv, n, width, mask, results[0]);
        attend_masked(kernels, qkv, n, width, NULL, results[1]);
        assert_memory_equal(results[0] + MARGIN, results[1] + MARGIN, n * width * sizeof *qkv);
        for (size_t i = 0; i < 4; i++)
            free(results[i]);
        free(qkv);
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
    float q[TOKENS * WIDTH], k[TOKENS * WIDTH], v[TOKENS * WIDTH], out[TOKENS * WIDTH];
    (void)state;
    kernels_scalar(&kernels);
    for (int i = 0; i < TOKENS * WIDTH; i++) {
        q[i] = 1000;
        k[i] = i < WIDTH ? 1000.0f : -1000.0f;
        v[i] = (float)i;
    }
    struct attend op = {.q = q, .k = k, .v = v, .out = out, .pitch = WIDTH, .out_pitch = WIDTH, .tokens = TOKENS,
                        .head_width = WIDTH, .scale = 0.5f};
    run((struct job){.kernels = &kernels, .attend = &op, .scratch = kernels_attend_scratch(TOKENS, WIDTH)});
    assert_memory_equal(out + 2 * WIDTH, v, WIDTH * sizeof *v); /* all weight is on the first key */
}

static void layer_norm_against_double(void **state) {
    struct kernels kernels;
    (void)state;
    kernels_scalar(&kernels);
    for (size_t width = 1; width <= 1280; width = width < 70 ? width + 1 : width * 3 + 1) {
        float x[1280], gain[1280], bias[1280], *block = guarded(width), *y = block + MARGIN;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < width; i++) {
            x[i] = 100 + 30 * random_float();
            gain[i] = random_float();
            bias[i] = random_float();
            mean += (double)x[i] / (double)width;
        }
        for (size_t i = 0; i < width; i++)
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)width;
        kernels.layer_norm(x, y, gain, bias, width, 1e-5);
        check_guards(block, width);
        for (size_t i = 0; i < width; i++) {
            double expected = ((double)x[i] - mean) / sqrt(variance + 1e-5) * (double)gain[i] + (double)bias[i];
            assert_true(fabs((double)y[i] - expected) < 1e-6);
        }
        /* a constant row has no variance: the result is the bias, and no division by zero */
        for (size_t i = 0; i < width; i++)
            x[i] = 7;
        kernels.layer_norm(x, y, gain, bias, width, 1e-5);
        assert_memory_equal(y, bias, width * sizeof *y);
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
        cmocka_unit_test(hidden_keys_are_not_attended_to),
        cmocka_unit_test(masks_in_every_table),
        cmocka_unit_test(attention_survives_large_scores),
        cmocka_unit_test(layer_norm_against_double),
        cmocka_unit_test(narrow_rounds_and_reports),
        cmocka_unit_test(functions_against_double),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
