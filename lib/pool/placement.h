/* placement.h - see placement.c */
#ifndef BROOD_POOL_PLACEMENT_H
#define BROOD_POOL_PLACEMENT_H

#include "pool/pool.h"

/* Did that worker last run there?  Of the calling thread's CPU: then it may take it when it is woken, and the thread goes
 * on a tick later; so it is the last to be woken.  A hint. */
bool brood__placement_is_on(const struct brood_pool *pool, unsigned worker, unsigned cpu);

/* The calling thread is about to sleep: if it is on a CPU that a worker should have, that worker gets it.  With the pool's
 * lock. */
void brood__placement_leave(const struct brood_pool *pool);

/* The calling thread goes on giving that worker tasks, which it has not done yet: if it waits for this CPU, the tasks go to
 * one who has another, or it gets another one itself.  With the pool's lock. */
void brood__placement_spread(struct brood_pool *pool, unsigned worker);

#endif
