/* digest.h - a fingerprint of a tower's values that does not depend on the file they came from: SHA-256 over the values as
 * float32, role by role. Layout, shards, stored type (where it holds the same values) and orientation do not count.
 *
 * The rule, so that others can compute it: "penult weights 1\n"; then token embedding, positions, final norm gain and bias,
 * the projection as [P,D] (left out where there is none or it is the identity), and for each block norm1 gain and bias, then
 * q, k, v, out each weight and bias, norm2 gain and bias, fc1 and fc2 each weight and bias. Each of them as rows and columns
 * (32 bits each, little-endian; a vector has one column) and its values, row-major, little-endian. */
#ifndef ENCODER_MODEL_DIGEST_H
#define ENCODER_MODEL_DIGEST_H

#include "../base/fault.h"
#include "../base/sha256.h"
#include "weights.h"

/* progress may be NULL; bytes of float32; nonzero cancels (FAULT_CANCELLED). Allocates nothing. */
int weights_digest(const struct text_weights *weights, const struct kernels *kernels,
                   int (*progress)(void *user, uint64_t done, uint64_t total), void *user, unsigned char digest[SHA256_BYTES],
                   struct fault *fault);

#endif
