#include <errno.h>

#include <brood/rlock.h>

#include "os/error.h"
#include "sync/claim.h"
#include "sync/lock.h"

_Static_assert(sizeof(struct brood_rlock) == 16 && _Alignof(struct brood_rlock) == 8, "shared layout");

void brood_rlock_init(struct brood_rlock *rlock)
{
    rlock->depth = 0;
    atomic_store_explicit(claim_of(&rlock->word), 0, memory_order_relaxed);
}

static bool rlock_is_ours(const struct brood_rlock *rlock)
{
    return claim_owner(&rlock->word) == brood__self_thread();
}

static int go_deeper(struct brood_rlock *rlock)
{
    if (rlock->depth == UINT32_MAX)
        return brood_fail(-EOVERFLOW, "the lock was acquired 2^32 - 1 times: is one release missing in a loop?");
    rlock->depth++;
    return 0;
}

/* The owner stores the depth after the claim, so one that dies in between leaves a wrong depth: the next owner sets it. */
int brood_rlock_acquire(struct brood_rlock *rlock, brood_deadline deadline)
{
    int r;

    if (rlock_is_ours(rlock))
        return go_deeper(rlock);
    r = claim_take(&rlock->word, brood__self_thread(), brood__thread_is_dead, deadline);
    if (r == 0 || r == -EOWNERDEAD)
        rlock->depth = 1;
    return r == 0 ? 0 : brood__lock_fail(r);
}

int brood_rlock_release(struct brood_rlock *rlock)
{
    if (!rlock_is_ours(rlock))
        return brood_fail(-EPERM,
                          "the calling thread does not hold the lock: only the thread that acquired it can release it");
    if (--rlock->depth == 0)
        (void)claim_give(&rlock->word);
    return 0;
}

unsigned brood_rlock_depth(const struct brood_rlock *rlock)
{
    return rlock_is_ours(rlock) ? rlock->depth : 0;
}

bool brood_rlock_held(const struct brood_rlock *rlock)
{
    return claim_owner(&rlock->word) != 0;
}

size_t brood_rlock_bytes(void)
{
    return sizeof(struct brood_rlock);
}
