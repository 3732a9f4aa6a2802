/* filter.h - which system calls a process may still make: a seccomp filter, a program that the kernel runs before each.
 *
 *     if (brood__filter_is_possible())
 *         r = brood__filter_enter(FILTER_NO_NETWORK | FILTER_READ_ONLY); // for all threads of the process, for ever
 */
#ifndef BROOD_OS_FILTER_H
#define BROOD_OS_FILTER_H

#include <stdbool.h>

#define FILTER_NO_NETWORK 2u
#define FILTER_NO_PROCESSES 4u
#define FILTER_READ_ONLY 8u
#define FILTER_NO_MEMORY_FILES 64u /* memory that no mapping counts */
#define FILTER_NO_THREADS 128u
#define FILTER_COMPUTE 32u    /* all of these, and only computation and open descriptors: a list of what is allowed */
#define FILTER_NO_SIGNALS 16u /* to other processes; with FILTER_NO_PROCESSES there are none */

/* False on some machines: the numbers of system calls depend on the architecture. */
bool brood__filter_is_possible(void);

/* Applies to all threads of the process and whatever they start.  Needs no_new_privs.  Returns 0; -EBUSY: a thread has a
 * filter that the caller does not have; or another negative errno. */
int brood__filter_enter(unsigned flags);

#endif
