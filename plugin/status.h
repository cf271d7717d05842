/* status.h - a fault of the engine becomes a status and the caller's error struct. */
#ifndef PLUGIN_STATUS_H
#define PLUGIN_STATUS_H

#include "../api/penult.h"
#include "../encoder/base/fault.h"

/* Fills *error if there is one; returns the PENULT_ status. */
int32_t status_of(const struct fault *fault, penult_error *error);

#endif
