/* A broken penult: its entry point is NULL, or (FAKE_WITHOUT_FUNCTIONS) has no functions. */
#include "penult.h"

const penult_entry_point *penult_entry(void) {
#ifdef FAKE_WITHOUT_FUNCTIONS
    static const penult_entry_point empty = {NULL, NULL};
    return &empty;
#else
    return NULL;
#endif
}
