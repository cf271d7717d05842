/* vocab_settle.c - which added tokens there are in the end, and with which flags and ids: the order of events in
 * transformers' TokenizersBackend.__init__ and tokenizers' AddedVocabulary.add_tokens. Knows no file.
 */
#include <string.h>

#include "../base/memory.h"
#include "../base/sort.h"
#include "vocab_inside.h"

static const struct vocab_text start_of_text = {"<|startoftext|>", 15}, end_of_text = {"<|endoftext|>", 13};

static int is_normalized(const struct vocab_mark *mark) {
    return mark->normalized < 0 ? !mark->special : mark->normalized;
}

/* As Python compares them: a string never equals an added token. */
static int is_equal(const struct vocab_mark *a, const struct vocab_mark *b) {
    return a->form == b->form && vocab_same(a->content, b->content) &&
           (a->form == FORM_STRING ||
            (a->single_word == b->single_word && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
             a->special == b->special && is_normalized(a) == is_normalized(b)));
}

static int by_id(const void *a, const void *b) {
    const struct vocab_mark *left = a, *right = b;
    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

/* Defaults of CLIPTokenizer.__init__ for names that no file has. */
static void set_defaults(struct vocab_build *build) {
    static const enum vocab_name of[] = {NAME_BOS, NAME_EOS, NAME_UNK, NAME_PAD};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct vocab_mark *mark = &build->named[of[i]];
        if (mark->form == FORM_ABSENT)
            *mark = (struct vocab_mark){.content = of[i] == NAME_BOS ? start_of_text : end_of_text,
                                        .id = -1,
                                        .form = FORM_STRING,
                                        .normalized = -1};
    }
}

/* Tokens with ids, ordered by id. added_tokens.json and tokenizer.json may both list a token: the later one counts. */
static int order_listed(struct vocab_build *build, struct fault *fault) {
    struct vocab_marks *listed = &build->listed;
    size_t kept = 0;
    if (listed->count)
        sort_items(listed->of, listed->count, sizeof *listed->of, by_id);
    for (size_t i = 0; i < listed->count; i++) {
        const struct vocab_mark *mark = &listed->of[i], *before = kept ? &listed->of[kept - 1] : NULL;
        struct fault_text one, other;
        if (before && before->id == mark->id && !vocab_same(before->content, mark->content))
            return fault_set(fault, FAULT_FORMAT,
                             "added tokens: found the id %lld at \"%s\" and at \"%s\", expected it once",
                             (long long)mark->id, fault_quote(&one, before->content.bytes, before->content.size),
                             fault_quote(&other, mark->content.bytes, mark->content.size));
        kept -= before && before->id == mark->id;
        listed->of[kept++] = *mark;
    }
    listed->count = kept;
    return 0;
}

static const struct vocab_mark *listed_as(const struct vocab_build *build, struct vocab_text content) {
    for (size_t left = build->listed.count; left > 0; left--) {
        if (vocab_same(build->listed.of[left - 1].content, content))
            return &build->listed.of[left - 1];
    }
    return NULL;
}

static int is_named(const struct vocab_build *build, struct vocab_text content) {
    for (int name = 0; name < VOCAB_NAMES; name++) {
        if (build->named[name].content.size && vocab_same(build->named[name].content, content))
            return 1;
    }
    return 0;
}

/* Adds a token the way the backend does: a content that is there already takes the new flags and keeps its id. */
static void add(struct vocab *out, const struct vocab_mark *mark, int32_t *next_id) {
    struct vocab_added *added = NULL;
    for (size_t i = 0; i < out->added_count && !added; i++) {
        if (vocab_same(out->added[i].content, mark->content))
            added = &out->added[i];
    }
    int32_t id = added ? added->id : vocab_find(out, mark->content.bytes, mark->content.size);
    if (!added)
        added = &out->added[out->added_count++];
    *added = (struct vocab_added){
        .content = mark->content,
        .id = id >= 0 ? id : (*next_id)++,
        .single_word = mark->single_word,
        .lstrip = mark->lstrip,
        .rstrip = mark->rstrip,
        .normalized = (unsigned char)is_normalized(mark),
    };
}

/* Of a token that was queued, so it is among the added ones. */
static int32_t id_of(const struct vocab *out, struct vocab_text content) {
    for (size_t i = 0; i < out->added_count; i++) { /* GCOVR_EXCL_BR_LINE: it is found before the end */
        if (vocab_same(out->added[i].content, content))
            return out->added[i].id;
    }
    return vocab_find(out, content.bytes, content.size); /* GCOVR_EXCL_LINE: see above */
}

static int check_ids(const struct vocab_build *build, struct fault *fault) {
    struct fault_text quoted;
    for (size_t i = 0; i < build->listed.count; i++) {
        const struct vocab_mark *mark = &build->listed.of[i];
        int32_t id = id_of(build->out, mark->content);
        if (mark->id != id)
            return fault_set(
                fault, FAULT_MISMATCH,
                "the added token \"%s\": found the id %lld, expected %d, which the vocabulary and the added tokens "
                "before it leave to it",
                fault_quote(&quoted, mark->content.bytes, mark->content.size), (long long)mark->id, id);
    }
    for (int side = 0; side < 2; side++) {
        const struct vocab_mark *mark = &build->frame[side];
        const struct vocab_mark *name = &build->named[side == 0 ? NAME_BOS : NAME_EOS];
        if (mark->form == FORM_STRING &&
            (!vocab_same(mark->content, name->content) || mark->id != id_of(build->out, name->content)))
            return fault_set(
                fault, FAULT_MISMATCH,
                "tokenizer.json: post_processor.%s: found \"%s\" with id %lld, expected the %s, which has id %d",
                side == 0 ? "cls" : "sep", fault_quote(&quoted, mark->content.bytes, mark->content.size),
                (long long)mark->id, vocab_names[side == 0 ? NAME_BOS : NAME_EOS], id_of(build->out, name->content));
    }
    return 0;
}

int vocab_settle(struct vocab_build *build, struct fault *fault) {
    struct vocab *out = build->out;
    int status = order_listed(build, fault);
    if (status)
        return status;
    for (int name = 0; name < VOCAB_NAMES; name++) {
        struct vocab_mark *mark = &build->named[name];
        const struct vocab_mark *listed = mark->content.size ? listed_as(build, mark->content) : NULL;
        if (listed)
            *mark = *listed;
    }
    set_defaults(build);
    static const enum vocab_name needed[] = {NAME_BOS, NAME_EOS, NAME_PAD};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (build->named[needed[i]].form == FORM_NULL)
            return fault_set(fault, FAULT_UNSUPPORTED, "%s: found null, expected a token", vocab_names[needed[i]]);
    }

    size_t most = build->listed.count + VOCAB_NAMES + build->extra.count;
    struct vocab_mark *queue = memory_array(most, sizeof *queue);
    out->added = memory_array(most, sizeof *out->added);
    if (!queue || !out->added) {
        memory_free(queue);
        return vocab_no_memory("added tokens", fault);
    }
    size_t count = build->listed.count;
    if (count)
        memcpy(queue, build->listed.of, count * sizeof *queue);
    for (size_t i = 0; i < VOCAB_NAMES + build->extra.count; i++) {
        const struct vocab_mark *mark = i < VOCAB_NAMES ? &build->named[i] : &build->extra.of[i - VOCAB_NAMES];
        int wanted = mark->form >= FORM_STRING && !listed_as(build, mark->content);
        for (size_t j = 0; j < count && wanted; j++)
            wanted = !is_equal(&queue[j], mark);
        if (wanted)
            queue[count++] = *mark;
    }
    int32_t next_id = (int32_t)out->token_count;
    for (size_t i = 0; i < count; i++) {
        if (queue[i].form == FORM_STRING || is_named(build, queue[i].content))
            queue[i].special = 1;
        add(out, &queue[i], &next_id);
    }
    memory_free(queue);
    out->start_id = id_of(out, build->named[NAME_BOS].content);
    out->end_id = id_of(out, build->named[NAME_EOS].content);
    out->pad_id = id_of(out, build->named[NAME_PAD].content);
    struct vocab_text unknown = build->named[NAME_UNK].content;
    out->unknown_id = unknown.size ? vocab_find(out, unknown.bytes, unknown.size) : -1;
    return check_ids(build, fault);
}
