/* fuzz_prompt.c - any bytes as a prompt, whole and framed. The first byte is the length of the row; the second says (bit 0)
 * whether the text goes to the tokenizer that ships, read from tokenizer.json and from vocab.json and merges.txt, or to a
 * small one whose added tokens strip, stand alone and are cleaned, and (bit 1) whether it is cleaned as open_clip does. Run from the repository's root: the shipped files are read once.
 *
 * Protects: both forms of one vocabulary give the same ids and spans; see tokens_check for the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "../../encoder/format/vocab.h"
#include "fuzz.h"
#include "tokens.h"

#define SHIPPED "samples/model"

static struct tokenizer *whole[2], *pair[2], *odd[2]; /* by mode */

/* Tokens that overlap ("ab" and "abc"), that take blanks along, that must stand alone, and that are cleaned first. */
static const char odd_vocabulary[] =
    "{\"a\":0,\"b\":1,\"c\":2,\"a</w>\":3,\"b</w>\":4,\"c</w>\":5,\"aa\":6,\"aa</w>\":7,\"aaaa</w>\":8,\"ab\":9,\"abc</w>\":10,"
    "\"\xC4\xA0\":11,\"<|startoftext|>\":12,\"<|endoftext|>\":13,\"!\":14,\"\xC3\x83\":15,\"\xC2\xA9</w>\":16,\"\xC3\x83\xC2\xA9</w>\":17}";
static const char odd_merges[] = "#version: 0.2\na a</w>\na a\naa aa</w>\na b\nab c</w>\n\xC3\x83 \xC2\xA9</w>\n";
static const char odd_config[] =
    "{\"pad_token\":\"!\",\"added_tokens_decoder\":{"
    "\"12\":{\"content\":\"<|startoftext|>\",\"lstrip\":false,\"normalized\":true,\"rstrip\":false,\"single_word\":false,\"special\":true},"
    "\"13\":{\"content\":\"<|endoftext|>\",\"lstrip\":false,\"normalized\":false,\"rstrip\":false,\"single_word\":false,\"special\":true},"
    "\"14\":{\"content\":\"!\",\"lstrip\":true,\"normalized\":false,\"rstrip\":true,\"single_word\":false,\"special\":true},"
    "\"18\":{\"content\":\"Bar\",\"lstrip\":true,\"normalized\":true,\"rstrip\":false,\"single_word\":true,\"special\":false},"
    "\"19\":{\"content\":\"e\\u0301!\",\"lstrip\":false,\"normalized\":true,\"rstrip\":true,\"single_word\":false,\"special\":false},"
    "\"20\":{\"content\":\"ab abc\",\"lstrip\":false,\"normalized\":false,\"rstrip\":false,\"single_word\":true,\"special\":false}}}";

static void open_shipped(struct tokenizer **out, int with_json, const struct tokenizer_options *options) {
    struct vocab_files files;
    struct fault fault;
    fuzz_require(vocab_files_read(&files, SHIPPED "/tokenizer.json", &fault) == 0, SHIPPED ": run from the repository's root");
    if (!with_json) {
        vocab_files_free(&files);
        static const enum vocab_file_kind kinds[] = {VOCAB_VOCAB_JSON, VOCAB_MERGES_TXT, VOCAB_SPECIAL_TOKENS_MAP_JSON};
        static const char *const paths[] = {SHIPPED "/vocab.json", SHIPPED "/merges.txt", SHIPPED "/special_tokens_map.json"};
        struct vocab_files one;
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            fuzz_require(vocab_files_read(&one, paths[i], &fault) == 0, "a file of " SHIPPED);
            files.of[kinds[i]] = one.of[VOCAB_TOKENIZER_JSON]; /* what a path names is read as that, whatever it is */
        }
    }
    fuzz_require(tokenizer_open_files(out, &files, options, NULL, NULL, &fault) == 0, SHIPPED " does not open");
    vocab_files_free(&files);
}

static void open_all(void) {
    struct vocab_files files = {0};
    struct fault fault;
    static const struct tokenizer_options options[2] = {{TOKENIZER_TRANSFORMERS, PAD_AS_FILES_SAY, -1},
                                                        {TOKENIZER_OPEN_CLIP, PAD_IS_TEXT, -1}};
    for (int mode = 0; mode < 2; mode++) {
        open_shipped(&whole[mode], 1, &options[mode]);
        open_shipped(&pair[mode], 0, &options[mode]);
    }
    files.of[VOCAB_VOCAB_JSON] = (struct vocab_file){odd_vocabulary, sizeof odd_vocabulary - 1};
    files.of[VOCAB_MERGES_TXT] = (struct vocab_file){odd_merges, sizeof odd_merges - 1};
    files.of[VOCAB_TOKENIZER_CONFIG_JSON] = (struct vocab_file){odd_config, sizeof odd_config - 1};
    for (int mode = 0; mode < 2; mode++)
        if (tokenizer_open_files(&odd[mode], &files, &options[mode], NULL, NULL, &fault) != 0)
            fuzz_require(0, fault.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!odd[1])
        open_all();
    if (size < 2)
        return 0;
    size_t length = 2 + data[0] % (TOKENS_LENGTH - 1);
    const char *text = (const char *)data + 2;
    size -= 2;
    int mode = data[1] >> 1 & 1;
    if (data[1] & 1) {
        tokens_check(odd[mode], text, size, length);
        return 0;
    }
    struct tokens one = tokens_check(whole[mode], text, size, length), other = tokens_check(pair[mode], text, size, length);
    fuzz_require(one.status == other.status && one.count == other.count && one.hash == other.hash,
                 "tokenizer.json and vocab.json with merges.txt give other ids");
    return 0;
}

/* ---- mutation: by characters, pieces and words ---- */

static const char *const pieces[] = {
    " ", "  ", "\t", "\n", "!", "!!", "'s", "'LL", "a", "aa", "ab", "abc", "A", "\xC3\xA9", "e\xCC\x81", "\xCC\x81", "\xCC\xA3",
    "\xC4\xB0", "\xC3\x9F", "\xEF\xAC\x81", "\xCE\xA3", "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81", "\xE4\xBD\xA0",
    "\xF0\x9F\x98\x80", "\xF0\x9D\x85\x9E", "\xE2\x80\x8D", "\xC2\xA0", "\xE3\x80\x80", "\xEF\xBB\xBF", "\xC2\xAD", "<|endoftext|>",
    "<|startoftext|>", "<|endoftext", "|>", "Bar", " bar ", "ab abc", "\xCC\x81!", "(a:1.2)", "42", "\xC2\xBD", "\xE2\x85\xA3",
    "\xE0\xB8\x81\xE0\xB8\xB3", "photo", "photograph of an astronaut", "\xFF", "\xC3", "\xED\xA0\x80", "\xC0\x80", "\xF4\x90\x80\x80",
    "&amp;", "&amp", "amp;", "&#38;", "&#x", ";", "&", "#", "&lt;", "<", "&notit;", "&ffilig;", "&EACUTE;", "&nGt;", "\x1B[31m",
    "\x1B[", "\xCD\xBE", "\xE2\x84\xAA", "\xEF\xBC\x86", "\xEF\xBC\x9B", "\xEF\xAC\x83", "\xC7\x84", "\xCD\x85", "\xC5\xBF",
    "<start_of_text>", "<end_of_text>", "&#0000000000000000000000000000000000065;"};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    uint32_t random = fuzz_seed(seed);
    if (size < 2 || room < 64 || fuzz_below(&random, 3) == 0)
        return LLVMFuzzerMutate(data, size, room);
    size_t changes = 1 + fuzz_below(&random, 4);
    for (size_t i = 0; i < changes; i++) {
        size_t at = 2 + fuzz_below(&random, size - 1), left = size - at, copies, length;
        const char *piece = pieces[fuzz_below(&random, sizeof pieces / sizeof pieces[0])];
        while (at < size && at > 2 && (data[at] & 0xC0) == 0x80) /* between characters */
            at--, left++;
        switch (fuzz_below(&random, 4)) {
        case 0: /* a piece, once or so often that a long way through the merges is taken */
            copies = fuzz_below(&random, 8) ? 1 : 2 + fuzz_below(&random, 100);
            length = strlen(piece);
            while (copies-- > 0 && size + length <= room) {
                memmove(data + at + length, data + at, left);
                memcpy(data + at, piece, length);
                left += length;
                size += length;
            }
            break;
        case 1: /* something goes */
            length = fuzz_below(&random, left + 1);
            length = length < 8 ? length : 8;
            memmove(data + at, data + at + length, left - length);
            size -= length;
            break;
        case 2: /* the other case of a letter, or another row */
            if (left > 0 && ((data[at] | 0x20) >= 'a' && (data[at] | 0x20) <= 'z'))
                data[at] ^= 0x20;
            else
                data[0] = (uint8_t)fuzz_random(&random);
            break;
        default:
            data[1] ^= (uint8_t)(1 + fuzz_below(&random, 3));
        }
    }
    return size;
}
