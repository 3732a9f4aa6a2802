#include <errno.h>
#include <stdio.h>

#include "pool/core/deferred.h"
#include "pool/core/interrupt.h"
#include "pool/core/jobs.h"
#include "pool/core/kind.h"
#include "pool/core/slots.h"
#include "pool/core/teardown.h"

const char brood__torn_supervisor_died[] = "its supervisor died";
const char brood__torn_interrupted[] = "interrupted";
const char brood__torn_overwritten[] = "a worker has written over its memory";

void brood__forget_waiting(struct brood_pool *pool, int outcome)
{
    brood__assert_locked(pool);
    for (const struct deferred *const *kind = brood__deferred; *kind; kind++)
        if ((*kind)->forget)
            (*kind)->forget(pool, outcome);
}

/* Begins nothing more of the job, and ends it as `state` says if no worker has claimed it. */
static void job_withdraw(struct brood_pool *pool, struct job *job, enum slot_state state)
{
    if (job->ops->stop)
        job->ops->stop(job);
    (void)brood__take_back(pool, job, state);
}

/* In a pool of threads, a worker thread finishes what it runs, in its caller's memory, until the pool is closed. */
static void job_give_up(struct brood_pool *pool, unsigned lane, uint32_t index)
{
    struct job *job = pool->shadows[lane].jobs[index];

    if (pool->ops->between_processes || life_is_closed(pool->life.state))
        brood__settle(pool, lane, index, SLOT_FREE, 0);
    else
        job_withdraw(pool, job, SLOT_FREE);
}

void brood__settle_all(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    struct job *job;

    for (unsigned i = 0; i < pool->size.lanes; i++)
        for (uint32_t index = 0; (job = brood__lane_job(pool, i, &index));)
            if (!brood__collect(pool, job))
                job_give_up(pool, i, lane_index(&pool->shared.lanes[i], job->position));
    brood__forget_waiting(pool, -ESHUTDOWN);
    brood__run_all_deferred(pool); /* deferred work ends, too, because its tasks will not run */
    brood__wake_waiter(pool->shared.header, WAITER_ALL);
}

/* Where the kernel marks the life word at the supervisor's end, that suffices; elsewhere the host asks the kernel. */
static bool has_lost_supervisor(const struct brood_pool *pool, uint32_t life)
{
    if (life != pool->life.word)
        return brood__life_is_over(life);
    return life != 0 && !brood__life_is_marked(life) && !pool->ops->is_alive(pool);
}

/* Why the pool cannot go on, or NULL.  Relaxed: as in brood__life_is_fine(). */
static const char *why(const struct brood_pool *pool)
{
    const struct header *header = pool->shared.header;
    enum header_state state = brood__header_state(header);
    uint32_t life = atomic_load_explicit(&header->life, memory_order_relaxed);

    if (pool->life.torn)
        return pool->life.torn;
    if (!brood__header_is_whole(&pool->shared))
        return brood__torn_overwritten;
    if (state == HEADER_BROKEN)
        return header->reason;
    if (has_lost_supervisor(pool, life))
        return brood__interrupt_kills(pool) ? brood__torn_interrupted : brood__torn_supervisor_died;
    return state != HEADER_OPEN || life != pool->life.word ? brood__torn_overwritten : NULL;
}

void brood__mark_broken(struct brood_pool *pool, const char *reason)
{
    brood__assert_locked(pool);
    if (!pool->life.reason[0])
        (void)snprintf(pool->life.reason, sizeof(pool->life.reason), "the pool is broken: %.*s",
                       (int)sizeof(pool->shared.header->reason), reason);
}

void brood__check_life_slowly(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    const char *reason = why(pool);

    if (!reason)
        return;
    pool->life.state = LIFE_BROKEN;
    brood__mark_broken(pool, reason);
    brood__settle_all(pool);
}

int brood__pool_takes_no_more(const struct brood_pool *pool)
{
    return brood_fail(-ESHUTDOWN, "%s", life_is_broken(pool->life.state) ? pool->life.reason : "the pool is closed");
}

/* Ends what has not started, as `state` says. */
void brood__give_up_waiting(struct brood_pool *pool, enum slot_state state)
{
    brood__assert_locked(pool);
    struct job *job;

    for (unsigned i = 0; i < pool->size.lanes; i++)
        for (uint32_t index = 0; (job = brood__lane_job(pool, i, &index));)
            job_withdraw(pool, job, state);
}

void brood__pool_cancel(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    pool->life.state = life_cancel(pool->life.state);
    brood__forget_waiting(pool, -ECANCELED);
    brood__give_up_waiting(pool, SLOT_CANCELLED);
    brood__run_all_deferred(pool);
}
