/* status.c - pairs the engine's codes with the ABI's. They are equal by number, which is asserted here and nowhere relied
 * upon without it. */
#include "status.h"

#include <string.h>

#include "../encoder/base/utf8.h"

#define PAIR(name) _Static_assert((int)FAULT_##name == PENULT_E_##name, "the ABI's status " #name " keeps its number")
PAIR(ARGUMENT);
PAIR(UNSUPPORTED);
PAIR(NOT_FOUND);
PAIR(IO);
PAIR(FORMAT);
PAIR(TRUNCATED);
PAIR(TRAILING);
PAIR(MISMATCH);
PAIR(NO_MEMORY);
PAIR(TEXT);
PAIR(LIMIT);
PAIR(NO_TOKENIZER);
PAIR(CANCELLED);
PAIR(NON_FINITE);
PAIR(CHANGED);
PAIR(WRONG_PROCESS);
_Static_assert(FAULT_CODES == PENULT_E_WRONG_PROCESS + 1, "every fault has a status");
_Static_assert(sizeof(((struct fault *)0)->message) == sizeof(((penult_error *)0)->message), "messages fit");

/* What came from a path or was cut in the middle of a character becomes '?': bindings decode messages. So does a control
 * character, which can only come from a path: a message is one line, and prints as it is. */
static void make_printable(char *text) {
    size_t size = strlen(text);
    for (size_t at = 0; at < size;) {
        size_t length = utf8_length(text + at, size - at);
        if (length == 0 || (unsigned char)text[at] < 0x20 || text[at] == 0x7F)
            text[at] = '?';
        at += length ? length : 1;
    }
}

int32_t status_of(const struct fault *fault, penult_error *error) {
    if (error) {
        error->status = fault->code;
        size_t size = strlen(fault->message); /* what lies behind it in our frame is nobody's business */
        memcpy(error->message, fault->message, size);
        memset(error->message + size, 0, sizeof error->message - size);
        make_printable(error->message);
    }
    return fault->code;
}
