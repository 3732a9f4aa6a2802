/* jobs.c - iterators over the jobs in the lanes. */
#include "pool/core/jobs.h"
#include "pool/core/pool.h"
#include "pool/core/slots.h"
#include "pool/core/wait.h"

/* The host has collected all jobs more than a lap before the tail, although `oldest` may be lower still. */
static uint64_t first_position(const struct brood_pool *pool, unsigned number)
{
    const struct lane_shadow *shadow = &pool->shadows[number];
    uint32_t mask = pool->shared.lanes[number].mask;

    return shadow->tail - shadow->oldest > mask ? shadow->tail - mask - 1 : shadow->oldest;
}

/* The next position that has a job, or the tail.  One step passes the settled positions that an earlier walk has passed:
 * a long task at the front of a lane may have any number of settled ones after it, and each wait has to pass them.  A
 * step recorded in an earlier lap leads to no later position than this one, and is ignored. */
static uint64_t next_taken(struct lane_shadow *shadow, const struct lane *lane, uint64_t from)
{
    uint64_t at = from;

    while (at < shadow->tail && !shadow->jobs[lane_index(lane, at)]) {
        uint64_t beyond = shadow->beyond[lane_index(lane, at)];

        at = beyond > at ? beyond : at + 1;
    }
    if (at > from)
        shadow->beyond[lane_index(lane, from)] = at;
    return at;
}

struct job *brood__job_from(struct brood_pool *pool, unsigned number, uint64_t position)
{
    brood__assert_locked(pool);
    struct lane_shadow *shadow = &pool->shadows[number];
    const struct lane *lane = &pool->shared.lanes[number];
    uint64_t first = first_position(pool, number);

    if (shadow->outstanding == 0 || position > MAILBOX)
        return NULL;
    position = next_taken(shadow, lane, position > first ? position : first);
    return shadow->jobs[lane_index(lane, position < shadow->tail ? position : MAILBOX)]; /* the mailbox is the last */
}

struct job *brood__middle_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    brood__assert_locked(pool);
    (void)condition;
    for (unsigned i = previous ? previous->lane + 1 : 0; i < pool->size.max; i++) {
        struct lane_shadow *shadow = &pool->shadows[i];

        if (shadow->outstanding == 0)
            continue;
        uint64_t first = first_position(pool, i), middle = first + (shadow->tail - first) / 2;
        struct job *job = brood__job_from(pool, i, middle);

        if (!job || job->position & MAILBOX) /* thieves have done the rest */
            job = brood__job_from(pool, i, first);
        if (job)
            return job;
    }
    return NULL;
}

struct job *brood__every_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    brood__assert_locked(pool);
    unsigned number = previous ? previous->lane : 0;
    struct job *job = brood__job_from(pool, number, previous ? previous->position + 1 : 0);

    (void)condition;
    while (!job && ++number < pool->size.max)
        job = brood__job_from(pool, number, 0);
    return job;
}

/* The next job of the lane, unless enough unclaimed jobs of it have been returned. */
static struct job *early_job_after(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    condition->unclaimed += !brood__is_claimed(pool, previous);
    if (condition->unclaimed < pool->size.max + pool->users.helpers || previous->position & MAILBOX)
        return brood__job_from(pool, previous->lane, previous->position + 1);
    return brood__job_from(pool, previous->lane, pool->shadows[previous->lane].tail); /* the mailbox */
}

struct job *brood__early_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    brood__assert_locked(pool);
    unsigned number = previous ? previous->lane : 0;
    struct job *job = previous ? early_job_after(pool, condition, previous) : brood__job_from(pool, 0, 0);

    if (!job || !previous)
        condition->unclaimed = 0;
    while (!job && ++number < pool->size.max)
        job = brood__job_from(pool, number, 0);
    return job;
}

struct job *brood__no_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    brood__assert_locked(pool);
    (void)pool, (void)condition, (void)previous;
    return NULL;
}
