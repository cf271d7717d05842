/* report.h - findings that are not (or not alone) the fault: a tensor nobody needs, an assumption, one of forty missing
 * names. Handed to whoever opened the model, in the order found. */
#ifndef ENCODER_BASE_REPORT_H
#define ENCODER_BASE_REPORT_H

enum report_severity { REPORT_NOTE = 1, REPORT_WARNING, REPORT_ERROR };

struct report {
    void (*emit)(void *user, enum report_severity severity, const char *subject, const char *message); /* or NULL */
    void *user;
};

__attribute__((format(printf, 4, 5))) void report_say(const struct report *report, enum report_severity severity,
                                                      const char *subject, const char *format, ...);

#endif
