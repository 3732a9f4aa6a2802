/* claim.h - a word that says who has something: what a lock is made of.
 *
 *     r = claim_take(&word, brood__self(), brood__identity_is_dead, deadline);     // 0, or -EOWNERDEAD: inherited
 *     ...
 *     claim_give(&word);
 *
 * The word is 0, or the identity of who has it and a flag that others sleep.  It is taken by one compare-and-swap that
 * names the taker, and given back by one exchange, so whenever its owner is killed the word says whether it had it.
 *
 * Who sleeps looks again every LOOK_AGAIN_NS (os/identity.h): whether the owner is dead, and whether the word is free
 * because the one that was woken for it was killed.
 */
#ifndef BROOD_SYNC_CLAIM_H
#define BROOD_SYNC_CLAIM_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/base.h>

#include "os/identity.h"

#define CLAIM_SLEEPERS UINT64_C(0x80000000) /* somebody may sleep; in the half that is the futex */

/* Taken with acquire, given back with release: who takes it sees what the one before stored.  A plain integer in public
 * headers, which are also C++. */
typedef _Atomic uint64_t claim_word;

typedef bool claim_is_dead(uint64_t identity);

static inline claim_word *claim_of(uint64_t *word)
{
    return (claim_word *)word;
}

static inline uint64_t claim_owner(const uint64_t *word)
{
    return atomic_load_explicit((const claim_word *)word, memory_order_relaxed) & IDENTITY_BITS;
}

int claim_take_slowly(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline);

/* 0; -EOWNERDEAD: taken, from a dead owner; -EAGAIN, with BROOD_NOW; -ETIMEDOUT.  No words. */
static inline int claim_take(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    uint64_t seen = 0;

    if (__builtin_expect(atomic_compare_exchange_strong_explicit(claim_of(word), &seen, self, memory_order_acquire,
                                                                 memory_order_relaxed),
                         true))
        return 0;
    return claim_take_slowly(word, self, is_dead, deadline);
}

/* If its owner is dead: -EOWNERDEAD, taken.  Else -EBUSY.  For who waits for something else that the owner was to do. */
int claim_inherit(uint64_t *word, uint64_t self, claim_is_dead *is_dead);

void claim_wake(uint64_t *word);

/* False: nobody had it.  Never blocks; costs a system call only if others may sleep. */
static inline bool claim_give(uint64_t *word)
{
    uint64_t had = atomic_exchange_explicit(claim_of(word), 0, memory_order_release);

    if (__builtin_expect((had & CLAIM_SLEEPERS) != 0, false))
        claim_wake(word);
    return had != 0;
}

#endif
