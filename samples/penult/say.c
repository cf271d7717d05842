/* say.c - see say.h. */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "../picture/text.h"

void say_begin(void) {
    for (int number = 0; number <= 2; number++) {
        if (fcntl(number, F_GETFD) == -1 && errno == EBADF) {
            /* opened for the wrong direction, so that using it is an error; open takes the lowest free number */
            (void)!open("/dev/null", number == 0 ? O_WRONLY : O_RDONLY);
        }
    }
}

int say_end(int status) {
    int had_error = ferror(stdout);
    errno = 0;
    if (fclose(stdout) != 0 || had_error) {
        return say_failed("standard output could not be written: %s", errno != 0 ? strerror(errno) : "write error");
    }
    return status;
}

__attribute__((format(printf, 1, 0))) static void say(const char *format, va_list arguments) {
    fputs("penult: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int say_failed(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return STATUS_FAILED;
}

int say_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return STATUS_USAGE;
}

/* C0 and C1 controls, zero-width and direction marks, line and paragraph separators, the byte order mark. */
static int is_hidden(uint32_t code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xAD || code == 0x61C ||
           (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF;
}

size_t say_text(FILE *to, const char *bytes, size_t count, size_t most) {
    size_t printed = 0;
    while (count > 0) {
        uint32_t code;
        size_t taken = text_decode(bytes, count, &code);
        if (printed++ == most) {
            fputs("...", to);
            return most;
        }
        if (taken == 0) {
            fprintf(to, "\\x%02X", (unsigned)code);
            taken = 1;
        } else if (is_hidden(code)) {
            fprintf(to, "U+%04X", (unsigned)code);
        } else {
            fwrite(bytes, 1, taken, to);
        }
        bytes += taken;
        count -= taken;
    }
    return printed;
}

const char *say_count(char text[SAY_COUNT_MAX], unsigned long long count) {
    char *at = text + SAY_COUNT_MAX;
    int digits = 0;
    *--at = '\0';
    do {
        if (digits > 0 && digits % 3 == 0) {
            *--at = ',';
        }
        *--at = (char)('0' + count % 10);
        count /= 10;
        digits++;
    } while (count > 0);
    return at;
}
