/* sha256.h - SHA-256 of bytes that come in pieces (FIPS 180-4, section 6.2). For fingerprints of weights. */
#ifndef ENCODER_BASE_SHA256_H
#define ENCODER_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char pending[64];
};

void sha256_start(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *bytes, size_t size);
void sha256_finish(struct sha256 *hash, unsigned char digest[SHA256_BYTES]);

#endif
