/* test_gemms.c - protects the numbers of OpenBLAS inside the plugin: as Debian builds it, it gives silently wrong results
 * under concurrent callers (reliability.md 2, openblas.c), about one in some hundred thousand; ours must give none in
 * millions, from a few sessions and from many at once. Every encode is compared, bit for bit, with a lone session's.
 *
 *     test_gemms PLUGIN MODEL [GEMMS [SESSIONS]]     so many with each number of sessions, or with one number alone */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../memory/host.h"

#define TEXT "a castle at dawn, 8k"
#define MOST_SESSIONS 100
#define PANEL 64        /* columns of one call of sgemm: KERNEL_PANEL of encoder/kernels/kernels.h */
#define DEPTH_BLOCK 128 /* and its depth: encoder/kernels/openblas.c */

static const unsigned crowds[] = {2, 8, MOST_SESSIONS};

/* Rows of a call are the tokens of a prompt: three shapes. */
static const struct {
    uint32_t prompts, tokens; /* tokens 0: text, so the whole context */
} shapes[] = {{1, 0}, {2, 33}, {3, 6}};
#define SHAPES (sizeof shapes / sizeof shapes[0])

static penult_model *model;
static uint64_t right[SHAPES], per_prompt, target;
static _Atomic uint64_t gemms, encodes, wrong;

static uint64_t pieces(uint64_t whole, uint64_t piece) {
    return (whole + piece - 1) / piece;
}

/* Calls of sgemm for one prompt, as block.c and text_tower.c cut the products and openblas.c their depth; attention makes
 * none. */
static uint64_t count_gemms(void) {
    penult_model_info info = {.struct_size = sizeof info};
    if (api->model_describe(model, &info, NULL) != PENULT_OK)
        give_up("model_describe");
    uint64_t D = info.width, M = info.mlp_width, P = info.projection;
    uint64_t attention = 4 * pieces(D, PANEL) * pieces(D, DEPTH_BLOCK);
    uint64_t mlp = pieces(M, PANEL) * pieces(D, DEPTH_BLOCK) + pieces(D, PANEL) * pieces(M, DEPTH_BLOCK);
    return info.layers * (attention + mlp) + pieces(P, PANEL) * pieces(D, DEPTH_BLOCK);
}

static void make(struct batch *batch, size_t shape) {
    batch_make(batch, model, shapes[shape].prompts, shapes[shape].tokens ? NULL : TEXT, strlen(TEXT), WANT_POOLED);
    /* outputs keep their room for the whole context */
    for (uint32_t i = 0; shapes[shape].tokens && i < shapes[shape].prompts; i++)
        batch->prompts[i].id_count = shapes[shape].tokens;
    if (shapes[shape].tokens)
        batch->ids[shapes[shape].tokens - 1] = batch->ids[76]; /* the end id, where pooling takes its row */
}

static uint64_t encode(penult_session *session, struct batch *batch) {
    penult_error error;
    memset(batch->memory, 0, batch->bytes);
    if (api->encode_text(session, &batch->request, NULL, &error) != PENULT_OK)
        give_up("encode_text: %s", error.message);
    return batch_bits(batch);
}

static uint64_t lone(size_t shape, uint32_t kernels) {
    struct batch batch;
    penult_session *session = host_session(model, 1, shapes[shape].prompts, kernels);
    make(&batch, shape);
    uint64_t bits = encode(session, &batch);
    batch_free(&batch);
    api->session_close(session);
    return bits;
}

static void *one_session(void *argument) {
    size_t shape = (size_t)(uintptr_t)argument % SHAPES;
    struct batch batch;
    penult_session *session = host_session(model, 1, shapes[shape].prompts, PENULT_KERNELS_OPENBLAS);
    make(&batch, shape);
    while (atomic_load(&gemms) < target) {
        wrong += encode(session, &batch) != right[shape];
        encodes++;
        gemms += per_prompt * shapes[shape].prompts;
    }
    batch_free(&batch);
    api->session_close(session);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 5)
        give_up("usage: test_gemms PLUGIN MODEL [GEMMS [SESSIONS]]");
    host_load(argv);
    model = host_open(argv[2], NULL, PENULT_MAP);
    target = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
    unsigned only = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    per_prompt = count_gemms();
    for (size_t i = 0; i < SHAPES; i++)
        right[i] = lone(i, PENULT_KERNELS_OPENBLAS);
    if (right[0] == lone(0, PENULT_KERNELS_SCALAR)) {
        skip("GEMMs of sessions at once", "this plugin is without OpenBLAS: its bits are the plain kernels'");
        return done();
    }
    for (size_t i = 0; i < sizeof crowds / sizeof crowds[0]; i++) {
        pthread_t threads[MOST_SESSIONS];
        double began = seconds();
        if (only && only != crowds[i])
            continue;
        gemms = encodes = wrong = 0;
        for (unsigned t = 0; t < crowds[i]; t++)
            if (pthread_create(&threads[t], NULL, one_session, (void *)(uintptr_t)t) != 0)
                give_up("pthread_create");
        for (unsigned t = 0; t < crowds[i]; t++)
            pthread_join(threads[t], NULL);
        say("%u sessions: %llu GEMMs in %llu encodes, %.1f s", crowds[i], (unsigned long long)gemms,
            (unsigned long long)encodes, seconds() - began);
        check(gemms >= target && wrong == 0, "%u sessions at once: %llu of %llu encodes (%llu GEMMs) differ from a lone "
              "session's", crowds[i], (unsigned long long)wrong, (unsigned long long)encodes, (unsigned long long)gemms);
    }
    api->model_close(model);
    return done();
}
