/* interrupt.h - inside the library: pools that heed Ctrl-C, when the program asked for it. */
#ifndef BROOD_POOL_CORE_INTERRUPT_H
#define BROOD_POOL_CORE_INTERRUPT_H

#include <stdatomic.h>

#include "pool/core/pool.h"

extern _Atomic unsigned brood__interrupts; /* SIGINTs since the handler was installed.  The handler adds; host threads read.
                                              Relaxed: a count that is polled */

static inline bool brood__is_interrupted(const struct brood_pool *pool)
{
    return pool->interrupts.are_heeded && atomic_load_explicit(&brood__interrupts, memory_order_relaxed) != 0;
}

/* The host has to cancel what has not started.  Locked. */
static inline bool brood__interrupt_cancels(const struct brood_pool *pool)
{
    return brood__is_interrupted(pool) && pool->interrupts.cancel && life_outcome(pool->life.state) == 0;
}

/* The handler has killed the supervisor, at the second SIGINT. */
static inline bool brood__interrupt_kills(const struct brood_pool *pool)
{
    return pool->interrupts.are_heeded && atomic_load_explicit(&brood__interrupts, memory_order_relaxed) > 1;
}

/* Stops the handling of interrupts for a pool that has drained.  No handler uses the pool after this. */
void brood__interrupts_forget(struct brood_pool *pool);

#endif
