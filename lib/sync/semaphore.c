/* The word is {sleepers : 32 | value : 32}, and its low half the futex on which they sleep while it is 0.
 *
 * The sleepers are never fewer than those who really sleep.  Who goes to sleep counts itself; who releases counts off as
 * many as it wakes, in the step that adds the permits.  So who was woken has been counted off.  One who gives up, or is
 * killed, stays counted, and costs a later release one needless system call. */
#include <errno.h>

#include <brood/semaphore.h>

#include "os/error.h"
#include "sync/sleep.h"

_Static_assert(sizeof(struct brood_semaphore) == 16 && _Alignof(struct brood_semaphore) == 8, "shared layout");

#define SLEEPER (UINT64_C(1) << 32)

/* All write it.  Release by who adds permits, acquire by who takes one. */
static _Atomic uint64_t *word_of(struct brood_semaphore *semaphore)
{
    return (_Atomic uint64_t *)&semaphore->word;
}

static uint32_t value_in(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t sleepers_in(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint64_t look(const struct brood_semaphore *semaphore)
{
    return atomic_load_explicit((const _Atomic uint64_t *)&semaphore->word, memory_order_relaxed);
}

static bool replace(struct brood_semaphore *semaphore, uint64_t *seen, uint64_t value, memory_order order)
{
    return atomic_compare_exchange_weak_explicit(word_of(semaphore), seen, value, order, memory_order_relaxed);
}

int brood_semaphore_init(struct brood_semaphore *semaphore, int value, int bound)
{
    if (value < 0 || bound < 0)
        return brood_fail(-EINVAL, "a semaphore of value %d and bound %d: neither can be negative", value, bound);
    if (bound > 0 && value > bound)
        return brood_fail(-EINVAL, "a semaphore of value %d, which is over its bound of %d", value, bound);
    semaphore->max = bound;
    semaphore->reserved = 0;
    atomic_store_explicit(word_of(semaphore), (uint64_t)value, memory_order_relaxed);
    return 0;
}

/* ---- acquire ---- */

static bool take(struct brood_semaphore *semaphore)
{
    uint64_t seen = look(semaphore);

    while (value_in(seen) > 0)
        if (replace(semaphore, &seen, seen - 1, memory_order_acquire))
            return true;
    return false;
}

static bool spin(struct brood_semaphore *semaphore)
{
    if (!brood__spinning_pays())
        return false;
    for (int i = 0; i < SPINS; i++) {
        if (take(semaphore))
            return true;
        brood__pause();
    }
    return false;
}

/* False: there are permits.  Nobody sleeps beyond 2^32 - 1 who may sleep: those find out by themselves. */
static bool count_in(struct brood_semaphore *semaphore)
{
    uint64_t seen = look(semaphore);

    while (value_in(seen) == 0)
        if (sleepers_in(seen) == UINT32_MAX || replace(semaphore, &seen, seen + SLEEPER, memory_order_relaxed))
            return true;
    return false;
}

/* Who slept to the end of a slice is still counted, and looks because the one that was woken may have been killed. */
static int take_or_sleep(struct brood_semaphore *semaphore, brood_deadline deadline)
{
    bool is_counted = false;

    while (!take(semaphore)) {
        if (brood__is_past(deadline))
            return too_late(deadline);
        if (!is_counted && !count_in(semaphore))
            continue;
        is_counted = sleep_a_slice(low_half(&semaphore->word), 0, deadline) != 0;
    }
    return 0;
}

int brood_semaphore_acquire(struct brood_semaphore *semaphore, brood_deadline deadline)
{
    int r;

    if (take(semaphore))
        return 0;
    if (deadline.ns <= 0)
        return brood_fail(-EAGAIN, "the semaphore has no permit");
    if (spin(semaphore))
        return 0;
    r = take_or_sleep(semaphore, deadline);
    return r == 0 ? 0 : brood_fail(r, "the semaphore had no permit until the deadline");
}

/* ---- release ---- */

static uint64_t with_more(uint64_t seen, uint32_t n, uint32_t woken)
{
    return (uint64_t)(sleepers_in(seen) - woken) << 32 | (value_in(seen) + n);
}

int brood_semaphore_release(struct brood_semaphore *semaphore, int n)
{
    uint32_t max = semaphore->max ? (uint32_t)semaphore->max : BROOD_SEMAPHORE_MAX, woken;
    uint64_t seen = look(semaphore);

    if (n < 1)
        return brood_fail(-EINVAL, "a release of %d permits: it takes 1 or more", n);
    do {
        if ((uint32_t)n > max || value_in(seen) > max - (uint32_t)n)
            return brood_fail(-EOVERFLOW, "a release of %d permits beside %u: over the bound of %u", n, value_in(seen),
                              max);
        woken = sleepers_in(seen) < (uint32_t)n ? sleepers_in(seen) : (uint32_t)n;
    } while (!replace(semaphore, &seen, with_more(seen, (uint32_t)n, woken), memory_order_release));
    if (woken > 0)
        (void)brood__futex_wake(low_half(&semaphore->word), (int)woken);
    return 0;
}

int brood_semaphore_value(const struct brood_semaphore *semaphore)
{
    return (int)value_in(look(semaphore));
}

int brood_semaphore_bound(const struct brood_semaphore *semaphore)
{
    return semaphore->max;
}
