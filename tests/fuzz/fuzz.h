/* fuzz.h - what the fuzz targets share: assertions, the budget of memory, what a refusal must say, random numbers.
 *
 * Knows faults; knows no format. A target is one file fuzz_NAME.c with LLVMFuzzerTestOneInput, and
 * LLVMFuzzerCustomMutator where bytes alone would die at the first brace. The same objects run under libFuzzer and, without
 * it and without clang, under replay.c.
 */
#ifndef PENULT_TESTS_FUZZ_H
#define PENULT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "../../encoder/base/fault.h"
#include "../../encoder/base/report.h"

/* libFuzzer's interface (llvm.org/docs/LibFuzzer.html). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

/* Ends the process with this sentence unless it holds: how libFuzzer and replay.c see a finding. */
void fuzz_require(int holds, const char *what);

/* Valid UTF-8 by the table of RFC 3629, section 4: written apart from encoder/base/utf8.h, which it judges. Returns the
 * offset of the first byte that is wrong, or size. */
size_t fuzz_utf8(const char *text, size_t size);

/* A refusal has a code of the engine, and a sentence in UTF-8 that begins with one of the subjects (a list that ends in
 * NULL): the thing that was wrong. */
void fuzz_refused(int status, const struct fault *fault, const char *const *subjects);
/* A report whose findings must be sentences too; *count counts those of severity REPORT_ERROR. */
struct report fuzz_report(unsigned *errors);

/* ---- memory: fuzz.mk sends the engine's calls here. Only what is asked for between start and end counts. */
struct fuzz_memory {
    size_t requested; /* bytes of all requests together */
    long blocks;      /* made and not freed */
    long mapped;      /* bytes mapped and not unmapped */
};
void fuzz_memory_start(void);
struct fuzz_memory fuzz_memory_end(void);
/* fuzz_memory_end, and no more than 16 times the files' size and 1 MiB may have been asked for (reliability.md, 4.1). */
void fuzz_memory_within(size_t files_size);
/* Asked before each request while counting: 1 makes it fail. NULL: none fails. */
extern int (*fuzz_refuses)(void);

/* xorshift; the state must not be 0. */
uint32_t fuzz_random(uint32_t *state);
uint32_t fuzz_below(uint32_t *state, size_t limit);
uint32_t fuzz_seed(unsigned seed);

#endif
