/* report.h - findings that are not (or not alone) the fault: a tensor nobody needs, an assumption, one of forty missing
 * names. Handed to whoever opened the model, in the order found. */
#ifndef ENCODER_BASE_REPORT_H
#define ENCODER_BASE_REPORT_H

#include <stdint.h>

enum report_severity { REPORT_NOTE = 1, REPORT_WARNING, REPORT_ERROR };

/* What a finding is about, so that a program can sort findings without reading sentences. */
enum report_kind {
    REPORT_OTHER,
    REPORT_FORMAT,     /* the container, and its files */
    REPORT_LAYOUT,     /* the naming dialect that was recognised */
    REPORT_TOWER,      /* a tower that the file holds */
    REPORT_ASSUMPTION, /* something that no file says */
    REPORT_USED,       /* tensors in use */
    REPORT_IGNORED,    /* tensors left, and why that is safe */
    REPORT_MISSING,
    REPORT_WRONG,      /* there, with another shape or type */
    REPORT_UNEXPECTED, /* tensors left, and nobody can say why */
};

struct finding {
    enum report_severity severity;
    enum report_kind kind;
    const char *subject; /* never empty */
    const char *message;
    uint64_t tensors, bytes; /* that it speaks of; 0: none, or not of tensors */
};

struct report {
    void (*emit)(void *user, const struct finding *finding); /* or NULL */
    void *user;
};

/* A finding of no particular kind. */
__attribute__((format(printf, 4, 5))) void report_say(const struct report *report, enum report_severity severity,
                                                      const char *subject, const char *format, ...);
/* `finding` has all but its message. */
__attribute__((format(printf, 3, 4))) void report_find(const struct report *report, struct finding finding, const char *format,
                                                       ...);

#endif
