/* fork.h - detects without a system call that this process is a fork of the one that stored something. */
#ifndef BROOD_OS_FORK_H
#define BROOD_OS_FORK_H

#include <stdatomic.h>

/* Incremented in each forked child before fork() returns there: what has an older value was stored by the parent.
 * Written by the child's only thread, read by all.  Relaxed: the child has no other thread then. */
extern atomic_uint brood__fork_generation;

/* Begins to count.  Called before anything stores the generation; may be called again.  (A pthread_atfork() handler:
 * clone() and vfork() bypass it.) */
void brood__fork_watch(void);

#endif
