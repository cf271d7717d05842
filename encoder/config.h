/* config.h - config.json as transformers writes it, into a geometry. */
#ifndef ENCODER_CONFIG_H
#define ENCODER_CONFIG_H

#include "base/fault.h"
#include "base/report.h"
#include "model/geometry.h"

/* activation: ACTIVATION_NONE takes what the file says; anything else overrides it. */
int config_read(struct geometry *out, const char *directory, enum activation activation, const struct report *report,
                struct fault *fault);
int config_parse(struct geometry *out, const char *name, const char *text, size_t size, enum activation activation,
                 const struct report *report, struct fault *fault);

#endif
