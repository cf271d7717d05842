/* a1111.c - AUTOMATIC1111's weights: ( ) and [ ] multiply by 1.1 and 1/1.1, (text:number) by the number; a backslash makes
 * a bracket text; the word BREAK ends a window. Round and square brackets are counted apart, so they may overlap; those
 * left open count to the end. All weights are products of doubles in the order in which the brackets close.
 *
 * The host's own way is followed step by step, because odd inputs show it: what stands between signs becomes a run of its
 * own, and neighbours of one weight are joined at the end, whatever they were. So "(BR\EAK:-1)" is a BREAK, and
 * "(a BREAK b:1.2)" has one of weight -1.2, which is the word.
 */
#include "inside.h"

#include <string.h>

#include "number.h"

static const double up = 1.1, down = 1 / 1.1;
static const char word[] = "BREAK";

struct stack {
    uint32_t first[DIALECT_DEPTH]; /* the segment that an open bracket begins with */
    size_t count;
};

struct parse {
    struct building *to;
    struct stack round, square;
};

static void multiply(struct building *to, size_t first, double by) {
    for (size_t i = first; i < to->segment_count; i++)
        to->segments[i].weight *= by;
}

static int open_bracket(struct parse *parse, struct stack *stack, size_t at, struct fault *fault) {
    /* the work is bounded by both together */
    if (parse->round.count + parse->square.count == DIALECT_DEPTH)
        return building_too_deep(at, fault);
    stack->first[stack->count++] = (uint32_t)parse->to->segment_count;
    return 0;
}

static void close_bracket(struct parse *parse, struct stack *stack, double by) {
    multiply(parse->to, stack->first[--stack->count], by);
}

/* ":", blanks, a sign, points and digits, blanks, ")": where it ends, or 0. What float() is given lies at
 * *begin..*end. */
static size_t number_at(const struct building *from, size_t at, size_t *begin, size_t *end) {
    const char *text = from->prompt;
    size_t length, size = from->size;
    for (at++; number_is_space(text + at, size - at, &length); at += length)
        ;
    *begin = at;
    if (at < size && (text[at] == '+' || text[at] == '-'))
        at++;
    size_t first = at;
    while (at < size && (text[at] == '.' || number_digit(text + at, size - at, &length) >= 0))
        at += text[at] == '.' ? 1 : length;
    *end = at;
    if (at == first)
        return 0;
    for (; number_is_space(text + at, size - at, &length); at += length)
        ;
    return at < size && text[at] == ')' ? at + 1 : 0;
}

/* The blanks that begin at `at`, to their end. */
static size_t after_spaces(const struct building *from, size_t at, size_t end) {
    size_t length;
    while (at < end && number_is_space(from->prompt + at, end - at, &length))
        at += length;
    return at;
}

static int is_break(const struct building *from, size_t begin, size_t end, size_t at, int after_word) {
    size_t size = sizeof word - 1, length;
    if (end - at < size || memcmp(from->prompt + at, word, size) != 0)
        return 0;
    int before = at > begin && after_word;
    return !before && !(at + size < end && number_is_word(from->prompt + at + size, end - at - size, &length));
}

/* A run of text. Blanks round a BREAK go with it. */
static void put_run(struct building *to, size_t begin, size_t end) {
    size_t from = begin, kept = begin; /* prompt[from..kept) is text, prompt[kept..at) blanks that may go */
    size_t text = to->count, length;
    int after_word = 0;
    for (size_t at = begin; at < end;) {
        if (is_break(to, begin, end, at, after_word)) {
            building_copy(to, from, kept);
            building_segment(to, text, 1.0);
            text = to->count;
            building_copy(to, at, at + sizeof word - 1);
            building_segment(to, text, -1.0);
            text = to->count;
            from = kept = at = after_spaces(to, at + sizeof word - 1, end);
            after_word = 0;
            continue;
        }
        int is_space = number_is_space(to->prompt + at, end - at, &length);
        after_word = number_is_word(to->prompt + at, end - at, &length);
        at += length;
        if (!is_space)
            kept = at;
    }
    building_copy(to, from, end);
    building_segment(to, text, 1.0);
}

static int is_bracket(char c) {
    return c == '(' || c == ')' || c == '[' || c == ']';
}

/* To the next sign. */
static size_t end_of_run(const struct building *from, size_t at) {
    while (at < from->size && !is_bracket(from->prompt[at]) && from->prompt[at] != '\\' && from->prompt[at] != ':')
        at++;
    return at;
}

static int take_weight(struct parse *parse, size_t begin, size_t end, struct fault *fault) {
    double weight;
    struct fault_text quoted;
    if (!number_read(parse->to->prompt + begin, end - begin, &weight))
        return fault_set(fault, FAULT_FORMAT, "the weight \"%s\" at byte %zu is no number, expected digits with at most one point",
                         fault_quote(&quoted, parse->to->prompt + begin, end - begin), begin);
    close_bracket(parse, &parse->round, weight);
    return 0;
}

/* Joins neighbours of one weight; what is a BREAK is known only then. */
static void join(struct building *to) {
    size_t kept = 0;
    for (size_t i = 1; i < to->segment_count; i++) {
        struct dialect_segment *last = &to->segments[kept];
        if (last->weight == to->segments[i].weight)
            last->end = to->segments[i].end;
        else
            to->segments[++kept] = to->segments[i];
    }
    to->segment_count = kept + 1;
    for (size_t i = 0; i < to->segment_count; i++) {
        struct dialect_segment *segment = &to->segments[i];
        if (segment->weight == -1 && segment->end - segment->begin == sizeof word - 1 &&
            memcmp(to->text + segment->begin, word, sizeof word - 1) == 0)
            segment->flags = DIALECT_BREAK;
    }
}

/* One sign or run at *at. */
static int step(struct parse *parse, size_t *at, struct fault *fault) {
    struct building *to = parse->to;
    size_t here = *at, begin, end, after;
    char c = to->prompt[here];
    *at = here + 1;
    switch (c) {
    case '\\':
        begin = to->count;
        if (*at < to->size && (is_bracket(to->prompt[*at]) || to->prompt[*at] == '\\')) {
            building_put(to, to->prompt[*at], *at);
            ++*at;
        }
        building_segment(to, begin, 1.0);
        return 0;
    case '(':
        return open_bracket(parse, &parse->round, here, fault);
    case '[':
        return open_bracket(parse, &parse->square, here, fault);
    case ':':
        after = number_at(to, here, &begin, &end);
        if (after > 0) {
            *at = after;
            if (parse->round.count > 0)
                return take_weight(parse, begin, end, fault);
        }
        put_run(to, here, *at);
        return 0;
    case ')':
    case ']': {
        struct stack *stack = c == ')' ? &parse->round : &parse->square;
        if (stack->count > 0)
            close_bracket(parse, stack, c == ')' ? up : down);
        else
            put_run(to, here, *at);
        return 0;
    }
    default:
        *at = end_of_run(to, here);
        put_run(to, here, *at);
        return 0;
    }
}

int a1111_parse(struct building *to, struct fault *fault) {
    struct parse parse = {.to = to};
    for (size_t at = 0; at < to->size;) {
        int status = step(&parse, &at, fault);
        if (status)
            return status;
    }
    for (size_t i = 0; i < parse.round.count; i++)
        multiply(to, parse.round.first[i], up);
    for (size_t i = 0; i < parse.square.count; i++)
        multiply(to, parse.square.first[i], down);
    if (to->segment_count == 0)
        building_segment(to, 0, 1.0);
    join(to);
    return 0;
}
