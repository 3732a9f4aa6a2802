/* memfd.h - files in memory without a name, whose size can be sealed: truncating one would kill all processes that have
 * it mapped, by SIGBUS. */
#ifndef BROOD_OS_MEMFD_H
#define BROOD_OS_MEMFD_H

/* Makes one that cannot be executed, is closed on exec, and is not a standard descriptor.  Returns it or a negative
 * errno. */
int brood__memfd_open(const char *name);

/* Makes one of these or, without memfds, a file of /dev/shm without a name, which cannot be sealed.  Returns it or a
 * negative errno with a message. */
int brood__memory_file_open(const char *name);

/* May it grow; and may a process that has a descriptor, but no mapping, write to it or give pages back? */
enum memfd_seal { MEMFD_FIXED, MEMFD_GROWS, MEMFD_GROWS_BY_MAPPING };

/* Permanent.  Returns 0 or a negative errno: -EINVAL if it is no memfd. */
int brood__memfd_seal(int fd, enum memfd_seal seal);

#endif
