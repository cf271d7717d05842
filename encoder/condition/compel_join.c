/* compel_join.c - ("one", "two").and(1, 0.5), ("one", "two").blend(1, -0.2, no_normalize), and fragments to segments:
 * neighbours of one weight become one, with a blank between.
 */
#include "compel.h"

#include <string.h>

#include "number.h"

/* The host puts a blank behind a comma that has none; a comma behind such a comma is not looked at. */
static size_t spread(const struct building *from, char *text, uint32_t *origin) {
    size_t count = 0;
    for (size_t i = 0; i < from->size; i++) {
        size_t length;
        text[count] = from->prompt[i];
        origin[count++] = (uint32_t)i;
        if (from->prompt[i] != ',' || i + 1 == from->size ||
            number_is_space(from->prompt + i + 1, from->size - i - 1, &length))
            continue;
        text[count] = ' ';
        origin[count++] = (uint32_t)i;
        text[count] = from->prompt[++i];
        origin[count++] = (uint32_t)i;
    }
    return count;
}

/* ---- fragments to segments ---- */

/* Copies text without the backslashes before brackets and quotes. The host does that more than once, and each time one
 * backslash goes. */
static void put_fragment(struct building *to, const struct compel_walk *walk, const struct compel_event *event, size_t times) {
    size_t held = 0;
    for (size_t i = event->begin; i < event->end; i++) {
        char c = walk->text[i];
        if (c == '\\') {
            held++;
            continue;
        }
        int opens = held > 0 && (c == '(' || c == ')' || c == '"');
        size_t kept = opens ? held - (held < times ? held : times) : held;
        for (; kept > 0; kept--)
            building_put(to, '\\', walk->origin[i - kept]);
        building_put(to, c, walk->origin[i]);
        held = 0;
    }
    for (; held > 0; held--)
        building_put(to, '\\', walk->origin[event->end - held]);
}

/* Texts of one weight that follow each other, `fragments` of them, from event `first` on. */
static void put_fused(struct building *to, const struct compel_walk *walk, size_t first, size_t fragments, double weight) {
    size_t begin = to->count;
    for (size_t i = first, left = fragments; left > 0; i++) {
        const struct compel_event *event = &walk->events[i];
        if (event->end == COMPEL_OPENS || event->end == COMPEL_CLOSES)
            continue;
        if (left < fragments)
            building_put(to, ' ', to->count > 0 ? to->origin[to->count - 1] : 0);
        put_fragment(to, walk, event, 2 + (left < fragments ? left : fragments - 1));
        left--;
    }
    building_segment(to, begin, weight);
}

/* The events from `first` to the next prompt, as a part of that weight; none at all makes no part. Returns where they end. */
static size_t put_part(struct building *to, const struct compel_walk *walk, size_t first, double weight) {
    double outer[DIALECT_DEPTH + 1] = {1};
    size_t depth = 0, segments = to->segment_count, run = first, fragments = 0;
    double run_weight = 1;
    size_t i = first;
    for (; i < walk->count && walk->events[i].end != COMPEL_NEXT; i++) {
        const struct compel_event *event = &walk->events[i];
        if (event->end == COMPEL_OPENS) {
            outer[depth + 1] = outer[depth] * event->weight;
            depth++;
        } else if (event->end == COMPEL_CLOSES) {
            depth--;
        } else {
            double own = outer[depth] * event->weight;
            if (fragments > 0 && !(own == run_weight)) {
                put_fused(to, walk, run, fragments, run_weight);
                fragments = 0;
            }
            if (fragments++ == 0) {
                run = i;
                run_weight = own;
            }
        }
    }
    if (fragments > 0)
        put_fused(to, walk, run, fragments, run_weight);
    if (to->segment_count > segments)
        building_part(to, segments, weight);
    return i;
}

/* ---- targets and options ---- */

/* "several words" as a prompt of its own, where it is no fragment. */
static size_t quoted_prompt(struct compel_walk *walk, size_t at, int *status, struct fault *fault) {
    size_t closing = compel_closing_quote(walk, at);
    if (closing == 0)
        return 0;
    struct compel_walk inside = *walk;
    inside.end = closing;
    inside.quoted = 1;
    *status = compel_prompt(&inside, at + 1, fault);
    walk->count = inside.count;
    return closing + 1;
}

static size_t target(struct compel_walk *walk, size_t at, int *status, struct fault *fault) {
    size_t end;
    if (at >= walk->end)
        return 0;
    if (walk->text[at] == '(' || walk->text[at] == '"') {
        end = compel_bracket(walk, at, status, fault);
        if (end == 0 && !*status && walk->text[at] == '"')
            end = quoted_prompt(walk, at, status, fault);
        return end;
    }
    end = compel_word(walk, at);
    if (end == at)
        return 0;
    compel_note(walk, at, end, 1);
    return end;
}

/* (one, two, three): how many there are; 0 if it is none. *end is behind the bracket. */
static size_t targets(struct compel_walk *walk, size_t *end, int *status, struct fault *fault) {
    size_t at = compel_skip(walk, 0), count = 0;
    if (!compel_is(walk, at, "("))
        return 0;
    do {
        at = compel_skip(walk, at + 1);
        compel_note(walk, at, COMPEL_NEXT, 1);
        count++;
        at = target(walk, at, status, fault);
        if (at == 0)
            return 0;
        at = compel_skip(walk, at);
    } while (compel_is(walk, at, ","));
    *end = at + 1;
    return compel_is(walk, at, ")") ? count : 0;
}

static int is_keyword(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

/* One option: name=value, a number, or a name. Where it ends, 0 if it is none. What the host takes for its weight is
 * text[*begin..*stop). */
static size_t option(const struct compel_walk *walk, size_t at, size_t *begin, size_t *stop) {
    size_t end = at, number;
    double value;
    while (end < walk->end && is_keyword(walk->text[end]))
        end++;
    *begin = at;
    *stop = end;
    size_t next = compel_skip(walk, end);
    if (end > at && compel_is(walk, next, "=")) {
        size_t from = compel_skip(walk, next + 1);
        number = from + (size_t)compel_is(walk, from, "-");
        next = compel_number(walk, number, &value);
        if (next > number)
            return next;
        for (next = from; next < walk->end && is_keyword(walk->text[next]); next++)
            ;
        if (next > from)
            return next;
    }
    number = at + (compel_is(walk, at, "-") || compel_is(walk, at, "+"));
    next = compel_number(walk, number, &value);
    /* a plus only before a number with a point */
    if (next > number && (number == at || walk->text[at] == '-' || memchr(walk->text + number, '.', next - number))) {
        *stop = next;
        return next;
    }
    return end > at ? end : 0;
}

static int not_a_weight(const struct compel_walk *walk, size_t begin, size_t end, struct fault *fault) {
    struct fault_text quoted;
    return fault_set(fault, FAULT_FORMAT, "the weight \"%s\" at byte %zu is no number, expected one for each part",
                     fault_quote(&quoted, walk->text + begin, end - begin), (size_t)walk->origin[begin]);
}

/* What was read so far of the weights behind .and( or .blend(. */
struct weights {
    struct dialect_part *parts; /* their weights are written here */
    size_t count;
    size_t last_begin, last_end; /* the last option's text */
    size_t wrong_begin, wrong_end; /* the first that is no number; wrong_end 0: none */
    size_t wrongs;
};

/* The options from `at` to their bracket; 0 if they are none. */
static size_t options(const struct compel_walk *walk, size_t at, struct weights *out) {
    at = compel_skip(walk, at);
    while (!compel_is(walk, at, ")")) {
        size_t begin, stop, end = option(walk, at, &begin, &stop);
        double value = 0;
        if (end == 0)
            return 0;
        if (!number_read(walk->text + begin, stop - begin, &value) && out->wrongs++ == 0) {
            out->wrong_begin = begin;
            out->wrong_end = stop;
        }
        out->last_begin = begin;
        out->last_end = stop;
        out->parts[out->count++].weight = value;
        at = compel_skip(walk, end);
        if (compel_is(walk, at, ",")) {
            at = compel_skip(walk, at + 1);
            if (compel_is(walk, at, ")"))
                return 0;
        } else if (!compel_is(walk, at, ")")) {
            return 0;
        }
    }
    return at + 1;
}

static int settle_blend(struct building *to, struct compel_walk *walk, size_t end, struct weights *weights, struct fault *fault) {
    static const char flag[] = "no_normalize";
    to->normalised = 1;
    if (weights->count > 0 && weights->last_end - weights->last_begin == sizeof flag - 1 &&
        memcmp(walk->text + weights->last_begin, flag, sizeof flag - 1) == 0) {
        to->normalised = 0;
        weights->count--;
        if (--weights->wrongs == 0)
            weights->wrong_end = 0;
    }
    if (weights->wrong_end > 0)
        return not_a_weight(walk, weights->wrong_begin, weights->wrong_end, fault);
    end = compel_skip(walk, end);
    if (end < walk->end)
        return fault_set(fault, FAULT_FORMAT, "the prompt: found text at byte %zu behind .blend(), where compel expects its end",
                         (size_t)walk->origin[end]);
    return 0;
}

/* The whole prompt as several that are joined: how many there are, 0 if it is no such prompt. */
static size_t join(struct building *to, struct compel_walk *walk, int *status, struct fault *fault) {
    struct weights weights = {.parts = to->parts};
    size_t at = 0, count = targets(walk, &at, status, fault);
    if (count == 0 || *status)
        return 0;
    at = compel_skip(walk, at);
    int blends = compel_is(walk, at, ".blend");
    if (!blends && !compel_is(walk, at, ".and") && !compel_is(walk, at, ".add"))
        return 0;
    at = compel_skip(walk, at + strlen(blends ? ".blend" : ".and"));
    size_t end = compel_is(walk, at, "(") ? options(walk, at + 1, &weights) : 0;
    if (end == 0)
        return 0;
    to->join = blends ? DIALECT_BLEND : DIALECT_AND;
    if (blends)
        *status = settle_blend(to, walk, end, &weights, fault);
    else if (weights.wrong_end > 0)
        *status = not_a_weight(walk, weights.wrong_begin, weights.wrong_end, fault);
    if (!*status && weights.count > 0 && weights.count != count)
        *status = fault_set(fault, FAULT_FORMAT, "the prompt: found %zu weights for %zu parts, expected as many", weights.count,
                            count);
    for (size_t i = weights.count; i < count; i++)
        to->parts[i].weight = 1;
    return count;
}

static int put_joined(struct building *to, const struct compel_walk *walk, size_t count, struct fault *fault) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        at = put_part(to, walk, at + 1, to->parts[i].weight); /* the parts that are written are never more than those read */
    if (to->join == DIALECT_BLEND && to->part_count < count)
        return fault_set(fault, FAULT_FORMAT, "the prompt: found %zu weights for %zu parts that are not empty, expected as many",
                         count, to->part_count);
    return 0;
}

int compel_parse(struct building *to, struct fault *fault) {
    /* text, origins and what was read lie in the half of the room that what is written never reaches: every byte that is
     * written was read, or is a blank between two that were */
    size_t half = INSIDE_TEXT / 2 * to->size + INSIDE_ALWAYS / 2;
    char *text = to->text + half;
    uint32_t *origin = to->origin + half;
    struct compel_walk walk = {.text = text, .origin = origin, .events = to->spare, .failed = to->marks};
    int status = 0;
    walk.end = spread(to, text, origin);
    memset(walk.failed, 0, walk.end);
    size_t count = join(to, &walk, &status, fault);
    if (!status && count > 0) {
        status = put_joined(to, &walk, count, fault);
    } else if (!status) {
        walk.count = 0;
        status = compel_prompt(&walk, 0, fault);
        if (!status)
            put_part(to, &walk, 0, 1);
    }
    if (!status && to->part_count == 0) {
        building_segment(to, 0, 1);
        building_part(to, 0, 1);
    }
    return status;
}
