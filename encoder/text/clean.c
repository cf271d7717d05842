/* clean.c - walks a text segment by segment and keeps track of where each byte came from. */
#include "clean.h"

#include "../base/utf8.h"
#include "normalise.h"

struct writer {
    struct clean *out;
    int after_space;
};

static void put_byte(struct clean *out, char byte, size_t origin) {
    out->bytes[out->count] = byte;
    out->origin[out->count++] = (uint32_t)origin;
}

/* One character of NFC. whole: its bytes all come from the segment that begins at `origin`; else from its own `size`
 * bytes there. */
static void put_point(struct writer *writer, uint32_t point, size_t origin, size_t size, int whole) {
    struct clean *out = writer->out;
    const struct unicode_record *record = unicode_of(point);
    int is_space = (record->flags & UNICODE_CATEGORY) == UNICODE_SPACE;
    if (is_space) {
        if (!writer->after_space)
            put_byte(out, ' ', origin);
        writer->after_space = 1;
        return;
    }
    writer->after_space = 0;
    char small[8];
    size_t length =
        utf8_put(small, (record->flags & UNICODE_LOWER_TWO) ? 'i' : (uint32_t)((int32_t)point + record->lower));
    if (record->flags & UNICODE_LOWER_TWO)
        length += utf8_put(small + length, 0x307);
    if (length != size)
        whole = 1;
    for (size_t i = 0; i < length; i++)
        put_byte(out, small[i], whole ? origin : origin + i);
}

static uint32_t role_at(const char *text, size_t at, size_t end, size_t *length) {
    uint32_t point = 0;
    *length = utf8_decode(text + at, end - at, &point);
    return unicode_of(point)->flags & UNICODE_ROLE;
}

/* The segment's characters as they stand in the text. */
static void put_unchanged(struct writer *writer, const char *text, size_t begin, size_t end) {
    while (begin < end) {
        uint32_t point = 0;
        size_t length = utf8_decode(text + begin, end - begin, &point);
        put_point(writer, point, begin, length, 0);
        begin += length;
    }
}

static int is_same(const char *text, size_t begin, size_t end, const int32_t *points, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t point = 0;
        size_t length = utf8_decode(text + begin, end - begin, &point);
        /* NFC is never the text itself with something behind it: length is not 0 before a point differs */
        if (length == 0 || point != (uint32_t)points[i]) /* GCOVR_EXCL_BR_LINE */
            return 0;
        begin += length;
    }
    return begin == end;
}

static void put_segment(struct writer *writer, const char *text, size_t begin, size_t end, int32_t *points,
                        int32_t *spare) {
    size_t count = normalise_segment(text + begin, end - begin, points, spare);
    if (is_same(text, begin, end, points, count)) {
        put_unchanged(writer, text, begin, end);
        return;
    }
    for (size_t i = 0; i < count; i++)
        put_point(writer, (uint32_t)points[i], begin, end - begin, 1);
}

void clean_text(const char *text, size_t begin, size_t end, struct clean *out, int32_t *points, int32_t *spare) {
    struct writer writer = {.out = out};
    out->count = 0;
    size_t at = begin;
    while (at < end) {
        unsigned char byte = (unsigned char)text[at];
        if (byte < 0x80 && (at + 1 == end || (unsigned char)text[at + 1] < 0x80)) {
            /* ASCII before ASCII is a segment of its own; most prompts are nothing else */
            if (byte > ' ' && byte < 0x7F) {
                writer.after_space = 0;
                put_byte(out, (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte), at);
            } else {
                put_point(&writer, byte, at, 1, 0);
            }
            at++;
            continue;
        }
        size_t length, more;
        uint32_t role = role_at(text, at, end, &length);
        size_t stop = at + length;
        if (role != UNICODE_PLAIN) {
            while (stop < end && role_at(text, stop, end, &more) == UNICODE_JOIN)
                stop += more;
        }
        if (role == UNICODE_PLAIN || (role == UNICODE_FIRST && stop == at + length))
            put_unchanged(&writer, text, at, stop);
        else
            put_segment(&writer, text, at, stop, points, spare);
        at = stop;
    }
    out->origin[out->count] = (uint32_t)end;
}
