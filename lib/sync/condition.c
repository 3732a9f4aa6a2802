/* Who waits draws a ticket, is counted in the roster, and sleeps on the sequence.  A notification is a number of *grants*;
 * whoever wakes up takes one, with the lock, and returns.  Only who was there when somebody notified last may take one: its
 * ticket is below the boundary.  So a grant that is left over never goes to who came after the last notification.
 *
 * Grants for the dead.  The roster counts who was killed until somebody finds out, which costs system calls, so notify()
 * mostly does not ask.  As long as all grants are from the last notification that does no harm: of n grants, the living
 * take as many as they are, and at most n.  But before the boundary moves, a grant that was not taken must not be there for
 * somebody who came since.  So a notification that finds one looks for the dead first, and leaves no more grants than there
 * are others who may be on their way to take them.
 *
 * Every step of it may be the last one of who makes it.  Grants are given before those who are counted off leave, so a
 * death in between takes the grant along; the counts of a dead process are not believed by anyone who looks.  A waiter that
 * finds a grant looks every LOOK_AGAIN_NS, whether or not somebody woke it.
 *
 * Model: tests/model/condition.pml. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <brood/condition.h>

#include "os/error.h"
#include "sync/claim.h"
#include "sync/roster.h"
#include "sync/sleep.h"

_Static_assert(sizeof(struct brood_condition) == 64 + 16 * BROOD_CONDITION_PROCESSES, "shared layout");
_Static_assert(offsetof(struct brood_rlock, word) == 0 && offsetof(struct brood_lock, word) == 0, "both begin with it");

/* An entry's count is {came since : 32 | were there when somebody notified last : 32}. */
#define ONE_NEW (UINT64_C(1) << 32)

static struct roster_entry *roster_of(struct brood_condition *condition)
{
    return (struct roster_entry *)(void *)condition->roster;
}

/* Written with the lock, by who notifies, after what it is to show: release.  Read and slept on without: acquire. */
static _Atomic uint32_t *sequence_of(struct brood_condition *condition)
{
    return (_Atomic uint32_t *)&condition->sequence;
}

/* These two are written with the lock and also read without, as a hint: relaxed. */
static _Atomic uint32_t *grants_of(struct brood_condition *condition)
{
    return (_Atomic uint32_t *)&condition->grants;
}

static _Atomic uint64_t *boundary_of(struct brood_condition *condition)
{
    return (_Atomic uint64_t *)&condition->boundary;
}

static uint32_t count_grants(struct brood_condition *condition)
{
    return atomic_load_explicit(grants_of(condition), memory_order_relaxed);
}

static void set_grants(struct brood_condition *condition, uint32_t grants)
{
    atomic_store_explicit(grants_of(condition), grants, memory_order_relaxed);
}

/* ---- its lock, of either kind ---- */

static void *lock_of(struct brood_condition *condition)
{
    return (char *)condition + condition->lock;
}

static uint64_t self_for(const struct brood_condition *condition)
{
    return condition->is_rlock ? brood__self_thread() : brood__self();
}

static claim_is_dead *death_for(const struct brood_condition *condition)
{
    return condition->is_rlock ? brood__thread_is_dead : brood__identity_is_dead;
}

/* Returns its depth. */
static uint32_t give_back(struct brood_condition *condition)
{
    struct brood_rlock *rlock = lock_of(condition);
    uint32_t depth = 1;

    if (condition->is_rlock) {
        depth = rlock->depth;
        rlock->depth = 0;
    }
    (void)claim_give(lock_of(condition));
    return depth;
}

static int take_again(struct brood_condition *condition)
{
    return claim_take(lock_of(condition), self_for(condition), death_for(condition), BROOD_FOREVER);
}

static void set_depth(struct brood_condition *condition, uint32_t depth)
{
    if (condition->is_rlock)
        ((struct brood_rlock *)lock_of(condition))->depth = depth;
}

static int check_caller(struct brood_condition *condition)
{
    if (condition->lock == 0)
        return brood_fail(-EINVAL, "the condition has no lock: brood_condition_init() gives it one");
    if (claim_owner(lock_of(condition)) != self_for(condition))
        return brood_fail(-EPERM, "the caller does not hold the condition's lock: acquire it first");
    return 0;
}

/* ---- making one ---- */

static int init(struct brood_condition *condition, const void *lock, bool is_rlock)
{
    if (!lock)
        return brood_fail(-EINVAL, "a condition without a lock");
    memset(condition, 0, sizeof(*condition));
    condition->lock = (intptr_t)lock - (intptr_t)condition;
    condition->is_rlock = is_rlock;
    return 0;
}

int brood_condition_init(struct brood_condition *condition, struct brood_lock *lock)
{
    return init(condition, lock, false);
}

int brood_condition_init_rlock(struct brood_condition *condition, struct brood_rlock *rlock)
{
    return init(condition, rlock, true);
}

/* ---- waiting ---- */

struct waiter {
    uint64_t ticket;
    struct roster_entry *entry; /* stays ours while we are counted in it */
};

static int enter(struct brood_condition *condition, struct waiter *ret_waiter)
{
    struct roster_entry *entry = roster_enter(roster_of(condition), &condition->entries, BROOD_CONDITION_PROCESSES);

    if (!entry)
        return brood_fail(
            -ENOSPC,
            "%d processes wait for the condition, and no more can: use one more condition, or threads of one process",
            BROOD_CONDITION_PROCESSES);
    *ret_waiter = (struct waiter){.ticket = condition->tickets++, .entry = entry};
    entry->waiting += ONE_NEW;
    return 0;
}

/* A notifier that was killed may have moved the boundary and not yet all the counts, or the other way round. */
static void leave(struct brood_condition *condition, const struct waiter *waiter)
{
    bool is_new = waiter->ticket >= condition->boundary;
    uint64_t waiting = waiter->entry->waiting;

    if (is_new ? waiting >= ONE_NEW : (uint32_t)waiting == 0)
        waiter->entry->waiting = waiting - ONE_NEW;
    else
        waiter->entry->waiting = waiting - 1;
}

static bool may_take(struct brood_condition *condition, const struct waiter *waiter)
{
    return count_grants(condition) > 0 &&
           waiter->ticket < atomic_load_explicit(boundary_of(condition), memory_order_relaxed);
}

/* With the lock. */
static bool take_grant(struct brood_condition *condition, const struct waiter *waiter)
{
    if (!may_take(condition, waiter))
        return false;
    set_grants(condition, count_grants(condition) - 1);
    return true;
}

/* `seen` is from before the lock was given back. */
static void spin(struct brood_condition *condition, uint32_t seen)
{
    for (int i = 0; i < SPINS && brood__spinning_pays(); i++) {
        if (atomic_load_explicit(sequence_of(condition), memory_order_relaxed) != seen)
            return;
        brood__pause();
    }
}

/* 0: there is a grant, if nobody is quicker; -EOWNERDEAD: the lock is inherited from a dead one, who may have been about to
 * notify; -EAGAIN, -ETIMEDOUT. */
static int sleep_until_granted(struct brood_condition *condition, const struct waiter *waiter, brood_deadline deadline)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(sequence_of(condition), memory_order_acquire);

        if (may_take(condition, waiter))
            return 0;
        if (brood__is_past(deadline))
            return too_late(deadline);
        if (sleep_a_slice(sequence_of(condition), seen, deadline) == -ETIMEDOUT &&
            claim_inherit(lock_of(condition), self_for(condition), death_for(condition)) == -EOWNERDEAD)
            return -EOWNERDEAD;
    }
}

/* Without the lock; returns with it. */
static int await_grant(struct brood_condition *condition, const struct waiter *waiter, brood_deadline deadline)
{
    for (;;) {
        int r = sleep_until_granted(condition, waiter, deadline);
        int taken = r == -EOWNERDEAD ? r : take_again(condition);
        bool granted = take_grant(condition, waiter);

        if (taken == -EOWNERDEAD)
            return -EOWNERDEAD;
        if (granted || r < 0)
            return granted ? 0 : r;
        (void)claim_give(lock_of(condition)); /* others were quicker */
    }
}

static int in_words(int r)
{
    switch (r) {
    case -EOWNERDEAD:
        return brood_fail(r, "who held the condition's lock has died with it: look at what it guards");
    case -EAGAIN:
        return brood_fail(r, "nobody has notified");
    case -ETIMEDOUT:
        return brood_fail(r, "nobody has notified until the deadline");
    default:
        return r;
    }
}

int brood_condition_wait(struct brood_condition *condition, brood_deadline deadline)
{
    struct waiter waiter = {.entry = NULL};
    uint32_t depth, seen;
    int r = check_caller(condition);

    if (r < 0 || (r = enter(condition, &waiter)) < 0)
        return r;
    seen = atomic_load_explicit(sequence_of(condition), memory_order_relaxed);
    depth = give_back(condition);
    if (deadline.ns > 0)
        spin(condition, seen);
    r = await_grant(condition, &waiter, deadline);
    leave(condition, &waiter);
    set_depth(condition, depth);
    return in_words(r);
}

int brood_condition_wait_for(struct brood_condition *condition, int (*predicate)(void *context), void *context,
                             brood_deadline deadline)
{
    int r = check_caller(condition);

    if (r < 0)
        return r;
    while (!predicate(context)) {
        if (r < 0)
            return r;
        r = brood_condition_wait(condition, deadline);
        if (r == -EOWNERDEAD)
            return r;
    }
    return 0;
}

/* ---- notifying ---- */

static uint32_t count_waiting(struct brood_condition *condition, uint64_t *ret_old)
{
    const struct roster_entry *roster = roster_of(condition);
    uint64_t waiting = 0, old = 0;

    for (uint32_t i = 0; i < condition->entries; i++) {
        waiting += (roster[i].waiting >> 32) + (uint32_t)roster[i].waiting;
        old += (uint32_t)roster[i].waiting;
    }
    *ret_old = old;
    return waiting > INT_MAX ? INT_MAX : (uint32_t)waiting;
}

/* Leaves no grant that nobody is to take.  How many of those that are left have nobody on the way, at most. */
static uint32_t settle(struct brood_condition *condition)
{
    bool found = roster_bury(roster_of(condition), condition->entries);
    uint64_t old;

    (void)count_waiting(condition, &old);
    if (count_grants(condition) > old)
        set_grants(condition, (uint32_t)old);
    return found ? count_grants(condition) : 0;
}

/* From now on all who wait may take what is granted. */
static void move_boundary(struct brood_condition *condition)
{
    struct roster_entry *roster = roster_of(condition);

    for (uint32_t i = 0; i < condition->entries; i++)
        if (roster[i].waiting >= ONE_NEW)
            roster[i].waiting = (roster[i].waiting >> 32) + (uint32_t)roster[i].waiting;
    atomic_store_explicit(boundary_of(condition), condition->tickets, memory_order_relaxed);
}

static void notify(struct brood_condition *condition, uint32_t n)
{
    uint32_t left = count_grants(condition) > 0 ? settle(condition) : 0, waiting;
    uint64_t old;

    waiting = count_waiting(condition, &old) - count_grants(condition);
    n = waiting < n ? waiting : n;
    if (n + left == 0)
        return;
    move_boundary(condition);
    set_grants(condition, count_grants(condition) + n);
    (void)atomic_fetch_add_explicit(sequence_of(condition), 1, memory_order_release);
    (void)brood__futex_wake(sequence_of(condition), (int)(n + left));
}

int brood_condition_notify(struct brood_condition *condition, int n)
{
    int r = check_caller(condition);

    if (r < 0)
        return r;
    if (n < 1)
        return brood_fail(-EINVAL, "a notification of %d: it takes 1 or more", n);
    notify(condition, (uint32_t)n);
    return 0;
}

int brood_condition_notify_all(struct brood_condition *condition)
{
    return brood_condition_notify(condition, INT_MAX);
}
