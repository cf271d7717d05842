/* checkpoint.c - one file or many become one set of tensors. */
#include "checkpoint.h"

#include <string.h>

#include "../base/memory.h"
#include "../base/sort.h"
#include "shards.h"

#define COPY_STEP ((size_t)8 << 20)
/* Bytes that nobody wants between two wanted ones cost addresses when they are mapped with them, and a mapping of their own
 * costs the host one of its 65,530. */
#define GAP ((uint64_t)1 << 16)

/* ---- what kind of file ---- */

enum container { CONTAINER_SAFETENSORS, CONTAINER_INDEX };

static int is_json_start(unsigned char byte) {
    return byte == '{' || byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* A safetensors header of the length that an index's first bytes would spell has 10^17 bytes: no file is both. */
static int recognise(const struct file *file, const char *name, enum container *out, struct fault *fault) {
    unsigned char begin[9] = {0};
    size_t size = file->bytes < sizeof begin ? (size_t)file->bytes : sizeof begin;
    int status = file_read(file, 0, begin, size, name, fault);
    if (status)
        return status;
    *out = size == sizeof begin && is_json_start(begin[0]) && begin[7] ? CONTAINER_INDEX : CONTAINER_SAFETENSORS;
    if (memcmp(begin, "PK\3\4", 4) == 0)
        return fault_set(fault, FAULT_UNSUPPORTED, "%s: is a PyTorch zip file (pickle), expected safetensors: this version reads "
                         "no pickled checkpoint", name);
    if (memcmp(begin, "GGUF", 4) == 0)
        return fault_set(fault, FAULT_UNSUPPORTED, "%s: is a GGUF file, expected safetensors: this version does not read GGUF",
                         name);
    return 0;
}

/* ---- opening ---- */

static int open_single(struct checkpoint *c, struct file *file, struct fault *fault) {
    c->files = memory_array(1, sizeof *c->files);
    if (!c->files) {
        file_close(file);
        return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory to open it", c->name);
    }
    c->files[0] = (struct checkpoint_file){.name = c->name, .file = *file};
    c->file_count = 1;
    c->bytes = file->bytes;
    int status = safetensors_open(&c->files[0].header, &c->files[0].file, c->name, fault);
    if (!status) {
        c->set = c->files[0].header.set; /* the only one: taken as it is */
        c->files[0].header.set = (struct tensor_set){0};
    }
    return status;
}

static int open_shard(struct checkpoint *c, const char *directory, unsigned index, const struct report *report,
                      struct fault *fault) {
    struct checkpoint_file *file = &c->files[index];
    int status = file_open(&file->file, directory, file->name, fault);
    if (status == FAULT_NOT_FOUND) {
        file->missing = 1;
        report_find(report, (struct finding){.severity = REPORT_WARNING, .kind = REPORT_FORMAT, .subject = file->name},
                    "not there, though %s names it: its tensors cannot be used", c->name);
        return 0;
    }
    if (status)
        return status;
    c->bytes += file->file.bytes;
    return safetensors_open(&file->header, &file->file, file->name, fault);
}

/* The set is what the index lists, each tensor as its file's header has it. */
static int join_shards(struct checkpoint *c, const struct shards *shards, struct fault *fault) {
    struct fault_text quoted;
    c->set.items = memory_array(shards->count, sizeof *c->set.items);
    if (!c->set.items)
        return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for %zu tensors", c->name, shards->count);
    for (size_t i = 0; i < shards->count; i++) {
        const struct shard_entry *entry = &shards->entries[i];
        const struct checkpoint_file *file = &c->files[entry->file];
        struct named_tensor *item = &c->set.items[c->set.count++];
        size_t at = file->missing ? 0 : tensor_find(&file->header.set, entry->name, entry->name_size);
        if (!file->missing && at == file->header.set.count)
            return fault_set(fault, FAULT_MISMATCH, "%s: says that tensor \"%s\" is in %s, which does not hold it", c->name,
                             fault_quote(&quoted, entry->name, entry->name_size), file->name);
        if (file->missing)
            *item = (struct named_tensor){.name = entry->name, .name_size = entry->name_size};
        else
            *item = file->header.set.items[at];
        item->name = entry->name; /* of the index, which stays */
        item->file = entry->file;
    }
    return 0;
}

static int open_index(struct checkpoint *c, const char *directory, const struct report *report, struct fault *fault) {
    struct shards shards;
    char *text;
    size_t size;
    int status = file_read_all(directory, c->name, SHARDS_INDEX_LIMIT, &text, &size, fault);
    if (status)
        return status;
    status = shards_parse(&shards, c->name, text, size, fault);
    memory_free(text);
    if (status)
        return status;
    c->names = shards.bytes;
    shards.bytes = NULL;
    c->files = memory_array(shards.file_count, sizeof *c->files);
    if (!c->files)
        status = fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for %u files", c->name, shards.file_count);
    for (unsigned i = 0; !status && i < shards.file_count; i++) {
        c->files[i] = (struct checkpoint_file){.name = shards.files[i], .file = {.descriptor = -1}};
        c->file_count++;
        status = open_shard(c, directory, i, report, fault);
    }
    if (!status)
        status = join_shards(c, &shards, fault);
    for (unsigned i = 0; i < c->file_count; i++)
        safetensors_close(&c->files[i].header); /* names are the index's */
    shards_free(&shards);
    return status;
}

int checkpoint_open(struct checkpoint *out, const char *directory, const char *name, const struct report *report,
                    struct fault *fault) {
    const char *slash = strrchr(name, '/');
    enum container container;
    struct file file;
    *out = (struct checkpoint){.name = slash ? slash + 1 : name};
    int status = file_open(&file, directory, name, fault);
    if (status)
        return status;
    status = recognise(&file, out->name, &container, fault);
    if (status || container == CONTAINER_INDEX)
        file_close(&file);
    if (!status)
        status = container == CONTAINER_INDEX ? open_index(out, directory, report, fault) : open_single(out, &file, fault);
    if (status)
        checkpoint_close(out);
    return status;
}

/* ---- loading ---- */

static int by_place(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* One span for each wanted tensor, then as few as gaps allow. */
static int plan(struct checkpoint *c, const unsigned char *used, struct fault *fault) {
    size_t wanted = 0, count = 0;
    uint64_t page = memory_page_size();
    for (size_t i = 0; i < c->set.count; i++)
        wanted += used[i] && c->set.items[i].bytes > 0;
    c->spans = memory_array(wanted, sizeof *c->spans);
    if (!c->spans)
        return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for the places of %zu tensors", c->name, wanted);
    for (size_t i = 0; i < c->set.count; i++) {
        const struct named_tensor *item = &c->set.items[i];
        if (used[i] && item->bytes > 0)
            c->spans[count++] = (struct span){item->file, item->offset / page * page, item->offset + item->bytes, NULL};
    }
    sort_items(c->spans, count, sizeof *c->spans, by_place);
    for (size_t i = 0; i < count; i++) {
        struct span *last = c->span_count ? &c->spans[c->span_count - 1] : NULL;
        if (last && last->file == c->spans[i].file && c->spans[i].begin <= last->end + GAP)
            last->end = c->spans[i].end > last->end ? c->spans[i].end : last->end;
        else
            c->spans[c->span_count++] = c->spans[i];
    }
    for (size_t i = 0; i < c->span_count; i++)
        c->bytes_loaded += c->spans[i].end - c->spans[i].begin;
    return 0;
}

/* Into private pages, in steps that a progress bar can show and a host can stop. */
static int copy_span(struct checkpoint *c, struct span *span, uint64_t *done,
                     int (*progress)(void *user, uint64_t done, uint64_t total), void *user, struct fault *fault) {
    const struct checkpoint_file *file = &c->files[span->file];
    size_t bytes = (size_t)(span->end - span->begin);
    unsigned char *pages = memory_pages(bytes, memory_page_size(), MEMORY_AS_TOUCHED);
    if (!pages)
        return fault_set(fault, FAULT_NO_MEMORY, "%s: no memory for a copy of %zu bytes", file->name, bytes);
    span->data = pages;
    for (size_t at = 0; at < bytes;) {
        size_t step = bytes - at < COPY_STEP ? bytes - at : COPY_STEP;
        int status = file_read(&file->file, span->begin + at, pages + at, step, file->name, fault);
        if (status)
            return status;
        at += step;
        *done += step;
        if (progress && progress(user, *done, c->bytes_loaded))
            return fault_set(fault, FAULT_CANCELLED, "%s: cancelled after %llu of %llu bytes", c->name, (unsigned long long)*done,
                             (unsigned long long)c->bytes_loaded);
    }
    return 0;
}

static int load_spans(struct checkpoint *c, int (*progress)(void *user, uint64_t done, uint64_t total), void *user,
                      struct fault *fault) {
    uint64_t done = 0;
    for (size_t i = 0; i < c->span_count; i++) {
        struct span *span = &c->spans[i];
        const struct checkpoint_file *file = &c->files[span->file];
        int status = c->copied ? copy_span(c, span, &done, progress, user, fault)
                               : file_map(&file->file, file->name, span->begin, span->end - span->begin, &span->data, fault);
        if (status)
            return status;
    }
    return 0;
}

/* A file whose bytes nobody uses need not be watched. */
static void close_unused(struct checkpoint *c) {
    for (unsigned i = 0; i < c->file_count; i++) {
        int in_use = 0;
        for (size_t j = 0; j < c->span_count; j++)
            in_use |= c->spans[j].file == i;
        if (!in_use || c->copied)
            file_close(&c->files[i].file);
    }
}

int checkpoint_load(struct checkpoint *c, const unsigned char *used, int copy,
                    int (*progress)(void *user, uint64_t done, uint64_t total), void *user, struct fault *fault) {
    c->copied = copy;
    int status = plan(c, used, fault);
    if (!status)
        status = load_spans(c, progress, user, fault);
    for (unsigned i = 0; !status && copy && i < c->file_count; i++)
        status = c->files[i].missing ? 0 : file_check(&c->files[i].file, c->files[i].name, fault);
    if (status)
        return status;
    for (size_t i = 0; i < c->set.count; i++) {
        struct named_tensor *item = &c->set.items[i];
        for (size_t j = 0; used[i] && j < c->span_count; j++) {
            const struct span *span = &c->spans[j];
            if (span->file == item->file && item->offset >= span->begin && item->offset + item->bytes <= span->end)
                item->tensor.data = span->data + (item->offset - span->begin);
        }
    }
    close_unused(c);
    return 0;
}

/* ---- the rest ---- */

void checkpoint_forget(struct checkpoint *c) {
    memory_free(c->set.items);
    c->set = (struct tensor_set){0};
    for (unsigned i = 0; i < c->file_count; i++)
        safetensors_close(&c->files[i].header);
}

int checkpoint_check(const struct checkpoint *c, struct fault *fault) {
    int status = 0;
    for (unsigned i = 0; !status && !c->copied && i < c->file_count; i++)
        if (c->files[i].file.descriptor >= 0)
            status = file_check(&c->files[i].file, c->files[i].name, fault);
    return status;
}

void checkpoint_close(struct checkpoint *c) {
    checkpoint_forget(c);
    for (size_t i = 0; i < c->span_count; i++) {
        const struct span *span = &c->spans[i];
        if (c->copied && span->data)
            memory_release((void *)(uintptr_t)span->data, (size_t)(span->end - span->begin));
        else
            file_unmap(span->data, span->end - span->begin);
    }
    for (unsigned i = 0; i < c->file_count; i++)
        file_close(&c->files[i].file);
    memory_free(c->spans);
    memory_free(c->files);
    memory_free(c->names);
    *c = (struct checkpoint){0};
}
