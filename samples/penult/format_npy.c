/* format_npy.c - NumPy's .npy, one array per file, and .npz, a zip archive of them, stored without compression.
 * Formats: numpy.lib.format, version 1.0; PKWARE's APPNOTE, the plain 32-bit form. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "../../api/penult.h"
#include "formats.h"
#include "say.h"

size_t npy_header(const struct tensor *tensor, char header[NPY_HEADER_MAX]) {
    const char *type = tensor->dtype == PENULT_F16 ? "<f2" : tensor->dtype == TENSOR_I32 ? "<i4" : "<f4";
    char words[NPY_HEADER_MAX - 10];
    int used = snprintf(words, sizeof words, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
    for (unsigned i = 0; i < tensor->rank; i++) {
        used += snprintf(words + used, sizeof words - (size_t)used, "%" PRIu64 ",%s", tensor->shape[i],
                         i + 1 < tensor->rank ? " " : "");
    }
    used += snprintf(words + used, sizeof words - (size_t)used, "), }");
    size_t total = (10 + (size_t)used + 1 + 63) / 64 * 64;
    memset(header, ' ', total);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((total - 10) & 255u);
    header[9] = (char)((total - 10) >> 8);
    memcpy(header + 10, words, (size_t)used);
    header[total - 1] = '\n';
    return total;
}

bool write_npy(FILE *to, const struct tensor *tensor) {
    char header[NPY_HEADER_MAX];
    size_t length = npy_header(tensor, header);
    return fwrite(header, 1, length, to) == length && fwrite(tensor->data, 1, tensor->bytes, to) == tensor->bytes;
}

/* Little-endian numbers of the zip structures. */
static size_t put(unsigned char *at, unsigned bytes, uint64_t value) {
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (unsigned char)(value >> 8 * i & 255u);
    }
    return bytes;
}

struct member {
    uint64_t offset;
    uint64_t bytes;
    uint32_t crc;
    char name[64];
    char header[NPY_HEADER_MAX];
    size_t header_bytes;
};

/* What a local header and a central one have in common: flags to length of the extra field. The time is the first that
 * the format can say, 1980-01-01, so that equal tensors give equal files. */
static size_t put_common(unsigned char *at, const struct member *member) {
    size_t used = 0;
    used += put(at + used, 2, 0);
    used += put(at + used, 2, 0);
    used += put(at + used, 2, 0);
    used += put(at + used, 2, 1 << 5 | 1);
    used += put(at + used, 4, member->crc);
    used += put(at + used, 4, member->bytes);
    used += put(at + used, 4, member->bytes);
    used += put(at + used, 2, strlen(member->name));
    used += put(at + used, 2, 0);
    return used;
}

static bool write_local(FILE *to, const struct member *member, const struct tensor *tensor) {
    unsigned char bytes[64];
    size_t used = put(bytes, 4, 0x04034b50);
    used += put(bytes + used, 2, 20);
    used += put_common(bytes + used, member);
    return fwrite(bytes, 1, used, to) == used && fputs(member->name, to) >= 0 &&
           fwrite(member->header, 1, member->header_bytes, to) == member->header_bytes &&
           fwrite(tensor->data, 1, tensor->bytes, to) == tensor->bytes;
}

static bool write_central(FILE *to, const struct member *member) {
    unsigned char bytes[64];
    size_t used = put(bytes, 4, 0x02014b50);
    used += put(bytes + used, 2, 20);
    used += put(bytes + used, 2, 20);
    used += put_common(bytes + used, member);
    used += put(bytes + used, 2, 0);
    used += put(bytes + used, 2, 0);
    used += put(bytes + used, 2, 0);
    used += put(bytes + used, 4, 0);
    used += put(bytes + used, 4, member->offset);
    return fwrite(bytes, 1, used, to) == used && fputs(member->name, to) >= 0;
}

static bool write_end(FILE *to, size_t count, uint64_t directory, uint64_t end) {
    unsigned char bytes[64];
    size_t used = put(bytes, 4, 0x06054b50);
    used += put(bytes + used, 4, 0);
    used += put(bytes + used, 2, count);
    used += put(bytes + used, 2, count);
    used += put(bytes + used, 4, end - directory);
    used += put(bytes + used, 4, directory);
    used += put(bytes + used, 2, 0);
    return fwrite(bytes, 1, used, to) == used;
}

static uint64_t describe(struct member *member, const struct tensor *tensor, uint64_t offset) {
    member->offset = offset;
    member->header_bytes = npy_header(tensor, member->header);
    member->bytes = member->header_bytes + tensor->bytes;
    snprintf(member->name, sizeof member->name, "%s.npy", tensor->name);
    uLong crc = crc32_z(0, (const unsigned char *)member->header, member->header_bytes);
    member->crc = (uint32_t)crc32_z(crc, tensor->data, tensor->bytes);
    return offset + 30 + strlen(member->name) + member->bytes;
}

bool write_npz(FILE *to, const struct tensor *const *tensors, size_t count) {
    struct member *members = calloc(count + 1, sizeof *members);
    uint64_t offset = 0;
    bool written = members != NULL;
    for (size_t i = 0; written && i < count; i++) {
        offset = describe(&members[i], tensors[i], offset);
    }
    uint64_t directory = offset;
    for (size_t i = 0; written && i < count; i++) {
        offset += 46 + strlen(members[i].name);
    }
    if (members == NULL || offset > UINT32_MAX || count > UINT16_MAX) {
        say_failed("%s", members == NULL ? "no memory for the directory of the .npz file"
                                         : "an .npz file holds 4 GiB at most, and this is more; write .safetensors");
        free(members);
        return false;
    }
    for (size_t i = 0; written && i < count; i++) {
        written = write_local(to, &members[i], tensors[i]);
    }
    for (size_t i = 0; written && i < count; i++) {
        written = write_central(to, &members[i]);
    }
    written = written && write_end(to, count, directory, offset);
    free(members);
    return written;
}
