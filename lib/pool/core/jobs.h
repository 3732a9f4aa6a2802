/* jobs.h - inside the library: iterators over the jobs in the lanes. */
#ifndef BROOD_POOL_CORE_JOBS_H
#define BROOD_POOL_CORE_JOBS_H

#include "pool/core/pool.h"

struct wait_condition;

/* The next job in a lane from that index on; advances the index past it.  NULL: there is none.  Locked. */
static inline struct job *brood__lane_job(const struct brood_pool *pool, unsigned number, uint32_t *index)
{
    const struct lane_shadow *shadow = &pool->shadows[number];
    const struct lane *lane = &pool->shared.lanes[number];

    while (shadow->outstanding > 0 && *index <= lane->mask + 1) {
        struct job *job = shadow->jobs[*index];

        *index = *index + 1 == lane->depth ? lane->mask + 1 : *index + 1; /* the mailbox is the last */
        if (job)
            return job;
    }
    return NULL;
}

/* The next of some jobs, after `previous` (NULL: the first), or NULL.  Locked. */
typedef struct job *next_job_fn(struct brood_pool *pool, struct wait_condition *condition, struct job *previous);

/* One job of each lane, after `previous`: one in the middle of its backlog, so that its settling makes room for many.
 * Locked. */
struct job *brood__middle_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous);

/* The first job of a lane at that position or a later one; NULL: there is none.  Locked. */
struct job *brood__job_from(struct brood_pool *pool, unsigned lane, uint64_t position);

/* The early jobs: one of them is over before any job that is not among them.  Workers claim the jobs of a lane in order,
 * one each; so these are, of each lane, the claimed jobs and as many more as there are workers.  A worker that waits for
 * a job claims that one out of order and counts twice: work/help.h.  Locked. */
struct job *brood__early_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous);

/* Every job in every lane; and none.  Locked. */
struct job *brood__every_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous);
struct job *brood__no_job(struct brood_pool *pool, struct wait_condition *condition, struct job *previous);

#endif
