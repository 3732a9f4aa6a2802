/* A waiter draws a ticket, is counted in the waiter table, and sleeps on the sequence.  A notification is a number of
 * *grants*; a waiter that wakes up takes the lock, takes one grant and returns.  Only a waiter that was there at the last
 * notification may take one: its ticket is below the boundary.  So a grant that is left over never goes to a waiter that
 * came after the last notification.
 *
 * Grants for dead waiters.  The table counts a waiter that was killed until another process finds that out by a system
 * call, so notify() mostly does not ask.  While all grants are from the last notification that does no harm: of n grants
 * the living waiters take n, or as many as they are.  But before the boundary moves, no grant may be left that a later
 * waiter could take.  So a notification that finds a grant first looks for the dead, and leaves no more grants than there
 * are others that may be on their way to take them.
 *
 * A process may be killed after any step.  The notifier gives the grants before the waiters are counted off, so a waiter
 * that dies in between takes its grant along; no process trusts the count of a dead one.  One of the waiters looks every
 * LOOK_AGAIN_NS or so (sync/sleep.h) whether there is a grant for which the notifier woke no waiter, because it was killed
 * before, and wakes the others.
 *
 * Model: tests/model/condition.pml. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <brood/condition.h>

#include "os/error.h"
#include "sync/claim.h"
#include "sync/sleep.h"
#include "sync/waiter_table.h"

_Static_assert(sizeof(struct brood_condition) == 64 + 16 * BROOD_CONDITION_PROCESSES, "shared layout");
_Static_assert(offsetof(struct brood_rlock, word) == 0 && offsetof(struct brood_lock, word) == 0, "both begin with it");

/* An entry's count is {came since the last notification : 32 | were there before : 32}. */
#define ONE_NEW (UINT64_C(1) << 32)

static struct waiter_entry *condition_table(struct brood_condition *condition)
{
    return (struct waiter_entry *)(void *)condition->waiters;
}

/* The notifier adds to it, with the lock, after it has stored the grants: release.  Waiters load it without the lock before
 * they look for a grant, acquire, and sleep on it. */
static _Atomic uint32_t *sequence_of(struct brood_condition *condition)
{
    return (_Atomic uint32_t *)&condition->sequence;
}

/* The holder of the lock writes these two, relaxed: the lock orders them.  Waiters also read them without the lock, as a
 * hint, which they check with the lock. */
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

/* A process of another PID namespace may have acquired the lock meanwhile.  The waiter needs the lock again, so it waits
 * for the release; that may wake another sleeper, so it sleeps for a slice at a time. */
static int take_again(struct brood_condition *condition)
{
    uint64_t *word = lock_of(condition);
    int r;

    while ((r = claim_take(word, self_for(condition), death_for(condition), BROOD_FOREVER)) == -EXDEV)
        (void)sleep_a_slice(low_half(word), atomic_load_explicit(low_half(word), memory_order_relaxed), &SLICE_FIRST,
                            BROOD_FOREVER);
    return r;
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
    return brood__namespaces_check(condition->namespaces, "the condition");
}

/* ---- making one ---- */

static int condition_init(struct brood_condition *condition, const void *lock, bool is_rlock)
{
    if (!lock)
        return brood_fail(-EINVAL, "a condition without a lock");
    memset(condition, 0, sizeof(*condition));
    condition->lock = (intptr_t)lock - (intptr_t)condition;
    condition->is_rlock = is_rlock;
    condition->namespaces = brood__namespaces();
    return 0;
}

int brood_condition_init(struct brood_condition *condition, struct brood_lock *lock)
{
    return condition_init(condition, lock, false);
}

int brood_condition_init_rlock(struct brood_condition *condition, struct brood_rlock *rlock)
{
    return condition_init(condition, rlock, true);
}

/* ---- waiting ---- */

struct waiter {
    uint64_t ticket;
    struct waiter_entry *entry; /* stays this process's while the waiter is counted in it */
};

static int condition_enter(struct brood_condition *condition, struct waiter *ret_waiter)
{
    struct waiter_entry *entry =
        waiter_table_enter(condition_table(condition), &condition->entries, BROOD_CONDITION_PROCESSES);

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
static void condition_leave(struct brood_condition *condition, const struct waiter *waiter)
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

static _Thread_local struct spin spins;

static bool has_moved(struct brood_condition *condition, uint32_t seen)
{
    return atomic_load_explicit(sequence_of(condition), memory_order_relaxed) != seen;
}

/* `seen` is from before the lock was given back. */
static void condition_spin(struct brood_condition *condition, uint32_t seen)
{
    for (int left = brood__spins(&spins); left > 0 && !has_moved(condition, seen); left--)
        brood__pause();
    (void)spin_paid(&spins, has_moved(condition, seen));
}

/* 0: there is a grant, unless another waiter is quicker; -EOWNERDEAD: the caller has taken over the lock of a dead owner,
 * which may have been about to notify; -EAGAIN, -ETIMEDOUT. */
static int sleep_until_granted(struct brood_condition *condition, const struct waiter *waiter, brood_deadline deadline)
{
    struct slice slice = SLICE_FIRST;
    int slept = 0;

    for (;;) {
        uint32_t seen = atomic_load_explicit(sequence_of(condition), memory_order_acquire);

        if (may_take(condition, waiter)) {
            if (slept == -ETIMEDOUT)
                (void)brood__futex_wake(sequence_of(condition), INT_MAX);
            return 0;
        }
        if (brood__is_past(deadline))
            return too_late(deadline);
        slept = sleep_a_slice(sequence_of(condition), seen, &slice, deadline);
        if (slept == -ETIMEDOUT && brood__look_is_due_since(&slice, (_Atomic int64_t *)&condition->looked_ns) &&
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
        (void)claim_give(lock_of(condition)); /* other waiters were quicker */
    }
}

static int condition_fail(int r)
{
    switch (r) {
    case -EOWNERDEAD:
        return brood_fail(r, "the owner of the condition's lock has died with it: check what it guards");
    case -EAGAIN:
        return brood_fail(r, "no notification has come");
    case -ETIMEDOUT:
        return brood_fail(r, "no notification came until the deadline");
    default:
        return r;
    }
}

int brood_condition_wait(struct brood_condition *condition, brood_deadline deadline)
{
    struct waiter waiter = {.entry = NULL};
    uint32_t depth, seen;
    int r = check_caller(condition);

    if (r < 0 || (r = condition_enter(condition, &waiter)) < 0)
        return r;
    seen = atomic_load_explicit(sequence_of(condition), memory_order_relaxed);
    depth = give_back(condition);
    if (deadline.ns > 0)
        condition_spin(condition, seen);
    r = await_grant(condition, &waiter, deadline);
    condition_leave(condition, &waiter);
    set_depth(condition, depth);
    return condition_fail(r);
}

int brood_condition_wait_for(struct brood_condition *condition, int (*predicate)(void *context), void *context,
                             brood_deadline deadline)
{
    int r = check_caller(condition);

    if (r < 0)
        return r;
    while (!BROOD__UNCANCELLED(predicate(context))) {
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
    const struct waiter_entry *table = condition_table(condition);
    uint64_t waiting = 0, old = 0;

    for (uint32_t i = 0; i < condition->entries; i++) {
        waiting += (table[i].waiting >> 32) + (uint32_t)table[i].waiting;
        old += (uint32_t)table[i].waiting;
    }
    *ret_old = old;
    return waiting > INT_MAX ? INT_MAX : (uint32_t)waiting;
}

/* Takes away the grants that no waiter will take.  Returns how many of the others may have no waiter on its way, because
 * their waiters were killed. */
static uint32_t condition_trim_grants(struct brood_condition *condition)
{
    bool found = waiter_table_reap(condition_table(condition), condition->entries);
    uint64_t old;

    (void)count_waiting(condition, &old);
    if (count_grants(condition) > old)
        set_grants(condition, (uint32_t)old);
    return found ? count_grants(condition) : 0;
}

/* From now on all waiters may take grants. */
static void move_boundary(struct brood_condition *condition)
{
    struct waiter_entry *table = condition_table(condition);

    for (uint32_t i = 0; i < condition->entries; i++)
        if (table[i].waiting >= ONE_NEW)
            table[i].waiting = (table[i].waiting >> 32) + (uint32_t)table[i].waiting;
    atomic_store_explicit(boundary_of(condition), condition->tickets, memory_order_relaxed);
}

static void notify(struct brood_condition *condition, uint32_t n)
{
    uint32_t left = count_grants(condition) > 0 ? condition_trim_grants(condition) : 0, waiting;
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

size_t brood_condition_bytes(void)
{
    return sizeof(struct brood_condition);
}
