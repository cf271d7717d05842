/* sha256.c - the compression function and the padding of FIPS 180-4. */
#include "sha256.h"

#include <string.h>

#include "wrap.h"

/* The fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
};

WRAPS("bits that leave at the top come back at the bottom")
static inline uint32_t rotate(uint32_t x, unsigned by) {
    return x >> by | x << (32 - by);
}

/* One round on the words s[a] .. s[h]: afterwards s[h] is the new first and s[d] the new fifth. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                                      \
    do {                                                                                                                      \
        uint32_t one = s[h] + (rotate(s[e], 6) ^ rotate(s[e], 11) ^ rotate(s[e], 25)) + ((s[e] & s[f]) ^ (~s[e] & s[g])) +     \
                       constants[i] + w[i];                                                                                   \
        s[d] += one;                                                                                                          \
        s[h] = one + (rotate(s[a], 2) ^ rotate(s[a], 13) ^ rotate(s[a], 22)) +                                                \
               ((s[a] & s[b]) ^ (s[a] & s[c]) ^ (s[b] & s[c]));                                                               \
    } while (0)

WRAPS("additions modulo 2^32")
static void compress(uint32_t state[8], const unsigned char *block) {
    uint32_t w[64] = {0}, s[8]; /* gcc 12's analyser loses count of the words that the first loop sets */
    for (size_t i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (size_t i = 16; i < 64; i++) {
        uint32_t a = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t b = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    memcpy(s, state, sizeof s);
    /* eight rounds a turn: the names of the eight words go round instead of their values, which is three times as fast */
    for (size_t i = 0; i < 64; i += 8) {
        ROUND(0, 1, 2, 3, 4, 5, 6, 7, i);
        ROUND(7, 0, 1, 2, 3, 4, 5, 6, i + 1);
        ROUND(6, 7, 0, 1, 2, 3, 4, 5, i + 2);
        ROUND(5, 6, 7, 0, 1, 2, 3, 4, i + 3);
        ROUND(4, 5, 6, 7, 0, 1, 2, 3, i + 4);
        ROUND(3, 4, 5, 6, 7, 0, 1, 2, i + 5);
        ROUND(2, 3, 4, 5, 6, 7, 0, 1, i + 6);
        ROUND(1, 2, 3, 4, 5, 6, 7, 0, i + 7);
    }
    for (size_t i = 0; i < 8; i++)
        state[i] += s[i];
}

void sha256_start(struct sha256 *hash) {
    /* the fractional parts of the square roots of the first eight primes */
    static const uint32_t initial[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
    *hash = (struct sha256){.bytes = 0};
    memcpy(hash->state, initial, sizeof initial);
}

void sha256_add(struct sha256 *hash, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    size_t held = (size_t)(hash->bytes % 64);
    hash->bytes += size;
    while (size > 0) {
        size_t room = 64 - held, part = size < room ? size : room;
        if (part == 64) {
            compress(hash->state, from);
        } else {
            memcpy(hash->pending + held, from, part);
            if (part == room)
                compress(hash->state, hash->pending);
        }
        held = 0; /* only the first piece finds some */
        from += part;
        size -= part;
    }
}

void sha256_finish(struct sha256 *hash, unsigned char digest[SHA256_BYTES]) {
    static const unsigned char padding[64] = {0x80};
    uint64_t bits = hash->bytes * 8;
    unsigned char length[8];
    for (size_t i = 0; i < 8; i++)
        length[i] = (unsigned char)(bits >> (56 - 8 * i));
    sha256_add(hash, padding, 1 + (size_t)((119 - hash->bytes % 64) % 64));
    sha256_add(hash, length, sizeof length);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        digest[i] = (unsigned char)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}
