/* misuse.h - what the misuse tests share: the plugin, one open model, and a request that is right until it is broken.
 *
 * Knows penult.h and cmocka. `refused` is the heart: it checks status, sentence, that nothing was written, and that the
 * session still gives the bits that it gave before.
 */
#ifndef PENULT_TESTS_MISUSE_H
#define PENULT_TESTS_MISUSE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penult_load.h"

extern const penult_api *api;
extern const char *model_path;
extern penult_model *model; /* mapped, with its tokenizer; open for the whole run */
extern penult_model_info info;

#define MAX_PROMPTS 3u
#define MAX_TEXT_BYTES 256u
#define CONTEXT 77u

/* Two prompts; hidden -2 and the projected pooled vector, packed float32, guard bytes before, between and after. */
struct encode {
    penult_session *session;
    penult_prompt prompts[4];
    penult_output outputs[2];
    penult_text_request request;
    penult_text_result result;
    penult_prompt_result results[4];
    unsigned char *memory;
    size_t memory_bytes;
    unsigned char *right; /* what the memory holds after an encode of the untouched request */
};

/* cmocka fixtures: *state is a struct encode. */
int encode_setup(void **state);
int encode_teardown(void **state);

/* Makes the request right again; the memory is filled with the guard pattern. */
void encode_reset(struct encode *encode);
int32_t encode_run(struct encode *encode, penult_error *error);

/* The untouched request gives the same bits as ever. */
void encode_is_right(struct encode *encode);

/* The request as it stands fails with this status and a sentence that has every one of the words, writes nothing, and
 * leaves the session as good as it was. Resets the request. */
void encode_refused(struct encode *encode, int32_t status, const char *const *words);
#define REFUSED(encode, status, ...) encode_refused(encode, status, (const char *const[]){__VA_ARGS__, NULL})

/* Checks a status and the error that came with it. */
void failed_with(int32_t wanted, int32_t status, const penult_error *error, const char *const *words);
#define FAILED(wanted, status, error, ...)                                                                            \
    failed_with(wanted, status, error, (const char *const[]){__VA_ARGS__, NULL})

/* An error struct in which every byte that was not written can be told. */
void error_fill(penult_error *error);
void error_untouched(const penult_error *error);

penult_session_params session_params(void);
penult_session *open_session(penult_model *of);

/* A sized struct as an older, a newer and a careless host would pass it. `call` makes the call with the struct that it
 * is given, which holds a right request; `small` is a size with which the call still succeeds. */
typedef int32_t (*sized_call)(void *sized, penult_error *error, void *user);
void sized_struct(const char *name, const void *right, size_t size, size_t small, sized_call call, void *user);

extern const struct CMUnitTest misuse_model_tests[];
extern const size_t misuse_model_test_count;
extern const struct CMUnitTest misuse_encode_tests[];
extern const size_t misuse_encode_test_count;
extern const struct CMUnitTest misuse_life_tests[];
extern const size_t misuse_life_test_count;

/* Runs `child` in a forked process, for at most ten seconds, and gives its result, or one of these. */
enum { CHILD_HANGS = -1, CHILD_CRASHED = -2 };
int in_a_child(int (*child)(void *context), void *context);

#endif
