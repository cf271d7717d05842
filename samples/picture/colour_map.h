/* colour_map.h - a diverging colour map: blue for negative, white for zero, red for positive. */
#ifndef SAMPLES_PICTURE_COLOUR_MAP_H
#define SAMPLES_PICTURE_COLOUR_MAP_H

#include "canvas.h"

/* What is drawn for a NaN: a yellow that the map does not hold. */
extern const struct colour colour_map_nan;

/* The colour of a position from -1 to 1; positions beyond are taken as the nearer end. */
struct colour colour_map(double position);

#endif
