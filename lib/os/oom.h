/* oom.h - has the kernel killed for want of memory?
 *
 * A process that the OOM killer chose dies of SIGKILL, like any other.  But the kernel counts these kills, for the machine
 * and for the limits of control groups alike (`oom_kill` in /proc/vmstat): if the count has moved, that was probably it.
 */
#ifndef BROOD_OS_OOM_H
#define BROOD_OS_OOM_H

#include <stdint.h>

/* How many so far; 0 where the kernel does not tell. */
uint64_t brood__oom_kills(void);

#endif
