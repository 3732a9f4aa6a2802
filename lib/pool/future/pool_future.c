/* pool_future.c - the futures of a pool: their memory, their end, how a thread waits for one, and the pool as their guard. */
#include <errno.h>
#include <stdlib.h>

#include "os/error.h"
#include "pool/core/deferred.h"
#include "pool/core/slots.h"
#include "pool/core/teardown.h"
#include "pool/core/wait.h"
#include "pool/future/event_thread.h"
#include "pool/future/future.h"

#define FUTURES_AHEAD 4

/* Keeps room for every future that exists, so that giving one back cannot fail. */
static bool make_room_for_futures(struct brood_pool *pool)
{
    size_t room = pool->cache.room ? 2 * pool->cache.room : 64;
    struct brood_future **free_futures;

    if (pool->cache.made < pool->cache.room)
        return true;
    free_futures = realloc(pool->cache.futures, room * sizeof(struct brood_future *));
    if (!free_futures)
        return false;
    pool->cache.futures = free_futures;
    pool->cache.room = room;
    return true;
}

static struct brood_future *make_future(struct brood_pool *pool)
{
    struct brood_future *future = make_room_for_futures(pool) ? aligned_alloc(64, sizeof(*future)) : NULL;

    if (future)
        pool->cache.made++;
    else
        (void)brood_fail(-ENOMEM, "out of memory");
    return future;
}

/* Prefetches, because the next futures are likely to be long out of the cache.  (They are in an array: in a list, each
 * would wait for the one before, because the address of the next would be in a line that is not there yet.) */
static struct brood_future *future_cache_take(struct brood_pool *pool)
{
    struct brood_future *future = pool->cache.futures[--pool->cache.count];

    if (pool->cache.count >= FUTURES_AHEAD)
        __builtin_prefetch(pool->cache.futures[pool->cache.count - FUTURES_AHEAD], 1);
    return future;
}

struct brood_future *brood__future_new(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    struct brood_future *future = pool->cache.count > 0 ? future_cache_take(pool) : make_future(pool);

    if (!future)
        return NULL;
    brood__future_init(future, pool, NULL, 0);
    pool->users.futures++;
    return future;
}

void brood__future_drop(struct brood_future *future)
{
    brood__assert_locked(future->pool);
    struct brood_pool *pool = future->pool;

    if (future->owns_result)
        free(future->result);
    if (future->has_more)
        brood__future_free_more(future);
    if (brood__future_ops(future)->drop)
        brood__future_ops(future)->drop(future);
    pool->cache.futures[pool->cache.count++] = future;
    pool->users.futures--;
}

static bool has_calls(const struct brood_future *future)
{
    return future->has_more && future->more.calls > 0;
}

static void count_failure(struct brood_pool *pool, int outcome)
{
    pool->counts.failed++;
    pool->counts.cancelled += outcome == -ECANCELED;
}

void brood__future_finish(struct brood_future *future, int outcome)
{
    brood__assert_locked(future->pool);
    struct brood_pool *pool = future->pool;

    if (future->has_more && future->more.block) {
        (void)brood__heap_free(&pool->heap, future->more.block);
        future->more.block = 0;
    }
    if (brood__future_fetch(future))
        brood__future_ops(future)->discard(future);
    future->outcome = (int16_t)outcome;
    pool->counts.outstanding--;
    pool->counts.finished++;
    if (outcome < 0)
        count_failure(pool, outcome);
    atomic_store_explicit(&future->done, true, memory_order_release); /* pairs with brood__future_is_done() */
    if (future->has_more)
        brood__hooks_notify(future, true);
    if (pool->events.ready_fd >= 0)
        brood__ready_fd_signal(pool);
    if (future->abandoned && !has_calls(future))
        brood__future_drop(future);
}

void brood__future_fail_shut_down(struct brood_future *future)
{
    brood__assert_locked(future->pool);
    const struct brood_pool *pool = future->pool;

    brood__future_keep_message(future, pool->life.reason[0] ? pool->life.reason : "the pool was closed first",
                               sizeof(pool->life.reason));
}

/* ---- waiting ---- */

static bool is_done(struct brood_pool *pool, struct wait_condition *condition)
{
    struct brood_future *future = condition->subject;

    (void)pool;
    if (!brood__future_is_done(future))
        brood__future_ops(future)->collect(future);
    return brood__future_is_done(future);
}

static struct job *job_of(struct brood_pool *pool, struct wait_condition *condition, struct job *previous)
{
    struct brood_future *future = condition->subject;
    const struct future_ops *ops = brood__future_ops(future);

    if (ops->is_in_host && ops->is_in_host(future)) /* the host submits it as soon as there is room */
        return brood__middle_job(pool, condition, previous);
    return previous ? NULL : ops->job(future);
}

static int pool_help(struct brood_pool *pool, struct wait_condition *condition)
{
    struct brood_future *future = condition->subject;

    (void)pool;
    return brood__future_ops(future)->help(future);
}

int brood__future_wait(struct brood_future *future, brood_deadline deadline)
{
    brood__assert_locked(future->pool);
    struct wait_condition condition = {.is_ready = is_done, .next_job = job_of, .help = pool_help, .subject = future};

    return brood__wait(future->pool, &condition, deadline);
}

/* ---- the pool as a guard ---- */

static int pool_enter(struct brood_future *future)
{
    return brood__pool_enter(future->pool);
}

static void pool_leave(struct brood_future *future)
{
    brood__pool_leave(future->pool);
}

static struct lock *pool_lock(struct brood_future *future)
{
    return &future->pool->lock;
}

static struct calls *pool_calls(struct brood_future *future)
{
    return &future->pool->callbacks.due;
}

static void pool_look(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;
    struct wait_condition condition = {.is_ready = is_done, .subject = future};

    brood__check_life(pool);
    while (!is_done(pool, &condition) && brood__run_deferred(pool, true))
        ;
}

/* A finished future may be asked in a forked process, too. */
static int pool_wait(struct brood_future *future, brood_deadline deadline)
{
    int r = brood__pool_enter(future->pool);

    if (r < 0)
        return brood__future_is_done(future) ? 0 : r;
    r = brood__future_wait(future, deadline);
    (void)brood__call_due(future->pool);
    brood__pool_leave(future->pool);
    return r < 0 && r != -EDEADLK ? brood_fail(r, "the deadline passed before the work was done") : r;
}

static void pool_make_use_of_room(struct brood_future *future)
{
    brood__run_all_deferred(future->pool);
}

static int pool_attend(struct brood_future *future)
{
    return brood__event_thread_start(future->pool);
}

static void pool_free(struct brood_future *future)
{
    struct brood_pool *pool = future->pool;

    if (!brood__pool_is_ours(pool))
        return;
    if (brood__future_ops(future)->borrows_memory && !brood__future_is_done(future)) {
        (void)brood_future_cancel(future);
        if (brood_future_wait(future, BROOD_FOREVER) < 0)
            return;
    }
    brood__lock(&pool->lock);
    if (brood__future_is_done(future) && !has_calls(future))
        brood__future_drop(future);
    else
        future->abandoned = true;
    brood__pool_release(pool);
}

static void pool_call_added(struct brood_future *future)
{
    brood__call_awaited(future->pool);
}

static void pool_call_due(struct brood_future *future)
{
    future->pool->callbacks.awaited--;
    brood__event_thread_notify(future->pool);
}

/* No thread looks into a closed pool any more, and nothing new is submitted to it. */
static bool pool_can_postpone(const struct brood_future *future)
{
    return !life_is_closed(future->pool->life.state);
}

static void pool_postpone(struct brood_future *future)
{
    brood__calls_left(future->pool);
}

/* The callback may even close the pool. */
static void pool_step_out(struct brood_future *future)
{
    brood__pool_leave(future->pool);
}

static void pool_step_in(struct brood_future *future)
{
    brood__lock(&future->pool->lock);
    future->pool->users.inside++;
}

const struct future_guard brood__pool_guard = {
    .enter = pool_enter,
    .leave = pool_leave,
    .lock = pool_lock,
    .calls = pool_calls,
    .look = pool_look,
    .wait = pool_wait,
    .make_use_of_room = pool_make_use_of_room,
    .attend = pool_attend,
    .free = pool_free,
    .call_added = pool_call_added,
    .call_due = pool_call_due,
    .calls_left = brood__calls_left,
    .can_postpone = pool_can_postpone,
    .postpone = pool_postpone,
    .step_out = pool_step_out,
    .step_in = pool_step_in,
    .let_go = brood__future_drop,
};
