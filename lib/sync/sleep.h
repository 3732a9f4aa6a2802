/* sleep.h - how waiters of a lock, a semaphore, an event, a condition or a barrier spin and sleep. */
#ifndef BROOD_SYNC_SLEEP_H
#define BROOD_SYNC_SLEEP_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "os/clock.h"
#include "os/futex.h"
#include "os/identity.h"
#include "shm/parker.h"

/* Some microseconds: about as long as it takes to fall asleep and be woken. */
#define SPINS 128

/* How often a thread spun in vain, one after the other, for objects of one kind: the more often, the less it spins, since
 * what it waits for seems to want the CPU that it has.  Where two processes take turns beside others that keep the CPUs
 * busy, a turn takes 18 us with all spins each time, and 3 without.  Now and then it makes all of them, since that may have
 * changed.  Thread-local. */
struct spin {
    unsigned in_vain;
};

/* How many times the thread may look now; 0 on a single CPU. */
int brood__spins(const struct spin *spin);

/* Notes whether it has paid, and returns it. */
static inline bool spin_paid(struct spin *spin, bool has_paid)
{
    spin->in_vain = has_paid ? 0 : spin->in_vain + 1;
    return has_paid;
}

/* How long a sleeper sleeps before it looks: whether the process that it waits for is dead, and whether something was left
 * for a sleeper that was woken and then killed.
 *
 * One look every LOOK_AGAIN_NS or so does for all sleepers of an object, and they share it without knowing of each other.
 * A sleeper that finds, at the end of its slice, that another has looked just before doubles its slice; one that finds
 * that none has looks, and halves its slice.  So N sleepers look some 70 times a second between them, each of them every
 * N / 70 seconds, and none has to be there: when some leave, stop or die, the others find looks due more often.  (An
 * elected looker would have to be replaced whenever it gets what it waits for, which may be each time.)
 *
 * Measured: 200 sleepers of a lock, 0.6 % of a CPU; 23 % when each looks for itself. */
struct slice {
    int64_t ns;
};
#define SLICE_FIRST ((struct slice){LOOK_AGAIN_NS})
#define SLICE_NS_MAX (50 * (int64_t)LOOK_AGAIN_NS) /* how long the last of many may be blind after the others left */

static inline brood_deadline slice_end(const struct slice *slice, brood_deadline deadline)
{
    return brood__sooner(brood__after_ns(slice->ns), deadline);
}

/* Sleeps while *word is `seen`, but at most until the deadline, and for one slice.  As brood__futex_wait(). */
static inline int sleep_a_slice(_Atomic uint32_t *word, uint32_t seen, const struct slice *slice, brood_deadline deadline)
{
    return brood__futex_wait(word, seen, slice_end(slice, deadline));
}

/* At the end of a slice: is a look due, the last one being so old?  Chooses the next slice. */
bool brood__look_is_due(struct slice *slice, int64_t age_ns);

/* The same for an object that notes the time of the last look; if a look is due, notes this one.  Sleepers exchange the
 * time by CAS, so that one looks for all; relaxed, since no other data depends on it. */
bool brood__look_is_due_since(struct slice *slice, _Atomic int64_t *looked_ns);

/* What to return once a deadline is past: with BROOD_NOW, which means not to wait, -EAGAIN. */
static inline int too_late(brood_deadline deadline)
{
    return deadline.ns <= 0 ? -EAGAIN : -ETIMEDOUT;
}

/* The half of a 64-bit word that has its low bits: a futex has 32. */
static inline _Atomic uint32_t *low_half(uint64_t *word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (_Atomic uint32_t *)word;
#else
    return (_Atomic uint32_t *)word + 1;
#endif
}

#endif
