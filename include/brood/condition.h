/* brood/condition.h - sleep, with a lock given back, until somebody says that something has changed.
 *
 *     r = brood_condition_init(&queue->filled, &queue->lock);                  // once
 *     ...
 *     BROOD_WITH_LOCK (&queue->lock, NULL) {                                   // one side
 *         put(queue, item);
 *         brood_condition_notify(&queue->filled, 1);
 *     }
 *     ...
 *     BROOD_WITH_LOCK (&queue->lock, NULL) {                                   // the other
 *         r = brood_condition_wait_for(&queue->filled, has_items, queue, brood_after_ms(100));
 *         if (r == 0)
 *             item = get(queue);
 *     }
 *
 * A condition belongs to one brood_lock or brood_rlock, which lies in the same mapping; a lock may have several conditions.
 * Both serve threads and processes, lie wherever the user puts them, and need no goodbye.
 *
 * Exactly.  There are no wake-ups for no reason, and notify(n) wakes n of those who wait at that moment, or all if they are
 * fewer.  Who has timed out, or was killed, is not counted.  Which of them wake up first is not said; and if there is
 * another notification before all of them have returned, those who came in between are on a par with them: as many return
 * as were notified.
 *
 * Death.  A process may be killed at any instruction.  notify() never waits for anybody.  If one dies that was woken and
 * had not returned, another one that waited then is woken in its place, within 20 ms.  If somebody dies who holds the lock,
 * one who waits is told: it returns with the lock and -EOWNERDEAD.
 */
#ifndef BROOD_CONDITION_H
#define BROOD_CONDITION_H

#include <brood/lock.h>
#include <brood/rlock.h>

BROOD_BEGIN

#define BROOD_CONDITION_PROCESSES 64 /* so many, with any number of threads each, can wait at a time */

struct brood_condition { /* all of it is private, and guarded by the lock */
    int64_t lock;        /* where that is, from here */
    uint32_t is_rlock;
    uint32_t sequence; /* counts what those who sleep have to look at */
    uint64_t tickets;  /* that those who wait have drawn */
    uint64_t boundary; /* a ticket below it has been there when somebody notified last */
    uint32_t grants;   /* who may return, and has not yet */
    uint32_t entries;  /* that were ever used */
    uint64_t reserved[3];
    struct {
        uint64_t process;
        uint64_t waiting;
    } roster[BROOD_CONDITION_PROCESSES];
};

/* A condition of that lock.  0; -EINVAL: there is no lock.  Not while others use it. */
BROOD_API BROOD_MUST_USE int brood_condition_init(struct brood_condition *condition, struct brood_lock *lock);
BROOD_API BROOD_MUST_USE int brood_condition_init_rlock(struct brood_condition *condition, struct brood_rlock *rlock);

/* Gives the lock back, waits until notified, and acquires the lock again, which it has whatever it returns, but for -EPERM.
 * An rlock is given back wholly, and has its depth again at the end.  0: notified.  -EOWNERDEAD: whoever held the lock
 * meanwhile has died with it, and what it guards may be half changed; one may have been notified or not.  -ETIMEDOUT;
 * -EAGAIN: the deadline was BROOD_NOW; -ENOSPC: BROOD_CONDITION_PROCESSES other processes wait; -EPERM: the caller does not
 * hold the lock, and -EINVAL: the condition has none.  The deadline is for being notified: it then takes as long as it
 * takes to get the lock.  Callers: any number, that hold the lock. */
BROOD_API BROOD_MUST_USE int brood_condition_wait(struct brood_condition *condition, brood_deadline deadline);

/* Waits until predicate(context) is not 0: looks first, and each time when notified, with the lock.  0: it is so.
 * Otherwise as above, and the predicate was 0 at the end; but after -EOWNERDEAD nobody has looked. */
BROOD_API BROOD_MUST_USE int brood_condition_wait_for(struct brood_condition *condition, int (*predicate)(void *context),
                                                      void *context, brood_deadline deadline);

/* Wakes n of those who wait, or all if they are fewer.  0; -EPERM: the caller does not hold the lock; -EINVAL: n is less
 * than 1, or the condition has no lock.  Never blocks.  Callers: who hold the lock. */
BROOD_API int brood_condition_notify(struct brood_condition *condition, int n);
BROOD_API int brood_condition_notify_all(struct brood_condition *condition);

BROOD_END

#endif
