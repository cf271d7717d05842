/* utf8.h - UTF-8, one character at a time (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
#ifndef ENCODER_BASE_UTF8_H
#define ENCODER_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the valid character at p, 0 if there is none; its code point goes to *point. */
static inline size_t utf8_decode(const char *text, size_t room, uint32_t *point) {
    const unsigned char *p = (const unsigned char *)text;
    if (room == 0)
        return 0;
    if (p[0] < 0x80) {
        *point = p[0];
        return 1;
    }
    size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || room < length)
        return 0;
    uint32_t value = p[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xC0u) != 0x80u)
            return 0;
        value = value << 6 | (p[i] & 0x3Fu);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *point = value;
    return length;
}

static inline size_t utf8_length(const char *text, size_t room) {
    uint32_t point;
    return utf8_decode(text, room, &point);
}

/* Writes a valid code point, at most 4 bytes; returns how many. */
static inline size_t utf8_put(char *out, uint32_t point) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80u | (point & 0x3Fu));
        point >>= 6;
    }
    out[0] = (char)((0xF00u >> length & 0xFFu) | point);
    return length;
}

#endif
