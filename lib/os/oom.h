/* oom.h - whether the kernel has killed a process for lack of memory.
 *
 * A process that the OOM killer has chosen dies of SIGKILL, like any other.  But the kernel counts these kills, for the
 * machine and for the limits of control groups alike (`oom_kill` in /proc/vmstat): if the count has changed, that was
 * probably the cause.
 */
#ifndef BROOD_OS_OOM_H
#define BROOD_OS_OOM_H

#include <stdint.h>

/* The number of kills so far; 0 if the kernel does not report it. */
uint64_t brood__oom_kills(void);

#endif
