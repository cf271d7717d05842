/* condition_check.c - `penult condition --check`: a conditioning file against itself, against the table of recipes and, where
 * models are given, against what they make of the same prompts. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "condition.h"
#include "conditioning_file.h"
#include "interrupt.h"
#include "say.h"

#define WARNINGS_MAX 8
#define FILE_MAX ((off_t)1 << 32)
#define CLOSE_ENOUGH 0.01 /* another kernel set adds in another order; bf16 rounds that to 1 in 256 */

struct check {
    const struct options *options;
    const char *path;
    unsigned char *bytes;
    size_t size;
    struct conditioning_file file;
    struct options applied; /* the file's, with what the command line says of how */
    char wanted[CONDITIONING_TENSORS_MAX * 49];
    struct conditioning made;
    char warnings[WARNINGS_MAX][256];
    size_t warning_count;
    bool same_kernels, same_weights;
    double largest;
};

__attribute__((format(printf, 2, 3))) static void warn(struct check *check, const char *format, ...) {
    if (check->warning_count < WARNINGS_MAX) {
        va_list arguments;
        char *warning = check->warnings[check->warning_count++];
        va_start(arguments, format);
        vsnprintf(warning, sizeof check->warnings[0], format, arguments);
        va_end(arguments);
        if (!check->options->quiet) {
            fprintf(stderr, "penult: warning: %s: %s\n", check->path, warning);
        }
    }
}

/* A word of the file for a sentence: nothing that moves a cursor. */
static const char *plain(const char *word, char out[64]) {
    size_t used = 0;
    for (; *word != '\0' && used < 60; word++) {
        out[used++] = *word >= 0x20 && *word < 0x7F ? *word : '?';
    }
    out[used] = '\0';
    return out;
}

static bool read_file(struct check *check) {
    struct stat about;
    char why[256];
    int file = open(check->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &about) != 0) {
        int reason = errno;
        if (file >= 0) {
            close(file);
        }
        say_failed("%s could not be read: %s", check->path, strerror(reason));
        return false;
    }
    if (!S_ISREG(about.st_mode) || about.st_size > FILE_MAX) {
        close(file);
        say_failed("%s is %s", check->path, S_ISREG(about.st_mode) ? "larger than 4 GiB, which no conditioning file is"
                                                                         : "not a regular file");
        return false;
    }
    check->bytes = malloc((size_t)about.st_size + 1);
    ssize_t got = 1;
    errno = check->bytes == NULL ? ENOMEM : 0;
    while (check->bytes != NULL && got > 0 && check->size < (size_t)about.st_size) {
        got = read(file, check->bytes + check->size, (size_t)about.st_size - check->size);
        check->size += got > 0 ? (size_t)got : 0;
    }
    int reason = errno;
    close(file);
    if (check->bytes == NULL || got < 0) {
        say_failed("%s could not be read: %s", check->path, strerror(reason));
        return false;
    }
    if (!conditioning_file_read(&check->file, check->bytes, check->size, why, sizeof why)) {
        say_failed("%s: %s", check->path, why);
        return false;
    }
    return true;
}

/* ---- against the recipe ---- */

/* The shape that the recipe gives a tensor for the manifest's towers and windows; rank 0: it has no such tensor. */
static struct tensor shape_of(const struct check *check, const char *name) {
    const struct recipe *recipe = &check->made.towers.recipe;
    const struct conditioning_file *file = &check->file;
    bool negative = strncmp(name, "negative_", 9) == 0;
    uint64_t tokens = (uint64_t)file->window * (negative ? file->negative_chunks : file->chunks), context = 0, pooled = 0;
    struct tensor shape = {.rank = 2, .shape = {1, 0, 0}};
    name += negative ? 9 : 0;
    for (uint32_t t = 0; t < recipe->info.tower_count; t++) {
        context += recipe->towers[t].layer != 0 ? file->towers[t].width : 0;
        pooled += recipes_pooled_width(&recipe->towers[t], file->towers[t].width, file->towers[t].projection);
    }
    context = context > 0 && recipe->info.context_width > context ? recipe->info.context_width : context;
    if (strcmp(name, "prompt_embeds") == 0 && context > 0) {
        shape.rank = 3;
        shape.shape[1] = tokens;
        shape.shape[2] = context;
    } else if (strcmp(name, "pooled_prompt_embeds") == 0) {
        shape.shape[1] = pooled;
    } else if (strcmp(name, "add_time_ids") == 0) {
        shape.shape[1] = recipe->info.time_ids;
    } else if (strcmp(name, "vector") == 0 && recipe->info.time_ids > 0) {
        shape.shape[1] = pooled + UINT64_C(256) * recipe->info.time_ids;
    } else if (strcmp(name, "text_mask") == 0 && recipe->info.text_mask) {
        shape.shape[1] = tokens;
    }
    shape.rank = shape.shape[1] > 0 ? shape.rank : 0;
    return shape;
}

static int check_tensors(const struct check *check) {
    const struct conditioning_file *file = &check->file;
    char shown[64], found[96], expected[96];
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct tensor *tensor = &file->tensors[i];
        struct tensor shape = shape_of(check, tensor->name);
        if (shape.rank == 0) {
            return say_failed("%s: it has a tensor \"%s\", and %s has none of that name for such towers", check->path,
                              plain(tensor->name, shown), check->made.towers.recipe.info.name);
        }
        if (shape.rank != tensor->rank || memcmp(shape.shape, tensor->shape, tensor->rank * sizeof shape.shape[0]) != 0) {
            tensor_shape_text(tensor, found, sizeof found);
            tensor_shape_text(&shape, expected, sizeof expected);
            return say_failed("%s: %s is %s, and %s makes %s of the manifest's towers and windows", check->path, tensor->name, found,
                              check->made.towers.recipe.info.name, expected);
        }
        struct tensor_summary summary = tensor_summarise(tensor);
        if (summary.not_finite > 0) {
            return say_failed("%s: %llu values of %s are not finite", check->path, (unsigned long long)summary.not_finite,
                              tensor->name);
        }
        bool is_zero = strcmp(tensor->name, "negative_prompt_embeds") == 0 || strcmp(tensor->name, "negative_pooled_prompt_embeds") == 0;
        if (file->negative_zero && is_zero && (summary.minimum != 0 || summary.maximum != 0)) {
            return say_failed("%s: the manifest says that the negative is zeros, and %s is not", check->path, tensor->name);
        }
    }
    return STATUS_OK;
}

static int check_recipe(struct check *check) {
    static const char *const dialects[] = {"plain", "a1111", "comfyui", "compel"};
    const struct conditioning_file *file = &check->file;
    const struct recipe *recipe = &check->made.towers.recipe;
    bool known = false;
    char shown[64];
    if (file->tower_count != recipe->info.tower_count) {
        return say_failed("%s: the manifest has %zu towers, and %s has %u", check->path, file->tower_count, recipe->info.name,
                          recipe->info.tower_count);
    }
    for (size_t t = 0; t < file->tower_count; t++) {
        if (strcmp(file->towers[t].name, recipe->towers[t].name) != 0) {
            return say_failed("%s: tower %zu of the manifest is \"%s\", and that of %s is %s", check->path, t,
                              plain(file->towers[t].name, shown), recipe->info.name, recipe->towers[t].name);
        }
        if (file->towers[t].second_prompt != (recipe->towers[t].second_prompt != 0)) {
            return say_failed("%s: the manifest has it that %s %s second_prompt, and %s has it otherwise", check->path,
                              recipe->towers[t].name, file->towers[t].second_prompt ? "takes a" : "takes no", recipe->info.name);
        }
        if (file->towers[t].weights == NULL) {
            warn(check, "it was written without the hash of %s's weights: whose values it holds cannot be told", recipe->towers[t].name);
        }
    }
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++) {
        known = known || strcmp(file->applied.dialect, dialects[i]) == 0;
    }
    if (!known || (file->emphasis != NULL) != (strcmp(file->applied.dialect, "a1111") == 0)) {
        return say_failed("%s: the manifest's dialect is \"%s\", %s", check->path, plain(file->applied.dialect, shown),
                          known ? "to which its emphasis does not fit: a1111 has one, and no other" : "expected plain, a1111, comfyui or compel");
    }
    if (strcmp(file->penult, check->made.towers.plugin.plugin_version) != 0) {
        warn(check, "it was made by penult %s, and this is %s: the last bits may differ", plain(file->penult, shown),
             check->made.towers.plugin.plugin_version);
    }
    return check_tensors(check);
}

/* ---- against models ---- */

static int check_weights(struct check *check) {
    struct towers *towers = &check->made.towers;
    check->same_weights = true;
    for (uint32_t t = 0; t < towers->recipe.info.tower_count; t++) {
        const struct conditioning_tower *told = &check->file.towers[t];
        int status = told->weights != NULL ? host_hash(&towers->hosts[t], check->options->quiet, towers->digests[t]) : STATUS_OK;
        if (status != STATUS_OK) {
            return status;
        }
        if (told->weights != NULL && strcmp(told->weights, towers->digests[t]) != 0) {
            return say_failed("%s: %s's weights are %.16s..., and those of %s are %.16s...: another model", check->path, told->name,
                              told->weights, towers->settings[t].model, towers->digests[t]);
        }
        check->same_weights = check->same_weights && told->weights != NULL;
        if (strcmp(told->activation, host_activation(towers->hosts[t].info.activation)) != 0) {
            char shown[64];
            return say_failed("%s: %s was run with %s, and %s has %s; --activation overrides", check->path, told->name,
                              plain(told->activation, shown), towers->settings[t].model,
                              host_activation(towers->hosts[t].info.activation));
        }
        check->same_kernels = check->same_kernels && strcmp(told->computed_with, towers->hosts[t].info.kernels) == 0;
    }
    if (!check->same_kernels) {
        warn(check, "it was computed with other kernels than this machine's: bits may differ, and are compared as numbers");
    }
    return STATUS_OK;
}

static int compare_tokens(const struct check *check, const struct conditioned *made) {
    const struct conditioning_file *file = &check->file;
    bool same = made->result.token_count == file->token_count;
    for (size_t i = 0; same && i < file->token_count; i++) {
        const penult_condition_token *a = &file->tokens[i], *b = &made->tokens[i];
        bool same_weight = a->weight == b->weight || (isnan(a->weight) && !isfinite(b->weight));
        same = a->id == b->id && a->tower == b->tower && a->negative == b->negative && a->chunk == b->chunk && a->row == b->row &&
               a->begin == b->begin && a->end == b->end && same_weight;
    }
    same = same && made->result.chunks == file->chunks && made->result.negative_chunks == file->negative_chunks &&
           made->result.own_chunks == file->own_chunks && made->result.negative_own_chunks == file->negative_own_chunks &&
           (made->result.negative_zero != 0) == file->negative_zero;
    return same ? STATUS_OK
                : say_failed("%s: these models make other tokens of the manifest's prompts than it says: another tokenizer, or "
                             "other prompts", check->path);
}

static int compare_tensors(struct check *check, const struct conditioned *made) {
    for (size_t i = 0; i < check->file.tensor_count; i++) {
        const struct tensor *told = &check->file.tensors[i], *now = NULL;
        uint64_t differ = 0;
        double most = 0, range = 0;
        for (size_t k = 0; k < made->tensor_count; k++) {
            now = strcmp(made->tensors[k].tensor.name, told->name) == 0 ? &made->tensors[k].tensor : now;
        }
        if (now == NULL || now->bytes != told->bytes) {
            return say_failed("%s: %s has another shape when these models make it", check->path, told->name);
        }
        uint64_t size = tensor_item_bytes(told->dtype);
        for (uint64_t k = 0; k < told->count; k++) {
            double value = (double)tensor_value(told, k);
            differ += memcmp((const char *)told->data + k * size, (const char *)now->data + k * size, size) != 0;
            most = fmax(most, fabs(value - (double)tensor_value(now, k)));
            range = fmax(range, fabs(value));
        }
        check->largest = fmax(check->largest, most);
        if (differ > 0 && (check->same_kernels || most > CLOSE_ENOUGH * range)) {
            return say_failed("%s: %llu of %llu values of %s are not those that these models make, by %.3g at most", check->path,
                              (unsigned long long)differ, (unsigned long long)told->count, told->name, most);
        }
    }
    return STATUS_OK;
}

/* The prompts once more, as the manifest says. */
static int make_again(struct check *check) {
    struct conditioning *made = &check->made;
    struct prompt *prompt = calloc(1, sizeof *prompt);
    if (prompt == NULL) {
        return say_failed("no memory for the prompt");
    }
    *prompt = (struct prompt){check->file.prompt, strlen(check->file.prompt)};
    made->prompts.list = prompt;
    made->prompts.count = 1;
    int status = towers_open(&made->towers, &check->applied);
    if (status == STATUS_OK) {
        status = check_weights(check);
    }
    if (status == STATUS_OK) {
        status = conditioning_open(made);
    }
    progress_begin(&made->towers.plugin.progress, check->options->quiet);
    if (status == STATUS_OK) {
        status = conditioning_run(made, 0);
    }
    progress_end(&made->towers.plugin.progress);
    if (status == STATUS_OK) {
        status = compare_tokens(check, &made->list[0]);
    }
    return status == STATUS_OK ? compare_tensors(check, &made->list[0]) : status;
}

/* ---- the command ---- */

static void apply(struct check *check) {
    const struct options *given = check->options;
    struct options *applied = &check->applied;
    *applied = check->file.applied;
    applied->command = given->command;
    applied->models = given->models;
    applied->model_count = given->model_count;
    applied->tokenizers = given->tokenizers;
    applied->tokenizer_count = given->tokenizer_count;
    applied->activations = given->activations;
    applied->activation_count = given->activation_count;
    applied->plugin = given->plugin;
    applied->threads = given->threads;
    applied->access = given->access;
    applied->max_windows = given->max_windows;
    applied->quiet = given->quiet;
    for (size_t i = 0; i < check->file.tensor_count; i++) {
        size_t used = strlen(check->wanted);
        snprintf(check->wanted + used, sizeof check->wanted - used, "%s%s", i > 0 ? "," : "", check->file.tensors[i].name);
    }
    applied->wanted = check->wanted;
    check->made.options = applied;
    check->same_kernels = true;
}

static void show(const struct check *check) {
    const struct conditioning_file *file = &check->file;
    char shown[64], shape[96];
    printf("file     %s: sound, a conditioning file of %s\n", check->path, file->recipe);
    fputs("prompt   \"", stdout);
    say_text(stdout, file->prompt, strlen(file->prompt), 70);
    printf("\"\n         %u window%s of %u tokens, %llu tokens cut; made by penult %s\n", file->chunks, file->chunks == 1 ? "" : "s",
           file->window, (unsigned long long)file->cut, plain(file->penult, shown));
    for (size_t i = 0; i < file->tensor_count; i++) {
        tensor_shape_text(&file->tensors[i], shape, sizeof shape);
        printf("%s  %s, %s, %s\n", i == 0 ? "tensors" : "       ", file->tensors[i].name, shape, file->dtype);
    }
    for (size_t t = 0; t < file->tower_count; t++) {
        printf("%s  %s %s\n", t == 0 ? "weights" : "       ", file->towers[t].name,
               file->towers[t].weights != NULL ? file->towers[t].weights : "not hashed");
    }
    if (check->options->model_count == 0) {
        puts("models   none given: whether they make the same is not known; -m PATH compares");
    } else if (check->same_kernels) {
        printf("models   %s, the same tokens, the same bits\n", check->same_weights ? "the same weights" : "weights without a hash");
    } else {
        printf("models   the same tokens, values that differ by at most %.3g\n", check->largest);
    }
}

static int report(const struct check *check) {
    bool failed;
    json root = json_begin(&failed);
    json_add_string(root, "command", "condition");
    json_add_string(root, "check", check->path);
    host_plugin_json(&check->made.towers.plugin, root);
    json_add_string(root, "recipe", check->file.recipe);
    json_add_string(root, "made_by", check->file.penult);
    json_add_string(root, "prompt", check->file.prompt);
    json warnings = json_add_array(root, "warnings");
    for (size_t i = 0; i < check->warning_count; i++) {
        json_add_string(warnings, NULL, check->warnings[i]);
    }
    json tensors = json_add_array(root, "tensors");
    for (size_t i = 0; i < check->file.tensor_count; i++) {
        json_add_string(tensors, NULL, check->file.tensors[i].name);
    }
    if (check->options->model_count == 0) {
        json_add_null(root, "models");
    } else {
        json models = json_add_object(root, "models");
        json_add_bool(models, "same_weights", check->same_weights);
        json_add_bool(models, "same_bits", check->same_kernels);
        json_add_real(models, "largest_difference", check->largest);
    }
    int status = json_print(root);
    json_end(root);
    return status;
}

int conditioning_check(const struct options *options) {
    struct check *check = calloc(1, sizeof *check);
    if (check == NULL) {
        return say_failed("no memory for checking %s", options->check);
    }
    check->options = options;
    check->path = options->check;
    int status = read_file(check) ? STATUS_OK : STATUS_FAILED;
    if (status == STATUS_OK) {
        apply(check);
        char shown[64];
        /* a name that is shown, and one of the table */
        bool is_plain = strcmp(plain(check->file.recipe, shown), check->file.recipe) == 0;
        status = is_plain ? towers_load(&check->made.towers, &check->applied, check->file.recipe)
                          : say_failed("%s: its recipe \"%s\" is none of the table", check->path, shown);
    }
    if (status == STATUS_OK) {
        status = check_recipe(check);
    }
    if (status == STATUS_OK && options->model_count > 0) {
        status = make_again(check);
    }
    if (status == STATUS_OK && interrupt_pending()) {
        status = say_failed("interrupted");
    }
    if (status == STATUS_OK && options->json) {
        status = report(check);
    } else if (status == STATUS_OK && !options->quiet) {
        show(check);
    }
    conditioning_close(&check->made);
    conditioning_file_free(&check->file);
    free(check->bytes);
    free(check);
    return status;
}
