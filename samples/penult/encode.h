/* encode.h - what `penult encode` makes, as its parts pass it round: run (encode.c), files (encode_files.c), pictures
 * (encode_pictures.c), report (encode_report.c). */
#ifndef SAMPLES_PENULT_ENCODE_H
#define SAMPLES_PENULT_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host.h"
#include "options.h"
#include "outbox.h"
#include "prompts.h"
#include "tensor.h"
#include "tokens.h"

/* One tensor that was asked for: [B,T,D] for a hidden state, [B,D] or [B,P] for a pooled one. */
struct result {
    uint32_t kind;
    int32_t layer;
    uint32_t flags;
    struct tensor tensor;
};

/* A file for the report, in the order of the outbox: what it holds, in words. */
struct file_note {
    char format[16];
    char holds[256];
};

struct encoding {
    const struct options *options;
    struct host host;
    struct prompts prompts;
    struct tokens *tokens;
    struct result *results;
    size_t result_count;
    struct tensor ids;
    uint32_t blocks_run;
    double session_seconds, encode_seconds;
    struct outbox outbox;
    struct file_note *notes;
    bool names_added;
};

/* The results that the options ask for, checked against the model; tensors allocated. Returns the exit status. */
int encoding_plan(struct encoding *encoding);

/* Whether a name can be written, before anything is computed. Returns the exit status. */
int encoding_check_files(const struct options *options);

/* Every --out into the outbox, then every --heatmap. Returns the exit status. */
int encoding_write_files(struct encoding *encoding);
int encoding_write_pictures(struct encoding *encoding);

/* A place in the outbox with its note, or NULL after saying why not. */
FILE *encoding_open_file(struct encoding *encoding, const char *path, const char *format, const char *holds);

/* `path` with ".word" before its extension; the caller frees it. NULL after saying that there is no memory. */
char *encoding_add_word(const char *path, const char *word);

/* The report as a table on stdout. */
void encoding_show(const struct encoding *encoding);

/* The report as JSON text, which the caller frees; NULL after saying that there is no memory. */
char *encoding_json(const struct encoding *encoding);

#endif
