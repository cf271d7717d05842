/* bpe.c - the merge table, and two ways through a piece.
 *
 * A short piece is an array from which merged neighbours are removed: quadratic, but quickest up to some dozens of
 * bytes. A long one is a linked list with a tournament over the ranks of its pairs: the winner of all pairs stands at
 * the root, and a merge replays the matches of the three pairs it touches. O(n log n), and no more memory than the
 * piece is long.
 *
 * The reference keeps a heap with entries that may be out of date and skips those whose pair no longer makes the same
 * token. Symbols only grow and their spelling is the concatenation, so a pair that makes the same token is the same
 * pair: "lowest rank, leftmost" says the same.
 */
#include "bpe.h"

#include <string.h>

#include "../base/memory.h"
#include "../base/wrap.h"

#define NO_RANK UINT32_MAX
#define SHORT 48

int bpe_open(struct bpe *bpe, size_t merges) {
    unsigned bits = 4;
    while (((size_t)1 << bits) < merges * 2)
        bits++;
    size_t slots = (size_t)1 << bits;
    bpe->slots = memory_array(slots, sizeof *bpe->slots);
    bpe->results = memory_array(merges, sizeof *bpe->results);
    if (!bpe->slots || !bpe->results) {
        bpe_close(bpe);
        return 0;
    }
    for (size_t i = 0; i < slots; i++)
        bpe->slots[i] = (struct bpe_slot){UINT32_MAX, UINT32_MAX, NO_RANK};
    bpe->shift = 64 - bits;
    bpe->mask = slots - 1;
    return 1;
}

void bpe_close(struct bpe *bpe) {
    memory_free(bpe->slots);
    memory_free(bpe->results);
    bpe->slots = NULL;
    bpe->results = NULL;
}

/* No pair lies further from the place that its hash names: a file that makes pairs collide is refused, so a search is
 * short whatever the vocabulary. */
#define PROBES 256

WRAPS("Fibonacci hashing multiplies modulo 2^64")
static uint64_t hash_of(uint32_t left, uint32_t right) {
    return ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
}

/* The slot of the pair, or the empty one where it would go; NULL if there is neither. */
static struct bpe_slot *slot_of(const struct bpe *bpe, uint32_t left, uint32_t right) {
    size_t at = (size_t)(hash_of(left, right) >> bpe->shift);
    for (size_t probe = 0; probe < PROBES; probe++) {
        struct bpe_slot *slot = &bpe->slots[(at + probe) & bpe->mask];
        if (slot->left == UINT32_MAX || (slot->left == left && slot->right == right))
            return slot;
    }
    return NULL;
}

enum bpe_added bpe_add(struct bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t result) {
    struct bpe_slot *slot = slot_of(bpe, (uint32_t)left, (uint32_t)right);
    if (!slot)
        return BPE_CROWDED;
    if (slot->left != UINT32_MAX)
        return BPE_THERE;
    *slot = (struct bpe_slot){.left = (uint32_t)left, .right = (uint32_t)right, .rank = rank};
    bpe->results[rank] = result;
    return BPE_ADDED;
}

static uint32_t rank_of(const struct bpe *bpe, uint32_t left, uint32_t right) {
    const struct bpe_slot *slot = slot_of(bpe, left, right);
    return slot ? slot->rank : NO_RANK;
}

static size_t merge_short(const struct bpe *bpe, uint32_t *ids, uint32_t *begins, uint32_t *ranks, size_t count) {
    for (size_t i = 0; i + 1 < count; i++)
        ranks[i] = rank_of(bpe, ids[i], ids[i + 1]);
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++) {
            if (ranks[i] < ranks[best])
                best = i;
        }
        if (ranks[best] == NO_RANK)
            break;
        ids[best] = (uint32_t)bpe->results[ranks[best]];
        size_t behind = count - best - 2;
        memmove(ids + best + 1, ids + best + 2, behind * sizeof *ids);
        memmove(begins + best + 1, begins + best + 2, behind * sizeof *begins);
        if (behind)
            memmove(ranks + best + 1, ranks + best + 2, (behind - 1) * sizeof *ranks);
        count--;
        if (best > 0)
            ranks[best - 1] = rank_of(bpe, ids[best - 1], ids[best]);
        if (best + 1 < count)
            ranks[best] = rank_of(bpe, ids[best], ids[best + 1]);
    }
    return count;
}

/* A long piece. Position i is byte i of the piece; the symbol there, if it is alive, reaches to next[i]. ranks[i] is
 * that of the pair which begins at i. tree[1] is the position that wins; the children of node k are 2k and 2k + 1, and
 * node count + i is the leaf of position i. */
struct field {
    const struct bpe *bpe;
    uint32_t *ids, *next, *previous, *ranks, *tree;
    size_t count;
};

static uint32_t winner(const struct field *field, size_t node) {
    return node >= field->count ? (uint32_t)(node - field->count) : field->tree[node];
}

static void play(struct field *field, size_t node) {
    uint32_t a = winner(field, 2 * node), b = winner(field, 2 * node + 1);
    uint32_t rank_a = field->ranks[a], rank_b = field->ranks[b];
    field->tree[node] = rank_a < rank_b || (rank_a == rank_b && a < b) ? a : b;
}

static void set_rank(struct field *field, size_t at) {
    uint32_t next = field->next[at];
    field->ranks[at] = next == field->count ? NO_RANK : rank_of(field->bpe, field->ids[at], field->ids[next]);
    for (size_t node = (field->count + at) / 2; node > 0; node /= 2)
        play(field, node);
}

static void merge_at(struct field *field, uint32_t at) {
    uint32_t gone = field->next[at], next = field->next[gone];
    field->ids[at] = (uint32_t)field->bpe->results[field->ranks[at]];
    field->next[at] = next;
    if (next < field->count)
        field->previous[next] = at;
    field->next[gone] = (uint32_t)field->count; /* no pair begins there any more */
    set_rank(field, gone);
    set_rank(field, at);
    if (at > 0)
        set_rank(field, field->previous[at]);
}

static size_t merge_long(struct field *field) {
    size_t count = field->count;
    for (size_t i = 0; i < count; i++) {
        field->next[i] = (uint32_t)(i + 1);
        field->previous[i] = (uint32_t)(i - (i > 0));
        field->ranks[i] = i + 1 < count ? rank_of(field->bpe, field->ids[i], field->ids[i + 1]) : NO_RANK;
    }
    for (size_t node = count - 1; node > 0; node--)
        play(field, node);
    while (field->ranks[field->tree[1]] != NO_RANK)
        merge_at(field, field->tree[1]);
    size_t left = 0;
    for (size_t i = 0; i < count;) {
        size_t next = field->next[i];
        field->ids[left] = field->ids[i];
        field->tree[left++] = (uint32_t)i;
        i = next;
    }
    return left;
}

size_t bpe_merge(const struct bpe *bpe, const char *piece, size_t count, uint32_t *scratch, const int32_t **ids,
                 const uint32_t **begins) {
    struct field field = {bpe,  scratch, scratch + count, scratch + 2 * count, scratch + 3 * count, scratch + 4 * count,
                          count};
    for (size_t i = 0; i + 1 < count; i++)
        field.ids[i] = (uint32_t)bpe->symbol[(unsigned char)piece[i]];
    field.ids[count - 1] = (uint32_t)bpe->last_symbol[(unsigned char)piece[count - 1]];
    *ids = (const int32_t *)field.ids;
    *begins = field.tree;
    if (count > SHORT)
        return merge_long(&field);
    for (size_t i = 0; i < count; i++)
        field.tree[i] = (uint32_t)i;
    return merge_short(bpe, field.ids, field.tree, field.ranks, count);
}
