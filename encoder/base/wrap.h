/* wrap.h - marks the few functions in which unsigned arithmetic is meant to wrap. A checking build (make check-san) stops at
 * every other wrap: elsewhere it is a size or an offset that went below zero or beyond its type. */
#ifndef ENCODER_BASE_WRAP_H
#define ENCODER_BASE_WRAP_H

/* Before a function; `why` is for the reader. gcc has no such check and does not know its name. */
#if defined(__clang__)
#define WRAPS(why) __attribute__((no_sanitize("unsigned-integer-overflow", "unsigned-shift-base")))
#else
#define WRAPS(why)
#endif

#endif
