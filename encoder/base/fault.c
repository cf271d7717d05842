/* fault.c - formats the sentence of a fault. Owns the limits of a message. */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int is_continuation(char byte) {
    return ((unsigned char)byte & 0xC0u) == 0x80u;
}

void fault_write(struct fault *fault, enum fault_code code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(fault->message, sizeof fault->message, format, arguments);
    va_end(arguments);
    if (length < 0)
        fault->message[0] = '\0';
    if (length >= (int)sizeof fault->message) {
        size_t end = sizeof fault->message - 1;
        while (end > 0 && is_continuation(fault->message[end - 1]))
            end--;
        /* end - 1 is a lead byte whose character may have lost its tail */
        if (end > 0 && (unsigned char)fault->message[end - 1] >= 0x80u)
            end--;
        fault->message[end] = '\0';
    }
    fault->code = (int)code;
}

const char *fault_quote(struct fault_text *out, const char *bytes, size_t size) {
    static const char hex[] = "0123456789abcdef";
    size_t shown = size < 96 ? size : 96;
    size_t at = 0;
    for (size_t i = 0; i < shown; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\') {
            out->bytes[at++] = (char)byte;
        } else {
            out->bytes[at++] = '\\';
            out->bytes[at++] = 'x';
            out->bytes[at++] = hex[byte >> 4];
            out->bytes[at++] = hex[byte & 15];
        }
    }
    memcpy(out->bytes + at, shown < size ? "..." : "", shown < size ? 4 : 1);
    return out->bytes;
}
