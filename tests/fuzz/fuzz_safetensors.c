/* fuzz_safetensors.c - any bytes as a safetensors file, as far as its header; fuzz_layout.c takes it from there.
 *
 * The input is the file from its first byte: eight bytes of length, the header, the data. Where the eighth byte, which a
 * length of a real file leaves 0, is DECLARED, the other seven say how much data there is and the rest is the header: so
 * a file of terabytes costs nothing. No file is made; the engine's pread is answered from here.
 *
 * Protects: an accepted header tiles its data exactly with tensors whose shapes come to their bytes, its names are sorted and
 * unique; a refusal is a sentence about the file; memory stays within the budget.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../encoder/format/safetensors.h"
#include "fuzz.h"
#include "json_mutate.h"

#define DECLARED 0xD0
#define VIRTUAL (-77) /* the descriptor of a file that is none */

/* ---- the file ---- */

static struct {
    unsigned char length[8];
    const uint8_t *rest; /* behind the length; exactly as long as it is, so that a sanitizer sees a step too far */
    size_t rest_size;
    size_t at_most; /* bytes of one read: short ones are part of the game */
    int interrupts;
} disk;

ssize_t __real_pread(int descriptor, void *to, size_t bytes, off_t offset);
ssize_t __wrap_pread(int descriptor, void *to, size_t bytes, off_t offset);

ssize_t __wrap_pread(int descriptor, void *to, size_t bytes, off_t offset) {
    if (descriptor != VIRTUAL)
        return __real_pread(descriptor, to, bytes, offset);
    if (disk.interrupts-- > 0) {
        errno = EINTR;
        return -1;
    }
    size_t at = (size_t)offset, end = sizeof disk.length + disk.rest_size;
    const uint8_t *from = at < sizeof disk.length ? disk.length + at : disk.rest + (at - sizeof disk.length);
    size_t there = at < sizeof disk.length ? sizeof disk.length - at : at < end ? end - at : 0;
    size_t size = bytes < there ? bytes : there;
    size = size < disk.at_most ? size : disk.at_most;
    memcpy(to, from, size);
    return (ssize_t)size;
}

static uint64_t little_endian(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static void put_little_endian(uint8_t *bytes, uint64_t value) {
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

/* How long the file says it is: 8 + header + data. */
static uint64_t insert(const uint8_t *data, size_t size) {
    memcpy(disk.length, data, 8);
    disk.rest = data + 8;
    disk.rest_size = size - 8;
    disk.at_most = size & 1 ? SIZE_MAX : size / 3 + 1;
    disk.interrupts = (int)(size & 3) == 2;
    if (data[7] != DECLARED)
        return size;
    put_little_endian(disk.length, size - 8);
    return size + little_endian(data, 7);
}

/* ---- what must be true ---- */

__extension__ typedef unsigned __int128 wide;

static void check_accepted(const struct safetensors *s, uint64_t file_bytes) {
    uint64_t total = 0;
    fuzz_require(s->data_offset <= file_bytes, "data that begins behind the file");
    for (size_t i = 0; i < s->set.count; i++) {
        const struct named_tensor *item = &s->set.items[i];
        wide bits = dtype_bits(item->tensor.dtype);
        fuzz_require(item->offset >= s->data_offset && item->bytes <= file_bytes - item->offset, "a tensor outside the file");
        fuzz_require(item->tensor.rank <= TENSOR_RANK && bits > 0, "a rank or a dtype that is none");
        for (unsigned j = 0; j < item->tensor.rank; j++)
            bits = bits * item->tensor.shape[j]; /* 64 bits times 64, and the checked parser leaves no more */
        fuzz_require(bits == (wide)item->bytes * 8, "a shape that does not come to its bytes");
        fuzz_require(fuzz_utf8(item->name, item->name_size) == item->name_size, "a name that is not UTF-8");
        fuzz_require(tensor_find(&s->set, item->name, item->name_size) == i, "a name that is not found");
        for (size_t j = 0; j < i; j++)
            fuzz_require(item->bytes == 0 || s->set.items[j].bytes == 0 ||
                             s->set.items[j].offset + s->set.items[j].bytes <= item->offset ||
                             item->offset + item->bytes <= s->set.items[j].offset,
                         "two tensors on each other");
        total += item->bytes;
    }
    fuzz_require(total == file_bytes - s->data_offset, "a hole in the data");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const subjects[] = {"m.safetensors: ", NULL};
    struct safetensors s;
    struct fault fault = {0};
    if (size < 8)
        return 0;
    struct file file = {.descriptor = VIRTUAL, .bytes = insert(data, size)};
    fuzz_memory_start();
    int status = safetensors_open(&s, &file, "m.safetensors", &fault);
    fuzz_memory_within(size);
    if (status) {
        fuzz_refused(status, &fault, subjects);
        fuzz_require(!s.names && !s.set.items, "a refused file that keeps something");
        return 0;
    }
    check_accepted(&s, file.bytes);
    safetensors_close(&s);
    return 0;
}

/* ---- mutation ---- */

static const char *const keys[] = {
    "dtype", "shape", "data_offsets", "__metadata__", "format", "text_model.embeddings.token_embedding.weight",
    "text_model.encoder.layers.0.mlp.fc1.bias", "text_projection.weight", "encoder.layers.0.layer_norm1.weight", "a", NULL};
static const char *const values[] = {
    "\"F32\"", "\"F16\"", "\"BF16\"", "\"F64\"", "\"F4\"", "\"F6_E2M3\"", "\"F8_E4M3\"", "\"BOOL\"", "\"U8\"", "\"I64\"",
    "\"C64\"", "\"f32\"", "[]", "[0]", "[1]", "[2,3]", "[0,0]", "[0,1]", "[4,2]", "[4294967296,4294967296]",
    "[9223372036854775807,2]", "[1,1,1,1,1,1,1,1]", "[1,1,1,1,1,1,1,1,1]", "{\"format\":\"pt\"}",
    "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}", NULL};

#define MOST_TENSORS 64

/* The bytes that dtype and shape come to, or 0: a wrong one may stay wrong. */
static uint64_t bytes_of(const char *text, const struct json_node *nodes, size_t count, int entry) {
    int dtype = json_child(text, nodes, count, entry, "dtype"), shape = json_child(text, nodes, count, entry, "shape");
    uint64_t bits = 0;
    if (dtype < 0 || shape < 0 || nodes[dtype].kind != '"' || nodes[dtype].end - nodes[dtype].begin < 2)
        return 0;
    bits = dtype_bits(dtype_from_name(text + nodes[dtype].begin + 1, nodes[dtype].end - nodes[dtype].begin - 2));
    for (size_t i = (size_t)shape + 1; i < count && nodes[i].parent == shape; i++) {
        uint64_t value = 0;
        for (size_t j = nodes[i].begin; j < nodes[i].end && value < 1000000000; j++)
            value = value * 10 + (uint64_t)((text[j] - '0') & 15);
        bits *= value;
    }
    return bits / 8;
}

/* Writes offsets so that the tensors lie one behind the other, as they stand; *total is where they end. */
static size_t lay_out(char *text, size_t size, size_t room, uint64_t *total) {
    static struct json_node nodes[JSON_NODES];
    size_t count = json_scan(text, size, nodes, JSON_NODES), entries = 0;
    struct {
        int node;
        uint64_t begin, end;
    } found[MOST_TENSORS];
    *total = 0;
    for (size_t i = 1; i < count && entries < MOST_TENSORS; i++) {
        if (nodes[i].parent != 0 || nodes[i].kind != '{')
            continue;
        int offsets = json_child(text, nodes, count, (int)i, "data_offsets");
        if (offsets < 0)
            continue;
        found[entries].node = offsets;
        found[entries].begin = *total;
        found[entries++].end = *total += bytes_of(text, nodes, count, (int)i);
    }
    while (entries-- > 0) { /* from the last to the first, so that places stay right */
        char range[64];
        const struct json_node *node = &nodes[found[entries].node];
        int length = snprintf(range, sizeof range, "[%llu,%llu]", (unsigned long long)found[entries].begin,
                              (unsigned long long)found[entries].end);
        size = json_splice(text, size, room, node->begin, node->end - node->begin, range, (size_t)length);
    }
    return size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    static const struct json_words words = {keys, values};
    uint32_t random = fuzz_seed(seed);
    if (size < 10 || room < size || room < 64 || fuzz_below(&random, 3) == 0)
        return LLVMFuzzerMutate(data, size, room);
    int declared = data[7] == DECLARED;
    uint64_t length = declared ? size - 8 : little_endian(data, 8), total = declared ? little_endian(data, 7) : size - 8;
    size_t header = length < size - 8 ? (size_t)length : size - 8;
    if (!declared)
        total -= header;
    header = json_mutate((char *)data + 8, header, room - 8, &random, &words);
    if (fuzz_below(&random, 4))
        header = lay_out((char *)data + 8, header, room - 8, &total);
    total += fuzz_below(&random, 16) == 0 ? 1 : 0;
    total -= fuzz_below(&random, 16) == 0 && total ? 1 : 0;
    if (fuzz_below(&random, 8) == 0 && total <= room - 8 - header) {
        put_little_endian(data, header + (fuzz_below(&random, 16) == 0 ? fuzz_below(&random, 3) - 1u : 0u));
        memset(data + 8 + header, 0, (size_t)total);
        return 8 + header + (size_t)total;
    }
    put_little_endian(data, total);
    data[7] = DECLARED;
    return 8 + header;
}
