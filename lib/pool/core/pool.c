#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "pool/core/kind.h"
#include "pool/core/pool.h"
#include "pool/core/slots.h"

/* ---- one process ---- */

int brood__pool_not_ours(const struct brood_pool *pool)
{
    if (!pool)
        return brood_fail(-EINVAL, "the pool is NULL: not open yet, or, in a forked worker, opened only after the fork");
    return brood_fail(-EPERM, "this pool belongs to the process that forked this one: open one here");
}

int brood__pool_is_closed(struct brood_pool *pool)
{
    brood__pool_leave(pool);
    return brood_fail(-ESHUTDOWN, "the pool is closed");
}

void brood__pool_leave_closing(struct brood_pool *pool)
{
    if (pool->users.inside <= 1) /* the closing thread */
        brood__lock_notify(&pool->users.left);
    brood__pool_release(pool);
}

struct brood_pool *brood_pool_ref(struct brood_pool *pool)
{
    if (brood__pool_enter(pool) < 0)
        return NULL;
    pool->users.references++;
    brood__pool_leave(pool);
    return pool;
}

void brood_pool_unref(struct brood_pool *pool)
{
    if (!pool || !brood__pool_is_ours(pool))
        return;
    brood__lock(&pool->lock);
    pool->users.references--;
    brood__pool_release(pool);
}

static void future_cache_free(struct brood_pool *pool)
{
    while (pool->cache.count > 0)
        free(pool->cache.futures[--pool->cache.count]);
    free(pool->cache.futures);
}

void brood__pool_release_closed(struct brood_pool *pool)
{
    bool last = pool->users.futures == 0 && pool->users.inside == 0 && pool->users.references == 0;

    brood__unlock(&pool->lock);
    if (!last)
        return;
    future_cache_free(pool);
    free(pool);
}

void brood__run_inline_now(struct brood_pool *pool)
{
    brood__assert_locked(pool);
    brood__unlock(&pool->lock);
    pool->ops->run(pool);
    brood__lock(&pool->lock);
    if (pool->events.is_attended)
        brood__collect_all(pool);
}

/* ---- memory ---- */

void *brood_alloc(struct brood_pool *pool, size_t bytes)
{
    uint64_t offset;
    void *memory;
    int r = brood__pool_enter_open(pool);

    if (r < 0)
        return NULL;
    r = brood__heap_alloc(&pool->heap, bytes ? bytes : 1, true, &offset);
    memory = r < 0 ? NULL : pool->shared.segment.base + offset;
    brood__pool_leave(pool);
    return memory;
}

void brood_free(struct brood_pool *pool, void *memory)
{
    if (!memory || brood__pool_enter_open(pool) < 0)
        return;
    (void)brood__heap_free(&pool->heap, (uint64_t)((char *)memory - pool->shared.segment.base));
    brood__pool_leave(pool);
}

/* ---- queries ---- */

int brood_pool_workers(const struct brood_pool *pool)
{
    return pool ? (int)pool->size.wanted : 0;
}

pid_t brood__worker_pid(const struct brood_pool *pool, unsigned worker)
{
    brood__assert_locked(pool);
    if (brood__worker_phase(pool->shared.lanes[worker].worker_state) != PHASE_READY)
        return 0;
    return brood__membership_pid(pool->shared.membership, worker);
}

pid_t brood_pool_worker_pid(const struct brood_pool *given, int worker)
{
    struct brood_pool *pool = (struct brood_pool *)(uintptr_t)given; /* const for the caller: this changes only the lock */
    pid_t pid = 0;

    if (brood__pool_enter_open(pool) < 0)
        return 0;
    if (worker >= 0 && (unsigned)worker < pool->size.max)
        pid = brood__worker_pid(pool, (unsigned)worker);
    brood__pool_leave(pool);
    return pid;
}

void brood__scale_up(struct brood_pool *pool, unsigned lane)
{
    brood__assert_locked(pool);
    struct membership *membership = pool->shared.membership;
    bool called = false;

    if (!membership || atomic_load_explicit(&membership->scaled_down, memory_order_relaxed) == 0)
        return;
    if (lane < pool->size.wanted)
        called = brood__membership_call(membership, lane);
    for (unsigned i = 0; i < pool->size.wanted && !called; i++)
        called = brood__membership_call(membership, i);
    if (called)
        pool->ops->start_missing(pool);
}
