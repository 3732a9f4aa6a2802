/* map.h - inside the library: maps and their futures; map_window.h says how the host runs one.
 */
#ifndef BROOD_POOL_WORK_MAP_H
#define BROOD_POOL_WORK_MAP_H

#include "pool/core/dispatch.h"
#include "pool/future/future.h"

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
    struct call_terms terms;
    bool by_one; /* for a short map: the worker that comes first does all of it */
};

/* Can a map run the task?  Returns 0, or -EINVAL with a message. */
int brood__map_check_task(const struct brood_task *task);

/* Begins a map, as brood_pool_map_async() does, with checked arguments and a deadline for room in the queue. */
int brood__map_start(struct brood_pool *pool, struct brood_future **ret_future, const struct map_call *call,
                     brood_deadline deadline);

/* Waits for the map, frees it and returns its outcome, with a message. */
int brood__map_finish(struct brood_future *future);

/* An invitation that is in a lane and that no worker has claimed, or NULL.  Locked. */
struct job *brood__map_waiting(struct brood_pool *pool, struct map *map);

/* Calls `use` for each invitation of the map that is in a lane, also after an error.  Returns 0 or the first negative
 * value.  Locked. */
int brood__map_each(struct brood_pool *pool, struct map *map, int (*use)(struct brood_pool *, const struct job *));

/* For a finished map: the time that the workers report. */
int64_t brood__map_took_ns(const struct map *map);

/* The operations of the future of a map, a loop or a chunk of a stream. */
extern const struct future_ops brood__map_future;

#endif
