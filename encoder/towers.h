/* towers.h - the text towers that a path holds, and the one that is wanted. Where files and layouts meet; no weight is read. */
#ifndef ENCODER_TOWERS_H
#define ENCODER_TOWERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/report.h"
#include "format/checkpoint.h"
#include "model/layout.h"
#include "places.h"

struct tower {
    size_t place; /* of the places */
    struct found_layout layout;
    size_t index; /* among the layouts of its checkpoint */
    const char *name;
    uint32_t width, layers;
};

struct towers {
    struct places places;
    struct checkpoint checkpoints[PLACES_MOST]; /* one a place */
    struct tower of[PLACES_MOST * LAYOUTS_MOST];
    size_t count, chosen;
};

/* Opens what lies at path, reports every tower, and chooses: the one that is called `wanted`, or NULL: the widest. A tower is
 * called what the file or the pipeline calls it, and what it is by its width: clip_l, clip_h, clip_g, text. Two towers of
 * one name are a fault. towers_close in any case. */
int towers_open(struct towers *out, const char *path, const char *wanted, const struct report *report, struct fault *fault);
/* The layouts of the chosen tower's checkpoint; `out` has room for LAYOUTS_MOST. */
size_t towers_beside(const struct towers *t, struct found_layout *out);
/* Closes the checkpoints that were not chosen. */
void towers_settle(struct towers *t);
void towers_close(struct towers *t);

#endif
