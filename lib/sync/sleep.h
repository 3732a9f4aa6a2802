/* sleep.h - how those who wait for a lock, a semaphore, an event, a condition or a barrier wait. */
#ifndef BROOD_SYNC_SLEEP_H
#define BROOD_SYNC_SLEEP_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "os/clock.h"
#include "os/futex.h"
#include "os/identity.h"
#include "shm/parker.h"

/* Some microseconds of looking: about what going to sleep and being woken costs. */
#define SPINS 128

/* Whom one spins for has to have a CPU of his own. */
bool brood__spinning_pays(void);

/* Sleeps while *word is `seen`, but at most until the deadline, and for LOOK_AGAIN_NS.  As brood__futex_wait(). */
static inline int sleep_a_slice(_Atomic uint32_t *word, uint32_t seen, brood_deadline deadline)
{
    return brood__futex_wait(word, seen, brood__sooner(brood__after_ns(LOOK_AGAIN_NS), deadline));
}

/* What to return once a deadline is past: who was told not to wait has not timed out. */
static inline int too_late(brood_deadline deadline)
{
    return deadline.ns <= 0 ? -EAGAIN : -ETIMEDOUT;
}

/* The half of a 64-bit word that has its low bits: what a futex can be. */
static inline _Atomic uint32_t *low_half(uint64_t *word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (_Atomic uint32_t *)word;
#else
    return (_Atomic uint32_t *)word + 1;
#endif
}

#endif
