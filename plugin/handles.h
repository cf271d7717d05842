/* handles.h - what stands behind the ABI's opaque handles. */
#ifndef PLUGIN_HANDLES_H
#define PLUGIN_HANDLES_H

#include <stdatomic.h>

#include "../api/penult.h"
#include "../encoder/encoder.h"

/* First word of a handle: a foreign, freed or wrong pointer is an error where it can be seen, not a crash. */
#define MODEL_MAGIC UINT64_C(0x6c65646f6d6e6550)   /* "Penmodel" */
#define SESSION_MAGIC UINT64_C(0x737365736e6e6550) /* "Pennsess" */

struct penult_model {
    uint64_t magic;
    _Atomic uint64_t references; /* the host's and one per session */
    struct clip *clip;
};

struct penult_session {
    uint64_t magic;
    penult_model *model;
    struct session *session;
};

/* Drops a reference; the last one frees the model. */
void model_release(penult_model *model);
/* Whether the pointer is a live handle of that kind. */
int is_model(const penult_model *model);
int is_session(const penult_session *session);

int32_t model_open(const penult_open_params *params, penult_model **out, penult_error *error);
void model_close(penult_model *model);
int32_t model_describe(const penult_model *model, penult_model_info *info, penult_error *error);
int32_t model_hash(const penult_model *model, uint8_t *digest, int32_t (*progress)(void *user, const penult_progress *progress),
                   void *user, penult_error *error);
int32_t tokenize(const penult_model *model, const penult_token_request *request, penult_token_result *result,
                 penult_error *error);
int32_t plugin_session_measure(const penult_model *model, const penult_session_params *params, uint64_t *bytes,
                               penult_error *error);
int32_t plugin_session_open(penult_model *model, const penult_session_params *params, penult_session **out,
                            penult_error *error);
void plugin_session_close(penult_session *session);
void plugin_session_cancel(penult_session *session);
int32_t encode_text(penult_session *session, const penult_text_request *request, penult_text_result *result,
                    penult_error *error);

#endif
