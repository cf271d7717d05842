/* condition_run.c - a pipeline from options, and prompts through it. Knows no file. */
#include "condition.h"

#include <stdlib.h>
#include <string.h>

#include "interrupt.h"
#include "say.h"

#define DEFAULT_TEXT_BYTES 65536
#define FIRST_WINDOWS 8
#define MOST_WINDOWS 1024

struct step {
    struct conditioning *conditioning;
    size_t index;
};

size_t conditioning_number(const struct conditioning *conditioning, size_t index) {
    return conditioning->prompts.count > 1 ? index + 1 : 0;
}

struct prompt conditioning_text(const struct conditioning *conditioning, const struct conditioned *done, uint32_t tower,
                                uint32_t negative) {
    const struct options *options = conditioning->options;
    const char *second = negative ? options->negative_2 : options->prompt_2;
    struct prompt text = *done->prompt;
    if (negative) {
        text.text = options->negative != NULL ? options->negative : "";
        text.bytes = strlen(text.text);
    }
    if (conditioning->towers.recipe.towers[tower].second_prompt && second != NULL) {
        text.text = second;
        text.bytes = strlen(second);
    }
    return text;
}

static int refuse(const struct conditioning *conditioning, size_t index, const penult_error *error) {
    size_t number = conditioning_number(conditioning, index);
    if (interrupt_pending()) {
        return say_failed("interrupted; nothing was written");
    }
    return number > 0 ? say_failed("prompt %zu: %s", number, error->message) : say_failed("%s", error->message);
}

static penult_condition_text text_of(const char *text) {
    return (penult_condition_text){text, text != NULL ? strlen(text) : 0};
}

static penult_condition_sizes sizes_of(const struct size_options *sizes) {
    return (penult_condition_sizes){
        .original_height = sizes->original[0], .original_width = sizes->original[1],
        .crop_top = sizes->crop[0], .crop_left = sizes->crop[1],
        .target_height = sizes->target[0], .target_width = sizes->target[1],
        .aesthetic_score = sizes->score,
    };
}

static penult_condition_request request_of(const struct conditioning *conditioning, size_t index) {
    const struct options *options = conditioning->options;
    const struct prompt *prompt = &conditioning->prompts.list[index];
    return (penult_condition_request){
        .struct_size = sizeof(penult_condition_request),
        .flags = (options->has_clip_skip ? PENULT_CONDITION_CLIP_SKIP : 0) |
                 (options->sizes[1].given ? PENULT_CONDITION_NEGATIVE_SIZES : 0),
        .prompt = {prompt->text, prompt->bytes},
        .prompt_2 = text_of(options->prompt_2),
        .negative = text_of(options->negative),
        .negative_2 = text_of(options->negative_2),
        .sizes = sizes_of(&options->sizes[0]),
        .negative_sizes = sizes_of(&options->sizes[1]),
        .clip_skip = options->clip_skip,
    };
}

/* ---- opening ---- */

static uint64_t longest_text(const struct conditioning *conditioning) {
    const struct options *options = conditioning->options;
    const char *const others[] = {options->prompt_2, options->negative, options->negative_2};
    uint64_t most = DEFAULT_TEXT_BYTES;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        most = others[i] != NULL && strlen(others[i]) > most ? strlen(others[i]) : most;
    }
    for (size_t i = 0; i < conditioning->prompts.count; i++) {
        most = conditioning->prompts.list[i].bytes > most ? conditioning->prompts.list[i].bytes : most;
    }
    return most;
}

static int open_with(struct conditioning *conditioning, uint32_t windows) {
    const struct options *options = conditioning->options;
    struct towers *towers = &conditioning->towers;
    penult_named_model models[TOWERS_MAX];
    penult_error error;
    for (uint32_t t = 0; t < towers->recipe.info.tower_count; t++) {
        models[t] = (penult_named_model){towers->recipe.towers[t].name, towers->hosts[t].model};
    }
    penult_pipeline_params params = {
        .struct_size = sizeof params,
        .flags = (options->no_cache ? PENULT_PIPELINE_NO_CACHE : 0) | (options->skip_all ? PENULT_PIPELINE_SKIP_ALL : 0) |
                 (options->split ? PENULT_PIPELINE_SPLIT : 0) |
                 (options->arithmetic == PENULT_ARITHMETIC_BF16 ? PENULT_PIPELINE_BF16 : 0),
        .recipe = towers->recipe.info.name,
        .model_count = towers->recipe.info.tower_count,
        .model_stride = sizeof models[0],
        .models = models,
        .dialect = options->dialect,
        .emphasis = options->emphasis,
        .threads = options->threads,
        .max_windows = windows,
        .kernels = options->kernels,
        .max_text_bytes = longest_text(conditioning),
        .cache_bytes = options->cache_bytes,
    };
    towers->condition->pipeline_close(conditioning->pipeline);
    conditioning->pipeline = NULL;
    conditioning->max_windows = windows;
    conditioning->info.struct_size = sizeof conditioning->info;
    if (towers->condition->pipeline_open(&params, &conditioning->pipeline, &error) != PENULT_OK ||
        towers->condition->pipeline_describe(conditioning->pipeline, &conditioning->info, &error) != PENULT_OK) {
        return say_failed("%s", error.message);
    }
    return STATUS_OK;
}

/* Plans a prompt. What a prompt takes is known when it fits: unless the command line has a number, room is doubled until it
 * does. */
static int plan(struct conditioning *conditioning, size_t index, penult_condition_result *result) {
    penult_condition_request request = request_of(conditioning, index);
    penult_error error;
    for (;;) {
        int32_t status = conditioning->towers.condition->plan(conditioning->pipeline, &request, result, &error);
        if (status == PENULT_OK) {
            return STATUS_OK;
        }
        if (status != PENULT_E_LIMIT || conditioning->options->max_windows != 0 || conditioning->max_windows >= MOST_WINDOWS) {
            return refuse(conditioning, index, &error);
        }
        int opened = open_with(conditioning, conditioning->max_windows * 2);
        if (opened != STATUS_OK) {
            return opened;
        }
    }
}

int conditioning_open(struct conditioning *conditioning) {
    uint32_t given = conditioning->options->max_windows;
    double began = progress_clock();
    conditioning->list = calloc(conditioning->prompts.count + 1, sizeof *conditioning->list);
    if (conditioning->list == NULL) {
        return say_failed("no memory for %zu prompts", conditioning->prompts.count);
    }
    int status = open_with(conditioning, given != 0 ? given : FIRST_WINDOWS);
    for (size_t i = 0; i < conditioning->prompts.count && status == STATUS_OK; i++) {
        penult_condition_result result = {.struct_size = sizeof result};
        status = interrupt_pending() ? say_failed("interrupted; nothing was written") : plan(conditioning, i, &result);
    }
    conditioning->pipeline_seconds = progress_clock() - began;
    return status;
}

/* ---- running ---- */

/* Whether "a,b" has the name. */
static bool is_wanted(const char *wanted, const char *name) {
    size_t length = strlen(name);
    while (wanted != NULL) {
        size_t part = strcspn(wanted, ",");
        if (part == length && memcmp(wanted, name, length) == 0) {
            return true;
        }
        wanted = wanted[part] == ',' ? wanted + part + 1 : NULL;
    }
    return false;
}

/* Every name that was asked for is a tensor's, none is asked for twice. */
static int check_wanted(const struct conditioning *conditioning, const char *wanted) {
    const penult_condition_api *condition = conditioning->towers.condition;
    for (const char *at = wanted; at != NULL;) {
        size_t part = strcspn(at, ",");
        bool found = false;
        for (uint32_t i = 0; i < conditioning->info.tensors; i++) {
            penult_tensor_info info = {.struct_size = sizeof info};
            penult_error error;
            if (condition->tensor(conditioning->pipeline, i, 1, &info, &error) != PENULT_OK) {
                return say_failed("%s", error.message);
            }
            found = found || (strlen(info.name) == part && memcmp(info.name, at, part) == 0);
        }
        if (!found) {
            return say_usage("--tensors: %s has no tensor \"%.*s\"; without the option all are made that it has",
                             conditioning->info.recipe, (int)part, at);
        }
        at = at[part] == ',' ? at + part + 1 : NULL;
    }
    return STATUS_OK;
}

/* The tensors of a prompt that comes to so many windows, allocated. */
static int lay_out(struct conditioning *conditioning, struct conditioned *done) {
    const struct options *options = conditioning->options;
    const penult_condition_api *condition = conditioning->towers.condition;
    bool has_negative = conditioning->towers.recipe.info.unconditional != PENULT_UNCONDITIONAL_NONE ||
                        options->negative != NULL || options->negative_2 != NULL;
    for (uint32_t i = 0; i < conditioning->info.tensors && done->tensor_count < TENSORS_MAX; i++) {
        penult_tensor_info info = {.struct_size = sizeof info};
        struct filled *filled = &done->tensors[done->tensor_count];
        penult_error error;
        int32_t status = condition->tensor(conditioning->pipeline, i, 1, &info, &error);
        bool is_negative = status == PENULT_OK && strncmp(info.name, "negative_", 9) == 0;
        if (status == PENULT_OK && (options->wanted != NULL ? !is_wanted(options->wanted, info.name) : is_negative && !has_negative)) {
            continue;
        }
        uint32_t chunks = is_negative ? done->result.negative_chunks : done->result.chunks;
        if (status == PENULT_OK) { /* sizes alone have no windows */
            status = condition->tensor(conditioning->pipeline, i, chunks > 0 ? chunks : 1, &info, &error);
        }
        if (status != PENULT_OK) {
            return say_failed("%s", error.message);
        }
        if (info.rank > TENSOR_RANK_MAX) {
            return say_failed("%s has rank %u, and this command takes at most %d", info.name, info.rank, TENSOR_RANK_MAX);
        }
        struct tensor *tensor = &filled->tensor;
        *tensor = (struct tensor){.dtype = options->dtype != 0 ? options->dtype : PENULT_F32, .rank = info.rank};
        snprintf(tensor->name, sizeof tensor->name, "%s", info.name);
        memcpy(tensor->shape, info.shape, info.rank * sizeof tensor->shape[0]);
        done->tensor_count++;
        if (!tensor_allocate(tensor)) {
            char shape[96];
            tensor_shape_text(tensor, shape, sizeof shape);
            return say_failed("no memory for %s, %s values", tensor->name, shape);
        }
    }
    return STATUS_OK;
}

static int32_t show_step(void *user, const penult_progress *progress) {
    const struct step *step = user;
    struct conditioning *conditioning = step->conditioning;
    uint64_t all = conditioning->prompts.count;
    if (all == 1) {
        progress_show(&conditioning->towers.plugin.progress, "conditioning", progress->done, progress->total, "blocks");
    } else {
        progress_show(&conditioning->towers.plugin.progress, "conditioning", step->index, all, "prompts");
    }
    return interrupt_pending();
}

static int take_room(struct conditioned *done) {
    done->tokens = calloc(done->result.token_count + 1, sizeof *done->tokens);
    done->windows = calloc(done->result.window_count + 1, sizeof *done->windows);
    if (done->tokens == NULL || done->windows == NULL) {
        return say_failed("no memory for %llu tokens", (unsigned long long)done->result.token_count);
    }
    done->result.tokens = done->tokens;
    done->result.token_stride = sizeof *done->tokens;
    done->result.token_capacity = done->result.token_count;
    done->result.windows = done->windows;
    done->result.window_stride = sizeof *done->windows;
    done->result.window_capacity = done->result.window_count;
    return STATUS_OK;
}

static int fill(struct conditioning *conditioning, struct conditioned *done, size_t index) {
    struct step step = {conditioning, index};
    penult_condition_request request = request_of(conditioning, index);
    penult_named_tensor tensors[TENSORS_MAX] = {{0}};
    penult_error error;
    for (size_t i = 0; i < done->tensor_count; i++) {
        const struct tensor *tensor = &done->tensors[i].tensor;
        tensors[i].name = tensor->name;
        tensors[i].to = (penult_buffer){.data = tensor->data, .bytes = tensor->bytes, .dtype = tensor->dtype};
    }
    request.tensor_count = (uint32_t)done->tensor_count;
    request.tensor_stride = sizeof tensors[0];
    request.tensors = tensors;
    request.progress = show_step;
    request.user = &step;
    double began = progress_clock();
    int32_t status = conditioning->towers.condition->condition(conditioning->pipeline, &request, &done->result, &error);
    done->seconds = progress_clock() - began;
    if (status != PENULT_OK || interrupt_pending()) {
        return refuse(conditioning, index, &error);
    }
    for (size_t i = 0; i < done->tensor_count; i++) {
        done->tensors[i].summary = tensor_summarise(&done->tensors[i].tensor);
    }
    return STATUS_OK;
}

int conditioning_run(struct conditioning *conditioning, size_t index) {
    struct conditioned *done = &conditioning->list[index];
    *done = (struct conditioned){.prompt = &conditioning->prompts.list[index], .result.struct_size = sizeof done->result};
    int status = conditioning->options->wanted != NULL ? check_wanted(conditioning, conditioning->options->wanted) : STATUS_OK;
    if (status == STATUS_OK) {
        status = plan(conditioning, index, &done->result);
    }
    if (status == STATUS_OK) {
        status = lay_out(conditioning, done);
    }
    if (status == STATUS_OK) {
        status = take_room(done);
    }
    return status != STATUS_OK ? status : fill(conditioning, done, index);
}

void conditioning_drop_data(struct conditioned *done) {
    for (size_t i = 0; i < done->tensor_count; i++) {
        tensor_free(&done->tensors[i].tensor);
    }
}

void conditioning_close(struct conditioning *conditioning) {
    for (size_t i = 0; conditioning->list != NULL && i < conditioning->prompts.count; i++) {
        conditioning_drop_data(&conditioning->list[i]);
        free(conditioning->list[i].tokens);
        free(conditioning->list[i].windows);
    }
    free(conditioning->list);
    if (conditioning->towers.condition != NULL) {
        conditioning->towers.condition->pipeline_close(conditioning->pipeline);
    }
    prompts_free(&conditioning->prompts);
    outbox_free(&conditioning->outbox);
    towers_close(&conditioning->towers);
}
