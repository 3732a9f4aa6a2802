/* fetch.h - inside the library: large results, which exceed their reserved room (proto/large_result.h), on the host's side.
 *
 * A worker has answered, and its result waits in a region.  A thread that waits for anything in the pool fetches it,
 * without the lock, as deferred work; then the future is done.
 */
#ifndef BROOD_POOL_WORK_FETCH_H
#define BROOD_POOL_WORK_FETCH_H

#include "pool/core/deferred.h"

struct brood_future;

/* The room reserved for a result of any size: a result that fits is as quick as one of promised size. */
#define FETCH_ROOM 1024

/* Gives the future a region, and returns its number; LARGE_NONE if there is none.  `capacity`: the room at
 * future->result; SIZE_MAX: the host allocates it.  Locked. */
uint32_t brood__fetch_prepare(struct brood_pool *pool, struct brood_future *future, size_t capacity);

/* The future's region, or LARGE_NONE. */
uint32_t brood__fetch_region(const struct brood_future *future);

/* A worker died, and may have written to the region.  Locked. */
void brood__fetch_mark_dirty(struct brood_future *future);

/* Gives the region back: no worker has written to it, or will.  Locked. */
void brood__fetch_drop(struct brood_pool *pool, struct brood_future *future);

/* The worker is done with the region.  True: deferred work finishes the future, with that outcome unless the result
 * cannot be fetched; false: there is nothing to fetch and nothing to clear.  `length`: of the result in the region, or
 * 0.  Locked. */
bool brood__fetch_later(struct brood_pool *pool, struct brood_future *future, int outcome, size_t length);

/* Fetches one result.  False: there was none.  Locked on entry and return, not in between. */
bool brood__fetch_run_deferred(struct brood_pool *pool);

/* Fetches all results that wait, so that dropped results do not accumulate where no thread ever waits. */
static inline void brood__fetch_all(struct brood_pool *pool)
{
    while (pool->fetches.due)
        (void)brood__fetch_run_deferred(pool);
}

extern const struct deferred brood__deferred_fetches;

#endif
