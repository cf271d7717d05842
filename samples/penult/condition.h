/* condition.h - what `penult condition` makes, as its parts pass it round: run (condition.c, condition_run.c), files
 * (manifest.c), report (condition_report.c, condition_json.c), reading back (condition_check.c). */
#ifndef SAMPLES_PENULT_CONDITION_H
#define SAMPLES_PENULT_CONDITION_H

#include "outbox.h"
#include "prompts.h"
#include "tensor.h"
#include "towers.h"

#define TENSORS_MAX 16

/* A tensor that was filled. Its data are gone once they are in a file. */
struct filled {
    struct tensor tensor;
    struct tensor_summary summary;
};

/* One prompt and what became of it; file: its place in the outbox, counted from 1; 0: there is none. */
struct conditioned {
    const struct prompt *prompt;
    struct filled tensors[TENSORS_MAX];
    size_t tensor_count;
    penult_condition_token *tokens;
    penult_condition_window *windows;
    penult_condition_result result;
    double seconds;
    size_t file;
};

/* The options are the command line's, or a copy of them to which a file's manifest was applied. */
struct conditioning {
    const struct options *options;
    struct towers towers;
    struct prompts prompts;
    penult_pipeline *pipeline;
    penult_pipeline_info info;
    uint32_t max_windows;
    struct conditioned *list; /* [prompts.count] */
    struct outbox outbox;
    double pipeline_seconds, hash_seconds;
};

/* Opens the pipeline, with room for the windows of all prompts: it plans each of them. Returns the exit status. */
int conditioning_open(struct conditioning *conditioning);

/* Fills the tensors of prompt `index`, and says what was done. */
int conditioning_run(struct conditioning *conditioning, size_t index);

/* Frees the data of a prompt's tensors; what the report says of them stays. */
void conditioning_drop_data(struct conditioned *done);

void conditioning_close(struct conditioning *conditioning);

/* The text that a tower takes of a prompt, and whether one was given. */
struct prompt conditioning_text(const struct conditioning *conditioning, const struct conditioned *done, uint32_t tower,
                                uint32_t negative);

/* Whether a number of the prompts belongs in front of a sentence: from 1; 0: there is only one. */
size_t conditioning_number(const struct conditioning *conditioning, size_t index);

/* A conditioning file on a stream (samples/FILES.md has its layout). Returns the exit status; the caller checks the stream. */
int manifest_write(const struct conditioning *conditioning, const struct conditioned *done, FILE *to);

/* Words that manifest, report and command line share. */
const char *manifest_emphasis(uint32_t emphasis);
const char *manifest_kernels(uint32_t kernels);
const char *manifest_arithmetic(uint32_t arithmetic);
const char *manifest_pad_in_text(uint32_t pad_in_text);

/* The report as tables on stdout. */
void conditioning_show(const struct conditioning *conditioning);

/* The report as JSON text, which the caller frees; NULL after saying that there is no memory. */
char *conditioning_json(const struct conditioning *conditioning);

/* `penult condition --check`. */
int conditioning_check(const struct options *options);

#endif
