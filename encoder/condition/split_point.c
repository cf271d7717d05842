/* split_point.c - compel's search for a place to cut (embeddings_provider._find_next_best_split_point, with its default,
 * sentences): backwards from the end of the window.
 *
 * Which token ends a word a tokenizer does not say; its bytes, tokenized alone, do: the last id of them is the same one
 * exactly if it is spelt with the end of a word.
 */
#include "split_point.h"

int32_t split_point_id(const struct tokenizer *tokenizer, char sign, void *scratch, int32_t *ids) {
    size_t count = 0;
    struct fault fault;
    int status = tokenizer_body(tokenizer, &sign, 1, scratch, ids, NULL, &count, &fault);
    return !status && count == 1 ? ids[0] : -1; /* GCOVR_EXCL_BR_LINE: in every vocabulary a sign is a token */
}

/* The last of the tokens that is one of the signs: how many there are up to it, 0 for none. */
static size_t behind_sign(const struct tokenizer *tokenizer, const char *signs, const struct chunk_token *tokens, size_t count,
                          void *scratch, int32_t *ids) {
    size_t last = 0;
    for (; *signs; signs++) {
        int32_t id = split_point_id(tokenizer, *signs, scratch, ids);
        for (size_t i = count; i > last && id >= 0; i--) { /* GCOVR_EXCL_BR_LINE: so it has an id */
            if (tokens[i - 1].id == id)
                last = i;
        }
    }
    return last;
}

static int is_continuation(char byte) {
    return ((unsigned char)byte & 0xC0u) == 0x80u;
}

static int ends_word(const struct tokenizer *tokenizer, const struct dialect_text *text, const struct chunk_token *token,
                     void *scratch, int32_t *ids) {
    size_t begin = token->text_begin, end = token->text_end, count = 0;
    struct fault fault;
    while (begin > 0 && is_continuation(text->text[begin])) /* a character that is several tokens */
        begin--;
    if (tokenizer_body(tokenizer, text->text + begin, end - begin, scratch, ids, NULL, &count, &fault))
        return 0;
    return count > 0 && ids[count - 1] == token->id; /* GCOVR_EXCL_BR_LINE: what became a token does so alone, too */
}

size_t split_point(const struct tokenizer *tokenizer, const struct dialect_text *text, const struct chunk_token *tokens, size_t count,
                   void *scratch, int32_t *ids) {
    size_t found = behind_sign(tokenizer, ".", tokens, count, scratch, ids);
    if (found == 0)
        found = behind_sign(tokenizer, ".,;:", tokens, count, scratch, ids);
    for (size_t i = count; i > 0 && found == 0; i--) {
        if (ends_word(tokenizer, text, &tokens[i - 1], scratch, ids))
            found = i;
    }
    return found > 0 ? found : count;
}
