/* shapes.h - the geometry of a tower from the shapes of its tensors, where no config says it. What shapes cannot say, heads
 * and activation, is as the layout's models were published, and is reported as an assumption. */
#ifndef ENCODER_MODEL_SHAPES_H
#define ENCODER_MODEL_SHAPES_H

#include "../base/fault.h"
#include "../base/report.h"
#include "../base/tensor.h"
#include "geometry.h"
#include "layout.h"

/* Width and blocks alone, to list a tower; 0 where the tensors do not say. */
void shapes_look(const struct found_layout *found, const struct tensor_set *set, uint32_t *width, uint32_t *layers);
/* activation, heads: what the host says, or ACTIVATION_NONE and 0. `file` is for messages. */
int shapes_read(struct geometry *out, const struct found_layout *found, const struct tensor_set *set, enum activation activation,
                uint32_t heads, const char *file, const struct report *report, struct fault *fault);
/* "clip_l", "clip_h", "clip_g" for 768, 1024 and 1280, else "text". */
const char *shapes_name(uint32_t width);

#endif
