/* claim.h - a word that names its owner: what a robust lock is made of.
 *
 *     r = claim_take(&word, brood__self(), brood__identity_is_dead, deadline);     // 0, or -EOWNERDEAD: taken over
 *     ...
 *     claim_give(&word);
 *
 * The word is 0, or the identity of its owner and a flag that others sleep.  The owner takes it by one compare-and-swap
 * that names the owner, and gives it back by one exchange: so if a process is killed at any time, the word says whether it
 * owned it.
 *
 * One of the sleepers looks every LOOK_AGAIN_NS or so (sync/sleep.h): whether the owner is dead, and whether the word is
 * free because the sleeper that was woken for it was killed.  The word also notes when a sleeper looked last.
 */
#ifndef BROOD_SYNC_CLAIM_H
#define BROOD_SYNC_CLAIM_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/base.h>

#include "os/identity.h"

/* Between the halves of an identity, in the half that is the futex: */
#define CLAIM_SLEEPERS UINT64_C(0x80000000) /* threads may sleep until the word is free */
#define CLAIM_LOOKED UINT64_C(0x7fc00000)   /* when a sleeper looked last, in units of 4 ms modulo 2 s; 0: none has */

/* All that use the lock write and read it.  The release of the owner that gives it back pairs with the acquire of the next
 * one that takes it, which sees what the owner before stored.  All other changes (the flag, the time of the last look)
 * acquire, too, and need not release: read-modify-writes continue the owner's release sequence.  A plain integer in public
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

/* Does this process own it?  For assertions in functions that require it. */
static inline bool claim_is_ours(const uint64_t *word)
{
    return claim_owner(word) == brood__self();
}

int claim_take_slowly(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline);

/* Takes it if it is free; does not check whether its owner is dead. */
static inline bool claim_try(uint64_t *word, uint64_t self)
{
    uint64_t seen = 0;

    return __builtin_expect(
        atomic_compare_exchange_strong_explicit(claim_of(word), &seen, self, memory_order_acquire, memory_order_relaxed),
        true);
}

/* 0; -EOWNERDEAD: taken, from a dead owner; -EAGAIN, with BROOD_NOW; -ETIMEDOUT; -EXDEV: its owner is of another PID
 * namespace, so this process cannot find out whether it is dead.  Sets no error text. */
static inline int claim_take(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    return claim_try(word, self) ? 0 : claim_take_slowly(word, self, is_dead, deadline);
}

/* If its owner is dead: -EOWNERDEAD, taken.  Else -EBUSY.  For a caller that waits for something else that the owner would
 * do. */
int claim_inherit(uint64_t *word, uint64_t self, claim_is_dead *is_dead);

void claim_wake(uint64_t *word);

/* False: it had no owner.  Never blocks; makes a system call only if others may sleep. */
static inline bool claim_give(uint64_t *word)
{
    uint64_t had = atomic_exchange_explicit(claim_of(word), 0, memory_order_release);

    if (__builtin_expect((had & CLAIM_SLEEPERS) != 0, false))
        claim_wake(word);
    return had != 0;
}

#endif
