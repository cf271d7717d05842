/* api_system.h - the system as the fuzz target `api` shows it to the plugin: files that are memory, and calls that fail when
 * they are told to. Knows no ABI; it writes the tiny models, so it knows their files. */
#ifndef PENULT_TESTS_API_SYSTEM_H
#define PENULT_TESTS_API_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

/* Directories that hold a model, and one that does not exist. All that open have this geometry. */
enum place {
    PLACE_FULL,   /* projection, tokenizer, float32 */
    PLACE_PLAIN,  /* neither, float16, the legacy eos_token_id 2 */
    PLACE_BROKEN, /* as PLACE_FULL, but the last block gives NaN */
    PLACE_SHORT,  /* the weights end a byte too early */
    PLACE_ODD,    /* config.json lacks hidden_act */
    PLACE_NONE,
    PLACES
};
extern const char *const place_paths[PLACES];

enum { TINY_WIDTH = 8, TINY_LAYERS = 2, TINY_HEADS = 2, TINY_MLP = 16, TINY_CONTEXT = 8, TINY_VOCABULARY = 12, TINY_PROJECTION = 4 };
#define TINY_START 6
#define TINY_END 7
#define TINY_PAD 5

/* Writes all files, once. */
void system_start(void);
/* The weights of that place look written to, or not any more. */
void system_touch(enum place place, int touched);

/* From now on, of the calls that ask the system for something, the first `before` succeed and then one is refused, or all of
 * them for ever. They count only while fuzz_memory is counting. */
void system_refuse(unsigned before, int for_ever);
struct system_calls {
    unsigned made, refused;
    unsigned memory; /* of those made, the ones that asked for memory or a thread */
};
struct system_calls system_accept(void);

/* 0: kernels are taken without being compared with the scalar ones, which takes longer than all the rest of a call. */
extern int system_checks_kernels;
/* 0: the worker of a session works on the caller's thread (api_workers.c). */
extern int system_starts_threads;

#endif
