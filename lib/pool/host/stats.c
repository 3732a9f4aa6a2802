/* stats.c - statistics of a pool. */
#include <errno.h>
#include <string.h>

#include "os/error.h"
#include "pool/core/kind.h"
#include "pool/core/pool.h"
#include "pool/core/slots.h"
#include "pool/core/teardown.h"

/* A program that was compiled with an older header has a smaller struct. */
static int check_size(size_t size, size_t known)
{
    if (size > 0 && size <= known)
        return 0;
    return brood_fail(-EINVAL, "statistics of %zu bytes, where this brood knows %zu: set .size before the call", size,
                      known);
}

/* An inline pool has no membership, and its worker, the caller, always exists.  Relaxed: the load is a snapshot. */
static bool worker_is_alive(const struct brood_pool *pool, unsigned worker)
{
    return !pool->shared.membership ||
           atomic_load_explicit(&pool->shared.membership->entries[worker], memory_order_relaxed) > MEMBER_NONE;
}

static bool is_busy(const struct brood_pool *pool, unsigned worker)
{
    unsigned lane;
    uint64_t position;

    return brood__lane_held_by(pool->shared.lanes, pool->size.max, worker, &lane, &position) != NULL;
}

static void count_workers(const struct brood_pool *pool, struct brood_pool_stats *stats)
{
    const struct membership *membership = pool->shared.membership;

    for (unsigned i = 0; i < pool->size.max; i++) {
        stats->alive += worker_is_alive(pool, i);
        stats->busy += is_busy(pool, i);
    }
    if (!membership)
        return;
    /* Counts that other processes write; relaxed: they order nothing. */
    stats->resting = (int)atomic_load_explicit(&membership->scaled_down, memory_order_relaxed);
    stats->deaths = atomic_load_explicit(&membership->deaths, memory_order_relaxed);
    stats->spare_deaths = atomic_load_explicit(&membership->standby_deaths, memory_order_relaxed);
    stats->restarts = atomic_load_explicit(&membership->restarts, memory_order_relaxed);
}

int brood_pool_stats(struct brood_pool *pool, struct brood_pool_stats *ret_stats)
{
    struct brood_pool_stats stats = {.size = sizeof(stats)};
    int r = check_size(ret_stats ? ret_stats->size : 0, sizeof(stats));

    if (r == 0)
        r = brood__pool_enter_open(pool);
    if (r < 0)
        return r;
    brood__check_life(pool);
    brood__collect_all(pool);
    count_workers(pool, &stats);
    stats.workers = brood_pool_workers(pool);
    stats.memory_groups = pool->ops->memory_groups ? pool->ops->memory_groups(pool) : 0;
    stats.finished = pool->counts.finished;
    stats.submitted = pool->counts.finished + pool->counts.outstanding;
    stats.failed = pool->counts.failed;
    stats.cancelled = pool->counts.cancelled;
    stats.retried = pool->counts.retried;
    stats.quarantined = pool->counts.quarantined;
    stats.stolen = pool->counts.stolen;
    stats.pending = pool->counts.outstanding;
    stats.queue = pool->queue;
    brood__pool_leave(pool);
    stats.size = ret_stats->size;
    memcpy(ret_stats, &stats, stats.size);
    return 0;
}

/* ---- deaths of idle workers ---- */

static void stats_copy(struct brood_death *ret_death, const struct death_entry *entry)
{
    *ret_death = (struct brood_death){
        .pid = entry->pid,
        .worker = entry->worker,
        .signal = entry->signal,
        .exit_code = entry->exit_code,
        .user_us = entry->user_us,
        .system_us = entry->system_us,
        .peak_rss_kib = entry->peak_rss_kib,
        .dumped_core = entry->dumped_core,
        .out_of_memory = entry->out_of_memory,
        .task = "",
        .backtrace = "",
        .output = "",
    };
}

static int take_deaths(struct brood_pool *pool, const struct death_log *log, struct brood_death *ret_deaths, size_t count)
{
    /* The supervisor stores it, release, after it has written an entry. */
    uint64_t end = atomic_load_explicit(&log->count, memory_order_acquire);
    struct death_entry entry;
    size_t taken = 0;

    if (end - pool->deaths.reported > DEATH_LOG_KEPT)
        pool->deaths.reported = end - DEATH_LOG_KEPT;
    for (; pool->deaths.reported < end && taken < count; pool->deaths.reported++)
        if (brood__death_log_read(log, pool->deaths.reported, &entry))
            stats_copy(&ret_deaths[taken++], &entry);
    return (int)taken;
}

int brood_pool_deaths(struct brood_pool *pool, struct brood_death *ret_deaths, size_t count)
{
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return r;
    if (pool->shared.membership)
        r = take_deaths(pool, &pool->shared.membership->idle_deaths, ret_deaths, count < INT32_MAX ? count : INT32_MAX);
    brood__pool_leave(pool);
    return r;
}

int brood_pool_worker_stats(struct brood_pool *pool, int worker, struct brood_worker_stats *ret_stats)
{
    struct brood_worker_stats stats = {.size = sizeof(stats)};
    int r = check_size(ret_stats ? ret_stats->size : 0, sizeof(stats));

    if (r == 0)
        r = brood__pool_enter_open(pool);
    if (r < 0)
        return r;
    if (worker >= 0 && (unsigned)worker < pool->size.max) {
        brood__collect_all(pool);
        stats.pid = brood__worker_pid(pool, (unsigned)worker);
        stats.alive = worker_is_alive(pool, (unsigned)worker);
        stats.busy = is_busy(pool, (unsigned)worker);
        stats.tasks = pool->shadows[worker].answered;
        stats.size = ret_stats->size;
        memcpy(ret_stats, &stats, stats.size);
    } else
        r = brood_fail(-EINVAL, "there is no worker %d: the pool has room for %u", worker, pool->size.max);
    brood__pool_leave(pool);
    return r;
}

bool brood_pool_is_broken(struct brood_pool *pool)
{
    bool broken;

    if (brood__pool_enter(pool) < 0)
        return false;
    brood__check_life(pool);
    broken = life_is_broken(pool->life.state);
    brood__pool_leave(pool);
    return broken;
}

const char *brood_pool_reason(struct brood_pool *pool)
{
    return brood_pool_is_broken(pool) ? pool->life.reason : "";
}
