/* compel.c - compel's fragments: word+ word-- (several words)1.3 "several words"+ (words).attend(1.5), nested. What fits
 * nowhere is text up to the next blank.
 *
 * The host's grammar tries alternatives one after the other and begins again with each, in exponential time for nested
 * brackets. Here a bracket is read once and the sign behind it looked at afterwards: the alternatives differ in nothing
 * else. One that does not come to its end fails with all that is open round it; their places are marked, so that no
 * bracket is tried a second time.
 */
#include "compel.h"

#include <math.h>
#include <string.h>

#include "../base/utf8.h"
#include "number.h"

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Signs of the grammar; a backslash before one makes it text. */
static int is_sign(char c) {
    return c == '(' || c == ')' || c == '"' || c == ',' || c == '.' || c == '+' || c == '-' || c == '=';
}

/* Bytes of the blank at `at`: one the grammar skips. */
static size_t blank_at(const struct compel_walk *walk, size_t at) {
    if (at >= walk->end)
        return 0;
    if (is_blank(walk->text[at]))
        return 1;
    if (walk->quoted && walk->text[at] == '\\' && at + 1 < walk->end) {
        char c = walk->text[at + 1];
        return c == 't' || c == 'n' || c == 'r' ? 2 : 0;
    }
    return 0;
}

/* The same with those that end a word and are not skipped; there is a byte at `at`. */
static size_t white_at(const struct compel_walk *walk, size_t at) {
    if (walk->text[at] == '\v' || walk->text[at] == '\f')
        return 1;
    if (walk->quoted && compel_is(walk, at, "\\f"))
        return 2;
    return blank_at(walk, at);
}

size_t compel_skip(const struct compel_walk *walk, size_t at) {
    for (size_t length; (length = blank_at(walk, at)) > 0;)
        at += length;
    return at;
}

size_t compel_word(const struct compel_walk *walk, size_t at) {
    while (at < walk->end && white_at(walk, at) == 0) {
        char c = walk->text[at];
        if (c == '\\' && at + 1 < walk->end && is_sign(walk->text[at + 1])) {
            at += 2;
            continue;
        }
        if (c == '+' || c == '-') {
            size_t next = at + 1;
            int more = next < walk->end && blank_at(walk, next) == 0 && !is_sign(walk->text[next]);
            if (!more)
                break;
        } else if (is_sign(c)) {
            break;
        }
        at++;
    }
    return at;
}

size_t compel_closing_quote(const struct compel_walk *walk, size_t at) {
    size_t escaped = 0;
    for (at++; at < walk->end && walk->text[at] != '\n' && walk->text[at] != '\r'; at++) {
        if (walk->text[at] == '"')
            return at;
        if (walk->text[at] == '\\' && at + 1 < walk->end && walk->text[at + 1] == '"')
            escaped = ++at;
    }
    return escaped; /* with no other in its line, an escaped one closes */
}

size_t compel_number(const struct compel_walk *walk, size_t at, double *value) {
    size_t begin = at, point, length = 0, whole;
    while (at < walk->end && number_digit(walk->text + at, walk->end - at, &length) >= 0)
        at += length;
    whole = point = at;
    if (at < walk->end && walk->text[at] == '.') {
        for (at++; at < walk->end && number_digit(walk->text + at, walk->end - at, &length) >= 0; at += length)
            ;
        if (whole > begin || at > point + 1) {
            number_read(walk->text + begin, at - begin, value);
            return at;
        }
    }
    for (whole = begin; whole < walk->end && is_digit(walk->text[whole]); whole++)
        ;
    if (whole > begin)
        number_read(walk->text + begin, whole - begin, value);
    return whole;
}

/* One plus or minus, or several: where they end. */
static size_t signs(const struct compel_walk *walk, size_t at, double *weight) {
    if (at >= walk->end || (walk->text[at] != '+' && walk->text[at] != '-'))
        return at;
    size_t begin = at;
    while (at < walk->end && walk->text[at] == walk->text[begin])
        at++;
    *weight = pow(walk->text[begin] == '+' ? 1.1 : 0.9, (double)(at - begin));
    return at;
}

/* ".attend(1.5)" behind a fragment, blanks before and between: where it ends, or `at`. */
static size_t attend(const struct compel_walk *walk, size_t at, double *weight) {
    size_t next = compel_skip(walk, at);
    if (!compel_is(walk, next, ".attend"))
        return at;
    next = compel_skip(walk, next + strlen(".attend"));
    if (!compel_is(walk, next, "("))
        return at;
    next = compel_skip(walk, next + 1);
    double found = 1;
    size_t end = signs(walk, next, &found);
    if (end == next)
        end = compel_number(walk, next, &found);
    if (end == next)
        return at;
    end = compel_skip(walk, end);
    if (!compel_is(walk, end, ")"))
        return at;
    *weight = found;
    return end + 1;
}

/* The weight behind a bracket or word that ends at `at`: where it ends. Numbers only behind brackets. */
static size_t weight_behind(const struct compel_walk *walk, size_t at, int numbers, double *weight) {
    size_t end = attend(walk, at, weight);
    if (end == at)
        end = signs(walk, at, weight);
    if (end == at && numbers)
        end = compel_number(walk, at, weight);
    return end;
}

static int is_swap(const struct compel_walk *walk, size_t at) {
    at = compel_skip(walk, at);
    return compel_is(walk, at, ".swap") && compel_is(walk, compel_skip(walk, at + strlen(".swap")), "(");
}

static int is_keyword(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

/* withLora(name, 0.5) */
static int is_lora(const struct compel_walk *walk, size_t at) {
    double weight;
    if (!compel_is(walk, at, "useLora") && !compel_is(walk, at, "withLora"))
        return 0;
    at = compel_skip(walk, at + strlen(walk->text[at] == 'u' ? "useLora" : "withLora"));
    if (!compel_is(walk, at, "("))
        return 0;
    size_t name = at = compel_skip(walk, at + 1);
    while (at < walk->end && is_keyword(walk->text[at]))
        at++;
    if (at == name)
        return 0;
    at = compel_skip(walk, at);
    if (compel_is(walk, at, ",")) {
        at = compel_skip(walk, at + 1);
        at += compel_is(walk, at, "-") || compel_is(walk, at, "+");
        at = compel_skip(walk, compel_number(walk, at, &weight));
    }
    return compel_is(walk, at, ")");
}

static int unsupported(const struct compel_walk *walk, size_t at, const char *what, struct fault *fault) {
    return fault_set(fault, FAULT_UNSUPPORTED, "the prompt: found %s at byte %zu, expected weights, .blend() or .and() alone",
                     what, (size_t)walk->origin[at]);
}

/* A word at `at` with the weight behind it, if it has one or `alone` will do: where it ends, or `at`. */
static size_t take_word(struct compel_walk *walk, size_t at, int alone, int *status, struct fault *fault) {
    size_t end = compel_word(walk, at);
    double weight = 1;
    if (is_lora(walk, at))
        *status = unsupported(walk, at, "a LoRA", fault);
    else if (end > at && is_swap(walk, end))
        *status = unsupported(walk, end, ".swap()", fault);
    if (*status || end == at)
        return at;
    size_t behind = weight_behind(walk, end, 0, &weight);
    if (behind == end && !alone)
        return at;
    compel_note(walk, at, end, weight);
    return behind;
}

/* ---- brackets and quotes ---- */

struct nest {
    uint32_t opened[DIALECT_DEPTH]; /* the event of each bracket or quote that is open */
    size_t count;
    size_t quote; /* which of them is a quote; COMPEL_NO_QUOTE: none */
    size_t outer; /* where the text ends outside of it */
};
#define COMPEL_NO_QUOTE SIZE_MAX

static int open_one(struct compel_walk *walk, struct nest *nest, size_t at, struct fault *fault) {
    if (nest->count == DIALECT_DEPTH)
        return building_too_deep(walk->origin[at], fault);
    nest->opened[nest->count++] = (uint32_t)walk->count;
    compel_note(walk, at, COMPEL_OPENS, 1);
    return 0;
}

/* Closes the innermost, whose sign is at `at`; returns what is behind it and its weight. The outermost's weight is left. */
static size_t close_one(struct compel_walk *walk, struct nest *nest, size_t at, int *status, struct fault *fault) {
    struct compel_event *opened = &walk->events[nest->opened[--nest->count]];
    compel_note(walk, at, COMPEL_CLOSES, 1);
    at++;
    if (nest->count == 0)
        return at;
    size_t end = weight_behind(walk, at, 1, &opened->weight);
    if (end == at && is_swap(walk, at))
        *status = unsupported(walk, at, ".swap()", fault);
    return end;
}

/* Nothing that is open comes to an end. */
static size_t fail(struct compel_walk *walk, const struct nest *nest) {
    size_t first = nest->opened[0], trusted = nest->count;
    if (nest->quote < trusted)
        trusted = nest->quote + 1; /* what is in quotes might be a bracket outside of them */
    for (size_t i = 0; i < trusted; i++)
        walk->failed[walk->events[nest->opened[i]].begin] = 1;
    walk->count = first;
    return 0;
}

/* One step inside: a bracket, a quote, a word, a comma or a point. 0: nothing of these. */
static size_t step_inside(struct compel_walk *walk, struct nest *nest, size_t at, int *status, struct fault *fault) {
    char c = walk->text[at];
    if (c == '(' || c == '"') {
        size_t closing = c == '"' ? compel_closing_quote(walk, at) : 1;
        if (walk->quoted ? c == '"' : walk->failed[at] || closing == 0)
            return 0;
        *status = open_one(walk, nest, at, fault);
        if (*status || c == '(')
            return at + 1;
        nest->quote = nest->count - 1;
        nest->outer = walk->end;
        walk->end = closing;
        walk->quoted = 1;
        if (compel_skip(walk, at + 1) == closing)
            compel_note(walk, at + 1, at + 1, 1); /* empty, and still a fragment */
        return at + 1;
    }
    size_t end = take_word(walk, at, 1, status, fault);
    if (end == at && (c == ',' || c == '.')) {
        compel_note(walk, at, at + 1, 1);
        end = at + 1;
    }
    return end > at ? end : 0;
}

static void leave_quote(struct compel_walk *walk, struct nest *nest) {
    walk->end = nest->outer;
    walk->quoted = 0;
    nest->quote = COMPEL_NO_QUOTE;
}

size_t compel_bracket(struct compel_walk *walk, size_t at, int *status, struct fault *fault) {
    struct nest nest = {.count = 0, .quote = COMPEL_NO_QUOTE};
    size_t events = walk->count, begin = at;
    at = step_inside(walk, &nest, at, status, fault);
    if (at == 0 && !walk->quoted) /* GCOVR_EXCL_BR_LINE: a quote in quotes has a backslash before it and begins nothing */
        walk->failed[begin] = 1;
    while (at > 0 && !*status) {
        at = compel_skip(walk, at);
        int ends = at >= walk->end, closes = !ends && walk->text[at] == ')';
        int in_quote = nest.quote == nest.count - 1;
        if (ends ? !in_quote : closes && in_quote) {
            at = 0;
        } else if (ends || closes) {
            if (ends)
                leave_quote(walk, &nest);
            at = close_one(walk, &nest, at, status, fault);
            if (nest.count == 0)
                return at;
        } else {
            at = step_inside(walk, &nest, at, status, fault);
        }
    }
    if (nest.count > 0)
        fail(walk, &nest);
    if (nest.quote != COMPEL_NO_QUOTE)
        leave_quote(walk, &nest);
    walk->count = events;
    return 0;
}

/* ---- the whole ---- */

/* A bracket or quote with the weight behind it: where it ends, or `at`. */
static size_t take_bracket(struct compel_walk *walk, size_t at, int *status, struct fault *fault) {
    size_t opened = walk->count, end = compel_bracket(walk, at, status, fault);
    if (*status || end == 0)
        return at;
    size_t behind = weight_behind(walk, end, 1, &walk->events[opened].weight);
    if (behind == end && is_swap(walk, end))
        *status = unsupported(walk, end, ".swap()", fault);
    return behind;
}

/* The host skips a form feed only before a blank, a vertical tab never, and reads no further. */
static int odd_blank(const struct compel_walk *walk, size_t at, size_t *end, struct fault *fault) {
    size_t from = at;
    while (at < walk->end && walk->text[at] == '\f')
        at++;
    *end = at;
    if (at > from && blank_at(walk, at) > 0)
        return 0;
    return fault_set(fault, FAULT_FORMAT, "the prompt: found a %s at byte %zu, which compel reads no further than; expected a blank",
                     at > from ? "form feed" : "vertical tab", (size_t)walk->origin[from]);
}

int compel_prompt(struct compel_walk *walk, size_t at, struct fault *fault) {
    int status = 0;
    while ((at = compel_skip(walk, at)) < walk->end) {
        if (white_at(walk, at) > 0) {
            status = odd_blank(walk, at, &at, fault);
            if (status)
                return status;
            continue;
        }
        int bracket = walk->text[at] == '(' || walk->text[at] == '"';
        size_t end = bracket ? take_bracket(walk, at, &status, fault) : take_word(walk, at, 0, &status, fault);
        if (status)
            return status;
        if (end == at) {
            while (end < walk->end && white_at(walk, end) == 0)
                end++;
            compel_note(walk, at, end, 1);
        }
        at = end;
    }
    return 0;
}
