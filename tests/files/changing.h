/* changing.h - a model folder of the test's own whose weights change under the plugin: what the changes are, and a pread,
 * fstat and open that can make one at a chosen call or fail there. Knows the file system and nothing of penult.h. */
#ifndef PENULT_TESTS_CHANGING_H
#define PENULT_TESTS_CHANGING_H

#include <stddef.h>

/* What a host may expect of each change. */
enum effect {
    EFFECT_NAME,   /* the bytes that were opened live on: no effect */
    EFFECT_BYTES,  /* the file has other bytes or more of them */
    EFFECT_SHRINK, /* the file has fewer bytes: a mapping may end in SIGBUS */
    EFFECT_HOLE    /* other bytes, and a file system may keep silent about it */
};

struct change {
    const char *name;
    enum effect effect;
    int (*make)(void); /* 0: made; 1: this file system cannot */
};
extern const struct change changes[];
extern const size_t change_count;

/* Copies the model's config, tokenizer and weights into a new folder under `parent`; its path. NULL if it cannot be. */
const char *changing_begin(const char *parent, const char *model);
/* The weights as they were, under their name, dated long ago: a later write is seen whatever the tick of the clock. */
void changing_restore(void);
/* Other weights under the same name: by rename (in_place 0) or written over the old ones. */
void changing_other_weights(int in_place);
void changing_end(void);
/* 1 if a punched hole changes the file's time here. */
int changing_dates_holes(void);

/* From now on, at the `point`-th pread of the file `name` of the folder (from 0), makes `change` before the bytes are read.
 * Reads are cut short, so that there are about a hundred. change NULL: only counts. */
void hook_arm(const char *name, const struct change *change, unsigned point);
enum call { CALL_OPEN, CALL_FSTAT, CALL_PREAD, CALLS };
/* The `point`-th such call on that file fails with this error. */
void hook_fail(const char *name, enum call call, int error, unsigned point);
/* How many such calls there were since; the hook is off after this. */
unsigned hook_count(enum call call);

#endif
