/* test_condition_weight.c - protects the rules for weights on hidden states, operation by operation, and the size embeddings
 * of SDXL's vector. Widths that no loop likes.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../encoder/condition/size_embedding.h"
#include "../../encoder/condition/weight.h"
#include "unit.h"

enum { LENGTH = 5, WIDTH = 7, COUNT = LENGTH * WIDTH };

static const double weights[LENGTH] = {1, 1.1, -0.5, 0, 1.00000000001};

static void fill(float *out, float seed) {
    for (int i = 0; i < COUNT; i++)
        out[i] = (float)sin((double)seed + i) * 3;
}

/* A1111: the product of float32 and the weight rounded to it. */
static void multiplied(void **state) {
    (void)state;
    float states[COUNT + 1], before[COUNT];
    states[COUNT] = 77;
    fill(states, 1);
    memcpy(before, states, sizeof before);
    weight_multiply(states, weights, LENGTH, WIDTH);
    for (int i = 0; i < COUNT; i++)
        assert_true(states[i] == before[i] * (float)weights[i / WIDTH]);
    assert_true(states[COUNT] == 77);
}

/* ... and the mean of all is what it was, unless there is none to divide by. */
static void mean_restored(void **state) {
    (void)state;
    float states[COUNT], scaled[COUNT];
    fill(states, 2);
    float mean = weight_mean(states, LENGTH, WIDTH);
    double sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += (double)states[i];
    assert_true(mean == (float)(sum / COUNT));
    weight_multiply(states, weights, LENGTH, WIDTH);
    memcpy(scaled, states, sizeof scaled);
    float factor = mean / weight_mean(states, LENGTH, WIDTH);
    weight_restore_mean(states, mean, LENGTH, WIDTH);
    for (int i = 0; i < COUNT; i++)
        assert_true(states[i] == scaled[i] * factor);
    assert_true(fabsf(weight_mean(states, LENGTH, WIDTH) - mean) < 1e-6f);
    float zero[2] = {0, 0};
    weight_restore_mean(zero, 0, 1, 2);
    assert_true(isnan(zero[0]));
    float same[2] = {1.5f, 0.25f};
    weight_restore_mean(same, weight_mean(same, 1, 2), 1, 2);
    assert_true(same[0] == 1.5f && same[1] == 0.25f);
}

/* ComfyUI: (z - z0) * w + z0, each step rounded; a row of weight 1 is not touched, one of 1.00000000001 is. */
static void from_empty(void **state) {
    (void)state;
    float states[COUNT], before[COUNT], empty[COUNT];
    fill(states, 3);
    fill(empty, 9);
    for (int i = 0; i < COUNT; i++)
        empty[i] *= 1000;
    memcpy(before, states, sizeof before);
    weight_from_empty(states, empty, weights, LENGTH, WIDTH);
    int moved = 0;
    for (int i = 0; i < COUNT; i++) {
        volatile float away = before[i] - empty[i], weighted = away * (float)weights[i / WIDTH], expected = weighted + empty[i];
        assert_true(states[i] == (weights[i / WIDTH] == 1 ? before[i] : expected));
        moved += i / WIDTH == 4 && states[i] != before[i];
    }
    assert_true(moved > 0); /* the host rounds there, too */
}

/* compel: half of the weight is halfway; tan() at its ends. */
static void absence(void **state) {
    (void)state;
    assert_true(fabs(weight_of_absence(0.5) - 1) < 1e-15);
    assert_true(fabs(weight_of_absence(1)) < 1e-15);
    assert_true(weight_of_absence(0) == weight_of_absence(1e-5) && weight_of_absence(-3) == weight_of_absence(0));
    assert_true(weight_of_absence(0) > 60000 && weight_of_absence(0) < 70000);
    assert_true(weight_of_absence((double)NAN) == weight_of_absence(0));
}

static void mixed(void **state) {
    (void)state;
    float sum[COUNT], one[COUNT], two[COUNT], shares[2] = {1, 3};
    fill(one, 4);
    fill(two, 5);
    weight_normalise(shares, 2);
    assert_true(shares[0] == 0.25f && shares[1] == 0.75f);
    memset(sum, 0xFF, sizeof sum); /* not a number: the first overwrites it */
    weight_mix(sum, one, shares[0], 1, LENGTH, WIDTH);
    weight_mix(sum, two, shares[1], 0, LENGTH, WIDTH);
    for (int i = 0; i < COUNT; i++) {
        volatile float a = one[i] * 0.25f, b = two[i] * 0.75f;
        assert_true(sum[i] == a + b);
    }
}

/* The table of spec.md 7.3, made in double: cos 0, 1, 2, 64, 127 and sin of the same. */
static void sizes(void **state) {
    (void)state;
    static const struct {
        float value;
        double expected[10];
    } rows[] = {
        {0, {1, 1, 1, 1, 1, 0, 0, 0, 0, 0}},
        {2.5f, {-0.801144, -0.685750, -0.559775, 0.999688, 1, 0.598472, 0.727837, 0.828645, 0.024997, 0.000269}},
        {6, {0.960170, 0.765001, 0.464790, 0.998201, 1, -0.279415, -0.644029, -0.885421, 0.059964, 0.000645}},
        {512, {-0.996833, 0.480827, -0.917452, 0.396417, 0.998487, 0.079518, -0.876815, -0.397847, -0.918070, 0.054992}},
        {1024, {0.987354, -0.537610, 0.683435, -0.685707, 0.993952, -0.158533, -0.843193, 0.730012, -0.727878, 0.109818}},
    };
    static const int at[5] = {0, 1, 2, 64, 127};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        float out[SIZE_EMBEDDING + 1];
        out[SIZE_EMBEDDING] = 77;
        size_embedding(out, rows[r].value);
        for (int i = 0; i < 10; i++) {
            float found = out[at[i % 5] + (i < 5 ? 0 : SIZE_EMBEDDING / 2)];
            if (fabs((double)found - rows[r].expected[i]) > 1e-6 + 2e-7 * (double)rows[r].value)
                fail_msg("%g: %d is %g", (double)rows[r].value, i, (double)found);
        }
        assert_true(out[SIZE_EMBEDDING] == 77);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(multiplied), cmocka_unit_test(mean_restored), cmocka_unit_test(from_empty),
                                       cmocka_unit_test(absence),    cmocka_unit_test(mixed),         cmocka_unit_test(sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
