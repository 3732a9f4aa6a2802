/* lock.h - a mutex between the threads of one process: one locked instruction each way, inlined, while nobody else wants
 * it.
 *
 *     brood__lock(&lock);
 *     while (!condition())
 *         brood__lock_await(&lock, &changed);            // as a condition variable does: `changed` counts the changes
 *     brood__unlock(&lock);
 *
 * The mutex of the C library does the same behind function calls that choose between a dozen kinds of mutex, and that was
 * a fifth of what it took to submit and collect a tiny task.  Zeroed is unlocked.  The algorithm is the third of U.
 * Drepper, "Futexes Are Tricky" (2011).
 */
#ifndef BROOD_OS_LOCK_H
#define BROOD_OS_LOCK_H

#include "os/futex.h"

/* 0: free; 1: taken; 2: taken, and somebody may sleep on it.  Acquire by who takes it, release by who gives it back. */
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

static inline void brood__unlock(struct lock *lock)
{
    if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2)
        (void)brood__futex_wake(&lock->state, 1);
}

/* Sleeps, without the lock, until somebody who had it has said that `changes` changed; may return for no reason. */
static inline void brood__lock_await(struct lock *lock, _Atomic uint32_t *changes)
{
    uint32_t seen = atomic_load(changes);

    brood__unlock(lock);
    (void)brood__futex_wait(changes, seen, BROOD_FOREVER);
    brood__lock(lock);
}

/* Wakes all who await it.  By who has the lock. */
static inline void brood__lock_tell(_Atomic uint32_t *changes)
{
    (void)atomic_fetch_add(changes, 1);
    (void)brood__futex_wake(changes, INT32_MAX);
}

#endif
