/* tokens.h - the ids of one text, what each stands for, and how they are shown. */
#ifndef SAMPLES_PENULT_TOKENS_H
#define SAMPLES_PENULT_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host.h"
#include "json.h"
#include "prompts.h"

struct tokens {
    int32_t *ids;
    penult_span *spans;
    size_t count;
    bool body_only;
    uint64_t body_count, cut_count, cut_begin, end_position;
};

/* The kind of a position: text of the prompt, or what the frame round it is made of. */
enum token_kind { TOKEN_TEXT, TOKEN_START, TOKEN_END, TOKEN_PAD };

/* Asks the plugin; with body_only the text alone, uncut. `number` (from 1; 0: there is only one) says which prompt an
 * error speaks of. Says what went wrong and returns the exit status; tokens_free in any case. */
int tokens_read(struct tokens *tokens, const struct host *host, const struct prompt *prompt, bool body_only,
                size_t number);
void tokens_free(struct tokens *tokens);

enum token_kind tokens_kind(const struct tokens *tokens, size_t position);

/* "<start>", "<end>", "<pad>"; NULL for text. */
const char *tokens_frame_name(enum token_kind kind);

/* A table on stdout: position, id, bytes of the prompt, text; and what was cut. */
void tokens_show(const struct tokens *tokens, const struct prompt *prompt);

/* text, ids, tokens, counts as members of an object. */
void tokens_json(const struct tokens *tokens, const struct prompt *prompt, json into);

#endif
