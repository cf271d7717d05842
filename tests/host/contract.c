/* contract.c - a plugin that is another plugin: passes every call on and holds it to the host contract (guard.h).
 *
 * Any test that takes a plugin runs over it unchanged. The real one is what PENULT_CONTRACT_PLUGIN names in the
 * environment, else what the build was told (CONTRACT_PLUGIN). Callbacks reach the host with what it gave and what the
 * library says; requests are otherwise passed on as they are, so that a wrong one is wrong in the same way. Knows the
 * ABI; what is compared is guard.c's and state.c's. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "penult_condition.h"

static const penult_entry_point *real_entry;
static const penult_api *real;
static const penult_condition_api *real_condition;

/* ---- callbacks ------------------------------------------------------------------------------------------------------ */

struct passed_on {
    struct guard *guard;
    void (*report)(void *user, const penult_report *report);
    int32_t (*progress)(void *user, const penult_progress *progress);
    void *user;
};

static void report(void *user, const penult_report *finding) {
    const struct passed_on *to = user;
    guard_callback_begin(to->guard);
    to->report(to->user, finding);
    guard_callback_end(to->guard);
}

static int32_t progress(void *user, const penult_progress *step) {
    const struct passed_on *to = user;
    guard_callback_begin(to->guard);
    int32_t answer = to->progress(to->user, step);
    guard_callback_end(to->guard);
    return answer;
}

/* A copy of a request of the host's size, if there is room and it holds the callbacks; else NULL, and it is passed on
 * as it is. */
#define COPY_ROOM 1024
static void *copy_of(const void *theirs, size_t least, void *room) {
    uint32_t size;
    if (!theirs)
        return NULL;
    memcpy(&size, theirs, sizeof size);
    if (size < least || size > COPY_ROOM)
        return NULL;
    return memcpy(room, theirs, size);
}

/* ---- the table ------------------------------------------------------------------------------------------------------ */

static int32_t model_open(const penult_open_params *params, penult_model **out, penult_error *error) {
    struct guard guard;
    _Alignas(16) unsigned char room[COPY_ROOM];
    struct passed_on to = {.guard = &guard};
    penult_open_params *own = copy_of(params, sizeof *own, room);
    if (own && (own->report || own->progress)) {
        to = (struct passed_on){&guard, own->report, own->progress, own->user};
        own->report = own->report ? report : NULL;
        own->progress = own->progress ? progress : NULL;
        own->user = &to;
        params = own;
    }
    guard_begin(&guard, "model_open");
    int32_t status = real->model_open(params, out, error);
    guard_end(&guard, status == PENULT_OK, status == PENULT_OK ? EFFECT_OPEN : EFFECT_NONE,
              status == PENULT_OK ? *out : NULL, 0);
    return status;
}

static void model_close(penult_model *model) {
    struct guard guard;
    guard_begin(&guard, "model_close");
    real->model_close(model);
    guard_end(&guard, 1, EFFECT_CLOSE, model, 0);
}

static int32_t model_describe(const penult_model *model, penult_model_info *info, penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "model_describe");
    int32_t status = real->model_describe(model, info, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t tokenize(const penult_model *model, const penult_token_request *request, penult_token_result *result,
                        penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "tokenize");
    int32_t status = real->tokenize(model, request, result, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t session_measure(const penult_model *model, const penult_session_params *params, uint64_t *bytes,
                               penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "session_measure");
    int32_t status = real->session_measure(model, params, bytes, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t session_open(penult_model *model, const penult_session_params *params, penult_session **out,
                            penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "session_open");
    int32_t status = real->session_open(model, params, out, error);
    int good = status == PENULT_OK;
    /* threads lies within the smallest struct that is taken */
    guard_end(&guard, good, good ? EFFECT_OPEN : EFFECT_NONE, good ? *out : NULL,
              good && params->struct_size >= 12 && params->threads ? (int64_t)params->threads : good ? -1 : 0);
    return status;
}

static void session_close(penult_session *session) {
    struct guard guard;
    guard_begin(&guard, "session_close");
    real->session_close(session);
    guard_end(&guard, 1, EFFECT_CLOSE, session, 0);
}

static void session_cancel(penult_session *session) {
    struct guard guard;
    guard_begin(&guard, "session_cancel");
    real->session_cancel(session);
    guard_end(&guard, 1, EFFECT_NONE, NULL, 0);
}

static int32_t encode_text(penult_session *session, const penult_text_request *request, penult_text_result *result,
                           penult_error *error) {
    struct guard guard;
    _Alignas(16) unsigned char room[COPY_ROOM];
    struct passed_on to = {.guard = &guard};
    penult_text_request *own = copy_of(request, sizeof *own, room);
    if (own && own->progress) {
        to = (struct passed_on){&guard, NULL, own->progress, own->user};
        own->progress = progress;
        own->user = &to;
        request = own;
    }
    guard_begin(&guard, "encode_text");
    int32_t status = real->encode_text(session, request, result, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

/* ---- the table of penult.condition/1 -------------------------------------------------------------------------------- */

static int32_t recipe(uint32_t index, const char *name, penult_recipe_info *info, penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "recipe");
    int32_t status = real_condition->recipe(index, name, info, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t recipe_tower(const char *name, uint32_t tower, penult_recipe_tower *info, penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "recipe_tower");
    int32_t status = real_condition->recipe_tower(name, tower, info, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t pipeline_measure(const penult_pipeline_params *params, uint64_t *bytes, penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "pipeline_measure");
    int32_t status = real_condition->pipeline_measure(params, bytes, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t pipeline_open(const penult_pipeline_params *params, penult_pipeline **out, penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "pipeline_open");
    int32_t status = real_condition->pipeline_open(params, out, error);
    int good = status == PENULT_OK;
    /* as many threads for each tower as were asked for; an older host's params end before it says how many */
    int says = good && params->struct_size >= offsetof(penult_pipeline_params, max_windows) && params->threads;
    guard_end(&guard, good, good ? EFFECT_OPEN : EFFECT_NONE, good ? *out : NULL,
              says ? (int64_t)params->threads * params->model_count : good ? -1 : 0);
    return status;
}

static void pipeline_close(penult_pipeline *pipeline) {
    struct guard guard;
    guard_begin(&guard, "pipeline_close");
    real_condition->pipeline_close(pipeline);
    guard_end(&guard, 1, EFFECT_CLOSE, pipeline, 0);
}

static int32_t pipeline_describe(const penult_pipeline *pipeline, penult_pipeline_info *info, penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "pipeline_describe");
    int32_t status = real_condition->pipeline_describe(pipeline, info, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t tensor(const penult_pipeline *pipeline, uint32_t index, uint32_t chunks, penult_tensor_info *info,
                      penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "tensor");
    int32_t status = real_condition->tensor(pipeline, index, chunks, info, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t plan(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                    penult_error *error) {
    struct guard guard;
    guard_begin(&guard, "plan");
    int32_t status = real_condition->plan(pipeline, request, result, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static int32_t condition(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                         penult_error *error) {
    struct guard guard;
    _Alignas(16) unsigned char room[COPY_ROOM];
    struct passed_on to = {.guard = &guard};
    penult_condition_request *own = copy_of(request, sizeof *own, room);
    if (own && own->progress) {
        to = (struct passed_on){&guard, NULL, own->progress, own->user};
        own->progress = progress;
        own->user = &to;
        request = own;
    }
    guard_begin(&guard, "condition");
    int32_t status = real_condition->condition(pipeline, request, result, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static void pipeline_cancel(penult_pipeline *pipeline) {
    struct guard guard;
    guard_begin(&guard, "pipeline_cancel");
    real_condition->pipeline_cancel(pipeline);
    guard_end(&guard, 1, EFFECT_NONE, NULL, 0);
}

static const penult_condition_api condition_api = {
    .struct_size = sizeof(penult_condition_api), .version = 1,
    .recipe = recipe, .recipe_tower = recipe_tower, .pipeline_measure = pipeline_measure, .pipeline_open = pipeline_open,
    .pipeline_close = pipeline_close, .pipeline_describe = pipeline_describe, .tensor = tensor, .plan = plan,
    .condition = condition, .pipeline_cancel = pipeline_cancel,
};

static const void *extension(const char *id) {
    struct guard guard;
    guard_begin(&guard, "extension");
    const void *table = real->extension(id);
    guard_end(&guard, 1, EFFECT_NONE, NULL, 0);
    return table && table == real_condition ? &condition_api : table;
}

static int32_t model_hash(const penult_model *model, uint8_t *digest,
                          int32_t (*progress_of)(void *user, const penult_progress *progress), void *user, penult_error *error) {
    struct guard guard;
    struct passed_on to = {&guard, NULL, progress_of, user};
    guard_begin(&guard, "model_hash");
    int32_t status = real->model_hash(model, digest, progress_of ? progress : NULL, &to, error);
    guard_end(&guard, status == PENULT_OK, EFFECT_NONE, NULL, 0);
    return status;
}

static penult_api api = {
    .model_open = model_open,
    .model_close = model_close,
    .model_describe = model_describe,
    .tokenize = tokenize,
    .session_measure = session_measure,
    .session_open = session_open,
    .session_close = session_close,
    .session_cancel = session_cancel,
    .encode_text = encode_text,
    .extension = extension,
    .model_hash = model_hash,
};

/* ---- the entry ------------------------------------------------------------------------------------------------------ */

static const char *version(void) {
    struct guard guard;
    guard_begin(&guard, "version");
    const char *text = real_entry->version();
    guard_end(&guard, 1, EFFECT_NONE, NULL, 0);
    return text;
}

static const penult_api *get_api(uint32_t abi_version) {
    struct guard guard;
    guard_begin(&guard, "get_api");
    const penult_api *table = real_entry->get_api(abi_version);
    guard_end(&guard, 1, EFFECT_NONE, NULL, 0);
    return table ? &api : NULL;
}

static const penult_entry_point entry = {.version = version, .get_api = get_api};

const penult_entry_point *penult_entry(void) {
    const char *named = getenv("PENULT_CONTRACT_PLUGIN");
    struct guard guard;
    if (real)
        return &entry;
    guard_begin(&guard, "dlopen");
    void *library = dlopen(named && *named ? named : CONTRACT_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    guard_end(&guard, 0, EFFECT_LOAD, NULL, 0);
    void *symbol = library ? dlsym(library, PENULT_ENTRY_NAME) : NULL;
    const penult_entry_point *(*enter)(void);
    if (!symbol)
        return NULL;
    memcpy(&enter, &symbol, sizeof enter);
    real_entry = enter();
    real = real_entry ? real_entry->get_api(PENULT_ABI_VERSION) : NULL;
    if (!real)
        return NULL;
    real_condition = real->extension(PENULT_CONDITION);
    api.struct_size = real->struct_size;
    api.abi_minor = real->abi_minor;
    return &entry;
}
