/* misuse_condition.h - what the misuse tests of penult.condition/1 share: the table, an SDXL pipeline whose two towers are the
 * model that ships, and a request for all of its tensors that is right until it is broken.
 *
 * Knows misuse.h and penult_condition.h.
 */
#ifndef PENULT_TESTS_MISUSE_CONDITION_H
#define PENULT_TESTS_MISUSE_CONDITION_H

#include "misuse.h"
#include "penult_condition.h"

extern const penult_condition_api *condition;

#define TENSORS 8u /* of SDXL */
#define PROMPT "a photo of a cat"
#define NEGATIVE "a dog"

/* Tensors in the order of penult_condition_api.tensor, packed float32, guard bytes before, between and after. */
struct conditioning {
    penult_pipeline *pipeline;
    penult_named_tensor tensors[TENSORS + 1];
    uint64_t bytes_of[TENSORS];
    penult_condition_request request;
    penult_condition_result result;
    penult_condition_token tokens[64];
    penult_condition_window windows[16];
    unsigned char *memory;
    size_t memory_bytes;
    unsigned char *right; /* what the memory holds after the untouched request */
};

/* cmocka fixtures: *state is a struct conditioning. */
int conditioning_setup(void **state);
int conditioning_teardown(void **state);
void conditioning_reset(struct conditioning *c);
int32_t conditioning_run(struct conditioning *c, penult_error *error);
int32_t conditioning_plan(struct conditioning *c, penult_error *error);
void conditioning_is_right(struct conditioning *c);

/* As encode_refused, for `condition`, and with `also_plan` for `plan` too. */
void conditioning_refused(struct conditioning *c, int also_plan, int32_t status, const char *const *words);
#define RUN_REFUSED(c, status, ...) conditioning_refused(c, 0, status, (const char *const[]){__VA_ARGS__, NULL})
#define BOTH_REFUSED(c, status, ...) conditioning_refused(c, 1, status, (const char *const[]){__VA_ARGS__, NULL})

/* Right params for that recipe; `models` has room for two. */
penult_pipeline_params pipeline_params(const char *recipe, penult_named_model *models);
penult_pipeline *open_pipeline(const penult_pipeline_params *params);

extern const struct CMUnitTest misuse_pipeline_tests[];
extern const size_t misuse_pipeline_test_count;
extern const struct CMUnitTest misuse_condition_tests[];
extern const size_t misuse_condition_test_count;
extern const struct CMUnitTest misuse_condition_life_tests[];
extern const size_t misuse_condition_life_test_count;
extern const struct CMUnitTest misuse_condition_recipes_tests[];
extern const size_t misuse_condition_recipes_test_count;

#endif
