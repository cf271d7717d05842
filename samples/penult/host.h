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

/* Opens options->model with the plugin that host_load has loaded, and describes it; says nothing. Returns a PENULT_
 * status, with the sentence in *error. */
int32_t host_open_model(struct host *host, const struct options *options, penult_error *error);

/* Says why host_open_model failed, on several lines where there are several reasons. Returns the exit status. */
int host_refused(const struct host *host, const penult_error *error);

/* What a careful person would want to know of the model that was opened, on stderr. */
void host_warn(const struct host *host);

/* Drops the model and what was found of it; the plugin stays. */
void host_close_model(struct host *host);

/* The fingerprint of the model's values as 64 hexadecimal digits, with progress. Returns the exit status. */
int host_hash(struct host *host, bool quiet, char digest[65]);

/* Safe on a host that was zeroed or whose opening failed. */
void host_close(struct host *host);

/* "note", "warning" or "error". */
const char *host_severity(uint32_t severity);

/* "format", "layout", "tower", ... as PENULT_ABOUT_ has them. */
const char *host_about(uint32_t kind);

/* "f32", "f16", "bf16", "f64", "f8_e4m3", "f8_e5m2"; "gelu", "quick_gelu". */
const char *host_dtype(uint32_t dtype);
const char *host_activation(uint32_t activation);

/* The last `parts` parts of a path: enough to recognise a model, little about the machine. */
void host_model_name(const char *path, int parts, char *name, size_t size);

/* The versions and the plugin's path as members of an object. */
void host_plugin_json(const struct host *host, json into);

/* The model and the findings likewise; host_json is both. */
void host_model_json(const struct host *host, const struct options *options, json into);
void host_json(const struct host *host, const struct options *options, json into);

#endif
