/* parker.h - where somebody sleeps until somebody else, maybe in another process, has published something.
 *
 *     for (;;) {
 *         uint32_t seen = brood__parker_look(p);      // 1. note the generation
 *         announce();                                 // 2. tell the publishers where one sleeps
 *         brood__fence_heavy();                       // 3. pairs with the publisher's light fence
 *         if (there_is_something())                   // 4. look again
 *             break;
 *         brood__parker_sleep(p, seen, ...);          // 5. sleeps only if no wake has come since 1
 *     }
 *
 * and the publisher:  publish; brood__fence_light(); if (announced) brood__parker_wake(p).
 *
 * The generation has 32 bits: with one bit a waker that was delayed would undo the next one's wake
 * (tests/model/parker.pml). A wake never waits for a sleeper, and a sleeper that was killed costs the next waker one
 * needless system call.
 */
#ifndef BROOD_SHM_PARKER_H
#define BROOD_SHM_PARKER_H

#include <stdatomic.h>

#include <brood/base.h>

struct parker {
    /* Wakers add; sleepers read and sleep on it.  Release in wake, acquire in look: who wakes up sees what was published.
     */
    _Alignas(64) _Atomic uint32_t generation;
};
_Static_assert(sizeof(struct parker) == 64, "a parker has a cache line of its own");

uint32_t brood__parker_look(struct parker *parker);

/* Sleeps until the next wake, or the deadline, or *life (which may be NULL) is no longer `alive`.  Returns early for no
 * reason. */
void brood__parker_sleep(struct parker *parker, uint32_t seen, _Atomic uint32_t *life, uint32_t alive,
                         brood_deadline deadline);

/* Wakes all who sleep here.  Never blocks. */
void brood__parker_wake(struct parker *parker);

/* Sleeping and being woken costs the two sides together about 10 µs, so spinning that long is at most twice the optimum.
 * Less than twice a wake-up's latency would be a trap: a host that has slept comes back just after the worker has gone to
 * sleep, and the other way round.  It may grow while it pays: a hot worker answers fifty times sooner than a woken one. */
#define SPIN_NS_MIN 20000
#define SPIN_NS_MAX 50000
#define SPIN_NS_CROWDED 5000 /* with more that want to run than CPUs, whoever spins keeps another from working */
#define POLLS_PER_CLOCK 16   /* reading the clock costs as much as several polls */

/* One pause of a spinning loop. */
static inline void brood__pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
