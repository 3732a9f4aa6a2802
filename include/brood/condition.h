/* brood/condition.h - a condition variable: sleep, with a lock released, until another thread or process notifies.
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
 * Both serve threads and processes, lie wherever the user puts them, and no call destroys them.
 *
 * Exactly.  There are no spurious wake-ups: notify(n) wakes n of the threads that wait at that moment, or all if they are
 * fewer.  Threads that have timed out, or were killed, do not count.  The order of waking is not defined; and if there is
 * another notification before all of them have returned, waiters that came in between may take their places: as many
 * return as were notified.
 *
 * Death.  A process may be killed at any instruction.  notify() never waits.  If a woken waiter dies before it returns,
 * another one that waited then is woken in its place, within some 20 ms.  If the owner of the lock dies, one waiter returns
 * with the lock and -EOWNERDEAD.
 */
#ifndef BROOD_CONDITION_H
#define BROOD_CONDITION_H

#include <brood/lock.h>
#include <brood/rlock.h>

BROOD_BEGIN

#define BROOD_CONDITION_PROCESSES 64 /* processes, with any number of threads each, that can wait at a time */

struct brood_condition { /* all of it is private, and guarded by the lock */
    int64_t lock;        /* where that is, from here */
    uint32_t is_rlock;
    uint32_t sequence;   /* counts notifications; sleepers sleep on it */
    uint64_t tickets;    /* that waiters have drawn */
    uint64_t boundary;   /* the waiter of a ticket below it was there at the last notification */
    uint32_t grants;     /* how many waiters may return and have not yet */
    uint32_t entries;    /* that were ever used */
    int64_t looked_ns;   /* when a waiter last looked */
    uint64_t namespaces; /* of its maker: see brood_lock */
    uint64_t reserved;
    struct {
        uint64_t process;
        uint64_t waiting;
    } waiters[BROOD_CONDITION_PROCESSES];
};

/* A condition of that lock.  0; -EINVAL: there is no lock.  Not while others use it. */
BROOD_API BROOD_MUST_USE int brood_condition_init(struct brood_condition *condition, struct brood_lock *lock);
BROOD_API BROOD_MUST_USE int brood_condition_init_rlock(struct brood_condition *condition, struct brood_rlock *rlock);

/* Releases the lock, waits until notified, and acquires the lock again: the caller has it whatever this returns, if it had
 * it.  An rlock is released at any depth, and has its depth again at the end.  0: notified.  -EOWNERDEAD: another owner of
 * the lock has died with it meanwhile, and what it guards may be half changed; the caller was notified or not.  -ETIMEDOUT;
 * -EAGAIN: the deadline was BROOD_NOW; -ENOSPC: BROOD_CONDITION_PROCESSES other processes wait; -EPERM: the caller does not
 * hold the lock, -EINVAL: the condition has none, and -EXDEV: it was made in another PID namespace.  The deadline is for
 * being notified: it then takes as long as it takes to get the lock.  Callers: any number, that hold the lock. */
BROOD_API BROOD_MUST_USE int brood_condition_wait(struct brood_condition *condition, brood_deadline deadline);

/* Waits until predicate(context) is not 0: looks first, and each time when notified, with the lock.  0: it is so.
 * Otherwise as above, and the predicate was 0 at the end; but after -EOWNERDEAD it was not called again. */
BROOD_API BROOD_MUST_USE int brood_condition_wait_for(struct brood_condition *condition, int (*predicate)(void *context),
                                                      void *context, brood_deadline deadline);

/* Wakes n waiters, or all if they are fewer.  0; -EPERM: the caller does not hold the lock; -EINVAL: n is less
 * than 1, or the condition has no lock; -EXDEV.  Never blocks.  Callers: the owner of the lock. */
BROOD_API int brood_condition_notify(struct brood_condition *condition, int n);
BROOD_API int brood_condition_notify_all(struct brood_condition *condition);

/* sizeof(struct brood_condition), which lies at a multiple of 8: for bindings to languages that cannot read this header. */
BROOD_API size_t brood_condition_bytes(void);

BROOD_END

#endif
