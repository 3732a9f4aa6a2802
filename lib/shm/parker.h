/* parker.h - where a thread sleeps until another one, maybe in another process, has published something.
 *
 *     for (;;) {
 *         uint32_t seen = brood__parker_look(p);      // 1. read the generation
 *         announce();                                 // 2. tell publishers where this thread sleeps
 *         brood__fence_heavy();                       // 3. pairs with the publisher's light fence
 *         if (condition())                            // 4. check again
 *             break;
 *         brood__parker_sleep(p, seen, ...);          // 5. sleeps only if there was no wake-up since step 1
 *     }
 *
 * and the publisher:  publish; brood__fence_light(); if (announced) brood__parker_wake(p).
 *
 * The generation has 32 bits: with one bit a delayed waker would undo the next one's wake-up (tests/model/parker.pml).
 * A wake-up never waits for a sleeper, and a sleeper that was killed costs the next waker one needless system call.
 */
#ifndef BROOD_SHM_PARKER_H
#define BROOD_SHM_PARKER_H

#include <stdatomic.h>

#include <brood/base.h>

struct parker {
    /* Wakers add, release; sleepers load it, acquire, and sleep on it.  A thread that wakes up sees what was published. */
    _Alignas(64) _Atomic uint32_t generation;
};
_Static_assert(sizeof(struct parker) == 64, "a parker has a cache line of its own");

uint32_t brood__parker_look(struct parker *parker);

/* Sleeps until the next wake-up, or the deadline, or until *life (which may be NULL) is no longer `alive`.  May return
 * early (spurious wake-up).  -ETIMEDOUT: the deadline has passed. */
int brood__parker_sleep(struct parker *parker, uint32_t seen, _Atomic uint32_t *life, uint32_t alive,
                        brood_deadline deadline);

/* Wakes all threads that sleep here.  Never blocks. */
void brood__parker_wake(struct parker *parker);

/* Sleeping and waking up cost both sides together about 10 µs, so spinning that long is at most twice the optimum.  Less
 * than twice a wake-up's latency would be a trap: a host that has slept comes back just after the worker has gone to
 * sleep, and the other way round.  The time may grow while spinning pays: a hot worker answers fifty times sooner than
 * one that must be woken. */
#define SPIN_NS_MIN 20000
#define SPIN_NS_MAX 50000
/* when more threads want to run than there are CPUs, a spinning thread keeps another one from running */
#define SPIN_NS_CROWDED 5000
#define POLLS_PER_CLOCK 16 /* reading the clock costs as much as several polls */

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
