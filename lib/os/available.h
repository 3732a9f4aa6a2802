/* available.h - how much memory can be had.
 *
 * A file in memory takes what it asks for, and where there is no more the kernel kills somebody: it is no error that one
 * could be told of.  So who wants much asks here first.  It is an estimate, and others want memory, too.
 */
#ifndef BROOD_OS_AVAILABLE_H
#define BROOD_OS_AVAILABLE_H

#include <stdint.h>

/* How many bytes this process may still get, of the machine and of its control groups, before something else must go.
 * UINT64_MAX where nobody tells. */
uint64_t brood__memory_available(void);

/* For the tests: of the process whose cgroup and mountinfo files lie in the directory `proc`, on the machine whose meminfo
 * lies in the directory `meminfo`.  Every path that the files name is taken to be below `root`. */
uint64_t brood__memory_available_to(const char *proc, const char *meminfo, const char *root);

#endif
