/* test_corpus.c - protects a host from files and texts that are malformed: each case of the corpus goes through the front
 * door, mapped and copied, and must come back with the status and the words of the manifest, with nothing of the caller's
 * touched that is not documented, and with no descriptor, thread or mapping left.
 *
 *     test_corpus PLUGIN MANIFEST
 *
 * The manifest and what its fields mean: cases.py. A line a class and kind of access. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

#define FIELDS 16
#define LONGEST_TEXT 65536 /* a session's max_text_bytes when 0 is asked for */

struct line {
    char *field[FIELDS]; /* group name kind path status bits claimed body cut word... */
    unsigned count;
};
enum { GROUP, NAME, KIND, PATH, STATUS, BITS, CLAIMED, BODY, CUT, WORDS };

static char directory[4096];
static penult_model *base;
static penult_session *base_session;
static struct batch base_batch;
static uint64_t base_bits;
static unsigned wrong, seen;

/* What the test itself has to say about a case; a class's line of TAP follows. */
#define WRONG(line, ...)                                                                                               \
    do {                                                                                                               \
        wrong++;                                                                                                       \
        printf("# %s-%s: ", (line)->field[GROUP], (line)->field[NAME]);                                                \
        printf(__VA_ARGS__);                                                                                           \
        printf("\n");                                                                                                  \
    } while (0)

static unsigned mappings(void) {
    unsigned count = 0;
    char text[4608];
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && fgets(text, sizeof text, file))
        count += strstr(text, directory) != NULL;
    if (file)
        fclose(file);
    return count;
}

/* Memory that is not the heap's: a mapping that stays shows here whether or not it has a name. */
static uint64_t outside_heap(void) {
    uint64_t bytes = 0;
    char text[4608];
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && fgets(text, sizeof text, file)) {
        char *end;
        uint64_t from = strtoull(text, &end, 16), to = strtoull(end + 1, NULL, 16);
        bytes += strstr(text, "[heap]") ? 0 : to - from;
    }
    if (file)
        fclose(file);
    return bytes;
}

static int is_sentence(const penult_error *error) {
    size_t size = strnlen(error->message, sizeof error->message);
    if (size == 0 || size == sizeof error->message)
        return 0;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)error->message[i] < 0x20)
            return 0;
    return 1;
}

/* The error struct against what the case expects. Success touches nothing of it. */
static void check_error(const struct line *line, const char *call, int32_t status, const char *wanted,
                        const penult_error *error, int words) {
    penult_error untouched;
    memset(&untouched, 0xA5, sizeof untouched);
    if (strcmp(status_name(status), wanted) != 0) {
        WRONG(line, "%s: status %s, expected %s: %.508s", call, status_name(status), wanted,
              status ? error->message : "no error");
        return;
    }
    if (status == PENULT_OK) {
        if (memcmp(error, &untouched, sizeof untouched) != 0)
            WRONG(line, "%s succeeded and wrote into the error struct", call);
        return;
    }
    if (error->status != status || !is_sentence(error))
        WRONG(line, "%s: the error struct says %d, \"%.508s\"", call, error->status, error->message);
    for (unsigned i = WORDS; words && i < line->count; i++)
        if (!strstr(error->message, line->field[i]))
            WRONG(line, "%s: \"%s\" is not in \"%s\"", call, line->field[i], error->message);
}

static int32_t encode(penult_session *session, struct batch *batch, uint64_t *bits, penult_error *error) {
    memset(error, 0xA5, sizeof *error);
    memset(batch->memory, 0xA5, batch->bytes);
    int32_t status = api->encode_text(session, &batch->request, NULL, error);
    *bits = batch_bits(batch);
    return status;
}

/* What opened must also work. */
static void use(const struct line *line, penult_model *model) {
    penult_session_params params = {.struct_size = sizeof params, .threads = 1};
    penult_session *session;
    penult_error error;
    struct batch batch;
    uint64_t bits;
    memset(&error, 0xA5, sizeof error);
    int32_t status = api->session_open(model, &params, &session, &error);
    check_error(line, "session_open", status, "OK", &error, 0);
    if (status)
        return;
    batch_make(&batch, model, 1, NULL, 0, WANT_ALL);
    for (unsigned i = 0; i < 77; i++)
        batch.ids[i] = base_batch.ids[i];
    status = encode(session, &batch, &bits, &error);
    check_error(line, "encode_text", status, "OK", &error, 0);
    if (strcmp(line->field[BITS], "same") == 0 && bits != base_bits)
        WRONG(line, "encode_text: other bits than the base model's");
    batch_free(&batch);
    api->session_close(session);
}

static void open_one(const struct line *line, uint32_t access) {
    char path[8192], base_path[8192];
    int is_tokenizer = strcmp(line->field[KIND], "tokenizer") == 0;
    snprintf(path, sizeof path, "%s/%s", directory, line->field[PATH]);
    snprintf(base_path, sizeof base_path, "%s/base", directory);
    penult_open_params params = {.struct_size = sizeof params, .access = access,
        .path = is_tokenizer ? base_path : path, .tokenizer_path = is_tokenizer ? path : NULL};
    penult_open_params given = params;
    penult_model *model = (penult_model *)&params;
    penult_error error;
    memset(&error, 0xA5, sizeof error);
    int32_t status = api->model_open(&params, &model, &error);
    check_error(line, "model_open", status, line->field[STATUS], &error, 1);
    if ((status == PENULT_OK) != (model != NULL))
        WRONG(line, "status %s with handle %p", status_name(status), (void *)model);
    if (memcmp(&params, &given, sizeof given) != 0)
        WRONG(line, "model_open wrote into its params");
    if (status == PENULT_OK) {
        use(line, model);
        api->model_close(model);
    }
}

static void put_status(const struct line *line, int32_t status, const penult_error *error, int tokenizes) {
    check_error(line, tokenizes ? "tokenize" : "encode_text", status, line->field[STATUS], error, tokenizes);
}

static char *read_text(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *text;
    if (!file || fseek(file, 0, SEEK_END) != 0)
        give_up("could not read %s", path);
    *size = (size_t)ftell(file);
    rewind(file);
    text = malloc(*size + 1); /* exact, but for a block of nothing */
    if (!text || fread(text, 1, *size, file) != *size)
        give_up("could not read %s", path);
    fclose(file);
    return text;
}

static void check_count(const struct line *line, unsigned field, const char *what, uint64_t found) {
    if (strcmp(line->field[field], "-") != 0 && strtoull(line->field[field], NULL, 10) != found)
        WRONG(line, "%s is %llu, expected %s", what, (unsigned long long)found, line->field[field]);
}

static int is_untouched(const void *block, size_t size) {
    const unsigned char *byte = block;
    for (size_t i = 0; i < size; i++)
        if (byte[i] != 0xA5)
            return 0;
    return 1;
}

static void tokenize_one(const struct line *line) {
    char path[8192];
    size_t size;
    int32_t ids[77];
    penult_span spans[77];
    penult_error error;
    penult_token_result result = {.struct_size = sizeof result, .ids = ids, .spans = spans, .capacity = 77};
    snprintf(path, sizeof path, "%s/%s", directory, line->field[PATH]);
    char *text = read_text(path, &size);
    int claims = strcmp(line->field[CLAIMED], "-") != 0;
    penult_token_request request = {.struct_size = sizeof request, .text = text,
        .text_bytes = claims ? strtoull(line->field[CLAIMED], NULL, 10) : size};
    penult_token_result before = result;
    memset(&error, 0xA5, sizeof error);
    memset(ids, 0xA5, sizeof ids);
    memset(spans, 0xA5, sizeof spans);
    int32_t status = api->tokenize(base, &request, &result, &error);
    put_status(line, status, &error, 1);
    if (status == PENULT_OK) {
        check_count(line, BODY, "body_count", result.body_count);
        check_count(line, CUT, "cut_count", result.cut_count);
        if (result.id_count != 77 || result.body_count > 75 || result.cut_begin > size || result.end_position > 76 ||
            ids[0] != 516 || ids[result.end_position] != 517)
            WRONG(line, "tokenize: a row of %llu ids, %llu kept, cut at byte %llu, end at %llu",
                  (unsigned long long)result.id_count, (unsigned long long)result.body_count,
                  (unsigned long long)result.cut_begin, (unsigned long long)result.end_position);
        for (unsigned i = 0; i < 77; i++)
            if (ids[i] < 0 || ids[i] > 517 || spans[i].begin > spans[i].end || spans[i].end > size)
                WRONG(line, "tokenize: id %u is %d, bytes %llu to %llu of %zu", i, ids[i],
                      (unsigned long long)spans[i].begin, (unsigned long long)spans[i].end, size);
    } else if (!is_untouched(ids, sizeof ids) || !is_untouched(spans, sizeof spans) ||
               (status != PENULT_E_LIMIT && memcmp(&result, &before, sizeof before) != 0)) {
        WRONG(line, "tokenize failed and wrote into the result");
    }
    /* the same text as a prompt: what tokenize refuses is refused, and a session has its own limit */
    uint64_t bits, untouched;
    base_batch.prompts[0] = (penult_prompt){.text = text, .text_bytes = request.text_bytes};
    memset(base_batch.memory, 0xA5, base_batch.bytes);
    untouched = batch_bits(&base_batch);
    status = encode(base_session, &base_batch, &bits, &error);
    if (request.text_bytes > LONGEST_TEXT)
        check_error(line, "encode_text", status, "LIMIT", &error, 0);
    else
        put_status(line, status, &error, 0);
    if (status != PENULT_OK && bits != untouched)
        WRONG(line, "encode_text failed before the first block and wrote into the outputs");
    free(text);
}

static int split(struct line *line, char *text) {
    line->count = 0;
    text[strcspn(text, "\n")] = '\0';
    for (char *at = text; at && line->count < FIELDS; line->count++) {
        line->field[line->count] = at;
        at = strchr(at, '\t');
        if (at)
            *at++ = '\0';
    }
    return line->count >= WORDS;
}

/* Every case of one class, from `at` on in the file; leaves the file at the next class. */
static int run_class(FILE *manifest, char *group, size_t room) {
    static char text[16384];
    static const char *const accesses[] = {"mapped", "copied"};
    struct line line;
    long at = ftell(manifest);
    unsigned count = 0, before = wrong;
    group[0] = '\0';
    double began = seconds();
    for (; fgets(text, sizeof text, manifest); at = ftell(manifest), count++) {
        if (!split(&line, text))
            give_up("the manifest has a line of %u fields", line.count);
        if (group[0] && strcmp(group, line.field[GROUP]) != 0)
            break;
        snprintf(group, room, "%s", line.field[GROUP]);
        unsigned descriptors = descriptor_count(), threads = thread_count(), maps = mappings();
        if (strcmp(line.field[KIND], "text") == 0)
            tokenize_one(&line);
        else
            for (uint32_t access = PENULT_MAP; access <= PENULT_COPY; access++)
                open_one(&line, access);
        if (!threads_are(threads) || descriptor_count() != descriptors || mappings() != maps)
            WRONG(&line, "%u descriptors, %u threads and %u mappings before, %u, %u and %u after", descriptors, threads,
                  maps, descriptor_count(), thread_count(), mappings());
    }
    fseek(manifest, at, SEEK_SET);
    if (count)
        check(wrong == before, "%s: %u cases, %s and %s, %.1f s", group, count, accesses[0], accesses[1],
              seconds() - began);
    seen += count;
    return count > 0;
}

int main(int argc, char **argv) {
    char path[8192], group[64];
    if (argc != 3)
        give_up("usage: test_corpus PLUGIN MANIFEST");
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(directory, sizeof directory, "%s", argv[2]);
    char *slash = strrchr(directory, '/');
    FILE *manifest = fopen(argv[2], "r");
    if (!slash || !manifest)
        give_up("could not open %s", argv[2]);
    *slash = '\0';
    alarm(280); /* a hang is an end */
    host_load(argv);
    snprintf(path, sizeof path, "%s/base", directory);
    base = host_open(path, NULL, PENULT_COPY);
    base_session = host_session(base, 1, 1, 0);
    batch_make(&base_batch, base, 1, NULL, 0, WANT_ALL);
    for (int i = 0; i < 77; i++)
        base_batch.ids[i] = i == 0 ? 516 : i < 20 ? i * 37 % 500 : 517;
    penult_error error;
    if (encode(base_session, &base_batch, &base_bits, &error) != PENULT_OK)
        give_up("the base model does not encode: %s", error.message);
    uint64_t outside = outside_heap();
    while (run_class(manifest, group, sizeof group))
        continue;
    check(outside_heap() <= outside, "%llu bytes are mapped outside the heap after %u cases, %llu before",
          (unsigned long long)outside_heap(), seen, (unsigned long long)outside);
    check(seen >= 300, "%u cases, expected 300", seen);
    fclose(manifest);
    batch_free(&base_batch);
    api->session_close(base_session);
    api->model_close(base);
    return done();
}
