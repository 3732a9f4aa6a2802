/* close.c - the end of a pool: shutdown, kill, close. */
#include <errno.h>
#include <stdio.h>

#include "os/clock.h"
#include "os/error.h"
#include "pool/core/calls.h"
#include "pool/core/interrupt.h"
#include "pool/core/jobs.h"
#include "pool/core/kind.h"
#include "pool/core/pool.h"
#include "pool/core/slots.h"
#include "pool/core/teardown.h"
#include "pool/core/wait.h"
#include "pool/future/death_report.h"
#include "pool/future/event_thread.h"
#include "pool/host/open.h"

/* Locked. */
static void take_no_more(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    pool->life.state = life_shut_down(pool->life.state);
    brood__wake_waiter(pool->shared.header, WAITER_ALL); /* wakes those that wait for room */
}

/* ---- shutting down ---- */

/* Workers end when they have nothing to do.  A worker loads `is_draining` after it has set its bit in `idle`, and is
 * woken here if it set that before.  Sequentially consistent, the host's store and the worker's load: one of the two
 * sees the other's store. */
static void drain_workers(struct brood_pool *pool)
{
    pool->size.may_scale_down = true;
    atomic_store_explicit(&pool->shared.header->is_draining, 1, memory_order_seq_cst);
    brood__wake_workers(&pool->shared, 0);
}

int brood_pool_shutdown(struct brood_pool *pool, bool cancel)
{
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return r;
    take_no_more(pool);
    if (cancel && life_outcome(pool->life.state) == 0)
        brood__pool_cancel(pool);
    if (pool->shared.membership)
        drain_workers(pool);
    brood__wake_waiter(pool->shared.header, WAITER_ALL);
    brood__pool_leave(pool);
    return 0;
}

/* ---- killing ---- */

static void ask_all_to_stop(struct brood_pool *pool)
{
    struct job *job;

    for (unsigned i = 0; i < pool->size.lanes; i++)
        for (uint32_t index = 0; (job = brood__lane_job(pool, i, &index));)
            brood__ask_to_stop(pool, job);
}

/* Ends everything that no worker runs, also idle windows of maps.  Locked. */
static void drop_all(struct brood_pool *pool)
{
    pool->life.state = LIFE_KILLED;
    brood__mark_broken(pool, "its workers were killed on request");
    brood__forget_waiting(pool, -ESHUTDOWN);
    brood__give_up_waiting(pool, SLOT_FREE);
    ask_all_to_stop(pool);
    brood__run_all_deferred(pool);
    brood__wake_waiter(pool->shared.header, WAITER_ALL);
}

int brood_pool_kill(struct brood_pool *pool, brood_deadline deadline)
{
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return r;
    brood__check_life(pool);
    take_no_more(pool);
    if (pool->life.state < LIFE_KILLED)
        drop_all(pool);
    if (!pool->ops->end)
        r = brood_fail(-ENOTSUP, "workers that are no processes cannot be killed; what they run has been asked to stop");
    else if (!life_is_broken(pool->life.state)) {
        brood__unlock(&pool->lock);
        pool->ops->end(pool, deadline);
        brood__lock(&pool->lock);
        brood__check_life(pool);
    }
    brood__pool_leave(pool);
    return r;
}

/* ---- closing ---- */

static bool is_drained(struct brood_pool *pool, struct wait_condition *condition)
{
    (void)condition;
    brood__collect_all(pool);
    return pool->counts.outstanding == 0;
}

static bool drain(struct brood_pool *pool, brood_deadline deadline)
{
    struct wait_condition condition = {.is_ready = is_drained, .next_job = brood__middle_job};

    return brood__wait(pool, &condition, deadline) == 0 && !life_is_broken(pool->life.state);
}

/* A worker without work ends at once; but a finalizer may take as long as the tasks might have. */
static brood_deadline last_moment(const struct brood_pool *pool, brood_deadline deadline)
{
    brood_deadline soon = brood_after_ms(1000);

    return pool->has_finalizer && deadline.ns > soon.ns ? deadline : soon;
}

/* Waits until this is the only thread inside a call. */
static void await_users(struct brood_pool *pool)
{
    while (pool->users.inside > 1)
        brood__lock_await(&pool->lock, &pool->users.left);
}

/* Calls the callbacks of futures that have just ended, and of those that other threads ask about meanwhile. */
static void call_the_last(struct brood_pool *pool)
{
    do {
        (void)brood__call_due(pool);
        await_users(pool);
    } while (pool->callbacks.due.first);
    brood__ready_fd_close(pool);
}

int brood_pool_close(struct brood_pool *pool, brood_deadline deadline)
{
    bool drained;
    int r;

    if (!pool)
        return 0;
    r = brood__pool_enter_open(pool);
    if (r < 0)
        return r;
    if (brood__calls_inside(&pool->callbacks.due)) {
        brood__pool_leave(pool);
        return brood_fail(-EDEADLK, "a callback of the pool cannot close it: closing waits for the callback");
    }
    if (brood__is_worker_of(pool)) {
        brood__pool_leave(pool);
        return brood_fail(-EDEADLK, "a task of the pool cannot close it: closing waits for the task");
    }
    if (pool->users.has_closer) {
        brood__pool_leave(pool);
        return brood_fail(-EALREADY, "another thread is closing the pool");
    }
    pool->users.has_closer = true;
    take_no_more(pool);
    drained = drain(pool, deadline);
    brood__interrupts_forget(pool);
    brood__event_thread_stop(pool);
    pool->life.state = life_close(pool->life.state);
    if (!drained && !pool->ops->between_processes)
        brood__give_up_waiting(pool, SLOT_FREE); /* threads that run such a task cannot be killed */
    if (pool->kind == BROOD_INLINE)
        await_users(pool); /* one of these threads may be the worker */
    brood__unlock(&pool->lock);
    pool->ops->stop(pool, drained ? last_moment(pool, deadline) : BROOD_NOW);
    brood__lock(&pool->lock);
    brood__settle_all(pool);
    await_users(pool);
    brood__settle_all(pool); /* settles a window of a map that one of these threads was filling meanwhile */
    call_the_last(pool);
    (void)brood__death_reports_log(pool);
    brood__pool_close_memory(pool);
    brood__pool_leave(pool);
    return drained ? 0 : brood_fail(-ETIMEDOUT, "the pool was closed before all its work was done");
}
