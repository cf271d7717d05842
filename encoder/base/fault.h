/* fault.h - how the engine says that something went wrong: a code and one sentence.
 * Knows nothing of the ABI; plugin/status.c pairs these codes with its statuses. */
#ifndef ENCODER_BASE_FAULT_H
#define ENCODER_BASE_FAULT_H

#include <stddef.h>

enum fault_code {
    FAULT_NONE,
    FAULT_ARGUMENT,
    FAULT_UNSUPPORTED,
    FAULT_NOT_FOUND,
    FAULT_IO,
    FAULT_FORMAT,
    FAULT_TRUNCATED,
    FAULT_TRAILING,
    FAULT_MISMATCH,
    FAULT_NO_MEMORY,
    FAULT_TEXT,
    FAULT_LIMIT,
    FAULT_NO_TOKENIZER,
    FAULT_CANCELLED,
    FAULT_NON_FINITE,
    FAULT_CHANGED,
    FAULT_WRONG_PROCESS,
    FAULT_CODES
};

struct fault {
    int code;
    char message[508];
};

/* Fills in the fault and returns its code, so that a function can end in `return fault_set(...)`. The message is cut at
 * a whole UTF-8 character if it is too long. Use no float conversions: they obey the host's locale.
 * The code is passed by where compilers and analysers can see it: they then know that what follows a fault is not success. */
#define fault_set(fault, code, ...) fault_passed((fault_write(fault, code, __VA_ARGS__), (int)(code)))
__attribute__((format(printf, 3, 4))) void fault_write(struct fault *fault, enum fault_code code, const char *format, ...);
static inline int fault_passed(int code) {
    return code;
}

/* Bytes that came from a file, made fit for a message: at most 96 of them, quotes, control characters and broken UTF-8 as
 * \xNN. Returns out. */
struct fault_text {
    char bytes[400];
};
const char *fault_quote(struct fault_text *out, const char *bytes, size_t size);

#endif
