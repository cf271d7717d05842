/* test_sha256.c - protects the fingerprints of weights: SHA-256 by its published vectors, whatever the pieces. */
#include "../../encoder/base/sha256.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const char *bytes, size_t size, size_t piece, const char *expected) {
    struct sha256 hash;
    unsigned char digest[SHA256_BYTES];
    char text[2 * SHA256_BYTES + 1];
    sha256_start(&hash);
    for (size_t at = 0; at < size; at += piece)
        sha256_add(&hash, bytes + at, size - at < piece ? size - at : piece);
    sha256_finish(&hash, digest);
    for (size_t i = 0; i < SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

/* NIST, "Examples with Intermediate Values", SHA-256; the long one is FIPS 180-4's million of 'a'. */
static void published_vectors(void **state) {
    char *million = malloc(1000000);
    (void)state;
    assert_non_null(million);
    memset(million, 'a', 1000000);
    for (size_t piece = 1; piece <= 130; piece += 7) {
        check("", 0, piece, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check("abc", 3, piece, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, piece,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        check(million, 1000000, piece * 97, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    free(million);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_vectors)};
    return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
