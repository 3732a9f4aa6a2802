#include <errno.h>

#include "sync/claim.h"
#include "sync/sleep.h"

static bool claim_replace(uint64_t *word, uint64_t seen, uint64_t value)
{
    return atomic_compare_exchange_strong_explicit(claim_of(word), &seen, value, memory_order_acquire,
                                                   memory_order_relaxed);
}

static uint64_t claim_look(uint64_t *word)
{
    return atomic_load_explicit(claim_of(word), memory_order_relaxed);
}

static _Thread_local struct spin spins;

/* Pays above all after a notification: the notifier is about to give back the condition's lock. */
static bool claim_spin(uint64_t *word, uint64_t self)
{
    for (int left = brood__spins(&spins); left > 0; left--) {
        if (claim_look(word) == 0 && claim_replace(word, 0, self))
            return spin_paid(&spins, true);
        brood__pause();
    }
    return spin_paid(&spins, false);
}

/* `seen` names another owner.  The new owner keeps the flag: others may still sleep. */
static int inherit(uint64_t *word, uint64_t seen, uint64_t self, claim_is_dead *is_dead)
{
    if (seen == 0 || !is_dead(seen & IDENTITY_BITS) || !claim_replace(word, seen, self | CLAIM_SLEEPERS))
        return -EBUSY;
    return -EOWNERDEAD;
}

/* The flag is in the word before anyone sleeps on it.  False: the word has changed. */
static bool claim_announce(uint64_t *word, uint64_t *seen)
{
    if (*seen & CLAIM_SLEEPERS)
        return true;
    if (!claim_replace(word, *seen, *seen | CLAIM_SLEEPERS))
        return false;
    *seen |= CLAIM_SLEEPERS;
    return true;
}

#define LOOKED_SHIFT 22
#define LOOKED_UNIT_NS (INT64_C(1) << 22)
#define LOOKED_TIMES ((int64_t)(CLAIM_LOOKED >> LOOKED_SHIFT)) /* that differ in the word; 0 is none of them */
_Static_assert(((CLAIM_SLEEPERS | CLAIM_LOOKED) & IDENTITY_BITS) == 0, "an identity has room for both");
_Static_assert(LOOKED_TIMES *LOOKED_UNIT_NS > 2 * SLICE_NS_MAX, "a look that seems recent is");

static int64_t age_of_look(uint64_t word, int64_t now)
{
    int64_t looked = (int64_t)((word & CLAIM_LOOKED) >> LOOKED_SHIFT);

    return looked == 0 ? INT64_MAX : (now + LOOKED_TIMES - (looked - 1)) % LOOKED_TIMES * LOOKED_UNIT_NS;
}

/* At the end of a slice.  Notes the time, by CAS: one sleeper looks for all. */
static bool claim_is_look_due(uint64_t *word, struct slice *slice)
{
    uint64_t seen = claim_look(word);
    int64_t now = brood__now_ns() / LOOKED_UNIT_NS % LOOKED_TIMES;

    return seen != 0 && brood__look_is_due(slice, age_of_look(seen, now)) &&
           claim_replace(word, seen, (seen & ~CLAIM_LOOKED) | (uint64_t)(now + 1) << LOOKED_SHIFT);
}

static int claim_give_up(uint64_t *word, uint64_t seen, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    int r = inherit(word, seen, self, is_dead);

    return r == -EBUSY ? too_late(deadline) : r;
}

/* A thread that has slept takes the word with the flag, since others may sleep: at worst the last of them causes one
 * needless wake-up. */
static int claim_take_or_sleep(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    uint64_t seen = claim_look(word), mine = self;
    struct slice slice = SLICE_FIRST;

    for (;; seen = claim_look(word)) {
        if (seen == 0) {
            if (claim_replace(word, 0, mine))
                return 0;
            continue;
        }
        if (brood__identity_is_foreign(seen))
            return -EXDEV;
        if (brood__is_past(deadline))
            return claim_give_up(word, seen, self, is_dead, deadline);
        if (!claim_announce(word, &seen))
            continue;
        mine = self | CLAIM_SLEEPERS;
        if (sleep_a_slice(low_half(word), (uint32_t)seen, &slice, deadline) == -ETIMEDOUT &&
            claim_is_look_due(word, &slice) && inherit(word, claim_look(word), self, is_dead) == -EOWNERDEAD)
            return -EOWNERDEAD;
    }
}

int claim_take_slowly(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    if (deadline.ns > 0 && claim_spin(word, self))
        return 0;
    return claim_take_or_sleep(word, self, is_dead, deadline);
}

int claim_inherit(uint64_t *word, uint64_t self, claim_is_dead *is_dead)
{
    return inherit(word, claim_look(word), self, is_dead);
}

void claim_wake(uint64_t *word)
{
    (void)brood__futex_wake(low_half(word), 1);
}
