/* number.h - a number as Python's float() reads it, because the hosts of prompts are written in Python: blanks round it,
 * underscores between digits, "inf" and "nan" in any case, digits of any script. Without the host's locale. Knows no
 * prompt.
 */
#ifndef ENCODER_CONDITION_NUMBER_H
#define ENCODER_CONDITION_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/* text is valid UTF-8. 1 if all of it is a number, which goes to *value; it may be infinite or not a number. Exact for up
 * to 15 significant digits and powers of ten up to 22, within a few units in the last place beyond. */
int number_read(const char *text, size_t size, double *value);

/* What stands at a place of valid UTF-8, as Python's `re` sees it: \d with its value, \s, \w. *length is the bytes of the
 * character. */
int number_digit(const char *text, size_t room, size_t *length); /* 0..9, or -1 */
int number_is_space(const char *text, size_t room, size_t *length);
int number_is_word(const char *text, size_t room, size_t *length);

#endif
