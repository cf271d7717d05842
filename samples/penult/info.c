/* info.c - `penult info`: what a model is, as the plugin describes it; and `penult --version`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "host.h"
#include "interrupt.h"
#include "progress.h"
#include "say.h"

static void show_id(const char *name, int32_t id) {
    if (id < 0) {
        printf("%-14s  none\n", name);
    } else {
        printf("%-14s  %" PRId32 "\n", name, id);
    }
}

/* What the plugin found in the files, in columns: severity, what it is about, the thing, the sentence. */
static void show_findings(const struct host *host) {
    size_t widest = 0;
    for (size_t i = 0; i < host->finding_count; i++) {
        size_t length = strlen(host->findings[i].subject);
        widest = length > widest && length <= 40 ? length : widest;
    }
    if (host->finding_count > 0) {
        printf("\n%-8s  %-10s  %-*s  %s\n", "severity", "about", (int)widest, "what", "found");
    }
    for (size_t i = 0; i < host->finding_count; i++) {
        const struct finding *finding = &host->findings[i];
        size_t length = strlen(finding->subject);
        printf("%-8s  %-10s  ", host_severity(finding->severity), host_about(finding->kind));
        say_text(stdout, finding->subject, length, 200);
        printf("%*s  ", length < widest ? (int)(widest - length) : 0, "");
        say_text(stdout, finding->message, strlen(finding->message), 1000);
        putchar('\n');
    }
}

static void show(const struct host *host, const struct options *options, const char *digest) {
    const penult_model_info *info = &host->info;
    char count[SAY_COUNT_MAX];
    printf("%-14s  %s\n", "model", options->model);
    printf("%-14s  %u (D)\n", "width", info->width);
    printf("%-14s  %u (L)\n", "blocks", info->layers);
    printf("%-14s  %u (H)\n", "heads", info->heads);
    printf("%-14s  %u\n", "MLP width", info->mlp_width);
    printf("%-14s  %u (T, start and end included)\n", "context", info->context);
    printf("%-14s  %s\n", "vocabulary", say_count(count, info->vocabulary));
    if (info->projection > 0) {
        printf("%-14s  %u (P)\n", "projection", info->projection);
    } else {
        printf("%-14s  none: only the raw pooled output\n", "projection");
    }
    printf("%-14s  %s\n", "activation", host_activation(info->activation));
    printf("%-14s  %.9g\n", "norm epsilon", info->norm_epsilon);
    printf("%-14s  %s\n", "stored as", host_dtype(info->dtype));
    printf("%-14s  %s\n", "layout", info->layout);
    printf("%-14s  %s\n", "tower", info->tower);
    printf("%-14s  %s\n", "parameters", say_count(count, info->parameters));
    printf("%-14s  %s bytes in %u file%s\n", info->files == 1 ? "file" : "files", say_count(count, info->bytes_file), info->files,
           info->files == 1 ? "" : "s");
    printf("%-14s  %s bytes in %u tensors\n", "used", say_count(count, info->bytes_used), info->tensors_used);
    printf("%-14s  %s bytes, %s\n", "weights", say_count(count, info->bytes_mapped),
           info->access == PENULT_COPY ? "copied into memory" : "mapped and used in place");
    show_id("start id", info->start_id);
    show_id("end id", info->end_id);
    show_id("pad id", info->pad_id);
    printf("%-14s  %s\n", "kernels", info->kernels);
    printf("%-14s  %s, penult %s\n", "plugin", host->plugin_path, host->plugin_version);
    printf("%-14s  %.1f ms\n", "opened in", host->open_seconds * 1e3);
    if (digest != NULL) {
        printf("%-14s  %s\n", "values", digest);
    }
    show_findings(host);
}

int command_info(const struct options *options) {
    struct host host;
    interrupt_watch();
    char digest[65];
    int status = host_open(&host, options);
    if (status == STATUS_OK && options->hash) {
        status = host_hash(&host, options->quiet, digest);
    }
    if (status == STATUS_OK && options->json) {
        bool failed;
        json root = json_begin(&failed);
        json_add_string(root, "command", "info");
        host_json(&host, options, root);
        if (options->hash) {
            json_add_string(root, "values", digest);
        }
        json seconds = json_add_object(root, "seconds");
        json_add_real(seconds, "open", host.open_seconds);
        status = json_print(root);
        json_end(root);
    } else if (status == STATUS_OK && !options->quiet) {
        show(&host, options, options->hash ? digest : NULL);
    }
    host_close(&host);
    if (status != STATUS_OK) {
        interrupt_finish();
    }
    return status;
}

/* The command has a version also where there is no plugin; only a plugin that was named must be there. */
int command_show_version(const struct options *options) {
    struct host host = {0};
    char why[1024];
    bool loaded = host_load(&host, options, why, sizeof why);
    int status = STATUS_OK;
    if (!loaded && options->plugin != NULL) {
        return say_failed("%s", why);
    }
    if (options->json) {
        bool failed;
        json root = json_begin(&failed);
        json_add_string(root, "command", "version");
        json_add_string(root, "command_version", command_version);
        if (loaded) {
            json plugin = json_add_object(root, "plugin");
            json_add_string(plugin, "path", host.plugin_path);
            json_add_string(plugin, "version", host.plugin_version);
        } else {
            json_add_null(root, "plugin");
        }
        status = json_print(root);
        json_end(root);
    } else if (loaded) {
        printf("penult %s\nplugin %s, ABI %u.%u, %s\n", command_version, host.plugin_version, PENULT_ABI_MAJOR,
               PENULT_ABI_MINOR, host.plugin_path);
    } else {
        printf("penult %s\nplugin not loaded: %s\n", command_version, why);
    }
    host_close(&host);
    return status;
}
