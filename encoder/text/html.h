/* html.h - HTML character references to what they stand for, as Python's html.unescape and as ftfy. Knows no token.
 */
#ifndef ENCODER_TEXT_HTML_H
#define ENCODER_TEXT_HTML_H

#include "html_entities.h"
#include "letters.h"

/* html.unescape, once: "&amp;" and "&ampx", "&#38", "&#x26;". In place; returns how many letters are left. */
size_t html_unescape(struct letter *letters, size_t count);

/* A reference as ftfy looks for it, '&' to ';' with one to 24 letters and digits between them and at most a '#' before
 * those: how many code points it stands for, which go to `to`; -1 if it is left as it is. */
int html_ftfy(const char *reference, size_t size, uint32_t to[ENTITY_POINTS]);
#define HTML_FTFY_NAME 24
#define HTML_FTFY (HTML_FTFY_NAME + 3)

#endif
