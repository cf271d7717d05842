/* cpus.h - how many CPUs this process may use. */
#ifndef ENCODER_BASE_CPUS_H
#define ENCODER_BASE_CPUS_H

/* The affinity mask of the calling thread, lowered by the CPU quota of its cgroups (v1 and v2); at least 1. */
unsigned cpus_usable(void);

#endif
