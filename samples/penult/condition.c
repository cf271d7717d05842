/* condition.c - `penult condition`: prompts to what a pipeline's sampler takes, to files and to a report. */
#include "condition.h"

#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "say.h"

static int check_files(const struct options *options) {
    if (options->out_count > 1) {
        return say_usage("--out is given twice; with several prompts each gets a file with its number in the name");
    }
    if (options->out_count == 1) {
        const char *dot = strrchr(options->outs[0], '.');
        if (dot == NULL || strcmp(dot, ".safetensors") != 0) {
            return say_usage("--out %s: the name must end in .safetensors", options->outs[0]);
        }
    }
    return STATUS_OK;
}

/* The name of prompt `index`'s file, which the caller frees: with its number before the extension where there are several, as
 * wide as the last. */
static char *file_name(const struct conditioning *conditioning, size_t index) {
    const char *path = conditioning->options->outs[0];
    size_t stem = strlen(path) - strlen(".safetensors");
    int digits = 1, length;
    char *name = NULL;
    for (size_t count = conditioning->prompts.count; count >= 10; count /= 10) {
        digits++;
    }
    length = conditioning->prompts.count == 1 ? asprintf(&name, "%s", path)
                                              : asprintf(&name, "%.*s.%0*zu.safetensors", (int)stem, path, digits, index + 1);
    if (length < 0) {
        say_failed("no memory for the name of %s", path);
        return NULL;
    }
    return name;
}

static int write_file(struct conditioning *conditioning, size_t index) {
    struct conditioned *done = &conditioning->list[index];
    char *name = file_name(conditioning, index);
    FILE *to = name != NULL ? outbox_open(&conditioning->outbox, name) : NULL;
    free(name);
    if (to == NULL) {
        return STATUS_FAILED;
    }
    done->file = conditioning->outbox.count;
    int status = manifest_write(conditioning, done, to);
    bool closed = outbox_close(&conditioning->outbox);
    return status == STATUS_OK && !closed ? STATUS_FAILED : status;
}

static int hash(struct conditioning *conditioning) {
    double began = progress_clock();
    int status = towers_hash(&conditioning->towers, conditioning->options->quiet);
    conditioning->hash_seconds = progress_clock() - began;
    return status;
}

static int run_all(struct conditioning *conditioning) {
    const struct options *options = conditioning->options;
    struct progress *progress = &conditioning->towers.plugin.progress;
    int status = STATUS_OK;
    progress_begin(progress, options->quiet);
    for (size_t i = 0; i < conditioning->prompts.count && status == STATUS_OK; i++) {
        status = conditioning_run(conditioning, i);
        if (status == STATUS_OK && options->out_count > 0) {
            status = write_file(conditioning, i);
        }
        conditioning_drop_data(&conditioning->list[i]);
    }
    progress_end(progress);
    return status;
}

/* Everything that can fail comes before the files get their names. */
static int finish(struct conditioning *conditioning) {
    const struct options *options = conditioning->options;
    char *text = NULL;
    int status = interrupt_pending() ? say_failed("interrupted; nothing was written") : STATUS_OK;
    if (status == STATUS_OK && options->json && (text = conditioning_json(conditioning)) == NULL) {
        status = STATUS_FAILED;
    }
    if (status == STATUS_OK && !outbox_commit(&conditioning->outbox)) {
        status = STATUS_FAILED;
    }
    if (status == STATUS_OK && options->json) {
        puts(text);
    } else if (status == STATUS_OK && !options->quiet) {
        conditioning_show(conditioning);
    }
    free(text);
    return status;
}

static int condition(struct conditioning *conditioning) {
    const struct options *options = conditioning->options;
    int status = check_files(options);
    if (status == STATUS_OK) {
        status = prompts_read(&conditioning->prompts, options);
    }
    if (status == STATUS_OK) {
        status = towers_load(&conditioning->towers, options, options->recipe);
    }
    if (status == STATUS_OK) {
        status = towers_open(&conditioning->towers, options);
    }
    if (status == STATUS_OK) {
        status = conditioning_open(conditioning);
    }
    if (status == STATUS_OK && options->out_count > 0 && !options->no_hash) {
        status = hash(conditioning);
    }
    if (status == STATUS_OK) {
        status = run_all(conditioning);
    }
    return status == STATUS_OK ? finish(conditioning) : status;
}

int command_condition(const struct options *options) {
    struct conditioning conditioning = {.options = options};
    interrupt_watch();
    int status = options->check != NULL ? conditioning_check(options) : condition(&conditioning);
    conditioning_close(&conditioning);
    if (status != STATUS_OK) {
        interrupt_finish();
    }
    return status;
}
