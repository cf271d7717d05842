/* safetensors.c - reads the header into a set of named tensors, and checks every number in it. */
#include "safetensors.h"

#include <stdio.h>
#include <string.h>

#include "../base/memory.h"
#include "../base/sort.h"
#include "json.h"

struct reader {
    struct json json;
    struct safetensors *out;
    struct fault *fault;
    size_t capacity;
    size_t names_used;
};

static const char *quote(struct fault_text *text, const struct named_tensor *item) {
    return fault_quote(text, item->name, item->name_size);
}

static int format_fault(const struct reader *r, const struct named_tensor *item, const char *what) {
    struct fault_text text;
    return fault_set(r->fault, FAULT_FORMAT, "%s: tensor \"%s\": %s", r->json.name, quote(&text, item), what);
}

/* 'tensor "q.weight": shape', for messages. */
struct field_text {
    char bytes[440];
};

static const char *name_field(struct field_text *out, const struct named_tensor *item, const char *field) {
    struct fault_text text;
    snprintf(out->bytes, sizeof out->bytes, "tensor \"%s\": %s", quote(&text, item), field);
    return out->bytes;
}

static int field_fault(const struct reader *r, const struct named_tensor *item, const char *field,
                       const struct json_event *event, const char *expected) {
    struct field_text text;
    return json_expected(&r->json, event, name_field(&text, item, field), expected, r->fault);
}

static int read_dtype(struct reader *r, struct named_tensor *item) {
    struct json_event event;
    struct fault_text name, found;
    char plain[96]; /* every name, were each of its letters an escape */
    int status = json_next(&r->json, &event, r->fault);
    if (status)
        return status;
    if (event.kind != JSON_STRING)
        return field_fault(r, item, "dtype", &event, "a string");
    item->tensor.dtype = event.size <= sizeof plain ? dtype_from_name(plain, json_unescape(&event, plain)) : DTYPE_NONE;
    if (item->tensor.dtype == DTYPE_NONE)
        return fault_set(r->fault, FAULT_FORMAT, "%s: tensor \"%s\": found dtype \"%s\", expected one that safetensors has",
                         r->json.name, quote(&name, item), fault_quote(&found, event.bytes, event.size));
    return 0;
}

/* A list of at most `room` unsigned integers. */
static int read_integers(struct reader *r, const struct named_tensor *item, const char *field, uint64_t *out, unsigned room,
                         unsigned *count) {
    struct json_event event;
    struct field_text text;
    int status = json_next(&r->json, &event, r->fault);
    if (status)
        return status;
    if (event.kind != JSON_ARRAY)
        return field_fault(r, item, field, &event, "an array");
    *count = 0;
    for (;;) {
        int64_t value;
        if ((status = json_next(&r->json, &event, r->fault)))
            return status;
        if (event.kind == JSON_ARRAY_END)
            return 0;
        if (*count == room)
            return fault_set(r->fault, FAULT_FORMAT, "%s: %s: found more than %u numbers (byte %zu)", r->json.name,
                             name_field(&text, item, field), room, event.offset);
        if (json_integer(&r->json, &event, field, &value, r->fault)) /* again, with the name that is rarely needed */
            return json_integer(&r->json, &event, name_field(&text, item, field), &value, r->fault);
        if (event.bytes[0] == '-') /* -0 as well: the reference reads unsigned numbers */
            return field_fault(r, item, field, &event, "no negative number");
        out[(*count)++] = (uint64_t)value;
    }
}

/* shape x dtype must be the byte range; nothing may overflow on the way. */
static int check_size(const struct reader *r, const struct named_tensor *item) {
    uint64_t bits = 1;
    int overflow = 0, empty = 0;
    for (unsigned i = 0; i < item->tensor.rank; i++) {
        overflow |= __builtin_mul_overflow(bits, item->tensor.shape[i], &bits);
        empty |= item->tensor.shape[i] == 0;
    }
    overflow |= __builtin_mul_overflow(bits, (uint64_t)dtype_bits(item->tensor.dtype), &bits);
    /* the reference multiplies in order and refuses an overflow even where a later zero would undo it */
    if (overflow)
        return format_fault(r, item, "its shape overflows 64 bits");
    if (empty)
        bits = 0;
    if (bits % 8)
        return format_fault(r, item, "its elements do not fill whole bytes");
    if (bits / 8 != item->bytes) {
        struct fault_text text;
        struct shape_text shape;
        return fault_set(r->fault, FAULT_FORMAT, "%s: tensor \"%s\": %s %s takes %llu bytes, but its data_offsets span %llu",
                         r->json.name, quote(&text, item), dtype_name(item->tensor.dtype),
                         shape_print(&shape, item->tensor.shape, item->tensor.rank), (unsigned long long)(bits / 8),
                         (unsigned long long)item->bytes);
    }
    return 0;
}

enum field { FIELD_DTYPE = 1, FIELD_SHAPE = 2, FIELD_OFFSETS = 4 };

static int read_field(struct reader *r, struct named_tensor *item, const struct json_event *key, unsigned *seen) {
    struct json_event event;
    unsigned field = json_is(key, "dtype")          ? FIELD_DTYPE
                     : json_is(key, "shape")        ? FIELD_SHAPE
                     : json_is(key, "data_offsets") ? FIELD_OFFSETS
                                                    : 0;
    if (*seen & field)
        return format_fault(r, item, "a field stands in its header twice");
    *seen |= field;
    if (field == FIELD_DTYPE)
        return read_dtype(r, item);
    if (field == FIELD_SHAPE)
        return read_integers(r, item, "shape", item->tensor.shape, TENSOR_RANK, &item->tensor.rank);
    if (field == FIELD_OFFSETS) {
        uint64_t range[2] = {0, 0};
        unsigned count;
        int status = read_integers(r, item, "data_offsets", range, 2, &count);
        if (status)
            return status;
        if (count != 2 || range[1] < range[0])
            return format_fault(r, item, "found data_offsets that are not [begin, end] with end at or after begin");
        item->offset = range[0];
        item->bytes = range[1] - range[0];
        return 0;
    }
    int status = json_next(&r->json, &event, r->fault);
    return status ? status : json_skip(&r->json, &event, r->fault);
}

static int read_tensor(struct reader *r, const struct json_event *key) {
    struct safetensors *out = r->out;
    struct json_event event;
    unsigned seen = 0;
    int status;
    if (out->set.count == r->capacity) {
        size_t more = r->capacity ? r->capacity * 2 : 64;
        void *items = memory_resize(out->set.items, more, sizeof *out->set.items);
        if (!items)
            return fault_set(r->fault, FAULT_NO_MEMORY, "%s: no memory for a table of %zu tensors", r->json.name, more);
        out->set.items = items;
        r->capacity = more;
    }
    struct named_tensor *item = &out->set.items[out->set.count];
    memset(item, 0, sizeof *item);
    item->name = out->names + r->names_used;
    item->name_size = json_unescape(key, out->names + r->names_used);
    r->names_used += item->name_size;
    if ((status = json_next(&r->json, &event, r->fault)))
        return status;
    if (event.kind != JSON_OBJECT)
        return json_expected(&r->json, &event, "a tensor's entry", "an object", r->fault);
    for (;;) {
        if ((status = json_next(&r->json, &event, r->fault)))
            return status;
        if (event.kind == JSON_OBJECT_END)
            break;
        if ((status = read_field(r, item, &event, &seen)))
            return status;
    }
    if (seen != (FIELD_DTYPE | FIELD_SHAPE | FIELD_OFFSETS))
        return format_fault(r, item, "its header lacks dtype, shape or data_offsets");
    out->set.count++;
    return check_size(r, item);
}

/* Strings only, as the reference demands; nothing in it changes what a tensor means. */
static int read_metadata(struct reader *r) {
    struct json_event event;
    int status = json_next(&r->json, &event, r->fault);
    if (status)
        return status;
    if (event.kind != JSON_OBJECT)
        return json_expected(&r->json, &event, "__metadata__", "an object", r->fault);
    for (;;) {
        if ((status = json_next(&r->json, &event, r->fault)))
            return status;
        if (event.kind == JSON_OBJECT_END)
            return 0;
        if (event.kind != JSON_KEY && event.kind != JSON_STRING)
            return json_expected(&r->json, &event, "__metadata__", "a string", r->fault);
    }
}

static int read_header(struct reader *r) {
    struct json_event event;
    int metadata = 0;
    int status = json_next(&r->json, &event, r->fault);
    if (status)
        return status;
    if (event.kind != JSON_OBJECT)
        return json_expected(&r->json, &event, "the header", "an object", r->fault);
    for (;;) {
        if ((status = json_next(&r->json, &event, r->fault)))
            return status;
        if (event.kind == JSON_OBJECT_END)
            return json_next(&r->json, &event, r->fault);
        if (!json_is(&event, "__metadata__"))
            status = read_tensor(r, &event);
        else if (metadata++)
            return fault_set(r->fault, FAULT_FORMAT, "%s: __metadata__ stands in the header twice", r->json.name);
        else
            status = read_metadata(r);
        if (status)
            return status;
    }
}

static int by_offset(const void *a, const void *b) {
    const struct named_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_name(const void *a, const void *b) {
    const struct named_tensor *x = a, *y = b;
    return tensor_name_compare(x->name, x->name_size, y->name, y->name_size);
}

/* The ranges must tile the data exactly: no hole, no overlap, nothing behind. */
static int check_ranges(const struct reader *r, uint64_t data_bytes) {
    struct tensor_set *set = &r->out->set;
    uint64_t end = 0;
    struct fault_text text;
    sort_items(set->items, set->count, sizeof *set->items, by_offset);
    for (size_t i = 0; i < set->count; i++) {
        const struct named_tensor *item = &set->items[i];
        if (item->offset != end)
            return fault_set(r->fault, FAULT_FORMAT, "%s: tensor \"%s\" begins at byte %llu of the data, expected %llu, where "
                             "the one before it ends", r->json.name, quote(&text, item), (unsigned long long)item->offset,
                             (unsigned long long)end);
        end = item->offset + item->bytes; /* both came from one pair of 63-bit numbers */
    }
    if (end != data_bytes)
        return fault_set(r->fault, end > data_bytes ? FAULT_TRUNCATED : FAULT_TRAILING,
                         "%s: its tensors take %llu bytes of data, but the file has %llu behind its header", r->json.name,
                         (unsigned long long)end, (unsigned long long)data_bytes);
    return 0;
}

static int check_names(const struct reader *r) {
    struct tensor_set *set = &r->out->set;
    struct fault_text text;
    sort_items(set->items, set->count, sizeof *set->items, by_name);
    for (size_t i = 1; i < set->count; i++)
        if (by_name(&set->items[i - 1], &set->items[i]) == 0)
            return fault_set(r->fault, FAULT_FORMAT, "%s: tensor \"%s\" stands in the header twice", r->json.name,
                             quote(&text, &set->items[i]));
    return 0;
}

int safetensors_parse(struct safetensors *out, const char *name, const char *header, size_t header_size,
                      uint64_t file_bytes, struct fault *fault) {
    struct reader r = {.out = out, .fault = fault};
    *out = (struct safetensors){.data_offset = 8 + (uint64_t)header_size};
    json_start(&r.json, name, header, header_size);
    out->names = memory_array(header_size, 1);
    int status = out->names ? read_header(&r) : fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for its names", name);
    if (!status)
        status = check_ranges(&r, file_bytes - out->data_offset);
    if (!status)
        status = check_names(&r);
    for (size_t i = 0; !status && i < out->set.count; i++)
        out->set.items[i].offset += out->data_offset;
    if (status)
        safetensors_close(out);
    return status;
}

int safetensors_open(struct safetensors *out, const struct file *file, const char *name, struct fault *fault) {
    unsigned char length[8];
    uint64_t header_size = 0;
    *out = (struct safetensors){0};
    if (file->bytes < sizeof length)
        return fault_set(fault, FAULT_TRUNCATED, "%s: has %llu bytes, expected at least the 8 of a safetensors header", name,
                         (unsigned long long)file->bytes);
    int status = file_read(file, 0, length, sizeof length, name, fault);
    if (status)
        return status;
    for (int i = 7; i >= 0; i--)
        header_size = header_size << 8 | length[i];
    if (header_size > SAFETENSORS_HEADER_LIMIT)
        return fault_set(fault, FAULT_FORMAT, "%s: says its header has %llu bytes, expected at most %u", name,
                         (unsigned long long)header_size, SAFETENSORS_HEADER_LIMIT);
    if (header_size > file->bytes - sizeof length)
        return fault_set(fault, FAULT_TRUNCATED, "%s: says its header has %llu bytes, but the file has %llu behind it", name,
                         (unsigned long long)header_size, (unsigned long long)(file->bytes - sizeof length));
    /* a copy: what is checked must be what is used, whatever happens to the file meanwhile */
    char *header = memory_array((size_t)header_size, 1);
    if (!header)
        return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for its header of %llu bytes", name,
                         (unsigned long long)header_size);
    status = file_read(file, sizeof length, header, (size_t)header_size, name, fault);
    if (!status)
        status = safetensors_parse(out, name, header, (size_t)header_size, file->bytes, fault);
    memory_free(header);
    return status;
}

void safetensors_close(struct safetensors *safetensors) {
    memory_free(safetensors->set.items);
    memory_free(safetensors->names);
    *safetensors = (struct safetensors){0};
}
