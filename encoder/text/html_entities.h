/* html_entities.h - HTML's named character references, and what Python's html.unescape makes of numbers that HTML gives
 * another meaning. Facts of Python's html.entities.html5, and of ftfy, which knows the letters in capitals too. Knows no text.
 */
#ifndef ENCODER_TEXT_HTML_ENTITIES_H
#define ENCODER_TEXT_HTML_ENTITIES_H

#include <stddef.h>
#include <stdint.h>

#define ENTITY_HTML5 1u /* html.unescape has it, with its semicolon or, where the name has none, without */
#define ENTITY_FTFY 2u  /* ftfy has it; with a semicolon all */

#define ENTITY_NAME 32  /* the longest name, semicolon included */
#define ENTITY_POINTS 3 /* the most code points */

struct html_entity {
    uint16_t at; /* in html_entity_names */
    uint8_t size;
    uint8_t flags;
    uint32_t to[ENTITY_POINTS]; /* unused ones are 0, which no name stands for */
};

extern const char html_entity_names[];
extern const struct html_entity html_entities[]; /* ordered by the bytes of their names */
extern const size_t html_entity_count;

/* Numbers below this: the code point, or -1 for nothing. */
#define HTML_LOW 160
extern const int32_t html_low_references[];

#endif
