/* brood/lock.h - a mutual exclusion lock for threads and for processes alike.
 *
 *     struct account {
 *         struct brood_lock lock;                          // in memory that all of them see
 *         long balance;
 *     };
 *     ...
 *     BROOD_WITH_LOCK (&account->lock, &r) {
 *         if (r == -EOWNERDEAD)                            // who had it was killed: its change may be half done
 *             repair(account);
 *         account->balance += 10;
 *     }
 *
 * The lock lies wherever the user puts it: static, on a stack, in mmap(MAP_SHARED) memory at different addresses, in
 * brood_alloc().  Zeroed memory is a free lock, and a lock that is no longer used needs no goodbye.
 *
 * Owner.  The owner of a held lock is a process, so any thread and any other process may release it.  A process that takes
 * a lock which it holds waits for one of its threads, or of its friends, to release it: brood/rlock.h is the lock that its
 * owner can take again.
 *
 * Death.  When the owner dies with the lock, the next one gets it and is told: -EOWNERDEAD.  Who sleeps finds out within
 * 20 ms.  A process that was killed while it waited harms nobody.
 *
 * Speed.  Nobody else wants it: one compare-and-swap, one exchange, no system call.  Not fair: who comes just when it is
 * released may be before those who sleep.
 */
#ifndef BROOD_LOCK_H
#define BROOD_LOCK_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_lock {
    uint64_t word __attribute__((aligned(8))); /* private: who has it, and whether others sleep */
};

/* Makes it free.  For memory that is not zero; not while others use it. */
BROOD_API void brood_lock_init(struct brood_lock *lock);

/* 0: acquired.  -EOWNERDEAD: acquired, but the process that held it has died: look at what it guards.  -EAGAIN: somebody
 * has it, and the deadline was BROOD_NOW; -ETIMEDOUT.  Callers: any number. */
BROOD_API BROOD_MUST_USE int brood_lock_acquire(struct brood_lock *lock, brood_deadline deadline);

/* 0; -EPERM: nobody held it.  Never blocks.  Callers: whoever knows that it is held, not only who acquired it. */
BROOD_API int brood_lock_release(struct brood_lock *lock);

/* Does somebody hold it, dead or alive?  True only of the moment. */
BROOD_API bool brood_lock_held(const struct brood_lock *lock);

/* BROOD_WITH_LOCK(lock, ret_outcome) { ... }: runs the block with the lock, and releases it on every way out: the end,
 * break, return, goto.  *ret_outcome is 0 or -EOWNERDEAD then; ret_outcome may be NULL.  Waits without limit. */
#define BROOD_WITH_LOCK(held, ret_outcome) BROOD_WITH_(lock, held, ret_outcome, __LINE__)

/* What both kinds of locks make of it.  The line is in the name so that one block may stand in another. */
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
    struct brood_lock_scope scope = {lock, 1};

    if (ret_outcome)
        *ret_outcome = r;
    return scope;
}

static inline void brood_lock_scope_end(struct brood_lock_scope *scope)
{
    (void)brood_lock_release(scope->lock);
}

BROOD_END

#endif
