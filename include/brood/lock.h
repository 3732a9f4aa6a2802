/* brood/lock.h - a mutual exclusion lock for threads and for processes alike.
 *
 *     struct account {
 *         struct brood_lock lock;                          // in memory that all of them see
 *         long balance;
 *     };
 *     ...
 *     BROOD_WITH_LOCK (&account->lock, &r) {
 *         if (r == -EOWNERDEAD)                            // its owner was killed: its change may be half done
 *             repair(account);
 *         account->balance += 10;
 *     }
 *
 * The lock lies wherever the user puts it: static, on a stack, in mmap(MAP_SHARED) memory at different addresses, in
 * brood_alloc().  Zeroed memory is a free lock, and a lock that is no longer used needs no call to destroy it.
 *
 * Owner.  The owner of a held lock is a process, so any thread and any other process may release it.  A process that takes
 * a lock which it holds waits for another thread or process to release it: brood/rlock.h is the lock that its
 * owner can take again.
 *
 * Death.  The lock is robust: when the owner dies with it, the next one acquires it and gets -EOWNERDEAD.  A sleeping
 * waiter finds out within some 20 ms.  A process that is killed while it waits does no harm.
 *
 * Namespaces.  All that use a lock run in one PID namespace: whether the owner is dead cannot be found out from another
 * one. A lock that is held in another PID (or time) namespace is refused: -EXDEV.  Objects that are made by an init
 * function note where they were made, and are refused elsewhere.
 *
 * Speed.  Without contention: one compare-and-swap, one exchange, no system call.  Not fair: a thread that comes just when
 * it is released may get it before those that sleep.
 */
#ifndef BROOD_LOCK_H
#define BROOD_LOCK_H

#include <errno.h>
#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_lock {
    uint64_t word __attribute__((aligned(8))); /* private: its owner, and whether others sleep */
};

/* Makes it free.  For memory that is not zero; not while others use it. */
BROOD_API void brood_lock_init(struct brood_lock *lock);

/* 0: acquired.  -EOWNERDEAD: acquired, but the process that held it has died: check what it guards.  -EAGAIN: it is
 * held, and the deadline was BROOD_NOW; -ETIMEDOUT.  -EXDEV: not acquired, whatever the deadline: a process of another
 * PID namespace holds it.  Callers: any number. */
BROOD_API BROOD_MUST_USE int brood_lock_acquire(struct brood_lock *lock, brood_deadline deadline);

/* 0; -EPERM: it was not held.  Never blocks.  Callers: any thread that knows that it is held, not only the one that
 * acquired it. */
BROOD_API int brood_lock_release(struct brood_lock *lock);

/* True while it is held, by a live or a dead owner.  It may change at any time. */
BROOD_API bool brood_lock_held(const struct brood_lock *lock);

/* BROOD_WITH_LOCK(lock, ret_outcome) { ... }: runs the block with the lock, and releases it on every way out: the end,
 * break, return, goto.  *ret_outcome is 0 or -EOWNERDEAD then; ret_outcome may be NULL.  Waits without limit.  With -EXDEV
 * the lock is not acquired, and the block does not run. */
#define BROOD_WITH_LOCK(held, ret_outcome) BROOD_WITH_(lock, held, ret_outcome, __LINE__)

/* For both kinds of locks.  The line is in the name so that one block may stand in another. */
#define BROOD_WITH_(noun, object, ret_outcome, line) BROOD_WITH_NAMED_(noun, object, ret_outcome, line)
#define BROOD_WITH_NAMED_(noun, object, ret_outcome, line)                                                     \
    for (struct brood_##noun##_scope brood_scope_##line                                                        \
         __attribute__((cleanup(brood_##noun##_scope_end))) = brood_##noun##_scope_begin(object, ret_outcome); \
         brood_scope_##line.rounds > 0; brood_scope_##line.rounds--)

struct brood_lock_scope {
    struct brood_lock *lock;
    int rounds;
};

static inline struct brood_lock_scope brood_lock_scope_begin(struct brood_lock *lock, int *ret_outcome)
{
    int r = brood_lock_acquire(lock, BROOD_FOREVER);
    int acquired = r == 0 || r == -EOWNERDEAD;
    struct brood_lock_scope scope = {acquired ? lock : NULL, acquired};

    if (ret_outcome)
        *ret_outcome = r;
    return scope;
}

static inline void brood_lock_scope_end(struct brood_lock_scope *scope)
{
    if (scope->lock)
        (void)brood_lock_release(scope->lock);
}

/* sizeof(struct brood_lock), which lies at a multiple of 8: for bindings to languages that cannot read this header. */
BROOD_API size_t brood_lock_bytes(void);

BROOD_END

#endif
