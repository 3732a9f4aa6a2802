/* resize.c - the number of workers of a pool: on request, and as there is work. */
#include <errno.h>

#include "os/error.h"
#include "os/fence.h"
#include "pool/core/kind.h"
#include "pool/core/pool.h"
#include "pool/core/teardown.h"
#include "pool/host/open.h"

/* Dismisses the workers from `wanted` on.  Those that are scaled down only change their membership entry; the others are
 * woken, and so is one of the remaining workers, which drains the dismissed lanes and wakes others if there is more. */
static void dismiss_workers(struct brood_pool *pool)
{
    struct header *header = pool->shared.header;

    for (unsigned i = pool->size.wanted; i < pool->size.max; i++)
        (void)brood__membership_call(pool->shared.membership, i);
    atomic_store_explicit(&header->dismissed_work, ++pool->size.resizes, memory_order_release);
    brood__wake_workers(&pool->shared, pool->size.wanted);
    /* Orders the stores above before the loads of `watcher`, `waiting` and `idle` in brood__pass_wake(), as after a death.
     * Pairs with the heavy fence in brood__idle_enter() and the light fence in brood__waiting_restore(). */
    (void)brood__fence_heavy();
    brood__pass_wake(&pool->shared, NULL);
}

/* Sets the membership first: a dismissed worker must not be replaced.  `membership->wanted`
 * is stored sequentially consistent, for worker threads: see is_wanted_again() in kind_threads.c.  The other two are hints
 * for the workers: relaxed. */
static void set_wanted(struct brood_pool *pool, unsigned workers)
{
    bool fewer = workers < pool->size.wanted;

    pool->size.wanted = workers;
    atomic_store_explicit(&pool->shared.membership->wanted, workers, memory_order_seq_cst);
    atomic_store_explicit(&pool->shared.header->wanted, workers, memory_order_relaxed);
    for (unsigned i = 0; i < pool->size.max; i++)
        atomic_store_explicit(&pool->shared.lanes[i].worker_state->is_dismissed, i >= workers, memory_order_relaxed);
    if (fewer)
        dismiss_workers(pool);
    pool->ops->start_missing(pool);
    brood__wake_waiter(pool->shared.header, WAITER_ALL); /* the room for which they wait may have changed */
}

static int resize(struct brood_pool *pool, int workers)
{
    int r = 0;

    brood__check_life(pool);
    if (workers < 1 || (unsigned)workers > pool->size.max)
        return brood_fail(-EINVAL, "%d workers: 1 to %u, by the pool's .workers_max", workers, pool->size.max);
    if (life_is_ending(pool->life.state))
        return brood__pool_takes_no_more(pool);
    while (r == 0 && pool->size.lanes < (unsigned)workers)
        r = brood__pool_add_lane(pool);
    if (r == 0 && (unsigned)workers != pool->size.wanted)
        set_wanted(pool, (unsigned)workers);
    return r;
}

int brood_pool_resize(struct brood_pool *pool, int workers)
{
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return r;
    r = resize(pool, workers);
    brood__pool_leave(pool);
    return r;
}
