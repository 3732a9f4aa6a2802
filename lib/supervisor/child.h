/* child.h - starts the processes that are workers or standbys, and reaps them. */
#ifndef BROOD_SUPERVISOR_CHILD_H
#define BROOD_SUPERVISOR_CHILD_H

#include "supervisor/state.h"

/* Forks a process that becomes worker number `worker`, or, with a socket `assignment`, the worker that it is assigned
 * there; watches it under that tag.  Returns 0, or a negative errno with a message.  If `ret_child->pid` is set after an
 * error, the process has run for a while, unwatched, and was killed. */
int brood__child_start(struct supervisor *s, struct child *ret_child, unsigned worker, int assignment, uint64_t tag);

/* Reaps a child whose pidfd is readable, and kills what its tasks have started: until it is reaped, its process number
 * and its group's cannot be reused.  Closes everything but its capture, from which it reads what is left. */
struct brood__ending brood__child_reap(struct supervisor *s, struct child *child);

/* How long to wait for the next attempt after that many failures in a row. */
int64_t brood__restart_pause(unsigned failures);

#endif
