/* strangers.c - says what the tensors are that nobody uses. Sources: huggingface/diffusers loaders/single_file_utils.py for the
 * parts of single files, ComfyUI's behaviour for its scales, openai/CLIP clip/model.py (build_model) for the scalars. */
#include "strangers.h"

#include <string.h>

/* Ends of names that mean the same wherever they stand. */
static const struct {
    const char *end, *why;
} buffers[] = {
    {"embeddings.position_ids", "a buffer of the numbers 0, 1, 2 ... that transformers used to save; positions need no table"},
    {"logit_scale", "scales similarities of the contrastive training; no hidden state depends on it"},
    {"logit_bias", "shifts similarities of the contrastive training; no hidden state depends on it"},
    {"attn_mask", "a buffer of the causal mask, which needs no table"},
    {"input_resolution", "a number that OpenAI's files carry; the image tower's shapes say it"},
    {"context_length", "a number that OpenAI's files carry; the positions' shape says it"},
    {"vocab_size", "a number that OpenAI's files carry; the embedding's shape says it"},
    {"scaled_fp8", "marks a file whose matrices have scales; each matrix finds its own"},
    {".scale_input", "a scale for activations in 8 bits; they are float32 here"},
    {".input_scale", "a scale for activations in 8 bits; they are float32 here"},
    {".comfy_quant", "says in what type its matrix is stored, which the matrix says itself"},
};

/* Beginnings of names, longer ones before shorter ones that they begin with. */
static const struct {
    const char *begin, *what;
} networks[] = {
    {"model.diffusion_model.", "the denoiser"},
    {"model_ema.", "a running average of the denoiser"},
    {"diffusion_model.", "the denoiser"},
    {"first_stage_model.", "the image autoencoder"},
    {"vae.", "the image autoencoder"},
    {"text_encoders.t5xxl.", "the text encoder T5"},
    {"text_encoders.", "another text encoder"},
    {"t5xxl.", "the text encoder T5"},
    {"cond_stage_model.", "another part of the text encoder"},
    {"conditioner.", "another part of the text encoders"},
    {"denoiser.", "the noise schedule"},
    {"vision_model.", "the image tower, which this version does not read"},
    {"visual_projection.", "the image tower's projection, which this version does not read"},
    {"visual.", "the image tower, which this version does not read"},
    {"depth_model.", "a depth estimator"},
    {"control_model.", "a control network"},
    {"alphas_cumprod", "the noise schedule"},
    {"betas", "the noise schedule"},
    {"log_one_minus_alphas_cumprod", "the noise schedule"},
    {"posterior_", "the noise schedule"},
    {"sqrt_", "the noise schedule"},
};
enum { NETWORKS = sizeof networks / sizeof networks[0], GROUPS = NETWORKS + LAYOUTS_MOST };

/* Findings about single tensors; what is beyond comes as one. */
#define SINGLES 64

static int ends_with(const struct named_tensor *item, const char *end) {
    size_t length = strlen(end);
    return item->name_size >= length && memcmp(item->name + item->name_size - length, end, length) == 0;
}

static int begins_with(const struct named_tensor *item, const char *head) {
    size_t length = strlen(head);
    return item->name_size >= length && memcmp(item->name, head, length) == 0;
}

static const char *buffer_of(const struct named_tensor *item) {
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (ends_with(item, buffers[i].end))
            return buffers[i].why;
    return NULL;
}

/* The group of a tensor, or GROUPS. Towers first: their roots lie inside the networks' names. The chosen tower's own are
 * looked at one by one, but for what stands under the image tower's names where both begin at the root. */
static size_t group_of(const struct named_tensor *item, const struct found_layout *towers, size_t count, size_t chosen) {
    int own = layout_covers(&towers[chosen], item->name, item->name_size);
    int rooted = towers[chosen].layout->root[0] != '\0' || towers[chosen].layout->inner[0] != '\0';
    for (size_t i = 0; i < count; i++)
        if (i != chosen && !(own && rooted) && (towers[i].layout->root[0] || towers[i].layout->inner[0]) &&
            layout_covers(&towers[i], item->name, item->name_size))
            return NETWORKS + i;
    for (size_t i = 0; !(own && rooted) && i < NETWORKS; i++)
        if (begins_with(item, networks[i].begin))
            return i;
    return GROUPS;
}

struct tally {
    uint64_t tensors, bytes;
};

static void add(struct tally *tally, const struct named_tensor *item) {
    tally->tensors++;
    tally->bytes += item->bytes;
}

static void report_one(const struct report *report, const struct named_tensor *item, const char *why, const char *caller) {
    struct fault_text quoted;
    struct finding finding = {.severity = why ? REPORT_NOTE : REPORT_WARNING, .kind = why ? REPORT_IGNORED : REPORT_UNEXPECTED,
                              .subject = item->name_size ? fault_quote(&quoted, item->name, item->name_size) : "\"\"",
                              .tensors = 1, .bytes = item->bytes};
    if (why)
        report_find(report, finding, "not used: %s", why);
    else
        report_find(report, finding, "not used: %s does not call for it", caller);
}

void strangers_report(const struct tensor_set *set, const unsigned char *used, const struct found_layout *towers, size_t count,
                      size_t chosen, const char *caller, const struct report *report) {
    struct tally groups[GROUPS] = {{0, 0}}, beyond = {0, 0};
    size_t singles = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct named_tensor *item = &set->items[i];
        if (used[i])
            continue;
        size_t group = group_of(item, towers, count, chosen);
        if (group < GROUPS)
            add(&groups[group], item);
        else if (singles++ < SINGLES)
            report_one(report, item, buffer_of(item), caller);
        else
            add(&beyond, item);
    }
    for (size_t i = 0; i < GROUPS; i++) {
        struct finding finding = {.severity = REPORT_NOTE, .kind = REPORT_IGNORED, .tensors = groups[i].tensors,
                                  .bytes = groups[i].bytes};
        if (groups[i].tensors == 0)
            continue;
        const struct layout *tower = i < NETWORKS ? NULL : towers[i - NETWORKS].layout;
        finding.subject = tower ? (tower->root[0] ? tower->root : tower->inner) /* GCOVR_EXCL_BR_LINE: every tower has a layout */
                                : networks[i].begin;
        report_find(report, finding, "not used: %llu tensors, %llu bytes: %s", (unsigned long long)groups[i].tensors,
                    (unsigned long long)groups[i].bytes, tower ? "another text tower" : networks[i].what);
    }
    if (beyond.tensors)
        report_find(report, (struct finding){.severity = REPORT_WARNING, .kind = REPORT_UNEXPECTED, .subject = "...",
                                             .tensors = beyond.tensors, .bytes = beyond.bytes},
                    "not used: %llu more tensors, %llu bytes", (unsigned long long)beyond.tensors, (unsigned long long)beyond.bytes);
}
