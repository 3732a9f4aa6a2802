/* map.h - inside the library: maps, as the host runs them.
 *
 * The host cuts a map into windows of items.  Two windows are in flight at a time, so that the workers have something to do
 * while the host copies.  The segment describes a window (proto/range.h); for each worker, an invitation in its lane asks
 * it to take part in the window.  When all invitations of a window are settled no worker works on it any more: the window
 * is idle.  A thread that waits for anything runs it as deferred work, without the lock: it sweeps the items' status,
 * returns results to the caller, shares out again what a crash left undone, or fills the window with the next items.
 */
#ifndef BROOD_POOL_WORK_MAP_H
#define BROOD_POOL_WORK_MAP_H

#include "pool/core/deferred.h"

struct brood_future;
struct map;

/* For a loop, whose items are blocks of `grain` indices, the last one perhaps shorter; all zero for a map of an array. */
struct map_loop {
    uint64_t begin, end, grain;
    size_t context_bytes;
};

/* The parameters of a map. */
struct map_call {
    const struct brood_task *task;
    void *results;
    const void *args; /* of a loop: its context */
    size_t items;     /* of a loop: blocks */
    struct map_loop loop;
    size_t chunk;
    int limit_ms, limit_cpu_ms, grace_ms, retries; /* 0: as the pool */
    bool by_one;                                   /* for a short map: the worker that comes first does all of it */
};

/* Can a map run the task?  Returns 0, or -EINVAL with a message. */
int brood__map_check_task(const struct brood_task *task);

/* Begins a map, as brood_pool_map_async() does, with checked arguments and a deadline for room in the queue. */
int brood__map_start(struct brood_pool *pool, struct brood_future **ret_future, const struct map_call *call,
                     brood_deadline deadline);

/* Waits for the map, frees it and returns its outcome, with a message. */
int brood__map_finish(struct brood_future *future);

/* Starts no more items of the map.  True if none had started.  Locked. */
bool brood__map_cancel(struct brood_pool *pool, struct map *map);

/* Preempts the maps in that lane for a more urgent task: the lane's worker, if it takes part in maps, leaves them after
 * the items that it has claimed.  The thread that collects its answer invites it again, after the urgent task.  Locked. */
void brood__maps_preempt(struct brood_pool *pool, unsigned lane);

/* A job of the map whose settling makes progress on it, or NULL.  One job, since a waiter names its parker in one slot.
 * Locked. */
struct job *brood__map_job(struct map *map);

/* An invitation that is in a lane and that no worker has claimed, or NULL.  Locked. */
struct job *brood__map_waiting(struct brood_pool *pool, struct map *map);

/* A worker of the pool, which waits for the map, takes part in a window that found no room in any lane.  False: there is
 * none.  Locked on entry and return, not in between. */
bool brood__map_run_stalled(struct brood_pool *pool, const struct map *map);

/* Calls `use` for each invitation of the map that is in a lane, also after an error.  Returns 0 or the first negative
 * value.  Locked. */
int brood__map_each(struct brood_pool *pool, struct map *map, int (*use)(struct brood_pool *, const struct job *));

/* Settles the finished invitations of the map.  Locked. */
void brood__map_collect(struct brood_pool *pool, struct map *map);

/* May a worker have started an item?  Locked. */
bool brood__map_is_running(struct brood_pool *pool, struct map *map);

/* For a finished map: the first item that failed, in order of the items; the outcome of an item, or -ERANGE; the time
 * that the workers report.  In a loop, an item's name is its first index. */
uint64_t brood__map_first_failed(const struct map *map);
int brood__map_item(const struct map *map, size_t item);
int64_t brood__map_took_ns(const struct map *map);

/* For a finished map: the first item that was lost in a crash and not retried.  False: there is none. */
bool brood__map_lost_item(const struct map *map, uint64_t *ret_item);

/* The name under which an item has its outcome and its deaths: in a loop, the first index of its block. */
uint64_t brood__map_item_name(const struct map *map, uint64_t item);

/* NULL is valid. */
void brood__map_free(struct map *map);

/* Idle windows, which the host runs one at a time. */
extern const struct deferred brood__deferred_maps;

#endif
