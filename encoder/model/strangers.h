/* strangers.h - tensors of a file that a text tower does not call for, and why it is safe to leave them: the buffers of old
 * releases by the ends of their names, the other networks of a pipeline by their beginnings. */
#ifndef ENCODER_MODEL_STRANGERS_H
#define ENCODER_MODEL_STRANGERS_H

#include <stddef.h>

#include "../base/report.h"
#include "../base/tensor.h"
#include "layout.h"

/* Reports what of the set is not used. Members of another network come as one finding each network, with their number and
 * bytes; `towers` are all that were found in the set, `chosen` the one in use. */
void strangers_report(const struct tensor_set *set, const unsigned char *used, const struct found_layout *towers, size_t count,
                      size_t chosen, const char *caller, const struct report *report);

#endif
