#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/error.h"
#include "pool/core/dispatch.h"
#include "pool/core/jobs.h"
#include "pool/core/wait.h"
#include "pool/future/callback.h"
#include "pool/work/retry.h"

#define PAUSE_DOUBLINGS_MAX 10

struct retry {
    struct binheap_node node; /* in pool->retries.heap, by the earliest time of the retry, or in pool->backlog */
    struct brood_future *future;
    struct request request;
    int left; /* negative: no retry, whatever happens */
    unsigned char arg[SLOT_ARG_BYTES];
};

int brood__retry_prepare(struct brood_pool *pool, struct brood_future *future, const struct request *request, int retries)
{
    brood__assert_locked(pool);
    /* Reserves room for all futures that exist, of which each thread inside a call may have one on its stack: so a retry
     * needs no memory later. */
    bool has_room = retries <= 0 || brood__binheap_reserve(&pool->retries.heap, pool->cache.made + pool->users.inside);
    struct retry *retry = has_room ? malloc(sizeof(*retry)) : NULL;

    if (!retry)
        return brood_fail(-ENOMEM, "out of memory");
    *retry = (struct retry){.future = future, .request = *request, .left = retries};
    if (!request->arg_offset && request->arg.len > 0) {
        memcpy(retry->arg, request->arg.ptr, request->arg.len);
        retry->request.arg.ptr = retry->arg;
    }
    brood__future_add_more(future);
    future->more.retry = retry;
    future->more.attempt = 1;
    return 0;
}

static struct retry *retry_of(const struct brood_future *future)
{
    return future->has_more ? future->more.retry : NULL;
}

const struct request *brood__retry_request(const struct brood_future *future)
{
    brood__assert_locked(future->pool);
    return retry_of(future) ? &retry_of(future)->request : NULL;
}

struct binheap_node *brood__retry_node(const struct brood_future *future)
{
    brood__assert_locked(future->pool);
    return retry_of(future) ? &retry_of(future)->node : NULL;
}

struct brood_future *brood__retry_future(const struct binheap_node *node)
{
    return ((const struct retry *)(const void *)node)->future; /* its first member */
}

static int64_t pause_before(const struct brood_pool *pool, uint32_t attempt)
{
    uint32_t doublings = attempt - 2;

    return pool->retries.pause_ns << (doublings < PAUSE_DOUBLINGS_MAX ? doublings : PAUSE_DOUBLINGS_MAX);
}

bool brood__retry(struct brood_pool *pool, struct brood_future *future)
{
    brood__assert_locked(pool);
    struct retry *retry = retry_of(future);

    if (!retry || retry->left <= 0 || life_outcome(pool->life.state))
        return false;
    retry->left--;
    future->more.attempt++;
    pool->counts.retried++;
    brood__binheap_add(&pool->retries.heap, &retry->node, brood__now_ns() + pause_before(pool, future->more.attempt));
    return true;
}

static bool submit_due(struct brood_pool *pool)
{
    struct binheap_node *node = brood__binheap_first(&pool->retries.heap);
    struct brood_future *future;

    if (!node || brood__binheap_key(node) > brood__now_ns())
        return false;
    future = brood__retry_future(node);
    if (!brood__submit(pool, &future->job, brood__retry_request(future), ANY_LANE))
        return false;
    brood__binheap_remove(node);
    brood__hooks_move(future);
    return true;
}

static brood_deadline next(const struct brood_pool *pool)
{
    const struct binheap_node *node = brood__binheap_first(&pool->retries.heap);

    return node ? (brood_deadline){brood__binheap_key(node)} : BROOD_FOREVER;
}

static bool retry_is_due(struct brood_pool *pool)
{
    return pool->retries.heap.count > 0 && next(pool).ns <= brood__now_ns() && brood__has_slot(pool);
}

static bool retries_are_waiting(const struct brood_pool *pool)
{
    return pool->retries.heap.count > 0;
}

/* For room in a lane. */
static void retries_announce(struct brood_pool *pool, unsigned parker)
{
    brood__announce_each(pool, brood__middle_job, parker);
}

static void retry_end(struct brood_future *future, int outcome)
{
    brood__binheap_remove(brood__retry_node(future));
    brood__future_finish(future, outcome);
}

bool brood__retry_forget(struct brood_pool *pool, struct brood_future *future, int outcome)
{
    brood__assert_locked(pool);
    const struct binheap_node *node = brood__retry_node(future);
    bool forgotten = node && node->heap == &pool->retries.heap;

    if (forgotten)
        retry_end(future, outcome);
    return forgotten;
}

static void retries_end(struct brood_pool *pool, int outcome)
{
    const struct binheap_node *node;

    while ((node = brood__binheap_first(&pool->retries.heap)))
        retry_end(brood__retry_future(node), outcome);
}

void brood__retry_never(struct brood_future *future)
{
    brood__assert_locked(future->pool);
    if (retry_of(future))
        retry_of(future)->left = -1;
}

bool brood__retry_is_used_up(const struct brood_future *future)
{
    brood__assert_locked(future->pool);
    return !retry_of(future) || retry_of(future)->left == 0;
}

const struct deferred brood__deferred_retries = {
    .words = {DEFERRED_WORD(retries.heap.count)},
    .run = submit_due,
    .is_due = retry_is_due,
    .is_waiting = retries_are_waiting,
    .announce = retries_announce,
    .next = next,
    .forget = retries_end,
};
