/* traps.h - functions that a host exports under names that a library may carelessly call as its own. Called while armed, one
 * is a failure: the library reached into its host. traps.c has the names. */
#ifndef PENULT_TESTS_TRAPS_H
#define PENULT_TESTS_TRAPS_H

void traps_arm(int armed);
/* How many calls were trapped while armed; the name of the first one in *name. */
unsigned traps_sprung(const char **name);
/* The name of the trap with that number; NULL beyond the last. */
const char *trap_name(unsigned number);

#endif
