/* interrupt.h - inside the library: pools that heed Ctrl-C, when the program asked for it. */
#ifndef BROOD_POOL_INTERRUPT_H
#define BROOD_POOL_INTERRUPT_H

#include <stdatomic.h>

#include "pool/pool.h"

extern _Atomic unsigned brood__interrupts; /* SIGINTs since the handler was installed; relaxed: a count that is looked at */

static inline bool brood__is_interrupted(const struct brood_pool *pool)
{
    return pool->heeds_interrupts && atomic_load_explicit(&brood__interrupts, memory_order_relaxed) != 0;
}

/* A pool that closes heeds them no more.  Not locked. */
void brood__interrupts_forget(struct brood_pool *pool);

#endif
