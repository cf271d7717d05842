/* life.h - one life of a model and a session, or a pipeline, from model_open to model_close, with the plugin's calls refused in the stages
 * that a test chooses; what went wrong in it, and a number for all that came out. Used by the tests of faults. */
#ifndef PENULT_TESTS_LIFE_H
#define PENULT_TESTS_LIFE_H

#include "../memory/host.h"
#include "penult_condition.h"
#include "interpose.h"

enum stage { MODEL_OPEN, DESCRIBE, TOKENIZE, MEASURE, SESSION_OPEN, ENCODE, SESSION_CLOSE,
    /* of a way that has a recipe, which has none of the six before */
    PIPELINE_MEASURE, PIPELINE_OPEN, PLAN, CONDITION, PIPELINE_CLOSE, MODEL_CLOSE, STAGES };
#define IN(stage) (1u << (stage))
#define ALL_STAGES ((1u << STAGES) - 1)

/* A scenario: which files, which session, and in which stages calls are refused. */
struct way {
    const char *name;
    unsigned stages;
    const char *model;     /* a folder under the models' directory; NULL: the model that ships */
    const char *tokenizer; /* below that folder; NULL: params->tokenizer_path is NULL */
    uint32_t access, kernels, threads;
    int ids;               /* ids, because there is no tokenizer */
    int long_text;
    uint32_t must;         /* a mask of calls that these stages surely make, */
    uint32_t may;          /* and of those that they make besides */
    const char *recipe;    /* a pipeline in place of a session, with the model as each of its towers */
    const char *dialect;
    int beside;            /* by the plugin that has a vocabulary beside it, in "beside" under the models' directory */
};
#define NO_PIPELINE NULL, NULL, 0

struct life {
    const struct way *way;
    penult_model *model;
    penult_session *session;
    penult_pipeline *pipeline;
    int32_t status; /* the first failure of a stage with refusals; PENULT_OK: there was none */
    penult_error error; /* its */
    penult_error now;   /* of the stage that is under way */
    uint64_t bits; /* of everything that came out at last: outputs, ids, the description, the bytes measured */
    struct calls seen;
    /* what must not be */
    int bad_error;   /* no status in it, no message, or one that does not name the thing */
    int dangling;    /* a handle out of a failed call, or a touched output */
    int bad_retry;   /* the call without refusals did not succeed */
    int leaked;
};

/* argv: program, plugin, model, models' directory. */
void life_begin(char **argv);
void life_end(void);
/* Each stage that fails is tried again without refusals, so that every life comes to its end. plan NULL: no refusals. */
void life_run(struct life *life, const struct way *way, const struct plan *plan);

/* ---- life_condition.c: the stages of a pipeline, for life.c. `text` is the long one. */
void life_condition_begin(const penult_model *model, const char *text, size_t text_bytes);
void life_condition_end(void);
int32_t life_pipeline_measure(struct life *life);
int32_t life_pipeline_open(struct life *life);
int32_t life_plan(struct life *life);
int32_t life_condition(struct life *life);
int32_t life_pipeline_close(struct life *life);
/* What came out of the last life. */
uint64_t life_condition_bits(uint64_t hash);
uint64_t life_mix(uint64_t hash, const void *bytes, size_t size);

#endif
