/* mutex.h - a mutex between the threads of one process: one locked instruction each way, inlined, without contention.
 *
 *     brood__lock(&lock);
 *     while (!condition())
 *         brood__lock_await(&lock, &changed);            // as a condition variable does: `changed` counts the changes
 *     brood__unlock(&lock);
 *
 * The mutex of the C library does the same behind function calls that choose between a dozen kinds of mutex; that was a
 * fifth of the time to submit and collect a tiny task.  Zeroed is unlocked.  The algorithm is the third of U. Drepper,
 * "Futexes Are Tricky" (2011).
 */
#ifndef BROOD_OS_MUTEX_H
#define BROOD_OS_MUTEX_H

#include "os/assert.h"
#include "os/futex.h"

/* 0: free; 1: locked; 2: locked, and a thread may sleep on it.  All threads write it, by CAS or exchange: acquire to
 * lock, release to unlock. */
struct lock {
    _Atomic uint32_t state;
};

static inline void brood__lock(struct lock *lock)
{
    uint32_t state = 0;

    if (atomic_compare_exchange_strong_explicit(&lock->state, &state, 1, memory_order_acquire, memory_order_relaxed))
        return;
    while (atomic_exchange_explicit(&lock->state, 2, memory_order_acquire) != 0)
        (void)brood__futex_wait(&lock->state, 2, BROOD_FOREVER);
}

/* Does any thread hold the lock?  For assertions in functions that require it. */
static inline bool brood__lock_is_held(const struct lock *lock)
{
    return atomic_load_explicit(&lock->state, memory_order_relaxed) != 0;
}

static inline void brood__unlock(struct lock *lock)
{
    brood__assert(brood__lock_is_held(lock));
    if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2)
        (void)brood__futex_wake(&lock->state, 1);
}

/* Sleeps, without the lock, until a thread that holds the lock reports a change by brood__lock_notify(); may wake up
 * spuriously. */
static inline void brood__lock_await(struct lock *lock, _Atomic uint32_t *changes)
{
    uint32_t seen = atomic_load_explicit(changes, memory_order_relaxed); /* the lock orders it */

    brood__unlock(lock);
    (void)brood__futex_wait(changes, seen, BROOD_FOREVER);
    brood__lock(lock);
}

/* Wakes all threads that await a change.  The caller holds the lock. */
static inline void brood__lock_notify(_Atomic uint32_t *changes)
{
    (void)atomic_fetch_add_explicit(changes, 1, memory_order_relaxed); /* the lock orders it */
    (void)brood__futex_wake(changes, INT32_MAX);
}

#endif
