/* map_window.h - inside the library: a map as it runs: its windows, and the invitations to workers.
 *
 * The host cuts a map into windows of items.  Two windows are in flight at a time, so that the workers have something to do
 * while the host copies.  The segment describes a window (proto/range.h); for each worker, an invitation in its lane asks
 * it to take part in the window.  When all invitations of a window are settled no worker works on it any more: the window
 * is idle.  A thread that waits for anything runs it as deferred work, without the lock: it sweeps the items' status,
 * returns results to the caller, shares out again what a crash left undone, or fills the window with the next items.
 */
#ifndef BROOD_POOL_WORK_MAP_WINDOW_H
#define BROOD_POOL_WORK_MAP_WINDOW_H

#include <stdatomic.h>

#include "pool/core/deferred.h"
#include "pool/work/map.h"
#include "proto/range.h"

#define WINDOWS 2

/* Invites one worker to one window. */
struct invitation {
    struct job job;
    struct map_window *window;
    bool is_preempted; /* the host has asked the lane's worker to answer it early: brood__maps_preempt() */
};

enum window_phase { WINDOW_TURNING, WINDOW_RUNNING, WINDOW_OVER };

struct map_window {
    struct map *map;
    enum window_phase phase;
    struct map_window *next_turn;
    uint64_t block;        /* its block in the segment, which holds all that follows */
    struct window *shared; /* the description, then status, arguments, results */
    _Atomic int16_t *status;
    char *args, *results; /* copies, or NULL where the caller's arrays are used */
    size_t first;         /* the position of its first item in the map */
    uint32_t count;       /* items in the window; 0: none yet */
    struct invitation *invitations;
    unsigned unsettled; /* invitations in lanes */
    uint32_t handed;    /* items before this one have a status after all invitations; 0 if one of these was lost */
    uint32_t *losses;   /* of each item that is retried, how often its worker died of it; NULL while none did */
};

struct map {
    struct brood_future *future;
    const struct brood_task *task;
    unsigned index; /* of the task, in the pool header */
    const char *args;
    char *results;
    size_t items, next; /* the number of items; the first that no window has had */
    size_t window_items;
    struct map_loop loop;
    uint32_t chunk;
    unsigned workers;  /* the largest number of workers invited to a window */
    int16_t *outcomes; /* of failed items; untouched, and so without memory, while nothing fails.  A loop has none. */
    size_t first_failed, words_item, death_item;
    int first_outcome; /* of the first item that failed */
    unsigned live;     /* windows that are not over */
    bool cancelled, has_started;
    int64_t took_ns; /* the time that all workers together report */
    struct terms terms;
    struct map_window windows[WINDOWS];
};

/* The caller's name of the item: in a loop, the first index of the block. */
static inline uint64_t map_name_of(const struct map *map, size_t item)
{
    return map->loop.grain ? map->loop.begin + item * map->loop.grain : item;
}

/* The offset of an array that the segment holds. */
static inline uint64_t map_offset_of(const struct brood_pool *pool, const void *memory)
{
    return (uint64_t)((uintptr_t)memory - (uintptr_t)pool->shared.segment.base);
}

/* An idle window waits until a thread runs it.  Locked. */
static inline void map_window_queue(struct brood_pool *pool, struct map_window *window)
{
    window->phase = WINDOW_TURNING;
    window->next_turn = pool->windows.idle;
    pool->windows.idle = window;
}

/* Gives back the memory in the segment.  Locked. */
void brood__map_free_blocks(struct brood_pool *pool, struct map *map);

/* A worker of the pool, which waits for the map, takes part in a window that found no room in any lane.  False: there is
 * none.  Locked on entry and return, not in between. */
bool brood__map_run_stalled(struct brood_pool *pool, const struct map *map);

/* Preempts the maps in that lane for a more urgent task: the lane's worker, if it takes part in maps, leaves them after
 * the items that it has claimed.  The thread that collects its answer invites it again, after the urgent task.  Locked. */
void brood__maps_preempt(struct brood_pool *pool, unsigned lane);

/* The operations of an invitation's job. */
extern const struct job_ops brood__invitation_ops;

/* Idle windows, which the host runs one at a time. */
extern const struct deferred brood__deferred_maps;

#endif
