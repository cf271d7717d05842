/* host.h - the command as a host: finds and loads the plugin, opens a model, keeps what the plugin reported about it.
 * */
#ifndef SAMPLES_PENULT_HOST_H
#define SAMPLES_PENULT_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include "../../api/penult.h"
#include "json.h"
#include "options.h"
#include "progress.h"

/* A penult_report that outlives its call. */
struct finding {
    uint32_t severity;
    uint32_t kind;
    uint64_t tensors;
    uint64_t bytes;
    char *subject;
    char *message;
};

/* plugin_path and plugin_version live as long as the library is loaded. */
struct host {
    void *library;
    const char *plugin_path;
    const char *plugin_version;
    const penult_api *api;
    penult_model *model;
    penult_model_info info;
    struct finding *findings;
    size_t finding_count;
    bool findings_lost;
    double open_seconds;
    struct progress progress;
};

/* Loads the plugin: the one that --plugin names, else penult.so beside this executable, else where `make install` and
 * packages put it, relative to the executable first. False with the sentence in `why`. */
bool host_load(struct host *host, const struct options *options, char *why, size_t why_size);

/* host_load, then opens options->model and describes it. Says what went wrong and returns the exit status. */
int host_open(struct host *host, const struct options *options);

/* Safe on a host that was zeroed or whose opening failed. */
void host_close(struct host *host);

/* "note", "warning" or "error". */
const char *host_severity(uint32_t severity);

/* "format", "layout", "tower", ... as PENULT_ABOUT_ has them. */
const char *host_about(uint32_t kind);

/* "f32", "f16", "bf16", "f64", "f8_e4m3", "f8_e5m2"; "gelu", "quick_gelu". */
const char *host_dtype(uint32_t dtype);
const char *host_activation(uint32_t activation);

/* The model, the plugin and the findings as members of an object. */
void host_json(const struct host *host, const struct options *options, json into);

#endif
