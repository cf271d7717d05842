/* vocab_edits.h - opens the small vocabulary after an edit to one of its files, and says what must come of it. */
#ifndef TESTS_UNIT_VOCAB_EDITS_H
#define TESTS_UNIT_VOCAB_EDITS_H

#include "../../encoder/text/tokenizer.h"
#include "small_vocab.h"

static struct fault fault;

static inline int open_small(const struct small *small, struct tokenizer **out, tokenizer_note *note, void *user) {
    struct vocab_files files = small_files(small);
    return tokenizer_open_files(out, &files, NULL, note, user, &fault);
}

static inline void expect_ids(const struct tokenizer *tokenizer, const char *text, const int32_t *expected,
                              size_t count) {
    char scratch[16384];
    int32_t ids[256];
    size_t found;
    assert_true(tokenizer_scratch_bytes(tokenizer, strlen(text)) <= sizeof scratch);
    if (tokenizer_body(tokenizer, text, strlen(text), scratch, ids, NULL, &found, &fault))
        fail_msg("%s", fault.message);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ids[i], expected[i]);
}
#define EXPECT_IDS(tokenizer, text, ...)                                                                               \
    expect_ids(tokenizer, text, (const int32_t[]){__VA_ARGS__},                                                        \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

struct edit {
    enum vocab_file_kind kind;
    const char *find, *with;
    int code;
    const char *names; /* the message must */
};

static inline void check_edits(struct small (*make)(void), const struct edit *edits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct small small = make();
        struct tokenizer *tokenizer = (struct tokenizer *)&small;
        small_edit(&small, edits[i].kind, edits[i].find, edits[i].with);
        int status = open_small(&small, &tokenizer, NULL, NULL);
        if (status != edits[i].code)
            fail_msg("%s -> %s: status %d, expected %d: %s", edits[i].find ? edits[i].find : "(all)",
                     edits[i].with ? edits[i].with : "(none)", status, edits[i].code,
                     status ? fault.message : "opened");
        if (status) {
            assert_null(tokenizer);
            assert_names(fault.message, edits[i].names);
        }
        tokenizer_close(tokenizer);
        small_free(&small);
    }
}
#define CHECK_EDITS(make, edits) check_edits(make, edits, sizeof edits / sizeof *edits)

#endif
