/* api_world.c - see api_world.h. */
#include "api_world.h"

#include <stdio.h>
#include <string.h>

#include "fuzz.h"

struct model models[MODELS];
struct session sessions[SESSIONS];
int touched[PLACES];
const penult_api *api;
uint64_t blank[16];

#define TEXT(text, is_utf8) {text, sizeof text - 1, is_utf8}
const struct text texts[TEXTS] = {
    TEXT("", 1), TEXT("a", 1), TEXT("ab", 1), TEXT("ab ab b", 1), TEXT("a b a b a b a b a b", 1), TEXT("!", 1),
    TEXT("<|endoftext|>", 1), TEXT("c\0d", 1), TEXT("\xC3\xA9\xCC\x81", 1), TEXT("\xFF", 0), TEXT("ab \xC3", 0),
    TEXT("AB  Ab\t<|startoftext|>ab", 1), TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1),
    TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1), TEXT("c c! ab", 1),
    TEXT("\xEA\xB0\x81\xEF\xAC\x81 42", 1)};

int untouched(const void *bytes, size_t size) {
    const unsigned char *at = bytes; /* each byte equals the one behind it: one call of memcmp, not a loop that is traced */
    return size == 0 || (at[0] == UNTOUCHED && memcmp(at, at + 1, size - 1) == 0);
}

void call_begin(const struct call *call, penult_error *error) {
    memset(error, UNTOUCHED, sizeof *error);
    int faulty = call->fault >= 128;
    fuzz_memory_start();
    system_refuse(faulty ? call->fault & 31u : UINT32_MAX, faulty && call->fault & 32);
}

struct watched call_end(void) {
    struct system_calls system = system_accept();
    struct fuzz_memory memory = fuzz_memory_end();
    return (struct watched){memory.requested, memory.blocks, memory.mapped, system};
}

static void say(int32_t status, uint32_t allowed, const penult_error *error) {
    fprintf(stderr, "api: status %d, allowed %#x: %.508s\n", status, allowed, status ? error->message : "");
}

void call_expect(int32_t status, uint32_t allowed, const char *word, const penult_error *error, const struct watched *watched) {
    if (allowed == 0)
        allowed = ONE(PENULT_OK);
    int known = status >= 0 && status <= PENULT_E_WRONG_PROCESS && allowed >> status & 1;
    if (!known)
        say(status, allowed, error);
    fuzz_require(known, "a status that was not to come");
    if (status == PENULT_OK) {
        fuzz_require(untouched(error, sizeof *error), "an error struct that was touched");
        return;
    }
    size_t size = strnlen(error->message, sizeof error->message);
    int right = error->status == status && size > 8 && size < sizeof error->message;
    for (size_t i = size; i < sizeof error->message; i++)
        right &= error->message[i] == 0;
    right &= fuzz_utf8(error->message, size) == size && (!word || strstr(error->message, word));
    if (!right)
        say(status, allowed, error);
    fuzz_require(right, "an error struct that does not say what is wrong");
    if (watched->blocks || watched->mapped)
        fprintf(stderr, "api: %ld blocks and %ld bytes of mappings stay\n", watched->blocks, watched->mapped);
    fuzz_require(watched->blocks == 0 && watched->mapped == 0, "a refused call that keeps memory");
}

int32_t sized(void *to, const void *from, size_t bytes, unsigned flaw, size_t *size) {
    *size = flaw == SIZED_ZERO                              ? 0
            : flaw == SIZED_TINY                            ? 7
            : flaw == SIZED_HUGE                            ? 65537
            : flaw == SIZED_JUNK || flaw == SIZED_LONGER    ? bytes + SIZED_MORE
                                                            : bytes;
    memset(to, 0, bytes + SIZED_MORE);
    memcpy(to, from, bytes);
    uint32_t written = (uint32_t)*size;
    memcpy(to, &written, sizeof written);
    if (flaw == SIZED_JUNK)
        ((unsigned char *)to)[bytes + SIZED_MORE - 1] = 1;
    return flaw >= SIZED_ZERO && flaw <= SIZED_HUGE ? PENULT_E_ARGUMENT : flaw == SIZED_JUNK ? PENULT_E_UNSUPPORTED : PENULT_OK;
}

uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 1099511628211u;
}

uint64_t mix_bytes(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = mix(hash, at[i]);
    return hash;
}

static struct {
    uint64_t key, bits;
    struct call call; /* the one that gave them, for whoever has to find out */
} given[4096];

void remember(uint64_t key, uint64_t bits, const struct call *call) {
    key |= 1; /* 0 is empty */
    size_t at = (size_t)(key >> 32) % (sizeof given / sizeof given[0]);
    if (given[at].key == key && given[at].bits != bits) {
        const uint8_t *a = (const uint8_t *)&given[at].call, *b = (const uint8_t *)call;
        for (size_t i = 0; i < sizeof *call; i++)
            fprintf(stderr, "api: byte %zu of the call was %#x, is %#x\n", i, a[i], b[i]);
        fuzz_require(0, "other bits for the same prompt");
    }
    given[at].key = key;
    given[at].bits = bits;
    given[at].call = *call;
}
