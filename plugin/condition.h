/* condition.h - penult.condition/1: its functions, by file. */
#ifndef PLUGIN_CONDITION_H
#define PLUGIN_CONDITION_H

#include "../api/penult_condition.h"
#include "handles.h"

#define PIPELINE_MAGIC UINT64_C(0x6570697065706550) /* "Pepepipe" */

struct penult_pipeline {
    uint64_t magic;
    penult_model *models[RECIPE_TOWERS]; /* a reference of each */
    struct pipeline *pipeline;
};

int is_pipeline(const penult_pipeline *pipeline);

/* recipes.c */
int32_t condition_recipe(uint32_t index, const char *name, penult_recipe_info *info, penult_error *error);
int32_t condition_recipe_tower(const char *name, uint32_t tower, penult_recipe_tower *info, penult_error *error);
/* pipeline.c */
int32_t condition_pipeline_measure(const penult_pipeline_params *params, uint64_t *bytes, penult_error *error);
int32_t condition_pipeline_open(const penult_pipeline_params *params, penult_pipeline **out, penult_error *error);
void condition_pipeline_close(penult_pipeline *pipeline);
int32_t condition_pipeline_describe(const penult_pipeline *handle, penult_pipeline_info *info, penult_error *error);
int32_t condition_tensor(const penult_pipeline *handle, uint32_t index, uint32_t chunks, penult_tensor_info *info,
                         penult_error *error);
void condition_pipeline_cancel(penult_pipeline *pipeline);
/* The tensor of that name, or of that index counting those that the recipe has; 0 if there is none. */
int tensor_named(const struct pipeline *pipeline, const char *name, uint32_t index, enum pipeline_kind *kind, unsigned *negative);
/* condition.c */
int32_t condition_plan(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                       penult_error *error);
int32_t condition_run(penult_pipeline *pipeline, const penult_condition_request *request, penult_condition_result *result,
                      penult_error *error);

extern const penult_condition_api condition_api;

#endif
