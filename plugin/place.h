/* place.h - where the plugin itself lies. */
#ifndef PLUGIN_PLACE_H
#define PLUGIN_PLACE_H

#include "../encoder/base/fault.h"

/* The directory of penult.so, as the path that it was loaded by has it: relative if that was. For memory_free. */
int plugin_directory(char **out, struct fault *fault);

#endif
