/* interrupt.h - Ctrl-C, SIGTERM and SIGHUP as a flag, so that a command can clean up before it ends. */
#ifndef SAMPLES_PENULT_INTERRUPT_H
#define SAMPLES_PENULT_INTERRUPT_H

#include <stdbool.h>

/* From here on the first of these signals sets the flag and interrupts reads; a second one ends the process at once. A
 * signal that the parent process had set to be ignored stays ignored. */
void interrupt_watch(void);

bool interrupt_pending(void);

/* Ends the process with the signal that came, as a shell expects it; does nothing if none came. */
void interrupt_finish(void);

#endif
