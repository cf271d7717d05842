/* host.c - see host.h. The only file that includes penult_load.h. */
#include "host.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../api/penult_load.h"
#include "commands.h"
#include "interrupt.h"
#include "say.h"

#define FINDINGS_SHOWN 20

/* Where a plugin may be, relative to the folder of the executable unless absolute. */
static const char *const places[] = {
    "penult.so", "../lib/penult/penult.so", "/usr/local/lib/penult/penult.so", "/usr/lib/penult/penult.so",
};

static bool find_plugin(const struct options *options, char path[PATH_MAX], char *why, size_t why_size) {
    char folder[PATH_MAX];
    if (options->plugin != NULL) {
        /* dlopen looks for a name without a slash in the system's folders; a command line means the working directory
         * */
        const char *here = strchr(options->plugin, '/') == NULL && access(options->plugin, F_OK) == 0 ? "./" : "";
        int length = snprintf(path, PATH_MAX, "%s%s", here, options->plugin);
        if (length >= PATH_MAX) {
            snprintf(why, why_size, "the path after --plugin is longer than %d bytes", PATH_MAX - 1);
        }
        return length < PATH_MAX;
    }
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        bool absolute = places[i][0] == '/';
        int needed = snprintf(path, PATH_MAX, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/", places[i]);
        if ((absolute || slash != NULL) && needed < PATH_MAX && access(path, F_OK) == 0) {
            return true;
        }
    }
    snprintf(why, why_size, "no plugin: penult.so is neither in %s nor in ../lib/penult beside it, nor in "
             "/usr/local/lib/penult or /usr/lib/penult; --plugin PATH names one",
             slash != NULL ? folder : "/proc/self/exe");
    return false;
}

bool host_load(struct host *host, const struct options *options, char *why, size_t why_size) {
    char path[PATH_MAX];
    struct penult_library *library = calloc(1, sizeof *library);
    if (library == NULL) {
        snprintf(why, why_size, "no memory for the plugin");
        return false;
    }
    if (!find_plugin(options, path, why, why_size) || penult_load(library, path, why, why_size) != 0) {
        free(library);
        return false;
    }
    host->library = library;
    host->api = library->api;
    host->plugin_path = library->path;
    host->plugin_version = library->entry->version();
    return true;
}

static void keep_finding(void *user, const penult_report *report) {
    struct host *host = user;
    struct finding *grown = realloc(host->findings, (host->finding_count + 1) * sizeof *grown);
    if (grown == NULL) {
        host->findings_lost = true;
        return;
    }
    host->findings = grown;
    struct finding *finding = &grown[host->finding_count];
    finding->severity = report->severity;
    finding->kind = report->kind;
    finding->tensors = report->tensors;
    finding->bytes = report->bytes;
    finding->subject = strdup(report->subject != NULL ? report->subject : "");
    finding->message = strdup(report->message != NULL ? report->message : "");
    if (finding->subject == NULL || finding->message == NULL) {
        free(finding->subject);
        free(finding->message);
        host->findings_lost = true;
        return;
    }
    host->finding_count++;
}

static int32_t show_opening(void *user, const penult_progress *progress) {
    struct host *host = user;
    progress_show(&host->progress, "opening", progress->done, progress->total, "bytes");
    return interrupt_pending();
}

/* Findings of at least this severity, on stderr. */
static void say_findings(const struct host *host, uint32_t least) {
    size_t shown = 0, left = 0;
    for (size_t i = 0; i < host->finding_count; i++) {
        const struct finding *finding = &host->findings[i];
        if (finding->severity < least) {
            continue;
        }
        if (shown == FINDINGS_SHOWN) {
            left++;
            continue;
        }
        shown++;
        fprintf(stderr, "penult: %s: ", host_severity(finding->severity));
        say_text(stderr, finding->subject, strlen(finding->subject), 200);
        fputs(": ", stderr);
        say_text(stderr, finding->message, strlen(finding->message), 1000);
        fputc('\n', stderr);
    }
    if (left > 0) {
        fprintf(stderr, "penult: %zu more findings\n", left);
    }
}

int32_t host_open_model(struct host *host, const struct options *options, penult_error *error) {
    penult_open_params params = {
        .struct_size = sizeof params,
        .access = options->access,
        .path = options->model,
        .tokenizer_path = options->tokenizer,
        .tokenizer_mode = options->tokenizer_mode,
        .pad_in_text = options->pad_in_text,
        .activation = options->activation,
        .tower = options->tower,
        .heads = options->heads,
        .flags = options->tensors ? PENULT_OPEN_LIST_TENSORS : 0,
        .report = keep_finding,
        .progress = show_opening,
        .user = host,
    };
    double began = progress_clock();
    progress_begin(&host->progress, options->quiet);
    int32_t status = host->api->model_open(&params, &host->model, error);
    progress_end(&host->progress);
    host->open_seconds = progress_clock() - began;
    if (status == PENULT_OK) {
        host->info.struct_size = sizeof host->info;
        status = host->api->model_describe(host->model, &host->info, error);
    }
    return status;
}

int host_refused(const struct host *host, const penult_error *error) {
    say_failed("%s", interrupt_pending() ? "interrupted while the model was being opened" : error->message);
    say_findings(host, PENULT_REPORT_ERROR);
    return STATUS_FAILED;
}

void host_warn(const struct host *host) {
    say_findings(host, PENULT_REPORT_WARNING);
}

int host_open(struct host *host, const struct options *options) {
    char why[1024];
    penult_error error;
    *host = (struct host){0};
    if (!host_load(host, options, why, sizeof why)) {
        return say_failed("%s", why);
    }
    if (host_open_model(host, options, &error) != PENULT_OK) {
        return host_refused(host, &error);
    }
    /* info shows them in its table */
    if (!options->quiet && options->command != COMMAND_INFO) {
        host_warn(host);
    }
    return STATUS_OK;
}

void host_close_model(struct host *host) {
    if (host->api != NULL) {
        host->api->model_close(host->model);
    }
    host->model = NULL;
    for (size_t i = 0; i < host->finding_count; i++) {
        free(host->findings[i].subject);
        free(host->findings[i].message);
    }
    free(host->findings);
    host->findings = NULL;
    host->finding_count = 0;
}

void host_close(struct host *host) {
    host_close_model(host);
    if (host->library != NULL) {
        penult_unload(host->library);
        free(host->library);
    }
    *host = (struct host){0};
}

static int32_t show_hashing(void *user, const penult_progress *progress) {
    struct host *host = user;
    progress_show(&host->progress, "hashing", progress->done, progress->total, "bytes");
    return interrupt_pending();
}

int host_hash(struct host *host, bool quiet, char digest[65]) {
    uint8_t bytes[32];
    penult_error error;
    progress_begin(&host->progress, quiet);
    int32_t status = host->api->model_hash(host->model, bytes, show_hashing, host, &error);
    progress_end(&host->progress);
    if (status != PENULT_OK) {
        return say_failed("%s", interrupt_pending() ? "interrupted while the values were being hashed" : error.message);
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        snprintf(digest + 2 * i, 3, "%02x", bytes[i]);
    }
    return STATUS_OK;
}

void host_model_name(const char *path, int parts, char *name, size_t size) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && (path[begin - 1] != '/' || --parts > 0)) {
        begin--;
    }
    snprintf(name, size, "%.*s", (int)(end - begin), path + begin);
}

const char *host_severity(uint32_t severity) {
    return severity == PENULT_REPORT_NOTE ? "note" : severity == PENULT_REPORT_WARNING ? "warning" : "error";
}

const char *host_about(uint32_t kind) {
    static const char *const names[] = {"other", "format",  "layout",  "tower", "assumption",
                                        "used",  "ignored", "missing", "wrong", "unexpected"};
    return kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

const char *host_dtype(uint32_t dtype) {
    static const char *const names[] = {"none", "f32", "f16", "bf16", "f64", "f8_e4m3", "f8_e5m2"};
    return dtype < sizeof names / sizeof names[0] ? names[dtype] : "unknown";
}

const char *host_activation(uint32_t activation) {
    return activation == PENULT_GELU ? "gelu" : activation == PENULT_QUICK_GELU ? "quick_gelu"
           : activation == 0 ? "none" : "unknown";
}

static void id_json(json into, const char *key, int32_t id) {
    if (id < 0) {
        json_add_null(into, key);
    } else {
        json_add_integer(into, key, id);
    }
}

void host_plugin_json(const struct host *host, json into) {
    json_add_string(into, "command_version", command_version);
    json plugin = json_add_object(into, "plugin");
    json_add_string(plugin, "path", host->plugin_path);
    json_add_string(plugin, "version", host->plugin_version);
}

void host_json(const struct host *host, const struct options *options, json into) {
    host_plugin_json(host, into);
    host_model_json(host, options, into);
}

void host_model_json(const struct host *host, const struct options *options, json into) {
    const penult_model_info *info = &host->info;
    json model = json_add_object(into, "model");
    if (options->model != NULL) {
        json_add_string(model, "path", options->model);
    } else {
        json_add_null(model, "path");
    }
    json_add_integer(model, "width", info->width);
    json_add_integer(model, "layers", info->layers);
    json_add_integer(model, "heads", info->heads);
    json_add_integer(model, "mlp_width", info->mlp_width);
    json_add_integer(model, "context", info->context);
    json_add_integer(model, "vocabulary", info->vocabulary);
    json_add_integer(model, "projection", info->projection);
    json_add_string(model, "activation", host_activation(info->activation));
    json_add_real(model, "norm_epsilon", info->norm_epsilon);
    json_add_string(model, "dtype", host_dtype(info->dtype));
    json_add_string(model, "layout", info->layout);
    json_add_string(model, "tower", info->tower);
    json_add_string(model, "kernels", info->kernels);
    json_add_string(model, "access", info->access == PENULT_COPY ? "copy" : "map");
    json_add_unsigned(model, "parameters", info->parameters);
    json_add_unsigned(model, "bytes_file", info->bytes_file);
    json_add_unsigned(model, "bytes_mapped", info->bytes_mapped);
    json_add_unsigned(model, "bytes_used", info->bytes_used);
    json_add_unsigned(model, "tensors_used", info->tensors_used);
    json_add_unsigned(model, "files", info->files);
    id_json(model, "start_id", info->start_id);
    id_json(model, "end_id", info->end_id);
    id_json(model, "pad_id", info->pad_id);
    json_add_string(model, "tokenizer_mode",
                    options->tokenizer_mode == PENULT_TOKENIZER_OPEN_CLIP ? "open_clip" : "transformers");
    json_add_string(model, "pad_in_text", options->pad_in_text == PENULT_PAD_IS_TEXT      ? "text"
                                          : options->pad_in_text == PENULT_PAD_IS_SPECIAL ? "special"
                                                                                          : "files");
    json findings = json_add_array(into, "findings");
    for (size_t i = 0; i < host->finding_count; i++) {
        json finding = json_add_object(findings, NULL);
        json_add_string(finding, "severity", host_severity(host->findings[i].severity));
        json_add_string(finding, "about", host_about(host->findings[i].kind));
        json_add_string(finding, "subject", host->findings[i].subject);
        json_add_string(finding, "message", host->findings[i].message);
        if (host->findings[i].tensors > 0) {
            json_add_unsigned(finding, "tensors", host->findings[i].tensors);
            json_add_unsigned(finding, "bytes", host->findings[i].bytes);
        }
    }
    json_add_bool(into, "findings_complete", !host->findings_lost);
}
