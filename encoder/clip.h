/* clip.h - a model: a text tower, its weights where they lie, and its tokenizer. Immutable once open. */
#ifndef ENCODER_CLIP_H
#define ENCODER_CLIP_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/report.h"
#include "format/checkpoint.h"
#include "kernels/kernels.h"
#include "model/digest.h"
#include "model/weights.h"
#include "places.h"
#include "text/tokenizer.h"

struct clip_params {
    const char *path;           /* a file, an index of shards, or a directory: places.h; NULL: a tokenizer and no tower */
    const char *tower;          /* NULL: the widest: towers.h */
    const char *tokenizer_path; /* NULL: beside the weights */
    const char *own_directory;  /* may hold clip.vocab, for models without a tokenizer; or NULL */
    enum tokenizer_mode tokenizer_mode;
    enum pad_in_text pad_in_text;
    enum activation activation; /* ACTIVATION_NONE: the config's, or as published */
    uint32_t heads;             /* 0: the config's, or as published */
    int copy;                   /* read the weights into private memory */
    int list_tensors;           /* report each tensor that is used */
    struct report report;
    int (*progress)(void *user, uint64_t done, uint64_t total); /* or NULL; bytes; nonzero cancels */
    void *user;
};

struct clip {
    struct geometry geometry; /* width 0: there is no tower */
    struct text_weights weights;
    struct kernels kernels; /* the best without AMX, for which a session asks */
    struct tokenizer *tokenizer; /* or NULL */
    struct checkpoint checkpoint;
    struct places places; /* what the checkpoint's names are of */
    size_t place; /* of the places, the one in use */
    char tower[32];
    uint64_t bytes_used; /* of the tensors in use */
    uint64_t tensors_used;
};

int clip_open(struct clip **out, const struct clip_params *params, struct fault *fault);
void clip_close(struct clip *clip);
/* FAULT_CHANGED if mapped weights are not those that were opened any more. */
int clip_check(const struct clip *clip, struct fault *fault);
/* A fingerprint of the weights' values, whatever file they came from: model/digest.h. progress may be NULL. */
int clip_hash(const struct clip *clip, int (*progress)(void *user, uint64_t done, uint64_t total), void *user,
              unsigned char digest[SHA256_BYTES], struct fault *fault);
/* What a session of default parameters computes with, where AMX is not refused to it. */
void clip_kernels_name(const struct clip *clip, char name[sizeof((struct kernels *)0)->name]);
/* The tokenizer's end id, else the config's, else -1. */
int32_t clip_end_id(const struct clip *clip);

#endif
