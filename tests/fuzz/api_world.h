/* api_world.h - the small model of what must be true that the fuzz target `api` holds against the plugin: which handles there
 * are, what they were opened with, and what a call must come to. Knows penult.h. */
#ifndef PENULT_TESTS_API_WORLD_H
#define PENULT_TESTS_API_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "../../api/penult.h"
#include "api_system.h"

/* One call of the input, eight bytes. What the fields mean is each call's own affair. */
struct call {
    uint8_t op, slot, what, shape, extra, content, flaw;
    uint8_t fault; /* from 128 on: the call number (fault & 31) to the system is refused; with 32, all from there on */
};

struct model {
    penult_model *handle;
    enum place place;
    uint32_t access, activation;
    int has_tokenizer;
    int touched; /* as its file was when it was opened */
};
struct session {
    penult_session *handle;
    struct model model; /* as it was; the host may have closed it since */
    uint32_t max_prompts, kernels;
    uint64_t max_text;
};

/* The first ones are open for the whole run: opening takes longer than all the rest of an input. */
enum { MODELS = 4, SESSIONS = 4, PERMANENT = 2 };
extern struct model models[MODELS];
extern struct session sessions[SESSIONS];
extern int touched[PLACES];
extern const penult_api *api;
/* Memory that is no handle. */
extern uint64_t blank[16];

/* Texts, some of them not UTF-8, some too long for some sessions. */
struct text {
    const char *bytes;
    size_t size;
    int is_utf8;
};
enum { TEXTS = 16 };
extern const struct text texts[TEXTS];

#define UNTOUCHED 0xA5
#define ONE(status) (1u << (status))

/* Between begin and end a call is watched: memory, and the refusals it was told to meet. */
void call_begin(const struct call *call, penult_error *error);
struct watched {
    size_t requested;
    long blocks, mapped;
    struct system_calls system;
};
struct watched call_end(void);

/* The status is one of the allowed (none: PENULT_OK), and the error struct says so in words that hold `word` (NULL: any), or
 * was not touched. A refused call keeps no memory. */
void call_expect(int32_t status, uint32_t allowed, const char *word, const penult_error *error, const struct watched *watched);

/* 1 if every byte is UNTOUCHED. */
int untouched(const void *bytes, size_t size);

/* A sized struct as another host would pass it. `flaw` 1 .. SIZED_FLAWS changes the copy in `to`, which has SIZED_MORE bytes
 * behind the struct; returns what must come of it (0: nothing), and sets *size to the struct_size now. */
enum { SIZED_NONE, SIZED_ZERO, SIZED_TINY, SIZED_HUGE, SIZED_JUNK, SIZED_LONGER, SIZED_FLAWS, SIZED_MORE = 16 };
int32_t sized(void *to, const void *from, size_t bytes, unsigned flaw, size_t *size);

/* FNV-1a: begins with BASIS, as from 0 or 1 short inputs come to the same. */
#define BASIS UINT64_C(14695981039346656037)
uint64_t mix(uint64_t hash, uint64_t value);
uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t size);
/* The same bits for the same request: `bits` are what came of a call, `key` is all that they may depend on. Another call with
 * that key must not have given others. */
void remember(uint64_t key, uint64_t bits, const struct call *call);

/* fuzz_api.c's calls; api_encode.c's is the longest. */
void call_encode(const struct call *call);

#endif
