/* tokenizer_place.c - looks in three places, in that order, and says which one it was. */
#include "tokenizer_place.h"

#include <stddef.h>

static void note(void *user, const char *subject, const char *message) {
    report_say(user, REPORT_NOTE, subject, "%s", message);
}

static void say_source(const struct tokenizer *tokenizer, const char *where, const struct report *report) {
    int32_t pad = tokenizer_pad_id(tokenizer);
    if (tokenizer_pads_by_default(tokenizer))
        report_say(report, REPORT_NOTE, "tokenizer", "%s %s; it says nothing of padding, which is assumed to be id %d",
                   tokenizer_source(tokenizer), where, pad);
    else
        report_say(report, REPORT_NOTE, "tokenizer", "%s %s; its padding is id %d", tokenizer_source(tokenizer), where, pad);
}

static int fits(const struct tokenizer *tokenizer, const struct tokenizer_place *place) {
    return place->rows == 0 || (uint32_t)tokenizer_id_limit(tokenizer) <= place->rows;
}

static int open_theirs(struct tokenizer **out, const struct tokenizer_place *place, const struct tokenizer_options *options,
                       struct report *report, struct fault *fault) {
    int status = tokenizer_open(out, place->given ? place->given : place->beside, options, note, report, fault);
    if (status)
        return status;
    say_source(*out, place->given ? "at the path that was given" : "beside the weights", report);
    if (fits(*out, place))
        return 0;
    fault_set(fault, FAULT_MISMATCH, "the tokenizer has ids up to %d, but %s is %u: they belong to different models",
              tokenizer_id_limit(*out) - 1, place->rows_from, place->rows);
    tokenizer_close(*out);
    *out = NULL;
    return fault->code;
}

/* A vocabulary that nobody asked for does not keep a model from opening, whatever is wrong with it. */
static int open_own(struct tokenizer **out, const struct tokenizer_place *place, const struct tokenizer_options *options,
                    struct report *report, struct fault *fault) {
    int status = tokenizer_open_compact(out, place->own, options, note, report, fault);
    if (status && (place->needed || status == FAULT_NO_MEMORY))
        return status;
    if (status) {
        report_say(report, REPORT_WARNING, "tokenizer", "the one beside the plugin is not used: %s", fault->message);
    } else if (!fits(*out, place)) {
        report_say(report, REPORT_NOTE, "tokenizer", "the %s beside the plugin is not used: it has ids up to %d, but %s is %u",
                   tokenizer_source(*out), tokenizer_id_limit(*out) - 1, place->rows_from, place->rows);
        tokenizer_close(*out);
        *out = NULL;
    } else {
        say_source(*out, "beside the plugin", report);
    }
    return 0;
}

int tokenizer_find(struct tokenizer **out, const struct tokenizer_place *place, const struct tokenizer_options *options,
                   const struct report *report, struct fault *fault) {
    struct report heard = *report;
    *out = NULL;
    if (place->given || (place->beside && tokenizer_is_in(place->beside)))
        return open_theirs(out, place, options, &heard, fault);
    if (place->own && tokenizer_compact_is_in(place->own)) {
        int status = open_own(out, place, options, &heard, fault);
        if (status || *out)
            return status;
    }
    if (place->needed)
        return fault_set(fault, FAULT_NOT_FOUND, "there is no clip.vocab beside the plugin: " TOKENIZER_ADVICE);
    report_say(&heard, REPORT_WARNING, "tokenizer", "none beside the weights: this model takes ids only; for text, "
               TOKENIZER_ADVICE);
    return 0;
}
