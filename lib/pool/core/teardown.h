/* teardown.h - inside the library: whether a pool can go on, and what happens to its work if not. */
#ifndef BROOD_POOL_CORE_TEARDOWN_H
#define BROOD_POOL_CORE_TEARDOWN_H

#include "pool/core/slots.h"
#include "proto/header.h"

/* Settles everything in the lanes: published results are delivered, and all other jobs end because the pool is gone.
 * Locked. */
void brood__settle_all(struct brood_pool *pool);

/* Sets the reason why the pool is broken, or will be.  The first reason stays.  Locked. */
void brood__mark_broken(struct brood_pool *pool, const char *reason);

/* -ESHUTDOWN with a message that says why: the pool is broken, or shut down. */
int brood__pool_takes_no_more(const struct brood_pool *pool);

/* Breaks the pool if the supervisor is dead or has given up, or if a worker has overwritten memory that is not its own:
 * all its jobs fail.  Locked. */
void brood__check_life_slowly(struct brood_pool *pool);

/* Nothing speaks against a pool that is not closed.  Until the host closes it, only the supervisor changes the header's state, to BROKEN,
 * and only the kernel changes the life word.  Relaxed: `life` is compared only, and carries no other data. */
static inline bool brood__life_is_fine(const struct brood_pool *pool)
{
    const struct header *header = pool->shared.header;

    return !pool->life.torn && brood__header_is_whole(&pool->shared) && brood__header_state(header) == HEADER_OPEN &&
           atomic_load_explicit(&header->life, memory_order_relaxed) == pool->life.word;
}

static inline void brood__check_life(struct brood_pool *pool)
{
    if (pool->life.state < LIFE_BROKEN && !brood__life_is_fine(pool))
        brood__check_life_slowly(pool);
}

/* Ends what has not started, also parts of maps, with -ECANCELED, and starts nothing more.  Locked. */
void brood__pool_cancel(struct brood_pool *pool);

/* Ends what waits in the host to be submitted, with that outcome.  Locked. */
void brood__forget_waiting(struct brood_pool *pool, int outcome);

/* Ends what has not started, as `state` says.  Locked. */
void brood__give_up_waiting(struct brood_pool *pool, enum slot_state state);

#endif
