/* map.h - inside the library: maps, as the host runs them.
 *
 * A map is cut into windows of items; two are in the workers' hands at a time, so that they have something to do while the
 * host copies.  A window is described in the segment (shm/range.h); for each worker, a helper slot in its lane says "take
 * part in this window".  When all helpers of a window are settled nobody works on it any more: it turns.  A turn is done by
 * whichever thread waits for anything, without the lock: sweep the items' status, hand back results, share out again what a
 * death left undone, or fill the window with the next items.
 */
#ifndef BROOD_POOL_MAP_H
#define BROOD_POOL_MAP_H

#include "pool/pool.h"

struct brood_future;
struct map;

/* Of a loop, whose items are blocks of `grain` indices, the last one perhaps shorter; all zero for a map of an array. */
struct map_loop {
    uint64_t begin, end, grain;
    size_t context_bytes;
};

/* What a map is to do. */
struct map_call {
    const struct brood_task *task;
    void *results;
    const void *args; /* of a loop: its context */
    size_t items;     /* of a loop: blocks */
    struct map_loop loop;
    size_t chunk;
    int limit_ms, grace_ms, retries; /* 0: as the pool */
    bool by_one;                     /* it is short: one worker shall do all of it, whoever comes first */
};

/* Can a map run it?  0 or -EINVAL, in words. */
int brood__map_check_task(const struct brood_task *task);

/* Begins a map: as brood_pool_map_async(), with arguments that have been checked, and a deadline for room in the queue. */
int brood__map_start(struct brood_pool *pool, struct brood_future **ret_future, const struct map_call *call,
                     brood_deadline deadline);

/* Waits for it, frees it and says its outcome, in words. */
int brood__map_finish(struct brood_future *future);

/* Turns one window, if any needs it, or fetches a result (pool/fetch.h).  Locked on entry and return, not in between.
 * False: there was none. */
bool brood__maps_turn(struct brood_pool *pool);

/* Is there a window that could be turned?  Who collected its last helper has to, before sleeping.  Locked. */
bool brood__maps_need_turn(struct brood_pool *pool);

/* Starts no more items of it.  True if none had started.  Locked. */
bool brood__map_cancel(struct brood_pool *pool, struct map *map);

/* Something more urgent is in that lane: its worker, if it takes part in maps, leaves them after the items that it has
 * claimed, and is invited again behind it, by whoever collects its answer.  Locked. */
void brood__maps_yield(struct brood_pool *pool, unsigned lane);

/* If the job is a helper: its window starts no more items.  Locked. */
void brood__map_stop(struct job *job);

/* The pool is gone: ends every map, whose helpers are settled.  Locked. */
void brood__maps_abandon(struct brood_pool *pool);

/* A job of the map whose settling brings it on, or NULL: one, since who waits announces himself in one slot.  Locked. */
struct job *brood__map_job(struct map *map);

/* Calls `use` on each of its helpers that is in a lane.  0, or the first negative that it said, which keeps it from none of
 * the others.  Locked. */
int brood__map_each(struct brood_pool *pool, struct map *map, int (*use)(struct brood_pool *, const struct job *));

/* Settles those of its helpers that are done.  Locked. */
void brood__map_collect(struct brood_pool *pool, struct map *map);

/* May a worker have started an item?  Locked. */
bool brood__map_is_running(struct brood_pool *pool, struct map *map);

/* Of a finished map: which item failed first, in order of the items; the outcome of an item, or -ERANGE; how long the
 * workers say they were at it.  Of a loop, items are named by their index. */
uint64_t brood__map_first_failed(const struct map *map);
int brood__map_item(const struct map *map, size_t item);
int64_t brood__map_took_ns(const struct map *map);

/* Of a finished map: the first item that a death took for good.  False: there is none. */
bool brood__map_lost_item(const struct map *map, uint64_t *ret_item);

/* By which name an item has its outcome and its deaths: of a loop, the first index of its block. */
uint64_t brood__map_item_name(const struct map *map, uint64_t item);

/* NULL is fine. */
void brood__map_free(struct map *map);

#endif
