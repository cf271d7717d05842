/* unit.h - what every cmocka test of ours includes, in the order cmocka asks for. */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* The message must hold this text: that an error names the thing is part of what is tested. */
#define assert_names(message, text)                                                                                   \
    do {                                                                                                              \
        if (!strstr((message), (text)))                                                                               \
            fail_msg("expected \"%s\" in: %s", (text), (message));                                                    \
    } while (0)

#endif
