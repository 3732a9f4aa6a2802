#include <errno.h>

#include "sync/claim.h"
#include "sync/sleep.h"

static bool replace(uint64_t *word, uint64_t seen, uint64_t value)
{
    return atomic_compare_exchange_strong_explicit(claim_of(word), &seen, value, memory_order_acquire,
                                                   memory_order_relaxed);
}

static uint64_t look(uint64_t *word)
{
    return atomic_load_explicit(claim_of(word), memory_order_relaxed);
}

/* Above all for one who has woken us for a condition and is about to give back its lock. */
static bool spin(uint64_t *word, uint64_t self)
{
    if (!brood__spinning_pays())
        return false;
    for (int i = 0; i < SPINS; i++) {
        if (look(word) == 0 && replace(word, 0, self))
            return true;
        brood__pause();
    }
    return false;
}

/* `seen` is of somebody else.  Whoever inherits keeps the flag: others may sleep who slept before. */
static int inherit(uint64_t *word, uint64_t seen, uint64_t self, claim_is_dead *is_dead)
{
    if (seen == 0 || !is_dead(seen & IDENTITY_BITS) || !replace(word, seen, self | CLAIM_SLEEPERS))
        return -EBUSY;
    return -EOWNERDEAD;
}

/* The flag is in the word before anyone sleeps on it.  False: the word has changed. */
static bool announce(uint64_t *word, uint64_t *seen)
{
    if (*seen & CLAIM_SLEEPERS)
        return true;
    if (!replace(word, *seen, *seen | CLAIM_SLEEPERS))
        return false;
    *seen |= CLAIM_SLEEPERS;
    return true;
}

static int give_up(uint64_t *word, uint64_t seen, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    int r = inherit(word, seen, self, is_dead);

    return r == -EBUSY ? too_late(deadline) : r;
}

/* Who has slept takes it with the flag, for there may be others: a needless wake-up, at the end, for the last of them. */
static int take_or_sleep(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    uint64_t seen = look(word), mine = self;

    for (;; seen = look(word)) {
        if (seen == 0) {
            if (replace(word, 0, mine))
                return 0;
            continue;
        }
        if (brood__is_past(deadline))
            return give_up(word, seen, self, is_dead, deadline);
        if (!announce(word, &seen))
            continue;
        mine = self | CLAIM_SLEEPERS;
        if (sleep_a_slice(low_half(word), (uint32_t)seen, deadline) == -ETIMEDOUT &&
            inherit(word, seen, self, is_dead) == -EOWNERDEAD)
            return -EOWNERDEAD;
    }
}

int claim_take_slowly(uint64_t *word, uint64_t self, claim_is_dead *is_dead, brood_deadline deadline)
{
    if (deadline.ns > 0 && spin(word, self))
        return 0;
    return take_or_sleep(word, self, is_dead, deadline);
}

int claim_inherit(uint64_t *word, uint64_t self, claim_is_dead *is_dead)
{
    return inherit(word, look(word), self, is_dead);
}

void claim_wake(uint64_t *word)
{
    (void)brood__futex_wake(low_half(word), 1);
}
