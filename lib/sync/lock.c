#include <errno.h>

#include <brood/lock.h>

#include "os/error.h"
#include "sync/claim.h"
#include "sync/lock.h"

_Static_assert(sizeof(struct brood_lock) == 8 && _Alignof(struct brood_lock) == 8, "shared layout");

void brood_lock_init(struct brood_lock *lock)
{
    atomic_store_explicit(claim_of(&lock->word), 0, memory_order_relaxed);
}

int brood__lock_fail(int r)
{
    switch (r) {
    case -EOWNERDEAD:
        return brood_fail(r, "the lock is acquired, but its last owner has died with it: check what it guards");
    case -EAGAIN:
        return brood_fail(r, "another thread or process holds the lock");
    case -ETIMEDOUT:
        return brood_fail(r, "another thread or process held the lock until the deadline");
    case -EXDEV:
        return brood_fail(
            r, "a process of another PID or time namespace holds the lock, and this one cannot find out whether it is "
               "dead: run all processes that use the lock in one PID namespace");
    default:
        return r;
    }
}

int brood_lock_acquire(struct brood_lock *lock, brood_deadline deadline)
{
    int r = claim_take(&lock->word, brood__self(), brood__identity_is_dead, deadline);

    return r == 0 ? 0 : brood__lock_fail(r);
}

int brood_lock_release(struct brood_lock *lock)
{
    if (claim_give(&lock->word))
        return 0;
    return brood_fail(-EPERM, "the lock is not held: nothing to release");
}

bool brood_lock_held(const struct brood_lock *lock)
{
    return claim_owner(&lock->word) != 0;
}

size_t brood_lock_bytes(void)
{
    return sizeof(struct brood_lock);
}
