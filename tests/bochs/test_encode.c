/* test_encode.c - protects encoding with kernels that only the emulated CPU has: the plugin whole, on the model that ships, every
 * set in both arithmetics, against the scalar one in that arithmetic. Knows penult.h. TAP.
 *
 *     test_encode PLUGIN MODEL NAME [refused]     NAME: of the best set, as model_describe tells it: "amx"
 *                                                 refused: the system gives no leave for AMX (refuse.c)
 *
 * Exact: two sets differ by what rounding in another order does, at most 2.9e-6 of a value where it was measured (AVX2 on a CPU;
 * AVX-512 and AMX here); a product that is dropped, doubled or misplaced is far off, and so is a half's precision, as the test
 * shows of its bound.
 *
 * bf16: where the order of a sum moves a value across the middle of two bfloat16, the next product gets the other one, 2^-8 of it
 * away. Measured, AVX-512 and AMX from plain C: at most 1.4e-2, in rms 2.9e-4 to 1.0e-3. bf16 itself is 5.0e-3 from exact in
 * rms. The bounds are three times the first and half of the last: arithmetic that is not bf16's does not pass. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../memory/host.h"

#define PROMPTS 3
#define TOKENS 21 /* of a prompt: with 77 an hour goes by */

static const double bounds[] = {[PENULT_ARITHMETIC_EXACT] = 2e-5, [PENULT_ARITHMETIC_BF16] = 4e-2};
#define BF16_RMS 2.5e-3
static const char *const arithmetics[] = {"exact", "bf16"};

static const struct {
    const char *name;
    uint32_t set;
} sets[] = {{"scalar", PENULT_KERNELS_SCALAR}, {"avx512", PENULT_KERNELS_AVX512}, {"amx", PENULT_KERNELS_AMX}, {"the best", 0}};
#define SETS (sizeof sets / sizeof sets[0])
enum { SCALAR, AVX512, AMX, BEST };

static int32_t ids[PROMPTS][TOKENS];
static uint8_t masks[PROMPTS][TOKENS];

static penult_session *open_session(penult_model *model, uint32_t set, uint32_t arithmetic) {
    penult_session_params params = {
        .struct_size = sizeof params, .threads = 2, .max_prompts = PROMPTS, .kernels = set, .arithmetic = arithmetic};
    penult_session *session;
    penult_error error;
    if (api->session_open(model, &params, &session, &error) != PENULT_OK)
        give_up("session_open: %s", error.message);
    return session;
}

static double rms(const float *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return sqrt(sum / (double)count);
}

/* The largest difference, in units of the value or, where that is larger, of all values' rms. */
static double distance(const float *found, const float *expected, size_t count) {
    double unit = rms(expected, count), worst = 0;
    for (size_t i = 0; i < count; i++) {
        double apart = fabs((double)found[i] - (double)expected[i]) / fmax(fabs((double)expected[i]), unit);
        worst = apart <= worst ? worst : isnan(apart) ? INFINITY : apart;
    }
    return worst;
}

/* As distance, but the differences' rms. */
static double usual_distance(const float *found, const float *expected, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)found[i] - (double)expected[i]) * ((double)found[i] - (double)expected[i]);
    return sqrt(sum / (double)count) / rms(expected, count);
}

/* One set's results: of all prompts hidden -2 and the pooled vectors, the same with key masks, and hidden -2 of the last alone. */
struct results {
    float *hidden[2], *pooled[2], *last;
    size_t hidden_count, pooled_count, row; /* floats; a row is a prompt's */
};

static float *copy_of(const void *from, size_t count) {
    float *copy = malloc(count * sizeof *copy);
    if (!copy)
        give_up("no memory");
    return memcpy(copy, from, count * sizeof *copy);
}

/* The prompts from `first` on; *pooled may be NULL. */
static float *encode(penult_session *session, const penult_model *model, uint32_t first, int masked, const struct results *r,
                     float **pooled) {
    struct batch batch;
    penult_error error;
    uint32_t prompts = PROMPTS - first;
    batch_make(&batch, model, prompts, NULL, 0, WANT_POOLED);
    for (uint32_t i = 0; i < prompts; i++)
        batch.prompts[i] = (penult_prompt){
            .ids = ids[first + i], .id_count = TOKENS, .key_mask = masked ? masks[first + i] : NULL};
    if (api->encode_text(session, &batch.request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
    float *hidden = copy_of(batch.outputs[0].to.data, prompts * r->row);
    if (pooled)
        *pooled = copy_of(batch.outputs[1].to.data, r->pooled_count);
    batch_free(&batch);
    return hidden;
}

static struct results results_of(penult_model *model, size_t set, uint32_t arithmetic, const penult_model_info *info) {
    struct results r = {.row = (size_t)TOKENS * info->width, .hidden_count = (size_t)PROMPTS * TOKENS * info->width,
                        .pooled_count = (size_t)PROMPTS * info->projection};
    penult_session *session = open_session(model, sets[set].set, arithmetic);
    for (int masked = 0; masked < 2; masked++)
        r.hidden[masked] = encode(session, model, 0, masked, &r, &r.pooled[masked]);
    r.last = encode(session, model, PROMPTS - 1, 0, &r, NULL);
    api->session_close(session);
    return r;
}

static void free_results(struct results r) {
    for (int masked = 0; masked < 2; masked++) {
        free(r.hidden[masked]);
        free(r.pooled[masked]);
    }
    free(r.last);
}

static int same(const float *a, const float *b, size_t count) {
    return memcmp(a, b, count * sizeof *a) == 0;
}

static int same_results(const struct results *a, const struct results *b) {
    int good = 1;
    for (int masked = 0; masked < 2; masked++)
        good = good && same(a->hidden[masked], b->hidden[masked], a->hidden_count) &&
               same(a->pooled[masked], b->pooled[masked], a->pooled_count);
    return good;
}

static void compare(const char *set, uint32_t arithmetic, const struct results *found, const struct results *expected) {
    double bound = bounds[arithmetic];
    for (int masked = 0; masked < 2; masked++) {
        double apart = distance(found->hidden[masked], expected->hidden[masked], expected->hidden_count);
        double usual = usual_distance(found->hidden[masked], expected->hidden[masked], expected->hidden_count);
        double pooled = distance(found->pooled[masked], expected->pooled[masked], expected->pooled_count);
        check(apart <= bound && pooled <= bound && (arithmetic == PENULT_ARITHMETIC_EXACT || usual <= BF16_RMS),
              "%s, %s, %s: hidden states within %.1e of scalar's (rms %.1e), pooled ones within %.1e", set, arithmetics[arithmetic],
              masked ? "key masks" : "no masks", apart, usual, pooled);
    }
    check(!same(found->hidden[0], expected->hidden[0], expected->hidden_count),
          "%s, %s: other bits than scalar's, so it did compute", set, arithmetics[arithmetic]);
}

static void check_bound(const float *values, size_t count) {
    float *coarse = malloc(count * sizeof *coarse);
    if (!coarse)
        give_up("no memory");
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= 0xFFFFE000u; /* as many digits as a half keeps */
        memcpy(&coarse[i], &bits, sizeof bits);
    }
    check(distance(coarse, values, count) > bounds[PENULT_ARITHMETIC_EXACT], "the bound notices half precision");
    free(coarse);
}

static void make_prompts(const penult_model_info *info) {
    for (int32_t i = 0; i < PROMPTS * TOKENS; i++) {
        int32_t prompt = i / TOKENS, t = i % TOKENS, end = TOKENS - 1 - 6 * prompt;
        ids[prompt][t] = t == 0 ? info->start_id : t < end ? 1 + (i * 37 + prompt) % 900 : info->end_id;
        masks[prompt][t] = t == 0 || i % 3 != 1;
    }
}

static void check_bf16(const struct results *r, const float *exact) {
    size_t count = r[SCALAR].hidden_count;
    double rounded = usual_distance(r[SCALAR].hidden[0], exact, count), amx = usual_distance(r[AMX].hidden[0], exact, count);
    check(amx < 1.2 * rounded && rounded < 1.2 * amx, "bf16: amx is as far from exact as scalar is, %.1e and %.1e in rms", amx,
          rounded);
    check(rounded > BF16_RMS, "the bound notices exact arithmetic");
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: test_encode PLUGIN MODEL NAME [refused]\n");
        return 2;
    }
    host_load(argv);
    penult_model *model = host_open(argv[2], NULL, PENULT_MAP);
    penult_model_info info = {.struct_size = sizeof info};
    int amx = strcmp(argv[3], "amx") == 0 && argc == 4;
    float *exact = NULL;
    if (api->model_describe(model, &info, NULL) != PENULT_OK)
        give_up("model_describe");
    check(strcmp(info.kernels, argv[3]) == 0, "the best set is %s: %s", argv[3], info.kernels);
    make_prompts(&info);
    for (uint32_t a = PENULT_ARITHMETIC_EXACT; a <= PENULT_ARITHMETIC_BF16; a++) {
        struct results r[SETS];
        for (size_t s = 0; s < SETS; s++) {
            r[s] = results_of(model, s, a, &info);
            check(same(r[s].last, r[s].hidden[0] + (PROMPTS - 1) * r[s].row, r[s].row),
                  "%s, %s: a prompt alone has the bits that it has among others", sets[s].name, arithmetics[a]);
            if (s != SCALAR)
                compare(sets[s].name, a, &r[s], &r[SCALAR]);
        }
        check(distance(r[SCALAR].hidden[1], r[SCALAR].hidden[0], r[SCALAR].hidden_count) > bounds[a], "%s: key masks do something",
              arithmetics[a]);
        check(same_results(&r[BEST], &r[AMX]), "%s: the best set has the bits of amx, or of what stands in for it", arithmetics[a]);
        check(same_results(&r[AVX512], &r[AMX]) == !amx, "%s: amx has %s bits than avx512", arithmetics[a],
              amx ? "other" : "no other");
        if (a == PENULT_ARITHMETIC_EXACT) {
            check_bound(r[SCALAR].hidden[0], r[SCALAR].hidden_count);
            exact = copy_of(r[SCALAR].hidden[0], r[SCALAR].hidden_count);
        } else {
            check_bf16(r, exact);
        }
        for (size_t s = 0; s < SETS; s++)
            free_results(r[s]);
    }
    free(exact);
    api->model_close(model);
    return done();
}
