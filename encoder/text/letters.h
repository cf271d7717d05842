/* letters.h - text as code points that remember which bytes of the prompt they came from, for cleaning in several passes.
 */
#ifndef ENCODER_TEXT_LETTERS_H
#define ENCODER_TEXT_LETTERS_H

#include <stddef.h>
#include <stdint.h>

/* Not a character as it stands in the prompt: made of an entity, or of several characters. Its bytes have no origins of
 * their own. */
#define LETTER_MADE 0x80000000u

struct letter {
    uint32_t marked; /* the code point, and LETTER_MADE */
    uint32_t begin, end;
};

static inline uint32_t letter_point(const struct letter *letter) {
    return letter->marked & ~LETTER_MADE;
}

#endif
