/* The state is {how often it was set : 30 | SLEEPERS : 1 | SET : 1}.  Who waits has noted the number, so it hears of every
 * setting however short; it would have to sleep through exactly 2^30 of them to miss one. */
#include <errno.h>
#include <limits.h>

#include <brood/event.h>

#include "os/error.h"
#include "sync/sleep.h"

_Static_assert(sizeof(struct brood_event) == 4, "shared layout");

#define SET 1u
#define SLEEPERS 2u /* somebody may sleep: never together with SET */
#define ONCE_MORE 4u

/* All write it.  Release by who sets it, acquire by who finds it set. */
static _Atomic uint32_t *state_of(struct brood_event *event)
{
    return (_Atomic uint32_t *)&event->state;
}

static uint32_t look(const struct brood_event *event)
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

/* Also one that is set already is stored, as it was: who finds it set then sees what each of the setters published. */
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
    return (look(event) & SET) != 0;
}

/* Is it set now, or was it since `began`? */
static bool was_set(uint32_t seen, uint32_t began)
{
    return (seen & SET) || (seen ^ began) >= ONCE_MORE;
}

static bool spin(const struct brood_event *event, uint32_t began)
{
    if (!brood__spinning_pays())
        return false;
    for (int i = 0; i < SPINS; i++) {
        if (was_set(look(event), began))
            return true;
        brood__pause();
    }
    return false;
}

/* A slice ends a sleep for which nobody made the call to wake: who set it was killed before. */
static int sleep_until_set(struct brood_event *event, uint32_t began, brood_deadline deadline)
{
    for (uint32_t seen = look(event); !was_set(seen, began); seen = look(event)) {
        if (brood__is_past(deadline))
            return brood_fail(-ETIMEDOUT, "the event was not set until the deadline");
        if (seen & SLEEPERS || atomic_compare_exchange_strong_explicit(state_of(event), &seen, seen | SLEEPERS,
                                                                       memory_order_relaxed, memory_order_relaxed))
            (void)sleep_a_slice(state_of(event), seen | SLEEPERS, deadline);
    }
    return 0;
}

int brood_event_wait(struct brood_event *event, brood_deadline deadline)
{
    uint32_t began = look(event);

    if (began & SET)
        return 0;
    if (deadline.ns <= 0)
        return brood_fail(-EAGAIN, "the event is not set");
    return spin(event, began) ? 0 : sleep_until_set(event, began, deadline);
}
