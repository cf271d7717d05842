/* towers.c - lists and chooses. */
#include "towers.h"

#include <stdio.h>
#include <string.h>

#include "model/shapes.h"

static const struct place *place_of(const struct towers *t, const struct tower *tower) {
    return &t->places.of[tower->place];
}

/* Every name it answers to; "text" is for those that have no other. */
static int is_called(const struct towers *t, const struct tower *tower, const char *name) {
    const char *label = place_of(t, tower)->label, *own = tower->layout.layout->tower;
    return (label && strcmp(label, name) == 0) || (own && strcmp(own, name) == 0) ||
           strcmp(shapes_name(tower->width), name) == 0;
}

static void list(struct towers *t, size_t place, const struct report *report) {
    struct checkpoint *c = &t->checkpoints[place];
    struct found_layout found[LAYOUTS_MOST];
    size_t count = layouts_find(&c->set, found);
    struct finding format = {.severity = REPORT_NOTE, .kind = REPORT_FORMAT, .subject = c->name, .tensors = c->set.count,
                             .bytes = c->bytes};
    report_find(report, format, "safetensors, %u file%s, %zu tensors, %llu bytes", c->file_count, c->file_count == 1 ? "" : "s",
                c->set.count, (unsigned long long)c->bytes);
    for (size_t i = 0; i < count; i++) {
        struct tower *tower = &t->of[t->count++];
        const char *label = t->places.of[place].label, *own = found[i].layout->tower;
        *tower = (struct tower){.place = place, .layout = found[i], .index = i};
        shapes_look(&found[i], &c->set, &tower->width, &tower->layers);
        tower->name = label ? label : own ? own : shapes_name(tower->width);
        report_find(report, (struct finding){.severity = REPORT_NOTE, .kind = REPORT_TOWER, .subject = tower->name},
                    "text tower, %u wide, %u blocks, in the layout \"%s\" of %s", tower->width, tower->layers,
                    found[i].layout->name, c->name);
    }
    if (count == 0 && t->places.of[place].label)
        report_find(report, (struct finding){.severity = REPORT_NOTE, .kind = REPORT_IGNORED, .subject = t->places.of[place].label},
                    "holds no CLIP text tower");
}

/* Of a pipeline a part that nobody asked for may be broken. */
static int open_places(struct towers *t, const char *wanted, const struct report *report, struct fault *fault) {
    int status = 0;
    for (size_t i = 0; i < t->places.count; i++) {
        const struct place *place = &t->places.of[i];
        int named = wanted && place->label && strcmp(place->label, wanted) == 0;
        status = checkpoint_open(&t->checkpoints[i], place->directory, place->name, report, fault);
        if (status && (t->places.count == 1 || named || status == FAULT_NO_MEMORY))
            return status;
        if (status)
            report_find(report, (struct finding){.severity = REPORT_WARNING, .kind = REPORT_FORMAT, .subject = place->label}, "%s",
                        fault->message);
        else
            list(t, i, report);
    }
    return t->count ? 0 : status;
}

/* "clip_l, clip_g" */
static void name_all(const struct towers *t, char *out, size_t room) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->count && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s", i ? ", " : "", t->of[i].name);
}

static int choose(struct towers *t, const char *path, const char *wanted, struct fault *fault) {
    const char *file = t->places.count == 1 ? t->checkpoints[0].name : path;
    size_t size = strlen(file), shown = size > 120 ? size - 120 : 0, same = 0;
    struct fault_text quoted;
    char names[200];
    uint32_t most = 0;
    name_all(t, names, sizeof names);
    if (t->count == 0)
        return fault_set(fault, FAULT_MISMATCH, "%s: holds no CLIP text tower: no token embedding stands in it under a name of a "
                         "known layout", file + shown);
    for (size_t i = 0; i < t->count; i++)
        most = t->of[i].width > most ? t->of[i].width : most;
    for (size_t i = 0; i < t->count; i++) {
        if (wanted ? is_called(t, &t->of[i], wanted) : t->of[i].width == most) {
            t->chosen = i;
            same++;
        }
    }
    if (same == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%s: holds no tower \"%s\"; it holds %s", file + shown,
                         fault_quote(&quoted, wanted, strlen(wanted)), names);
    if (same > 1)
        return fault_set(fault, FAULT_MISMATCH, "%s: %zu of its towers (%s) could be meant: they have one width, or its layouts "
                         "are mixed", file + shown, same, names);
    return 0;
}

int towers_open(struct towers *out, const char *path, const char *wanted, const struct report *report, struct fault *fault) {
    memset(out, 0, sizeof *out);
    int status = places_find(&out->places, path, fault);
    if (!status)
        status = open_places(out, wanted, report, fault);
    if (!status)
        status = choose(out, path, wanted, fault);
    return status;
}

size_t towers_beside(const struct towers *t, struct found_layout *out) {
    return layouts_find(&t->checkpoints[t->of[t->chosen].place].set, out);
}

void towers_settle(struct towers *t) {
    for (size_t i = 0; i < PLACES_MOST; i++)
        if (i != t->of[t->chosen].place)
            checkpoint_close(&t->checkpoints[i]);
}

void towers_close(struct towers *t) {
    for (size_t i = 0; i < PLACES_MOST; i++)
        checkpoint_close(&t->checkpoints[i]);
    places_free(&t->places);
    t->count = 0;
}
