/* report.c - formats a finding. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 0))) static void emit(const struct report *report, struct finding finding, const char *format, va_list arguments) {
    char message[1024];
    if (!report->emit)
        return;
    vsnprintf(message, sizeof message, format, arguments);
    finding.message = message;
    report->emit(report->user, &finding);
}

void report_say(const struct report *report, enum report_severity severity, const char *subject, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    emit(report, (struct finding){.severity = severity, .subject = subject}, format, arguments);
    va_end(arguments);
}

void report_find(const struct report *report, struct finding finding, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    emit(report, finding, format, arguments);
    va_end(arguments);
}
