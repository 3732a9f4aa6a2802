/* fork.h - telling a process from the one that forked it, without a system call. */
#ifndef BROOD_OS_FORK_H
#define BROOD_OS_FORK_H

#include <stdatomic.h>

/* Counts in each forked child, before fork() returns there: what noted it before the fork is the parent's.  Written by the
 * child's only thread, read by all. */
extern atomic_uint brood__fork_generation;

/* From now on it counts.  Before anything is noted; may be called again.  (A pthread_atfork() handler: clone() and vfork()
 * pass it by.) */
void brood__fork_watch(void);

#endif
