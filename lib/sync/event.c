/* The state is {how often the event was set : 30 | SLEEPERS : 1 | SET : 1}.  A waiter notes the number when it begins, so
 * it finds out that the event was set, however short; it would have to sleep through exactly 2^30 times to miss one. */
#include <errno.h>
#include <limits.h>

#include <brood/event.h>

#include "os/error.h"
#include "sync/sleep.h"

_Static_assert(sizeof(struct brood_event) == 4, "shared layout");

#define SET 1u
#define SLEEPERS 2u /* threads may sleep: never together with SET */
#define ONCE_MORE 4u

/* All participants write it.  The release of the setter pairs with the acquire of event_look(): a waiter that finds the
 * event set sees what the setter stored before. */
static _Atomic uint32_t *state_of(struct brood_event *event)
{
    return (_Atomic uint32_t *)&event->state;
}

static uint32_t event_look(const struct brood_event *event)
{
    return atomic_load_explicit((const _Atomic uint32_t *)&event->state, memory_order_acquire);
}

void brood_event_init(struct brood_event *event)
{
    atomic_store_explicit(state_of(event), 0, memory_order_relaxed);
}

static uint32_t when_set(uint32_t seen)
{
    return seen & SET ? seen : ((seen + ONCE_MORE) & ~SLEEPERS) | SET;
}

/* Stores the state also when it is set already: so a waiter that finds it set sees what each setter stored before. */
void brood_event_set(struct brood_event *event)
{
    uint32_t seen = atomic_load_explicit(state_of(event), memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(state_of(event), &seen, when_set(seen), memory_order_release,
                                                  memory_order_relaxed))
        ;
    if (seen & SLEEPERS)
        (void)brood__futex_wake(state_of(event), INT_MAX);
}

void brood_event_clear(struct brood_event *event)
{
    (void)atomic_fetch_and_explicit(state_of(event), ~SET, memory_order_relaxed);
}

bool brood_event_is_set(const struct brood_event *event)
{
    return (event_look(event) & SET) != 0;
}

/* True if the event is set, or was set since `began`. */
static bool was_set(uint32_t seen, uint32_t began)
{
    return (seen & SET) || (seen ^ began) >= ONCE_MORE;
}

static _Thread_local struct spin spins;

static bool event_spin(const struct brood_event *event, uint32_t began)
{
    for (int left = brood__spins(&spins); left > 0; left--) {
        if (was_set(event_look(event), began))
            return spin_paid(&spins, true);
        brood__pause();
    }
    return spin_paid(&spins, false);
}

static bool event_announce(struct brood_event *event, uint32_t seen)
{
    return seen & SLEEPERS || atomic_compare_exchange_strong_explicit(state_of(event), &seen, seen | SLEEPERS,
                                                                      memory_order_relaxed, memory_order_relaxed);
}

/* A slice ends a sleep that no call to wake has ended, because the setter was killed before it made one.  The state has no
 * room for the time of the last look, so each slice is twice as long as the one before, and the first sleeper that finds
 * the event set wakes the others. */
static int sleep_until_set(struct brood_event *event, uint32_t began, brood_deadline deadline)
{
    struct slice slice = SLICE_FIRST;
    int slept = 0;

    for (uint32_t seen = event_look(event); !was_set(seen, began); seen = event_look(event)) {
        if (brood__is_past(deadline))
            return brood_fail(-ETIMEDOUT, "the event was not set until the deadline");
        if (slept == -ETIMEDOUT)
            (void)brood__look_is_due(&slice, 0);
        if (event_announce(event, seen))
            slept = sleep_a_slice(state_of(event), seen | SLEEPERS, &slice, deadline);
    }
    if (slept == -ETIMEDOUT)
        (void)brood__futex_wake(state_of(event), INT_MAX);
    return 0;
}

int brood_event_wait(struct brood_event *event, brood_deadline deadline)
{
    uint32_t began = event_look(event);

    if (began & SET)
        return 0;
    if (deadline.ns <= 0)
        return brood_fail(-EAGAIN, "the event is not set");
    return event_spin(event, began) ? 0 : sleep_until_set(event, began, deadline);
}

size_t brood_event_bytes(void)
{
    return sizeof(struct brood_event);
}
