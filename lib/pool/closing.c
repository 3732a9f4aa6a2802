/* closing.c - the ends of a pool: shut down, killed, closed. */
#include <errno.h>
#include <stdio.h>

#include "os/clock.h"
#include "os/error.h"
#include "pool/attendant.h"
#include "pool/backend.h"
#include "pool/interrupt.h"
#include "pool/map.h"
#include "pool/pool.h"

/* Locked. */
static void take_no_more(struct brood_pool *pool)
{
    pool->closing = true;
    brood__wake_waiter(pool->shared.board, WAITER_ALL); /* those who wait for room */
}

/* What has not started never will, and ends as `state` says. */
static void give_up_waiting(struct brood_pool *pool, enum slot_state state)
{
    for (unsigned i = 0; i < pool->workers; i++)
        for (uint32_t index = 0; index <= pool->shared.lanes[i].mask + 1; index++) {
            struct job *job = pool->mirrors[i].jobs[index];

            if (!job)
                continue;
            brood__map_stop(job);
            (void)brood__take_back(pool, job, state);
        }
}

/* ---- shutting down ---- */

static void cancel_all(struct brood_pool *pool)
{
    pool->given_up = -ECANCELED;
    brood__forget_waiting(pool, -ECANCELED);
    give_up_waiting(pool, SLOT_CANCELLED);
    while (brood__maps_turn(pool))
        ;
}

int brood_pool_shutdown(struct brood_pool *pool, bool cancel)
{
    int r = brood__pool_enter(pool);

    if (r < 0)
        return r;
    take_no_more(pool);
    if (cancel && !pool->given_up)
        cancel_all(pool);
    brood__wake_waiter(pool->shared.board, WAITER_ALL);
    brood__pool_leave(pool);
    return 0;
}

/* ---- killing ---- */

static void ask_all_to_stop(struct brood_pool *pool)
{
    for (unsigned i = 0; i < pool->workers; i++)
        for (uint32_t index = 0; index <= pool->shared.lanes[i].mask + 1; index++) {
            struct job *job = pool->mirrors[i].jobs[index];

            if (job)
                atomic_store_explicit(&pool->shared.lanes[i].notes[index].stopped, job->position, memory_order_relaxed);
        }
}

/* Locked.  The windows of maps that nobody works on end here, too. */
static void drop_all(struct brood_pool *pool)
{
    pool->given_up = -ESHUTDOWN;
    brood__say_broken(pool, "its workers were killed on request");
    brood__forget_waiting(pool, -ESHUTDOWN);
    give_up_waiting(pool, SLOT_FREE);
    ask_all_to_stop(pool);
    while (brood__maps_turn(pool))
        ;
    brood__wake_waiter(pool->shared.board, WAITER_ALL);
}

int brood_pool_kill(struct brood_pool *pool, brood_deadline deadline)
{
    int r = brood__pool_enter(pool);

    if (r < 0)
        return r;
    brood__check_life(pool);
    take_no_more(pool);
    if (pool->given_up != -ESHUTDOWN && !pool->broken)
        drop_all(pool);
    if (!pool->backend->end)
        r = brood_fail(-ENOTSUP, "workers that are no processes cannot be killed; what they run has been asked to stop");
    else if (!pool->broken) {
        brood__unlock(&pool->lock);
        pool->backend->end(pool, deadline);
        brood__lock(&pool->lock);
        brood__check_life(pool);
    }
    brood__pool_leave(pool);
    return r;
}

/* ---- closing ---- */

static bool is_drained(struct brood_pool *pool, struct watch *watch)
{
    (void)watch;
    brood__collect_all(pool);
    return pool->outstanding == 0;
}

static bool drain(struct brood_pool *pool, brood_deadline deadline)
{
    struct watch watch = {.is_ready = is_drained, .next_job = brood__middle_job};

    return brood__wait(pool, &watch, deadline) == 0 && !pool->broken;
}

/* With nothing left to do a worker ends at once; but a finalizer may take as long as the tasks might have. */
static brood_deadline last_moment(const struct brood_pool *pool, brood_deadline deadline)
{
    brood_deadline soon = brood_after_ms(1000);

    return pool->has_finalizer && deadline.ns > soon.ns ? deadline : soon;
}

/* Until this is the only thread inside a call. */
static void await_users(struct brood_pool *pool)
{
    while (pool->users > 1)
        brood__lock_await(&pool->lock, &pool->left);
}

/* Callbacks of what has just come to its end, and of those who come now to look what became of a future. */
static void call_the_last(struct brood_pool *pool)
{
    do {
        (void)brood__call_due(pool);
        await_users(pool);
    } while (pool->calls.first);
    brood__bell_close(pool);
}

int brood_pool_close(struct brood_pool *pool, brood_deadline deadline)
{
    bool drained;
    int r;

    if (!pool)
        return 0;
    r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    if (brood__calls_inside(&pool->calls)) {
        brood__pool_leave(pool);
        return brood_fail(-EDEADLK, "a callback of the pool cannot close it: closing waits for the callback");
    }
    brood__interrupts_forget(pool);
    take_no_more(pool);
    drained = drain(pool, deadline);
    brood__attendant_stop(pool);
    pool->closed = true;
    if (!drained && !pool->backend->between_processes)
        give_up_waiting(pool, SLOT_FREE); /* those who run it cannot be killed */
    if (pool->kind == BROOD_INLINE)
        await_users(pool); /* one of them may be the worker */
    brood__unlock(&pool->lock);
    pool->backend->stop(pool, drained ? last_moment(pool, deadline) : BROOD_NOW);
    brood__lock(&pool->lock);
    brood__settle_all(pool);
    await_users(pool);
    brood__settle_all(pool); /* a window of a map that one of them was filling meanwhile */
    call_the_last(pool);
    brood__pool_close_memory(pool);
    brood__pool_leave(pool);
    return drained ? 0 : brood_fail(-ETIMEDOUT, "the pool was closed before all its work was done");
}
