#include <errno.h>

#include "os/error.h"
#include "pool/core/dispatch.h"
#include "pool/core/jobs.h"
#include "pool/core/slots.h"
#include "pool/core/wait.h"
#include "pool/future/callback.h"
#include "pool/work/backlog.h"
#include "pool/work/map_window.h"
#include "pool/work/retry.h"

#define PRIORITY_OF_MAPS 0

/* A lane for the next task, or ANY_LANE. */
static unsigned next_lane(const struct brood_pool *pool)
{
    if (pool->backlog.count == 0 || life_outcome(pool->life.state))
        return ANY_LANE;
    return brood__shallow_lane(pool);
}

static bool backlog_is_due(struct brood_pool *pool)
{
    return next_lane(pool) != ANY_LANE;
}

static bool feed_one(struct brood_pool *pool)
{
    unsigned lane = next_lane(pool);
    struct binheap_node *node = brood__binheap_first(&pool->backlog);
    struct brood_future *future;

    if (lane == ANY_LANE)
        return false;
    bool is_urgent = brood__binheap_key(node) < PRIORITY_OF_MAPS;

    brood__binheap_remove(node);
    future = brood__retry_future(node);
    (void)brood__submit(pool, &future->job, brood__retry_request(future), lane); /* it has a slot */
    pool->shadows[lane].fed = future->job.position;
    brood__hooks_move(future);
    if (is_urgent)
        brood__maps_preempt(pool, lane);
    return true;
}

bool brood__backlog_feed(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    bool fed = false;

    if (pool->backlog.count == 0)
        return false;
    brood__collect_all(pool);
    while (feed_one(pool))
        fed = true;
    return fed;
}

int brood__backlog_add(struct brood_pool *pool, struct brood_future *future, const struct request *request, int priority)
{
    brood__assert_locked(pool);
    struct binheap *backlog = &pool->backlog;
    int r = brood__retry_request(future) ? 0 : brood__retry_prepare(pool, future, request, 0);

    if (r < 0)
        return r;
    if (!brood__binheap_reserve(backlog, backlog->count + 1))
        return brood_fail(-ENOMEM, "out of memory");
    brood__binheap_add(backlog, brood__retry_node(future), priority);
    /* Sleeping waiters have not named their parkers for the backlog in the jobs that are in the lanes. */
    if (backlog->count == 1 && pool->sleepers.asleep)
        brood__wake_waiter(pool->shared.header, WAITER_ALL);
    (void)brood__backlog_feed(pool);
    return 1;
}

static void announce_in_slot(struct brood_pool *pool, unsigned number, uint32_t index, unsigned parker)
{
    const struct job *job = pool->shadows[number].jobs[index];

    if (job)
        brood__announce_in(pool, job, parker);
}

/* Names the parker in the jobs whose completion frees room.  In a shallow lane these are all its jobs; else the last one
 * that came from the backlog, and the one that holds the next slot. */
static void announce_in_lane(struct brood_pool *pool, unsigned number, unsigned parker)
{
    const struct lane_shadow *shadow = &pool->shadows[number];
    const struct lane *lane = &pool->shared.lanes[number];
    struct job *job;

    if (shadow->outstanding > LANE_SHALLOW) {
        announce_in_slot(pool, number, lane_index(lane, shadow->fed), parker);
        announce_in_slot(pool, number, lane_index(lane, shadow->tail), parker);
        return;
    }
    for (uint64_t next = 0; (job = brood__job_from(pool, number, next)); next = job->position + 1)
        brood__announce_in(pool, job, parker);
}

static void backlog_announce(struct brood_pool *pool, unsigned parker)
{
    for (unsigned i = 0; i < pool->size.max; i++)
        if (pool->shadows[i].outstanding > 0)
            announce_in_lane(pool, i, parker);
}

static bool is_here(const struct brood_pool *pool, const struct brood_future *future)
{
    const struct binheap_node *node = brood__retry_node(future);

    return node && node->heap == &pool->backlog;
}

bool brood__backlog_run(struct brood_pool *pool, struct brood_future *future)
{
    brood__assert_locked(pool);
    if (!is_here(pool, future))
        return false;
    brood__binheap_remove(brood__retry_node(future));
    brood__run_aside(pool, &future->job, brood__retry_request(future));
    return true;
}

static void backlog_end(struct brood_future *future, int outcome)
{
    brood__binheap_remove(brood__retry_node(future));
    if (outcome == -ESHUTDOWN)
        brood__future_fail_shut_down(future);
    brood__future_finish(future, outcome);
}

bool brood__backlog_forget(struct brood_pool *pool, struct brood_future *future, int outcome)
{
    brood__assert_locked(pool);
    bool forgotten = is_here(pool, future);

    if (forgotten)
        backlog_end(future, outcome);
    return forgotten;
}

static void backlog_end_all(struct brood_pool *pool, int outcome)
{
    const struct binheap_node *node;

    while ((node = brood__binheap_first(&pool->backlog)))
        backlog_end(brood__retry_future(node), outcome);
}

static bool backlog_is_waiting(const struct brood_pool *pool)
{
    return pool->backlog.count > 0;
}

const struct deferred brood__deferred_backlog = {
    .words = {DEFERRED_WORD(backlog.count)},
    .run = brood__backlog_feed,
    .is_due = backlog_is_due,
    .is_waiting = backlog_is_waiting,
    .announce = backlog_announce,
    .forget = backlog_end_all,
};
