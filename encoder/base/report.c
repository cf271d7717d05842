/* report.c - formats a finding. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>

void report_say(const struct report *report, enum report_severity severity, const char *subject, const char *format, ...) {
    char message[1024];
    va_list arguments;
    if (!report->emit)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    report->emit(report->user, severity, subject, message);
}
