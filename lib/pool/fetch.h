/* fetch.h - inside the library: results that are larger than what was put aside for them (shm/spill.h), as the host sees
 * them.
 *
 * A worker has answered; the result waits in its region.  Whoever waits for anything in the pool fetches it, without the
 * lock, as it turns the windows of maps; then the future is done.
 */
#ifndef BROOD_POOL_FETCH_H
#define BROOD_POOL_FETCH_H

#include "pool/pool.h"

struct brood_future;

/* So much is put aside for a result of any size: what fits there is as quick as a result of promised size. */
#define FETCH_ROOM 1024

/* Gives the future a region, and says which; SPILL_NONE if there is none.  `capacity`: room at future->result; SIZE_MAX: it
 * is to be allocated.  Locked. */
uint32_t brood__fetch_prepare(struct brood_pool *pool, struct brood_future *future, size_t capacity);

/* The region that the future has, or SPILL_NONE. */
uint32_t brood__fetch_region(const struct brood_future *future);

/* A worker died writing there.  Locked. */
void brood__fetch_soil(struct brood_future *future);

/* Nothing of it will be written, or was.  Locked. */
void brood__fetch_drop(struct brood_pool *pool, struct brood_future *future);

/* The worker is done with it.  True: a turn finishes the future, with that outcome unless the result cannot be had; false:
 * there is nothing to fetch and nothing to clear.  `length`: of the result in the region, or 0.  Locked. */
bool brood__fetch_later(struct brood_pool *pool, struct brood_future *future, int outcome, size_t length);

/* Fetches one result.  Locked on entry and return, not in between.  False: there was none. */
bool brood__fetch_turn(struct brood_pool *pool);

/* Fetches what waits: also where nobody ever has to wait for anything, results that were dropped shall not pile up. */
static inline void brood__fetch_all(struct brood_pool *pool)
{
    while (pool->fetches)
        (void)brood__fetch_turn(pool);
}

#endif
