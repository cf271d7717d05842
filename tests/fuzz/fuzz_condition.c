/* fuzz_condition.c - any bytes as a recipe, a dialect, options and up to four prompts of a pipeline over a tiny model: opened
 * twice, with a cache and without, planned, conditioned, cancelled, conditioned again. Run from the repository's root: the
 * shipped tokenizer is read once.
 *
 * Protects: a status of the documented set, with a sentence; plan and condition agree on tokens, chunks and windows; the same
 * bits with cached windows, without a cache, after a cancelled call, and whichever other tensors are wanted; plain prompts
 * have the bits of encode_text; numbers that are finite, or NON_FINITE; tokens inside their prompt; no memory between open
 * and close, and no more at open than was measured.
 *
 * Input: seven bytes of options (struct options says which), then the texts with a NUL between them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../encoder/base/half.h"
#include "condition_world.h"
#include "fuzz.h"

enum { OPTIONS = 7, TEXTS = 4, MOST_TOKENS = 16384, MOST_WINDOWS = 64, MOST_TEXT = 512 };
#define ONE(status) (1u << (status))

struct options {
    penult_recipe_info recipe;
    penult_recipe_tower tower; /* its first */
    const char *dialect;
    penult_named_model models[2];
    penult_pipeline_params params;
    penult_condition_request request;
    uint32_t wanted, dtype, cancel_at;
    int model, odd_numbers; /* sizes or a score that may come to no finite number */
};

struct call {
    int32_t status;
    penult_condition_result result;
    penult_condition_token tokens[MOST_TOKENS];
    penult_condition_window windows[MOST_WINDOWS];
};
static struct call planned, done, again;

/* ---- the input ---- */

static void read_params(const uint8_t *data, struct options *o) {
    static const char *const dialects[] = {NULL, "plain", "a1111", "comfyui", "compel"};
    static const uint64_t caches[] = {1, 1 << 15, 1 << 18, 1 << 20};
    o->recipe.struct_size = sizeof o->recipe;
    o->tower.struct_size = sizeof o->tower;
    fuzz_require(condition->recipe(data[0] % 13, NULL, &o->recipe, NULL) == PENULT_OK, "a recipe that is not there");
    fuzz_require(condition->recipe_tower(o->recipe.name, 0, &o->tower, NULL) == PENULT_OK, "a recipe without a tower");
    o->params = (penult_pipeline_params){.struct_size = sizeof o->params, .recipe = o->recipe.name, .threads = 1,
        .dialect = dialects[(data[1] & 7) % 5], .model_count = o->recipe.tower_count, .model_stride = sizeof o->models[0],
        .models = o->models, .max_windows = 1 + (data[2] >> 2 & 15), .cache_bytes = caches[data[2] >> 6], .max_text_bytes = MOST_TEXT};
    o->dialect = o->params.dialect ? o->params.dialect : o->recipe.dialect;
    /* bit 7: a choice that the dialect does not have is refused */
    int strict = data[1] >> 7;
    o->params.emphasis = strict || strcmp(o->dialect, "a1111") == 0 ? data[1] >> 3 & 3 : 0;
    o->params.flags = (data[1] & 32 ? PENULT_PIPELINE_SKIP_ALL : 0) |
                      (data[1] & 64 && (strict || strcmp(o->dialect, "compel") == 0) ? PENULT_PIPELINE_SPLIT : 0);
    o->model = (data[2] & 3) % WORLD_MODELS;
    if (o->recipe.context_width) { /* so wide that few and short windows are enough */
        o->model = o->model == WIDE ? NARROW : o->model;
        o->params.max_windows = 1 + o->params.max_windows % 4;
    }
    for (uint32_t t = 0; t < o->recipe.tower_count; t++) {
        penult_recipe_tower tower = {.struct_size = sizeof tower};
        fuzz_require(condition->recipe_tower(o->recipe.name, t, &tower, NULL) == PENULT_OK, "a recipe without a tower");
        o->models[t] = (penult_named_model){tower.name, world_models[o->model]};
    }
}

static void read_request(const uint8_t *data, size_t size, struct options *o) {
    static const uint32_t numbers[] = {0, 1, 1024, 70000, UINT32_MAX, 512, 77, 4096};
    static const uint64_t scores[] = {0, 0x4018000000000000, 0x7FF8000000000000, 0x7FF0000000000000, 0x7FF4000000000000, 0xFFF, 
                                      0x7FEFFFFFFFFFFFFF, 0x8000000000000000};
    penult_condition_request *r = &o->request;
    *r = (penult_condition_request){.struct_size = sizeof *r};
    penult_condition_text *const texts[TEXTS] = {&r->prompt, &r->negative, &r->prompt_2, &r->negative_2};
    size_t at = OPTIONS;
    for (int i = 0; i < TEXTS; i++) {
        const uint8_t *end = i + 1 < TEXTS && at < size ? memchr(data + at, 0, size - at) : NULL;
        size_t stop = at > size ? size : end ? (size_t)(end - data) : size;
        size_t begin = at < size ? at : size;
        if (data[3] >> i & 1)
            *texts[i] = (penult_condition_text){(const char *)data + begin, stop - begin};
        at = stop + 1;
    }
    if (data[3] & 16) {
        r->flags |= PENULT_CONDITION_CLIP_SKIP;
        r->clip_skip = (int8_t)data[4];
    }
    o->dtype = 1 + (data[3] >> 6) % 3;
    o->wanted = data[5] ? data[5] : 0xFF;
    o->cancel_at = data[6] >> 6;
    if (!o->recipe.time_ids)
        return;
    r->sizes = (penult_condition_sizes){.original_height = numbers[data[6] & 7], .target_width = numbers[data[6] >> 3 & 7],
                                        .crop_top = numbers[data[4] & 7]};
    memcpy(&r->sizes.aesthetic_score, &scores[data[4] >> 3 & 7], sizeof scores[0]);
    if (data[3] & 32) {
        r->flags |= PENULT_CONDITION_NEGATIVE_SIZES;
        r->negative_sizes = r->sizes;
    }
    o->odd_numbers = 1;
}

/* ---- calls ---- */

static void expect(int32_t status, uint32_t allowed, const penult_error *error) {
    if (status >= 0 && status <= PENULT_E_WRONG_PROCESS && allowed >> status & 1) {
        size_t size = strnlen(error->message, sizeof error->message);
        if (status == PENULT_OK || (error->status == status && size > 10 && size < sizeof error->message &&
                                    fuzz_utf8(error->message, size) == size))
            return;
    }
    fprintf(stderr, "condition: status %d, allowed %#x: %.500s\n", status, allowed, status ? error->message : "");
    fuzz_require(0, "a status that was not to come, or without a sentence");
}

static penult_pipeline *open_it(const struct options *o, uint32_t more_flags) {
    penult_pipeline_params params = o->params;
    penult_pipeline *pipeline = NULL;
    penult_error error = {.status = 0};
    uint64_t bytes = 0;
    int refused = (params.emphasis && strcmp(o->dialect, "a1111") != 0) ||
                  (params.flags & PENULT_PIPELINE_SPLIT && strcmp(o->dialect, "compel") != 0);
    params.flags |= more_flags;
    int32_t measured = condition->pipeline_measure(&params, &bytes, &error);
    expect(measured, ONE(refused ? PENULT_E_ARGUMENT : PENULT_OK), &error);
    fuzz_memory_start();
    int32_t status = condition->pipeline_open(&params, &pipeline, &error);
    struct fuzz_memory used = fuzz_memory_end();
    fuzz_require(status == measured && (status == PENULT_OK) == (pipeline != NULL), "measure and open disagree");
    fuzz_require(used.requested <= bytes + (1u << 16), "more memory than was measured");
    fuzz_require(pipeline || (used.blocks == 0 && used.mapped == 0), "a refused pipeline that keeps memory");
    return pipeline;
}

static int32_t cancel_at(void *user, const penult_progress *progress) {
    uint32_t at = *(uint32_t *)user;
    fuzz_require(progress->stage == PENULT_STAGE_ENCODE && progress->done > 0 && progress->done <= progress->total, "progress that is none");
    return at && progress->done >= at;
}

static int32_t call(const struct options *o, penult_pipeline *pipeline, const struct world_tensors *tensors, uint32_t allowed,
                    uint32_t cancel, struct call *to) {
    penult_error error = {.status = 0};
    penult_condition_request request = o->request;
    to->result = (penult_condition_result){.struct_size = sizeof to->result, .token_stride = sizeof to->tokens[0],
        .tokens = to->tokens, .token_capacity = MOST_TOKENS, .windows = to->windows, .window_stride = sizeof to->windows[0],
        .window_capacity = MOST_WINDOWS};
    if (tensors) {
        request.tensor_count = tensors->count;
        request.tensor_stride = sizeof tensors->named[0];
        request.tensors = tensors->named;
        request.progress = cancel_at;
        request.user = &cancel;
    }
    fuzz_memory_start();
    to->status = tensors ? condition->condition(pipeline, &request, &to->result, &error)
                         : condition->plan(pipeline, &request, &to->result, &error);
    struct fuzz_memory used = fuzz_memory_end();
    fuzz_require(used.requested == 0 && used.blocks == 0 && used.mapped == 0, "planning and conditioning take no memory");
    expect(to->status, allowed, &error);
    return to->status;
}

/* ---- what must be true ---- */

static uint32_t allowed_of(const struct options *o) {
    const penult_condition_request *r = &o->request;
    const penult_condition_text *texts[] = {&r->prompt, &r->prompt_2, &r->negative, &r->negative_2};
    uint32_t allowed = ONE(PENULT_OK) | ONE(PENULT_E_LIMIT);
    if (r->flags & PENULT_CONDITION_CLIP_SKIP)
        allowed |= o->recipe.skip == PENULT_SKIP_NONE ? ONE(PENULT_E_UNSUPPORTED) : ONE(PENULT_E_ARGUMENT);
    if (strcmp(o->dialect, "plain") != 0)
        allowed |= ONE(PENULT_E_FORMAT);
    if (strcmp(o->dialect, "compel") == 0)
        allowed |= ONE(PENULT_E_UNSUPPORTED);
    for (int i = 0; i < TEXTS; i++)
        if (texts[i]->text && fuzz_utf8(texts[i]->text, texts[i]->text_bytes) < texts[i]->text_bytes)
            allowed |= ONE(PENULT_E_TEXT);
    return allowed;
}

static size_t text_size(const struct options *o, const penult_condition_token *token) {
    const penult_condition_request *r = &o->request;
    penult_recipe_tower tower = {.struct_size = sizeof tower};
    fuzz_require(condition->recipe_tower(o->recipe.name, token->tower, &tower, NULL) == PENULT_OK, "a token of no tower");
    const penult_condition_text *first = token->negative ? &r->negative : &r->prompt;
    const penult_condition_text *second = token->negative ? &r->negative_2 : &r->prompt_2;
    /* diffusers takes a second prompt that is empty for one that is absent */
    const int falls_back = strcmp(o->recipe.name, "sdxl@diffusers") == 0 || strcmp(o->recipe.name, "sd3@diffusers") == 0;
    return tower.second_prompt && second->text && (second->text_bytes || !falls_back) ? second->text_bytes : first->text_bytes;
}

static void check_plan(const struct options *o, const struct call *c) {
    const penult_condition_result *r = &c->result;
    const uint32_t own[2] = {r->own_chunks, r->negative_own_chunks};
    uint64_t cut = 0;
    uint32_t of_tower[2] = {0, 0};
    fuzz_require(r->token_count <= MOST_TOKENS && r->window_count <= MOST_WINDOWS, "more than this test has room for");
    for (uint64_t i = 0; i < r->token_count; i++) {
        const penult_condition_token *t = &c->tokens[i];
        fuzz_require(t->tower < o->recipe.tower_count && t->negative < 2 && t->id >= 0 && t->id < 1000, "a token that is none");
        fuzz_require(t->begin <= t->end && t->end <= text_size(o, t), "a token outside its prompt");
        fuzz_require(t->chunk == PENULT_CHUNK_CUT ? t->row == 0 : t->row > 0 && t->row + 1 < world_tokens[o->model], "a token's row");
        cut += t->chunk == PENULT_CHUNK_CUT;
    }
    fuzz_require(cut == r->cut_count && r->cached_count == 0 && r->blocks_run == 0, "a plan that has run");
    fuzz_require(r->chunks >= own[0] && own[0] > 0 && r->negative_chunks >= own[1], "windows that went");
    for (uint32_t i = 0; i < r->window_count; i++) {
        const penult_condition_window *w = &c->windows[i];
        fuzz_require(w->tower < o->recipe.tower_count && w->layer <= 0 && w->layer >= -WORLD_LAYERS, "a window that is none");
        of_tower[w->tower]++;
    }
    fuzz_require(of_tower[0] <= o->params.max_windows && of_tower[1] <= o->params.max_windows, "more rows than max_windows");
}

static void check_same_plan(const struct call *a, const struct call *b) {
    fuzz_require(a->result.token_count == b->result.token_count && a->result.cut_count == b->result.cut_count &&
                     a->result.chunks == b->result.chunks && a->result.negative_chunks == b->result.negative_chunks &&
                     a->result.own_chunks == b->result.own_chunks && a->result.negative_own_chunks == b->result.negative_own_chunks &&
                     a->result.negative_zero == b->result.negative_zero, "plan and condition disagree");
    for (uint64_t i = 0; i < a->result.token_count; i++) /* field by field: a weight may be NaN, but then it is the same one */
        fuzz_require(memcmp(&a->tokens[i], &b->tokens[i], sizeof a->tokens[i]) == 0, "plan and condition disagree on a token");
}

static void check_finite(const struct world_tensors *tensors, uint32_t dtype) {
    for (uint32_t i = 0; i < tensors->count; i++) {
        const struct world_tensor *t = &tensors->of[i];
        for (size_t row = 0; row < t->rows; row++) {
            for (size_t k = 0; k < t->row_bytes; k += dtype == PENULT_F32 ? 4 : 2) {
                uint32_t bits = 0, exponent = dtype == PENULT_F32 ? 0x7F800000 : dtype == PENULT_F16 ? 0x7C00 : 0x7F80;
                memcpy(&bits, t->data + row * t->pitch + k, dtype == PENULT_F32 ? 4 : 2);
                fuzz_require((bits & exponent) != exponent, "numbers that are not finite, and nobody said so");
            }
        }
    }
}

/* The first tower's first window of a plain prompt, from encode_text with the ids that the plan tells. */
static void check_encode(const struct options *o, const struct world_tensors *all) {
    const struct world_tensor *context = &all->of[0];
    int32_t ids[77];
    uint8_t mask[77];
    float states[77 * WORLD_WIDTH];
    unsigned tokens = world_tokens[o->model];
    penult_model_info model = {.struct_size = sizeof model};
    if (strcmp(context->name, "prompt_embeds") != 0 || o->dtype != PENULT_F32 || strcmp(o->dialect, "plain") != 0 || o->request.flags & PENULT_CONDITION_CLIP_SKIP)
        return;
    fuzz_require(api->model_describe(world_models[o->model], &model, NULL) == PENULT_OK, "a model that is gone");
    for (unsigned i = 0; i < tokens; i++)
        ids[i] = i == 0 ? model.start_id : o->tower.pads_with_zero ? 0 : model.end_id;
    unsigned end = 1;
    for (uint64_t i = 0; i < planned.result.token_count; i++) {
        const penult_condition_token *t = &planned.tokens[i];
        if (t->tower || t->negative || t->chunk)
            continue;
        ids[t->row] = t->id;
        end = t->row + 1;
    }
    ids[end] = model.end_id;
    memset(mask, 1, sizeof mask);
    for (unsigned i = 1; i < tokens && o->tower.key_mask; i++)
        if (ids[i] == model.end_id) {
            memset(mask + i + 1, 0, sizeof mask - i - 1);
            break;
        }
    penult_prompt prompt = {.ids = ids, .id_count = tokens, .key_mask = mask};
    penult_output output = {.kind = PENULT_HIDDEN, .layer = o->tower.layer, .flags = o->tower.final_norm ? PENULT_FINAL_NORM : 0,
                            .to = {.data = states, .bytes = sizeof states, .dtype = PENULT_F32}};
    penult_text_request request = {.struct_size = sizeof request, .prompt_count = 1, .prompt_stride = sizeof prompt, .prompts = &prompt,
                                   .output_count = 1, .output_stride = sizeof output, .outputs = &output};
    penult_error error;
    if (api->encode_text(world_sessions[o->model], &request, NULL, &error))
        fuzz_require(0, error.message);
    for (unsigned i = 0; i < tokens; i++)
        fuzz_require(memcmp(context->data + i * context->pitch, states + i * WORLD_WIDTH, WORLD_WIDTH * sizeof(float)) == 0,
                     "a plain prompt has not the bits of encode_text");
}

/* ---- one input ---- */

static void condition_all(const struct options *o, penult_pipeline *cached, penult_pipeline *forgetful) {
    const uint32_t chunks[2] = {planned.result.chunks, planned.result.negative_chunks};
    int given = o->request.negative.text || o->request.negative_2.text;
    int has_negative = given || o->recipe.unconditional != PENULT_UNCONDITIONAL_NONE;
    uint32_t allowed = ONE(PENULT_OK);
    struct world_tensors some, all, more;
    if (o->model == BROKEN || o->odd_numbers || o->dtype != PENULT_F32 || strcmp(o->dialect, "plain") != 0)
        allowed |= ONE(PENULT_E_NON_FINITE);
    world_tensors_make(&some, cached, o->wanted, chunks, o->dtype, o->request.clip_skip & 1 ? 5 : 0);
    world_tensors_make(&more, cached, o->wanted, chunks, o->dtype, 0);
    world_tensors_make(&all, forgetful, has_negative ? UINT32_MAX : 0x55, chunks, o->dtype, 0);
    if (some.count == 0 || !has_negative) {
        allowed |= ONE(PENULT_E_ARGUMENT);
    }
    if (o->cancel_at)
        call(o, cached, &some, allowed | ONE(PENULT_E_CANCELLED), o->cancel_at, &again);
    int32_t first = call(o, cached, &some, allowed, 0, &done);
    int32_t second = call(o, cached, &more, allowed, 0, &again);
    fuzz_require(first == second, "another status from the cache");
    int32_t third = call(o, forgetful, &all, allowed, 0, &again);
    if (first == PENULT_OK) {
        check_same_plan(&planned, &done);
        world_tensors_same(&some, &more, "other bits from the cache");
        check_finite(&some, o->dtype);
    }
    if (third == PENULT_OK) {
        check_same_plan(&planned, &again);
        fuzz_require(again.result.cached_count == 0 && again.result.window_count == planned.result.window_count, "a cache that was not wanted");
        check_finite(&all, o->dtype);
        check_encode(o, &all);
    }
    if (first == PENULT_OK && third == PENULT_OK)
        world_tensors_same(&some, &all, "other bits without a cache, or with other tensors");
    fuzz_require(third != PENULT_OK || first == PENULT_OK || first == PENULT_E_ARGUMENT, "all tensors are well, but some are not");
    world_tensors_free(&some);
    world_tensors_free(&more);
    world_tensors_free(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct options o = {.model = 0};
    if (!api)
        world_start();
    if (size < OPTIONS)
        return 0;
    read_params(data, &o);
    read_request(data, size, &o);
    penult_pipeline *cached = open_it(&o, 0), *forgetful = open_it(&o, PENULT_PIPELINE_NO_CACHE);
    if (cached) {
        uint32_t allowed = allowed_of(&o);
        int32_t status = call(&o, cached, NULL, allowed, 0, &planned);
        fuzz_require(call(&o, forgetful, NULL, allowed, 0, &again) == status, "a plan that depends on the cache");
        if (status == PENULT_OK) {
            check_plan(&o, &planned);
            condition_all(&o, cached, forgetful);
        }
    }
    condition->pipeline_close(cached);
    condition->pipeline_close(forgetful);
    return 0;
}

/* ---- mutation: options apart, and signs and words of the dialects in the texts ---- */

static const char *const pieces[] = {
    "(", ")", "[", "]", ":1.2)", ":0.5)", ":-1)", "(a:1.3) ", " BREAK ", "++", "(b)0.5 ", "(a)-", "\"", "(\"a\", \"b c\").and(1, 0.5)",
    "(\"a\", \"b\").blend(0.7, 0.3)", "(\"a+\", \"b\").blend(1, -1, no_normalize)", ".swap(", ",", ". ", "\n", ":1e999)", ":nan)", "photo ",
    "a photo of an astronaut riding a horse, ", "embedding:x", "\xC3\xA9", "<|endoftext|>", "((((((((", "))))))))", "\xFF"};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    uint32_t random = fuzz_seed(seed);
    if (size < OPTIONS || room < 64 || fuzz_below(&random, 6) == 0)
        return LLVMFuzzerMutate(data, size, room);
    for (size_t changes = 1 + fuzz_below(&random, 4); changes > 0; changes--) {
        size_t at = OPTIONS + fuzz_below(&random, size - OPTIONS + 1), left = size - at, length;
        const char *piece = pieces[fuzz_below(&random, sizeof pieces / sizeof pieces[0])];
        size_t copies = fuzz_below(&random, 8) ? 1 : 2 + fuzz_below(&random, 20);
        switch (fuzz_below(&random, 5)) {
        case 0:
        case 1: /* a piece; now and then the NUL behind which the next text begins */
            length = fuzz_below(&random, 10) ? strlen(piece) : 1;
            for (; copies > 0 && size + length <= room; copies--) {
                memmove(data + at + length, data + at, left);
                memcpy(data + at, length == 1 && copies == 1 ? "" : piece, length);
                left += length;
                size += length;
            }
            break;
        case 2: /* something goes */
            length = fuzz_below(&random, left + 1);
            length = length < 8 ? length : 8;
            memmove(data + at, data + at + length, left - length);
            size -= length;
            break;
        default:
            data[fuzz_below(&random, OPTIONS)] = (uint8_t)fuzz_random(&random);
        }
    }
    return size;
}
