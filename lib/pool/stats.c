/* stats.c - what a pool has done and is doing. */
#include <errno.h>
#include <string.h>

#include "os/error.h"
#include "pool/pool.h"

/* A program that was compiled with an older header has a smaller struct. */
static int check_size(size_t size, size_t known)
{
    if (size > 0 && size <= known)
        return 0;
    return brood_fail(-EINVAL, "statistics of %zu bytes, where this brood knows %zu: set .size before the call", size,
                      known);
}

/* Of a pool whose workers are nobody there is no roll, and the caller is always there. */
static bool is_alive(const struct brood_pool *pool, unsigned worker)
{
    return !pool->shared.roll || atomic_load(&pool->shared.roll->entries[worker]) > ROLL_NOBODY;
}

static bool is_busy(const struct brood_pool *pool, unsigned worker)
{
    unsigned lane;
    uint64_t position;

    return brood__lane_held_by(pool->shared.lanes, pool->workers, worker, &lane, &position) != NULL;
}

static void count_workers(const struct brood_pool *pool, struct brood_pool_stats *stats)
{
    const struct roll *roll = pool->shared.roll;

    for (unsigned i = 0; i < pool->workers; i++) {
        stats->alive += is_alive(pool, i);
        stats->busy += is_busy(pool, i);
    }
    if (!roll)
        return;
    stats->resting = (int)atomic_load_explicit(&roll->resting, memory_order_relaxed);
    stats->deaths = atomic_load_explicit(&roll->deaths, memory_order_relaxed);
    stats->spare_deaths = atomic_load_explicit(&roll->spare_deaths, memory_order_relaxed);
    stats->restarts = atomic_load_explicit(&roll->restarts, memory_order_relaxed);
}

int brood_pool_stats(struct brood_pool *pool, struct brood_pool_stats *ret_stats)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    int r = check_size(ret_stats ? ret_stats->size : 0, sizeof(stats));

    if (r == 0)
        r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    brood__check_life(pool);
    brood__collect_all(pool);
    count_workers(pool, &stats);
    stats.workers = brood_pool_workers(pool);
    stats.finished = pool->finished;
    stats.submitted = pool->finished + pool->outstanding;
    stats.failed = pool->failed;
    stats.cancelled = pool->cancelled;
    stats.retried = pool->retried;
    stats.quarantined = pool->quarantined;
    stats.stolen = pool->stolen;
    stats.pending = pool->outstanding;
    stats.queue = pool->queue;
    brood__pool_leave(pool);
    stats.size = ret_stats->size;
    memcpy(ret_stats, &stats, stats.size);
    return 0;
}

int brood_pool_worker_stats(struct brood_pool *pool, int worker, struct brood_worker_stats *ret_stats)
{
    struct brood_worker_stats stats = {.size = sizeof(stats)};
    int r = check_size(ret_stats ? ret_stats->size : 0, sizeof(stats));

    if (r == 0)
        r = brood__pool_enter(pool);
    if (r < 0)
        return r;
    if (worker >= 0 && (unsigned)worker < pool->workers) {
        brood__collect_all(pool);
        stats.pid = brood_pool_worker_pid(pool, worker);
        stats.alive = is_alive(pool, (unsigned)worker);
        stats.busy = is_busy(pool, (unsigned)worker);
        stats.tasks = pool->mirrors[worker].answered;
        stats.size = ret_stats->size;
        memcpy(ret_stats, &stats, stats.size);
    } else
        r = brood_fail(-EINVAL, "there is no worker %d: the pool has room for %u", worker, pool->workers);
    brood__pool_leave(pool);
    return r;
}

bool brood_pool_is_broken(struct brood_pool *pool)
{
    bool broken;

    if (brood__pool_enter(pool) < 0)
        return false;
    brood__check_life(pool);
    broken = pool->broken;
    brood__pool_leave(pool);
    return broken;
}

const char *brood_pool_reason(struct brood_pool *pool)
{
    return brood_pool_is_broken(pool) ? pool->why_broken : "";
}
