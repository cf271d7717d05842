/* session.h - scratch and workers of one caller, sized once. Encoding takes no memory from anyone. */
#ifndef ENCODER_SESSION_H
#define ENCODER_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "clip.h"
#include "kernels/choose.h"
#include "model/text_tower.h"

#define SESSION_TAPS 1024         /* outputs of one request */
#define SESSION_PROMPTS 65536     /* prompts of one request */
#define SESSION_KEPT 64           /* each prompt is compared with each of them */
#define SESSION_TEXT ((size_t)TOKENIZER_TEXT_LIMIT)

struct session_params {
    unsigned threads;      /* 0: cpus_usable() */
    size_t max_prompts;    /* 0: 1 */
    size_t max_text_bytes; /* 0: 65536 */
    enum kernel_set kernels; /* the highest; KERNELS_BEST: whatever there is, AMX included */
    enum arithmetic arithmetic;
    size_t kept_prompts; /* whose rows stay from one pass to the next (model/kept.h) */
};

/* One prompt, and what became of it. */
struct session_prompt {
    const char *text; /* or ids */
    size_t text_bytes;
    const int32_t *ids;
    size_t id_count;
    const unsigned char *key_mask; /* NULL, or one byte for each token of the row: 0 hides it from attention, 1 does not */
    struct token_frame frame; /* out; for ids only end_position counts, SIZE_MAX: none */
};

struct session;

/* Fills in defaults and checks limits. */
int session_settle(struct session_params *params, struct fault *fault);
/* Bytes that session_open takes, for settled params. */
int session_measure(const struct clip *clip, const struct session_params *params, size_t *bytes, struct fault *fault);
int session_open(struct session **out, const struct clip *clip, const struct session_params *params, struct fault *fault);
void session_close(struct session *session);
/* Any thread: the encode under way, if there is one, stops at its next block. */
void session_cancel(struct session *session);

/* An encode in four steps, so that the caller can fill arrays that the session holds, without memory of its own.
 * session_begin .. session_end bracket one; session_begin fails when another is under way, or in a forked child. */
int session_begin(struct session *session, struct fault *fault);
struct session_prompt *session_prompts(struct session *session); /* room for max_prompts */
struct tap *session_taps(struct session *session);               /* room for SESSION_TAPS */
size_t session_max_prompts(const struct session *session);
/* Prompts to rows of ids, all of one length: *tokens. `pools`: a row without an end is an error. Nothing that a prompt points
 * to is read after this. A key mask begins with 1: on what a token sees that has no visible key there is no agreement
 * (transformers 5.23 in float32: the average of all values, later ones too, with eager attention; nothing with sdpa). */
int session_tokenize(struct session *session, size_t prompts, int pools, size_t *tokens, struct fault *fault);
/* The pass over what session_tokenize left. progress may be NULL; nonzero cancels. */
int session_run(struct session *session, size_t prompts, size_t tokens, size_t taps,
                int (*progress)(void *user, uint32_t done, uint32_t total), void *user, struct fault *fault);
void session_end(struct session *session);

/* Between session_begin and session_end, for what is composed of taps: a job on every worker of the session, as workers_run
 * has it, so that nothing is computed on the host's thread. Scratch is as large as the tower's. */
void session_work(struct session *session, void (*job)(struct worker *worker, void *context), void *context);
/* clip_check of the session's model. */
int session_check(const struct session *session, struct fault *fault);

#endif
