/* ids.h - where ids go as they are found: into arrays that may be too short, with the bytes of the text behind each.
 * Counts what does not fit. Knows neither tokens nor Unicode.
 */
#ifndef ENCODER_TEXT_IDS_H
#define ENCODER_TEXT_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "tokenizer.h"

struct ids {
    int32_t *to;
    struct token_span *spans; /* or NULL */
    size_t room;              /* elements of each */
    size_t count;             /* ids found, also those that had no room */
    uint64_t kept_end;        /* the bytes of the ids that had room end here */
    uint64_t cut_begin;       /* the first byte of the others that is not among those; UINT64_MAX while there is none */
};

static inline void ids_add(struct ids *ids, int32_t id, uint64_t begin, uint64_t end) {
    if (ids->count < ids->room) {
        ids->to[ids->count] = id;
        if (ids->spans)
            ids->spans[ids->count] = (struct token_span){begin, end};
        ids->kept_end = end;
    } else if (ids->cut_begin == UINT64_MAX && end > ids->kept_end) {
        ids->cut_begin = begin > ids->kept_end ? begin : ids->kept_end;
    }
    ids->count++;
}

#endif
