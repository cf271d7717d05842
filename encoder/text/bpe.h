/* bpe.h - one piece of clean text to ids by byte-pair merging. Knows neither Unicode nor files.
 */
#ifndef ENCODER_TEXT_BPE_H
#define ENCODER_TEXT_BPE_H

#include <stddef.h>
#include <stdint.h>

struct bpe_slot {
    uint32_t left, right; /* left UINT32_MAX: empty, and the rank is UINT32_MAX too */
    uint32_t rank;
};

struct bpe {
    int32_t symbol[256];      /* id of a byte */
    int32_t last_symbol[256]; /* id of a byte that ends its piece: the one with </w> */
    struct bpe_slot *slots;   /* open addressing, at most half full */
    unsigned shift;
    size_t mask;
    int32_t *results; /* by rank: what the pair becomes */
};

/* Makes the table for that many merges; bpe_add fills it in order of rank. 0 if there is no memory. */
int bpe_open(struct bpe *bpe, size_t merges);
void bpe_close(struct bpe *bpe);
enum bpe_added {
    BPE_ADDED,
    BPE_THERE,  /* the pair has a rank already */
    BPE_CROWDED /* too many pairs want its place in the table */
};
enum bpe_added bpe_add(struct bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t result);

/* Elements of scratch for each byte of a piece. */
#define BPE_SCRATCH 5

/* Merges a piece of count bytes, at least 1: always the pair of lowest rank, the leftmost among equals, and again,
 * until no pair has a rank. ids[0..] are the result and begins[0..] the offset in the piece of each; both lie in
 * scratch. Returns how many there are. */
size_t bpe_merge(const struct bpe *bpe, const char *piece, size_t count, uint32_t *scratch, const int32_t **ids,
                 const uint32_t **begins);

#endif
