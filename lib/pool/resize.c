/* resize.c - how many workers a pool has: on request, and as there is work. */
#include <errno.h>

#include "os/error.h"
#include "pool/backend.h"
#include "pool/pool.h"

void brood__call_rested(struct brood_pool *pool, unsigned lane)
{
    struct roll *roll = pool->shared.roll;
    bool called = false;

    if (!roll || atomic_load_explicit(&roll->resting, memory_order_relaxed) == 0)
        return;
    if (lane < pool->wanted)
        called = brood__roll_call(roll, lane);
    for (unsigned i = 0; i < pool->wanted && !called; i++)
        called = brood__roll_call(roll, i);
    if (called)
        pool->backend->recruit(pool);
}

/* Those who rest and are sent away need not be told; the others are woken, and so is who shall take over what waits in
 * their lanes. */
static void send_away(struct brood_pool *pool)
{
    struct board *board = pool->shared.board;

    for (unsigned i = pool->wanted; i < pool->workers; i++)
        (void)brood__roll_call(pool->shared.roll, i);
    atomic_store_explicit(&board->orphans, ++pool->resizes, memory_order_release);
    brood__wake_workers(&pool->shared);
}

/* The roll first: who is dismissed shall not be replaced. */
static void set_wanted(struct brood_pool *pool, unsigned workers)
{
    bool fewer = workers < pool->wanted;

    pool->wanted = workers;
    atomic_store(&pool->shared.roll->wanted, workers);
    atomic_store(&pool->shared.board->wanted, workers);
    for (unsigned i = 0; i < pool->workers; i++)
        atomic_store(&pool->shared.lanes[i].station->is_dismissed, i >= workers);
    if (fewer)
        send_away(pool);
    pool->backend->recruit(pool);
    brood__wake_waiter(pool->shared.board, WAITER_ALL); /* there may be room now, or none where they wait for it */
}

static int resize(struct brood_pool *pool, int workers)
{
    brood__check_life(pool);
    if (workers < 1 || (unsigned)workers > pool->workers)
        return brood_fail(-EINVAL, "%d workers: 1 to %u, by the pool's .workers_max", workers, pool->workers);
    if (pool->closing)
        return brood_fail(-ESHUTDOWN, "the pool is closed");
    if (pool->broken)
        return brood_fail(-ESHUTDOWN, "%s", pool->why_broken);
    if ((unsigned)workers != pool->wanted)
        set_wanted(pool, (unsigned)workers);
    return 0;
}

int brood_pool_resize(struct brood_pool *pool, int workers)
{
    int r = brood__pool_enter(pool);

    if (r < 0)
        return r;
    r = resize(pool, workers);
    brood__pool_leave(pool);
    return r;
}
