/* compel.h - compel's grammar in two halves: fragments (compel.c) and what joins them (compel_join.c). Theirs alone.
 */
#ifndef ENCODER_CONDITION_COMPEL_H
#define ENCODER_CONDITION_COMPEL_H

#include "inside.h"

/* What was read, in order: the text of a fragment, or a bracket that opens or closes. A bracket's weight stands where it
 * opens. */
struct compel_event {
    uint32_t begin, end; /* bytes of the walk's text; end COMPEL_OPENS, _CLOSES or _NEXT for what is none */
    double weight;
};
#define COMPEL_OPENS UINT32_MAX
#define COMPEL_CLOSES (UINT32_MAX - 1)
#define COMPEL_NEXT (UINT32_MAX - 2) /* the next of several prompts that are joined begins */
_Static_assert(sizeof(struct compel_event) <= INSIDE_SPARE, "an event for each byte fits into the spare room");

/* Text that is being read. Inside double quotes it ends at the quote, and \t, \n, \f, \r are blanks. */
struct compel_walk {
    const char *text; /* the prompt with a blank behind each comma */
    const uint32_t *origin;
    size_t end;
    int quoted;
    struct compel_event *events;
    size_t count;
    unsigned char *failed; /* a bracket or quote that begins here is none: so nothing is tried twice */
};

/* " \t\n\r" from `at` on, to their end. */
size_t compel_skip(const struct compel_walk *walk, size_t at);
/* What stands at `at` ends there too: a word without signs. `at` if there is none. */
size_t compel_word(const struct compel_walk *walk, size_t at);
/* A bracket or quote at `at`, to its end, without a weight behind it. 0: it is none; the events are as before. *status
 * becomes a fault for what cannot be. */
size_t compel_bracket(struct compel_walk *walk, size_t at, int *status, struct fault *fault);
/* A whole prompt, to walk->end: words and signs that fit nowhere are text. */
int compel_prompt(struct compel_walk *walk, size_t at, struct fault *fault);
/* The double quote that closes the one at `at`; 0 if none does. */
size_t compel_closing_quote(const struct compel_walk *walk, size_t at);
/* A number without a sign, as the weight behind a bracket: where it ends, `at` if there is none. */
size_t compel_number(const struct compel_walk *walk, size_t at, double *value);

static inline void compel_note(struct compel_walk *walk, size_t begin, size_t end, double weight) {
    walk->events[walk->count++] = (struct compel_event){(uint32_t)begin, (uint32_t)end, weight};
}

static inline int compel_is(const struct compel_walk *walk, size_t at, const char *what) {
    for (; *what; what++, at++) {
        if (at >= walk->end || walk->text[at] != *what)
            return 0;
    }
    return 1;
}

#endif
