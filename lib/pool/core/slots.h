/* slots.h - inside the library: slots and their shadows: the host collects and settles finished jobs. */
#ifndef BROOD_POOL_CORE_SLOTS_H
#define BROOD_POOL_CORE_SLOTS_H

#include "pool/core/jobs.h"

/* Settles the job if its slot holds an outcome.  Locked. */
bool brood__collect(struct brood_pool *pool, struct job *job);

/* Settles the finished jobs at the front of a lane, or of each.  Locked. */
void brood__collect_lane(struct brood_pool *pool, unsigned lane);
static inline void brood__collect_all(struct brood_pool *pool)
{
    for (unsigned i = 0; i < pool->size.max; i++)
        if (pool->shadows[i].outstanding > 0)
            brood__collect_lane(pool, i);
}

/* The same, and the finished jobs after a running one: all that are finished, since workers claim a lane in order.  The
 * cost grows with the number of running and settled jobs, not with the number that wait.  Locked. */
void brood__collect_claimed(struct brood_pool *pool);

/* Has a worker claimed the job, which is in a lane?  Locked. */
bool brood__is_claimed(struct brood_pool *pool, struct job *job);

/* Takes the job back if no worker has claimed it, and settles it as CANCELLED, or FREE.  Locked. */
bool brood__take_back(struct brood_pool *pool, struct job *job, enum slot_state state);

/* Asks the task that a worker runs to stop: brood_cancelled() says so.  Locked. */
void brood__ask_to_stop(struct brood_pool *pool, const struct job *job);

/* Settles the slot as `state` says: frees it, and passes the answer to its job. */
void brood__settle(struct brood_pool *pool, unsigned lane, uint32_t index, enum slot_state state, unsigned worker);

/* Settles all finished jobs, in whatever order they were finished. */
void brood__collect_scattered(struct brood_pool *pool);

/* Settles the tasks that were lost with their worker: `lost_tasks` so far. */
void brood__collect_lost_now(struct brood_pool *pool, uint64_t lost_tasks);

/* The same, if there are new ones.  There are few certificates, and later crashes need them: so a thread that waits for
 * something else collects lost tasks, too.  The supervisor adds to `lost_tasks`, release, after it has marked a task lost;
 * the host loads it here, acquire. */
static inline void brood__collect_lost(struct brood_pool *pool)
{
    const struct membership *membership = pool->shared.membership;
    uint64_t lost_tasks = membership ? atomic_load_explicit(&membership->lost_tasks, memory_order_acquire) : 0;

    if (lost_tasks != pool->counts.lost_tasks)
        brood__collect_lost_now(pool, lost_tasks);
}

/* Does the word of the slot at that position say DONE or LOST? */
static inline bool brood__word_is_over(uint64_t word, uint64_t position)
{
    enum slot_state state = word_state(word);

    return word_position(word) == position && (state == SLOT_DONE || state == SLOT_LOST);
}

/* Reasons for a pool that is broken: struct pool_life, `torn`. */
extern const char brood__torn_supervisor_died[], brood__torn_interrupted[], brood__torn_overwritten[];

#endif
