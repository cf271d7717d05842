/* clip.h - a model: a text tower, its weights where they lie, and its tokenizer. Immutable once open. */
#ifndef ENCODER_CLIP_H
#define ENCODER_CLIP_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/report.h"
#include "kernels/kernels.h"
#include "model/weights.h"
#include "text/tokenizer.h"

struct clip_params {
    const char *path;           /* a directory, or NULL: a tokenizer and no tower */
    const char *tokenizer_path; /* NULL: path */
    const char *own_directory;  /* may hold clip.vocab, for models without a tokenizer; or NULL */
    enum tokenizer_mode tokenizer_mode;
    enum pad_in_text pad_in_text;
    enum activation activation; /* ACTIVATION_NONE: the config's */
    int copy;                   /* read the weights into private memory */
    struct report report;
    int (*progress)(void *user, uint64_t done, uint64_t total); /* or NULL; bytes; nonzero cancels */
    void *user;
};

struct clip {
    struct geometry geometry; /* width 0: there is no tower */
    struct text_weights weights;
    struct kernels kernels;
    struct tokenizer *tokenizer; /* or NULL */
    struct file file;            /* mapped: open as long as the model, to see that it did not change */
    const unsigned char *bytes;  /* all of it, mapped or copied */
    int copied;
};

int clip_open(struct clip **out, const struct clip_params *params, struct fault *fault);
void clip_close(struct clip *clip);
/* FAULT_CHANGED if mapped weights are not those that were opened any more. */
int clip_check(const struct clip *clip, struct fault *fault);
/* The tokenizer's end id, else the config's, else -1. */
int32_t clip_end_id(const struct clip *clip);

#endif
