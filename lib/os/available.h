/* available.h - how much memory is available.
 *
 * A file in memory gets what it asks for, and when memory runs out the kernel kills a process: there is no error to
 * return.  So code that needs much memory asks here first.  The answer is an estimate, and other processes need memory,
 * too.
 */
#ifndef BROOD_OS_AVAILABLE_H
#define BROOD_OS_AVAILABLE_H

#include <stdbool.h>
#include <stdint.h>

/* How many bytes this process can still get, from the machine and its control groups, before other pages must be
 * dropped.  UINT64_MAX if the kernel does not report it. */
uint64_t brood__memory_available(void);

/* Can `bytes` more be taken?  Leaves a reserve, since the number is an estimate.  The available bytes go to
 * *ret_available. */
bool brood__memory_has(uint64_t bytes, uint64_t *ret_available);

/* The same for something that grows from `from` to `to` bytes, with one check per 16 MiB: writing these takes
 * milliseconds, a check a fraction of one. */
bool brood__memory_allows(uint64_t from, uint64_t to, uint64_t *ret_available);

/* For tests: of the process whose cgroup and mountinfo files are in the directory `proc`, on the machine whose meminfo
 * is in the directory `meminfo`.  Every path that the files name is taken to be below `root`. */
uint64_t brood__memory_available_to(const char *proc, const char *meminfo, const char *root);

#endif
