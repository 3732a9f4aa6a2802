/* The word is {sleepers : 32 | value : 32}, and its low half the futex on which threads sleep while it is 0.
 *
 * The count of sleepers is never less than the number that really sleep.  A thread counts itself before it sleeps; a
 * releaser counts off as many as it wakes, in the step that adds the permits.  So a woken thread has been counted off.  One
 * that gives up, or is killed, stays counted, and costs a later release one needless system call. */
#include <errno.h>

#include <brood/semaphore.h>

#include "os/error.h"
#include "sync/sleep.h"

_Static_assert(sizeof(struct brood_semaphore) == 16 && _Alignof(struct brood_semaphore) == 8, "shared layout");

#define SLEEPER (UINT64_C(1) << 32)

/* All participants write it.  The release of the thread that adds permits pairs with the acquire of the one that takes one.
 */
static _Atomic uint64_t *semaphore_word(struct brood_semaphore *semaphore)
{
    return (_Atomic uint64_t *)&semaphore->word;
}

/* When a waiter last looked.  Waiters exchange it, relaxed, since no other data depends on it. */
static _Atomic uint32_t *looked_of(struct brood_semaphore *semaphore)
{
    return (_Atomic uint32_t *)&semaphore->looked_ms;
}

static uint32_t value_in(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t sleepers_in(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint64_t semaphore_look(const struct brood_semaphore *semaphore)
{
    return atomic_load_explicit((const _Atomic uint64_t *)&semaphore->word, memory_order_relaxed);
}

static bool semaphore_replace(struct brood_semaphore *semaphore, uint64_t *seen, uint64_t value, memory_order order)
{
    return atomic_compare_exchange_weak_explicit(semaphore_word(semaphore), seen, value, order, memory_order_relaxed);
}

int brood_semaphore_init(struct brood_semaphore *semaphore, int value, int bound)
{
    if (value < 0 || bound < 0)
        return brood_fail(-EINVAL, "a semaphore of value %d and bound %d: neither can be negative", value, bound);
    if (value > bound)
        return brood_fail(-EINVAL,
                          "a semaphore of value %d, which is over its bound of %d: BROOD_SEMAPHORE_MAX is no bound", value,
                          bound);
    semaphore->bound_plus_1 = bound < BROOD_SEMAPHORE_MAX ? (uint32_t)bound + 1 : 0;
    atomic_store_explicit(looked_of(semaphore), 0, memory_order_relaxed);
    atomic_store_explicit(semaphore_word(semaphore), (uint64_t)value, memory_order_relaxed);
    return 0;
}

/* ---- acquire ---- */

static bool semaphore_take(struct brood_semaphore *semaphore)
{
    uint64_t seen = semaphore_look(semaphore);

    while (value_in(seen) > 0)
        if (semaphore_replace(semaphore, &seen, seen - 1, memory_order_acquire))
            return true;
    return false;
}

static _Thread_local struct spin spins;

static bool semaphore_spin(struct brood_semaphore *semaphore)
{
    for (int left = brood__spins(&spins); left > 0; left--) {
        if (semaphore_take(semaphore))
            return spin_paid(&spins, true);
        brood__pause();
    }
    return spin_paid(&spins, false);
}

/* False: there are permits.  Beyond 2^32 - 1 sleepers a thread sleeps uncounted, and looks again at the end of its slice.
 */
static bool count_in(struct brood_semaphore *semaphore)
{
    uint64_t seen = semaphore_look(semaphore);

    while (value_in(seen) == 0)
        if (sleepers_in(seen) == UINT32_MAX || semaphore_replace(semaphore, &seen, seen + SLEEPER, memory_order_relaxed))
            return true;
    return false;
}

/* Notes the time. */
static bool semaphore_is_look_due(struct brood_semaphore *semaphore, struct slice *slice)
{
    uint32_t now_ms = (uint32_t)(brood__now_ns() / 1000000);
    uint32_t age_ms = now_ms - atomic_exchange_explicit(looked_of(semaphore), now_ms, memory_order_relaxed);

    return brood__look_is_due(slice, age_ms * INT64_C(1000000));
}

/* A thread that slept to the end of a slice is still counted, and looks because the woken thread may have been killed. More
 * permits may be left then, so a thread that finds one this way wakes the next sleeper. */
static int semaphore_take_or_sleep(struct brood_semaphore *semaphore, brood_deadline deadline)
{
    struct slice slice = SLICE_FIRST;
    bool is_counted = false;

    while (!semaphore_take(semaphore)) {
        if (brood__is_past(deadline))
            return too_late(deadline);
        if (!is_counted && !count_in(semaphore))
            continue;
        is_counted = sleep_a_slice(low_half(&semaphore->word), 0, &slice, deadline) != 0;
        if (is_counted)
            (void)semaphore_is_look_due(semaphore, &slice);
    }
    if (is_counted && value_in(semaphore_look(semaphore)) > 0)
        (void)brood__futex_wake(low_half(&semaphore->word), 1);
    return 0;
}

int brood_semaphore_acquire(struct brood_semaphore *semaphore, brood_deadline deadline)
{
    int r;

    if (semaphore_take(semaphore))
        return 0;
    if (deadline.ns <= 0)
        return brood_fail(-EAGAIN, "the semaphore has no permit");
    if (semaphore_spin(semaphore))
        return 0;
    r = semaphore_take_or_sleep(semaphore, deadline);
    return r == 0 ? 0 : brood_fail(r, "the semaphore had no permit until the deadline");
}

/* ---- release ---- */

static uint64_t with_more(uint64_t seen, uint32_t n, uint32_t woken)
{
    return (uint64_t)(sleepers_in(seen) - woken) << 32 | (value_in(seen) + n);
}

int brood_semaphore_release(struct brood_semaphore *semaphore, int n)
{
    uint32_t max = (uint32_t)brood_semaphore_bound(semaphore), woken;
    uint64_t seen = semaphore_look(semaphore);

    if (n < 1)
        return brood_fail(-EINVAL, "a release of %d permits: it takes 1 or more", n);
    do {
        if ((uint32_t)n > max || value_in(seen) > max - (uint32_t)n)
            return brood_fail(-EOVERFLOW, "a release of %d permits beside %u: over the bound of %u", n, value_in(seen),
                              max);
        woken = sleepers_in(seen) < (uint32_t)n ? sleepers_in(seen) : (uint32_t)n;
    } while (!semaphore_replace(semaphore, &seen, with_more(seen, (uint32_t)n, woken), memory_order_release));
    if (woken > 0)
        (void)brood__futex_wake(low_half(&semaphore->word), (int)woken);
    return 0;
}

int brood_semaphore_value(const struct brood_semaphore *semaphore)
{
    return (int)value_in(semaphore_look(semaphore));
}

int brood_semaphore_bound(const struct brood_semaphore *semaphore)
{
    return semaphore->bound_plus_1 ? (int)(semaphore->bound_plus_1 - 1) : BROOD_SEMAPHORE_MAX;
}

size_t brood_semaphore_bytes(void)
{
    return sizeof(struct brood_semaphore);
}
