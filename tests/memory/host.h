/* host.h - what the tests of memory, workers and faults share: the plugin, a request that asks for everything, what the
 * kernel says of this process, and TAP.
 *
 * Knows penult.h and /proc. The tests are plain programs without cmocka: they measure the process they run in, which
 * should hold nothing but the plugin. */
#ifndef PENULT_TESTS_HOST_H
#define PENULT_TESTS_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "penult_load.h"

extern const penult_api *api;

/* ---- TAP. Children that were forked only return; the parent speaks. */
void check(int good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void skip(const char *name, const char *why);
/* A line that explains: "# ..."; also appended to the file that PENULT_TABLES names, for what a runner does not show. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints the plan; the exit status. */
int done(void);
/* For a test that cannot go on: says why and exits 2, which the runner counts as a failure. */
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- the plugin */
/* argv: program, plugin, model, ... */
void host_load(char **argv);
penult_model *host_open(const char *path, const char *tokenizer, uint32_t access);
penult_session *host_session(penult_model *model, uint32_t threads, uint32_t max_prompts, uint32_t kernels);
const char *status_name(int32_t status);

/* One request and its buffers, all touched, so that an encode adds no page of the host's own. text NULL: ids. */
struct batch {
    penult_prompt *prompts;
    penult_output outputs[64];
    penult_text_request request;
    unsigned char *memory;
    size_t bytes;
    int32_t *ids;
};
enum wanted {
    WANT_POOLED,  /* hidden -2 and the pooled vector: what a sampler asks for */
    WANT_ALL      /* every hidden state, the last one normed, in each type, and every pooled one */
};
void batch_make(struct batch *batch, const penult_model *model, uint32_t prompts, const char *text, size_t text_bytes,
                enum wanted wanted);
void batch_free(struct batch *batch);
/* FNV-1a of everything that was written. */
uint64_t batch_bits(const struct batch *batch);
/* `bytes` of words that no prompt has long repeats of. The caller frees. */
char *long_text(size_t bytes);

/* ---- what the kernel says */
/* A "Name:  123 kB" line of a file of /proc/self, in bytes; 0 if it is not there. */
uint64_t proc_bytes(const char *path, const char *name);
/* Anonymous memory with a page behind it: counted page by page, where RssAnon of status lags by up to some hundred KiB. */
uint64_t anonymous_bytes(void);
struct mapping {
    uint64_t rss, pss;
    uint64_t shared, own; /* pages that another process maps too, or not; clean, or written by whoever made the file */
    uint64_t anonymous;   /* pages that were copied */
};
/* The mapping of the file whose path ends like this. */
struct mapping mapping_of(const char *suffix);
unsigned thread_count(void);
/* Whether it comes to that within two seconds: of a thread that was joined the kernel may still show what is left. */
int threads_are(unsigned count);
/* Threads whose name begins like this: tids[0 .. result). */
unsigned threads_named(const char *prefix, int *tids, unsigned room);
unsigned descriptor_count(void);
double seconds(void);
double cpu_seconds(void);
double median(double *values, unsigned count);

#endif
