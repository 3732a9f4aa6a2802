#include <errno.h>
#include <stdlib.h>

#include "os/error.h"
#include "pool/backlog.h"
#include "pool/map.h"
#include "pool/retry.h"

#define PRIORITY_OF_MAPS 0

/* A binary heap: beside each future what it is ordered by, so that comparing touches no future. */
struct waiting {
    int priority;
    uint64_t number; /* of equals, the first comes first */
    struct brood_future *future;
};

static bool is_before(const struct waiting *a, const struct waiting *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->number < b->number;
}

static void rise(struct waiting *heap, size_t at, struct waiting what)
{
    for (; at > 0 && is_before(&what, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = what;
}

static void sink(struct waiting *heap, size_t count, size_t at, struct waiting what)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &what))
            break;
        heap[at] = heap[child];
    }
    heap[at] = what;
}

static struct brood_future *take(struct backlog *backlog, size_t at)
{
    struct brood_future *future = backlog->heap[at].future;
    struct waiting last = backlog->heap[--backlog->count];

    if (at == backlog->count)
        return future;
    if (is_before(&last, &backlog->heap[at]))
        rise(backlog->heap, at, last);
    else
        sink(backlog->heap, backlog->count, at, last);
    return future;
}

static bool make_room(struct backlog *backlog)
{
    size_t room = backlog->room ? 2 * backlog->room : 64;
    struct waiting *heap;

    if (backlog->count < backlog->room)
        return true;
    heap = realloc(backlog->heap, room * sizeof(*heap));
    if (!heap)
        return false;
    backlog->heap = heap;
    backlog->room = room;
    return true;
}

/* Where the next one can go, or ANY_LANE. */
static unsigned next_lane(const struct brood_pool *pool)
{
    if (pool->backlog.count == 0 || pool->broken || pool->closed || pool->given_up)
        return ANY_LANE;
    return brood__shallow_lane(pool);
}

bool brood__backlog_is_due(const struct brood_pool *pool)
{
    return next_lane(pool) != ANY_LANE;
}

static bool feed_one(struct brood_pool *pool)
{
    unsigned lane = next_lane(pool);
    struct brood_future *future;
    int priority;

    if (lane == ANY_LANE)
        return false;
    priority = pool->backlog.heap[0].priority;
    future = take(&pool->backlog, 0);
    (void)brood__submit(pool, &future->job, brood__retry_request(future), lane); /* it has a slot */
    pool->mirrors[lane].fed = future->job.position;
    if (priority < PRIORITY_OF_MAPS)
        brood__maps_yield(pool, lane);
    return true;
}

bool brood__backlog_feed(struct brood_pool *pool)
{
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
    struct backlog *backlog = &pool->backlog;
    int r = brood__retry_request(future) ? 0 : brood__retry_prepare(pool, future, request, 0);

    if (r < 0)
        return r;
    if (!make_room(backlog))
        return brood_fail(-ENOMEM, "out of memory");
    rise(backlog->heap, backlog->count++, (struct waiting){priority, backlog->number++, future});
    /* Who sleeps has said nothing of it to the jobs that are in the lanes. */
    if (backlog->count == 1 && pool->asleep)
        brood__wake_waiter(pool->shared.board, WAITER_ALL);
    (void)brood__backlog_feed(pool);
    return 1;
}

/* One of few that the lane has, or the one that was given to it as it had few, or the one whose slot comes next. */
static bool makes_room(const struct brood_pool *pool, const struct job *job)
{
    const struct mirror *mirror = &pool->mirrors[job->lane];
    const struct lane *lane = &pool->shared.lanes[job->lane];

    return mirror->outstanding <= LANE_SHALLOW || job->position == mirror->fed ||
           lane_index(lane, job->position) == lane_index(lane, mirror->tail);
}

struct job *brood__backlog_job(struct brood_pool *pool, struct watch *watch, struct job *previous)
{
    struct job *job = previous;

    do
        job = brood__every_job(pool, watch, job);
    while (job && !makes_room(pool, job));
    return job;
}

static void forget(struct brood_pool *pool, size_t at, int outcome)
{
    struct brood_future *future = take(&pool->backlog, at);

    if (outcome == -ESHUTDOWN)
        brood__future_say_shut_down(future);
    brood__future_finish(future, outcome);
}

bool brood__backlog_forget(struct brood_pool *pool, const struct brood_future *future, int outcome)
{
    for (size_t i = 0; i < pool->backlog.count; i++)
        if (pool->backlog.heap[i].future == future) {
            forget(pool, i, outcome);
            return true;
        }
    return false;
}

void brood__backlog_forget_all(struct brood_pool *pool, int outcome)
{
    while (pool->backlog.count > 0)
        forget(pool, 0, outcome);
}
