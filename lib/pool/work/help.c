#include <errno.h>

#include "os/error.h"
#include "pool/core/kind.h"
#include "pool/core/slots.h"
#include "pool/future/callback.h"
#include "pool/work/backlog.h"
#include "pool/work/help.h"
#include "pool/work/map_window.h"

static void collect_at(struct brood_pool *pool, unsigned lane, uint64_t position)
{
    struct job *job = pool->shadows[lane].jobs[lane_index(&pool->shared.lanes[lane], position)];

    if (job && job->position == position)
        (void)brood__collect(pool, job);
}

/* Runs the job, unless another worker has claimed it.  A sleeping waiter has named its parker in as many jobs as workers
 * could have claimed without this one, and a collector looks at no job after an unclaimed one: see brood__early_job()
 * and brood__collect_claimed().  So this thread wakes the waiters, and collects the job for the collectors. */
static bool run_job(struct brood_pool *pool, struct job *job)
{
    unsigned lane = job->lane;
    uint64_t position = job->position;

    if (brood__is_claimed(pool, job))
        return false;
    pool->users.helpers++;
    if (pool->sleepers.asleep)
        brood__wake_waiter(pool->shared.header, WAITER_ALL);
    brood__unlock(&pool->lock);
    pool->ops->inside->run(&pool->shared, lane, position);
    brood__lock(&pool->lock);
    pool->users.helpers--;
    collect_at(pool, lane, position);
    return true;
}

static int check_own(struct brood_pool *pool, const struct job *job)
{
    const struct lane *lane = &pool->shared.lanes[job->lane];

    if (job->in_lane
            ? !pool->ops->inside->runs_word(&pool->shared, slot_look(&lane->slots[lane_index(lane, job->position)]))
            : !pool->ops->inside->runs_aside(&pool->shared, job))
        return 0;
    return brood_fail(-EDEADLK, "the task would wait for itself: it is, or is inside, what it waits for");
}

int brood__help_map(struct brood_pool *pool, struct map *map)
{
    brood__assert_locked(pool);
    struct job *job = brood__map_waiting(pool, map);

    if (job)
        return run_job(pool, job);
    return brood__map_run_stalled(pool, map) ? 1 : brood__map_each(pool, map, check_own);
}

int brood__help_task(struct brood_pool *pool, struct brood_future *future)
{
    brood__assert_locked(pool);
    struct job *job = &future->job;

    if (!job->in_lane)
        return brood__backlog_run(pool, future) ? 1 : check_own(pool, job);
    return run_job(pool, job) ? 1 : check_own(pool, job);
}
