/* mechanical.c - protects the readers from every small damage: a sample of each kind of file, at most 4 KiB, cut at every
 * length and with six values (00, 7F, 80, FF, the lowest bit turned, the highest bit turned) at every byte. Each is opened
 * or refused with a sentence, allocates within 16 times its size + 1 MiB, and leaves no block. What opens is used.
 *
 *     mechanical [STEP]      every STEP-th damage (default 1); meant for a build with ASan and UBSan
 *
 * Linked with the engine's objects, whose calloc, realloc and free are wrapped. Everything is in memory; the weights lie in
 * a memory file, because their reader takes a file. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../encoder/config.h"
#include "../../encoder/format/safetensors.h"
#include "../../encoder/format/shards.h"
#include "../../encoder/format/vocab.h"
#include "../../encoder/text/tokenizer.h"

/* ---- what the engine allocates ---- */

static size_t requested;
static long blocks;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);

void *__wrap_calloc(size_t count, size_t size) {
    requested += count * size;
    blocks++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
    requested += size;
    blocks += block == NULL;
    return __real_realloc(block, size);
}

void __wrap_free(void *block) {
    blocks -= block != NULL;
    __real_free(block);
}

/* ---- samples ---- */

#define SAMPLE 4096
enum format { SAFETENSORS, CONFIG, VOCAB, MERGES, TOKENIZER, TOKENIZER_CONFIG, SPECIAL_MAP, ADDED, INDEX, FORMATS };
static const char *const names[FORMATS] = {"safetensors",           "config.json",    "vocab.json",
                                           "merges.txt",            "tokenizer.json", "tokenizer_config.json",
                                           "special_tokens_map.json", "added_tokens.json", "model.safetensors.index.json"};
static const enum vocab_file_kind kinds[FORMATS] = {[VOCAB] = VOCAB_VOCAB_JSON,
                                                    [MERGES] = VOCAB_MERGES_TXT,
                                                    [TOKENIZER] = VOCAB_TOKENIZER_JSON,
                                                    [TOKENIZER_CONFIG] = VOCAB_TOKENIZER_CONFIG_JSON,
                                                    [SPECIAL_MAP] = VOCAB_SPECIAL_TOKENS_MAP_JSON,
                                                    [ADDED] = VOCAB_ADDED_TOKENS_JSON};

struct sample {
    char bytes[SAMPLE];
    size_t size;
};
static struct sample samples[FORMATS];

__attribute__((format(printf, 2, 3))) static void put(struct sample *sample, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int wrote = vsnprintf(sample->bytes + sample->size, SAMPLE - sample->size, format, arguments);
    va_end(arguments);
    if (wrote < 0 || (size_t)wrote >= SAMPLE - sample->size) {
        fprintf(stderr, "mechanical: a sample is larger than %d bytes\n", SAMPLE);
        exit(2);
    }
    sample->size += (size_t)wrote;
}

static void make_safetensors(struct sample *out) {
    static const char *const dtypes[] = {"F32", "F16", "BF16", "F8_E4M3", "I64", "BOOL"};
    static const unsigned bytes[] = {4, 2, 2, 1, 8, 1};
    unsigned at = 0;
    memset(out->bytes, 0, 8);
    out->size = 8;
    put(out, "{\"__metadata__\":{\"format\":\"pt\",\"caf\xc3\xa9\":\"\\u00e9\\ud83d\\ude00\"}");
    for (unsigned i = 0; out->size < 3500; i++) {
        unsigned which = i % 6, rows = i % 3, size = rows * 3 * bytes[which];
        put(out, ",\"text_model.encoder.layers.%u.mlp.fc1.weight\":{\"dtype\":\"%s\",\"shape\":[%u,3],\"data_offsets\":[%u,%u]}",
            i, dtypes[which], rows, at, at + size);
        at += size;
    }
    put(out, ",\"scalar\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[%u,%u],\"later\":[{\"a\":[1.5e-3,null,true]}]}} ", at,
        at + 1);
    size_t header = out->size - 8;
    out->bytes[0] = (char)(header & 0xFF);
    out->bytes[1] = (char)(header >> 8);
    memset(out->bytes + out->size, 0x3C, at + 1);
    out->size += at + 1;
}

static void make_index(struct sample *out) {
    put(out, "{\n  \"metadata\": {\"total_size\": 1.5e9, \"\\u00e9\": [null, {\"a\": true}]},\n  \"weight_map\": {\n");
    for (unsigned i = 0; i < 20; i++)
        put(out, "    \"text_model.encoder.layers.%u.mlp.fc1.bias\": \"model-%05u-of-00003.safetensors\",\n", i, 1 + i % 3);
    put(out, "    \"caf\xc3\xa9\": \"\\u006dodel-00001-of-00003.safetensors\"\n  }\n}\n");
}

static void make_config(struct sample *out) {
    put(out, "{\n \"architectures\": [\n  \"CLIPTextModelWithProjection\"\n ],\n");
    for (unsigned i = 0; i < 44; i++)
        put(out, " \"unknown_%u\": {\"deep\": [[%u, -0.5e-3, \"\\u00e9\\n\"], {\"a\": null}], \"b\": false},\n", i, i * 7);
    put(out, " \"model_type\": \"clip_text_model\", \"hidden_size\": 1280, \"num_hidden_layers\": 32,\n"
             " \"num_attention_heads\": 20, \"intermediate_size\": 5120, \"max_position_embeddings\": 77,\n"
             " \"vocab_size\": 49408, \"projection_dim\": 1280, \"layer_norm_eps\": 1e-05, \"hidden_act\": \"gelu\",\n"
             " \"eos_token_id\": 49407\n}\n");
}

/* Letters, the same at the end of a word, pairs of letters, four merges that build on each other, the special tokens: bytes
 * without a symbol are the unknown token. */
static const char *const merged[] = {"he", "ll", "hell", "hello</w>"};
#define PAIRS 78
#define PAIR(i) "aei"[(i) / 26], (char)('a' + (i) % 26)
static void put_vocabulary(struct sample *out) {
    unsigned id = 0;
    put(out, "{");
    for (unsigned suffix = 0; suffix < 2; suffix++)
        for (char letter = '!'; letter <= 'z'; letter = (char)(letter == '!' ? 'a' : letter + 1))
            put(out, "\"%c%s\": %u, ", letter, suffix ? "</w>" : "", id++);
    put(out, "\"\\u00e9\": %u, \"\xc4\xa0\": %u, ", id, id + 1);
    id += 2;
    for (unsigned i = 0; i < PAIRS; i++)
        put(out, "\"%c%c\": %u, ", PAIR(i), id++);
    for (unsigned i = 0; i < 4; i++)
        put(out, "\"%s\": %u, ", merged[i], id++);
    put(out, "\"<|startoftext|>\": %u, \"<|endoftext|>\": %u}", id, id + 1);
}
#define START "138"
#define END "139"
#define FREE 140

static void make_merges(struct sample *out) {
    put(out, "#version: 0.2\nh e\nl l\r\nhe ll\nhell o</w>\n");
    for (unsigned i = 0; i < PAIRS; i++)
        put(out, "%c %c\n", PAIR(i));
}

static void make_tokenizer(struct sample *out) {
    static const char flags[] = "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                                "\"special\": true";
    put(out, "{\"version\": \"1.0\", \"truncation\": null, \"padding\": {\"direction\": \"Right\", \"pad_id\": 0}, "
             "\"added_tokens\": [{\"id\": " START ", \"content\": \"<|startoftext|>\", %s}, "
             "{\"id\": " END ", \"content\": \"<|endoftext|>\", %s}, {\"id\": 140, \"content\": \"\\u00c9t\", %s}], ",
        flags, flags, "\"single_word\": true, \"lstrip\": true, \"rstrip\": true, \"normalized\": true, \"special\": false");
    put(out, "%s",
        "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Replace\", "
        "\"pattern\": {\"Regex\": \"\\\\s+\"}, \"content\": \" \"}, {\"type\": \"Lowercase\"}]}, "
        "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "
        "\"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}"
        "\\\\p{N}]+\"}, \"behavior\": \"Removed\", \"invert\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": "
        "false, \"trim_offsets\": true, \"use_regex\": true}]}, "
        "\"post_processor\": {\"type\": \"RobertaProcessing\", \"sep\": [\"<|endoftext|>\", " END
        "], \"cls\": [\"<|startoftext|>\", " START "], \"trim_offsets\": false, \"add_prefix_space\": false}, "
        "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": "
        "\"<|endoftext|>\", \"continuing_subword_prefix\": \"\", \"end_of_word_suffix\": \"</w>\", \"fuse_unk\": false, "
        "\"byte_fallback\": false, \"ignore_merges\": false, \"vocab\": ");
    put_vocabulary(out);
    put(out, ", \"merges\": [[\"h\", \"e\"], ");
    for (unsigned i = 0; i < PAIRS; i++)
        put(out, "\"%c %c\", ", PAIR(i));
    put(out, "\"l l\", [\"he\", \"ll\"], [\"hell\", \"o</w>\"]]}}");
}

static void make_tokenizer_config(struct sample *out) {
    static const char flags[] =
        "\"lstrip\": false, \"normalized\": true, \"rstrip\": false, \"single_word\": false";
    put(out, "{");
    for (unsigned i = 0; i < 32; i++)
        put(out, "\"__unknown_%u\": [%u, {\"x\": -2.5e3, \"\\u00e9\": [null, true]}, \"text\"], ", i, i);
    put(out, "\"add_prefix_space\": false, \"added_tokens_decoder\": {");
    put(out, "\"" START "\": {\"content\": \"<|startoftext|>\", %s, \"special\": true}, ", flags);
    put(out, "\"" END "\": {\"content\": \"<|endoftext|>\", %s, \"special\": true}}, ", flags);
    put(out, "\"additional_special_tokens\": [\"<extra>\", \"\\u00e9\"], \"bos_token\": {\"__type\": \"AddedToken\", "
             "\"content\": \"<|startoftext|>\", %s}, \"eos_token\": \"<|endoftext|>\", ", flags);
    put(out, "\"clean_up_tokenization_spaces\": true, \"do_lower_case\": true, \"errors\": \"replace\", "
             "\"model_max_length\": 77, \"pad_token\": \"!\", \"tokenizer_class\": \"CLIPTokenizer\", "
             "\"unk_token\": \"<|endoftext|>\", \"padding_side\": \"right\", \"split_special_tokens\": false}\n");
}

static void make_special_map(struct sample *out) {
    put(out, "{\"bos_token\": {\"content\": \"<|startoftext|>\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, "
             "\"single_word\": false}, \"eos_token\": \"<|endoftext|>\", \"pad_token\": \"!\", \"mask_token\": null, "
             "\"additional_special_tokens\": [\"<a>\"");
    for (unsigned i = 0; i < 100; i++)
        put(out, ", \"<extra_%u>\"", i);
    put(out, "], \"unk_token\": \"<|endoftext|>\"}");
}

static void make_added(struct sample *out) {
    put(out, "{\"<|endoftext|>\": " END ", \"<|startoftext|>\": " START);
    for (unsigned i = 0; i < 100; i++)
        put(out, ", \"<n\\u00e9w_%u>\": %u", i, FREE + i);
    put(out, "}");
}

/* ---- one damaged file ---- */

static int memory_file;
static unsigned long opened, refused;

static void fail(enum format format, const char *what, const char *damage, const char *message) {
    printf("not ok - %s, %s: %s: %s\n", names[format], damage, what, message);
    exit(1);
}

static int open_safetensors(const char *bytes, size_t size, struct fault *fault) {
    struct safetensors s;
    struct file file = {.descriptor = memory_file, .bytes = size};
    if (ftruncate(memory_file, (off_t)size) != 0 || pwrite(memory_file, bytes, size, 0) != (ssize_t)size) {
        perror("mechanical: the memory file");
        exit(2);
    }
    int status = safetensors_open(&s, &file, "m.safetensors", fault);
    if (status)
        return status;
    uint64_t end = s.data_offset;
    for (size_t i = 0; i < s.set.count; i++) /* each name is found, each range lies in the file */
        if (tensor_find(&s.set, s.set.items[i].name, s.set.items[i].name_size) != i ||
            s.set.items[i].offset + s.set.items[i].bytes > size)
            fail(SAFETENSORS, "a tensor", "accepted", "is not found or lies outside the file");
        else
            end += s.set.items[i].bytes;
    if (end != size)
        fail(SAFETENSORS, "the tensors", "accepted", "do not fill the file");
    safetensors_close(&s);
    return 0;
}

static void tokenize(struct tokenizer *tokenizer) {
    static const char text[] = "Hello <|endoftext|>!! h\xc3\x89t don't a\xcc\x81  \xf0\x9f\x98\x80 42<extra><new>";
    char *scratch = malloc(tokenizer_frame_scratch_bytes(tokenizer, sizeof text - 1));
    int32_t row[16];
    struct token_frame frame;
    struct fault fault;
    blocks++; /* malloc is not wrapped, free is */
    if (tokenizer_frame(tokenizer, text, sizeof text - 1, scratch, 16, row, NULL, &frame, &fault) != 0)
        fail(TOKENIZER, "an opened tokenizer", "accepted", fault.message);
    for (int i = 0; i < 16; i++)
        if (row[i] < 0 || row[i] >= tokenizer_id_limit(tokenizer))
            fail(TOKENIZER, "an opened tokenizer", "accepted", "gives an id out of range");
    free(scratch);
}

static int open_index(const char *bytes, size_t size, struct fault *fault) {
    struct shards shards;
    int status = shards_parse(&shards, "model.safetensors.index.json", bytes, size, fault);
    for (size_t i = 0; !status && i < shards.count; i++)
        if (shards.entries[i].file >= shards.file_count || strchr(shards.files[shards.entries[i].file], '/'))
            fail(INDEX, "a tensor", "accepted", "is in no file of the folder");
    if (!status)
        shards_free(&shards);
    return status;
}

static int open_tokenizer(enum format format, const char *bytes, size_t size, struct fault *fault) {
    struct vocab_files files = {0};
    struct tokenizer *tokenizer;
    for (int i = VOCAB; i < INDEX; i++)
        if (i == (int)format)
            files.of[kinds[i]] = (struct vocab_file){bytes, size};
        else if ((format == VOCAB || format == MERGES || format >= TOKENIZER_CONFIG) && (i == VOCAB || i == MERGES))
            files.of[kinds[i]] = (struct vocab_file){samples[i].bytes, samples[i].size};
    int status = tokenizer_open_files(&tokenizer, &files, NULL, NULL, NULL, fault);
    if ((status == 0) != (tokenizer != NULL))
        fail(format, "the handle", "any", "does not agree with the status");
    if (status == 0)
        tokenize(tokenizer);
    tokenizer_close(tokenizer);
    return status;
}

static void open_one(enum format format, const char *bytes, size_t size, const char *damage) {
    struct fault fault = {0};
    struct geometry geometry;
    struct report silent = {0};
    char *copy = malloc(size ? size : 1); /* its own block: a sanitizer sees a read behind its end */
    size_t budget = 16 * size + (1 << 20);
    memcpy(copy, bytes, size);
    requested = 0;
    long before = blocks;
    if (format >= VOCAB && format != TOKENIZER && format != INDEX) /* the vocabulary beside it counts as well */
        budget += 16 * (samples[VOCAB].size + samples[MERGES].size);
    int status = format == SAFETENSORS ? open_safetensors(copy, size, &fault)
                 : format == CONFIG    ? config_parse(&geometry, "config.json", copy, size, ACTIVATION_NONE, &silent, &fault)
                 : format == INDEX     ? open_index(copy, size, &fault)
                                       : open_tokenizer(format, copy, size, &fault);
    if (status && (status != fault.code || status <= FAULT_NONE || status >= FAULT_CODES || !fault.message[0] ||
                   !memchr(fault.message, '\0', sizeof fault.message)))
        fail(format, "no sentence", damage, "the status is not the fault's");
    if (requested > budget)
        fail(format, "allocated beyond 16 times its size + 1 MiB", damage, fault.message);
    if (blocks != before)
        fail(format, "a block stays", damage, fault.message);
    opened += status == 0;
    refused += status != 0;
    blocks++;
    free(copy);
}

static unsigned long damage_all(enum format format, unsigned long step) {
    const struct sample *sample = &samples[format];
    unsigned long number = 0, count = 0;
    char bytes[SAMPLE], what[64];
    for (size_t size = 0; size < sample->size; size++) {
        if (number++ % step)
            continue;
        snprintf(what, sizeof what, "cut to %zu bytes", size);
        open_one(format, sample->bytes, size, what);
        count++;
    }
    for (size_t at = 0; at < sample->size; at++) {
        unsigned char old = (unsigned char)sample->bytes[at];
        const unsigned char values[6] = {0x00, 0x7F, 0x80, 0xFF, old ^ 0x01, old ^ 0x80};
        for (int i = 0; i < 6; i++) {
            if (number++ % step)
                continue;
            memcpy(bytes, sample->bytes, sample->size);
            bytes[at] = (char)values[i];
            snprintf(what, sizeof what, "byte %zu is %02x", at, values[i]);
            open_one(format, bytes, sample->size, what);
            count++;
        }
    }
    return count;
}

int main(int argc, char **argv) {
    static void (*const make[FORMATS])(struct sample *) = {make_safetensors, make_config,           put_vocabulary,
                                                           make_merges,      make_tokenizer,        make_tokenizer_config,
                                                           make_special_map, make_added, make_index};
    unsigned long step = argc > 1 ? strtoul(argv[1], NULL, 10) : 1, all = 0;
    memory_file = memfd_create("penult-mechanical", MFD_CLOEXEC);
    if (memory_file < 0 || step == 0) {
        fprintf(stderr, "mechanical: %s\n", step ? strerror(errno) : "STEP must be 1 or more");
        return 2;
    }
    for (int format = 0; format < FORMATS; format++)
        make[format](&samples[format]);
    for (int format = 0; format < FORMATS; format++) {
        opened = refused = 0;
        open_one((enum format)format, samples[format].bytes, samples[format].size, "whole");
        if (!opened) { /* else every damage would be refused for the sample's own fault */
            printf("not ok %d - %s: the sample itself is refused\n", format + 1, names[format]);
            return 1;
        }
        opened = refused = 0;
        unsigned long count = damage_all((enum format)format, step);
        printf("ok %d - %s, %zu bytes: %lu damaged files, %lu opened, %lu refused\n", format + 1, names[format],
               samples[format].size, count, opened, refused);
        fflush(stdout);
        all += count;
    }
    printf("# %lu files\n1..%d\n", all, FORMATS);
    close(memory_file);
    return 0;
}
