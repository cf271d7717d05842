/* colour_map.c - see colour_map.h.
 *
 * The map is two straight lines in Oklab (Bjorn Ottosson, "A perceptual color space for image processing", 2020, whose
 * matrices are below), from one white to a blue and a red of the same lightness and the same chroma. Equal steps of the
 * position are equal distances in Oklab, so neither sign looks stronger than the other and no band appears within one.
 * */
#include "colour_map.h"

#include <math.h>

const struct colour colour_map_nan = {255, 214, 0};

/* White and the ends. Ends: lightness 0.42, chroma 0.17, hues 262 and 27 degrees: about the strongest pair whose whole
 * lines lie inside sRGB. a = chroma * cos(hue), b = chroma * sin(hue). */
#define WHITE_LIGHTNESS 0.98
#define END_LIGHTNESS 0.42
static const double blue_end[2] = {-0.02365943, -0.16834557};
static const double red_end[2] = {0.15147111, 0.07717838};

/* IEC 61966-2-1, linear to stored, 8 bits. */
static uint8_t srgb_code(double linear) {
    if (linear <= 0) {
        return 0;
    }
    if (linear >= 1) {
        return 255;
    }
    double stored = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
    return (uint8_t)(stored * 255 + 0.5);
}

static struct colour from_oklab(double lightness, double a, double b) {
    double l = lightness + 0.3963377774 * a + 0.2158037573 * b;
    double m = lightness - 0.1055613458 * a - 0.0638541728 * b;
    double s = lightness - 0.0894841775 * a - 1.2914855480 * b;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    return (struct colour){
        srgb_code(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
        srgb_code(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
        srgb_code(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s),
    };
}

struct colour colour_map(double position) {
    if (isnan(position)) {
        return colour_map_nan;
    }
    const double *end = position < 0 ? blue_end : red_end;
    double share = fmin(fabs(position), 1);
    return from_oklab(WHITE_LIGHTNESS + (END_LIGHTNESS - WHITE_LIGHTNESS) * share, end[0] * share, end[1] * share);
}
