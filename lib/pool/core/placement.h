/* placement.h - see placement.c */
#ifndef BROOD_POOL_CORE_PLACEMENT_H
#define BROOD_POOL_CORE_PLACEMENT_H

#include "pool/core/pool.h"

/* The CPU on which that worker ran when it last read the clock.  Relaxed: the worker writes it, and the host uses it as
 * a hint. */
static inline unsigned brood__placement_cpu(const struct brood_pool *pool, unsigned worker)
{
    return atomic_load_explicit(&pool->shared.lanes[worker].worker_state->cpu, memory_order_relaxed);
}

/* Did that worker last run on that CPU?  If that is the calling thread's CPU, the worker may take it when it wakes, and
 * the thread continues only a tick later; so such a worker is woken last.  A hint. */
static inline bool brood__placement_is_on(const struct brood_pool *pool, unsigned worker, unsigned cpu)
{
    return brood__placement_cpu(pool, worker) == cpu;
}

/* The calling thread is about to sleep: if it is on a CPU that a worker needs, that worker gets it.  Locked. */
void brood__placement_leave(const struct brood_pool *pool);

/* The calling thread continues to give tasks to that worker, which has not done them yet.  If the worker waits for this
 * CPU, the tasks go to a worker on another CPU, or the worker is moved to another CPU.  Locked. */
void brood__placement_spread(struct brood_pool *pool, unsigned worker);

#endif
