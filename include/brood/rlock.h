/* brood/rlock.h - a lock that its owner can acquire again: for threads, of one process or of several.
 *
 *     r = brood_rlock_acquire(&rlock, brood_after_ms(100));
 *     if (r == 0 || r == -EOWNERDEAD) {
 *         helper_that_acquires_it_too();                   // depth 2, and 1 again
 *         brood_rlock_release(&rlock);                     // as many releases as acquisitions
 *     }
 *
 * It lies wherever the user puts it, zeroed memory is a free one, and no call destroys it: all as with brood/lock.h.  But
 * its owner is a thread, which alone can release it.  When that thread ends with the lock, or its process dies, the next
 * one acquires it and gets -EOWNERDEAD.
 */
#ifndef BROOD_RLOCK_H
#define BROOD_RLOCK_H

#include <stdbool.h>

#include <brood/lock.h>

BROOD_BEGIN

struct brood_rlock {
    uint64_t word __attribute__((aligned(8))); /* private: which thread has it, and whether others sleep */
    uint32_t depth;                            /* private: how often; the owner's */
    uint32_t reserved;
};

/* Makes it free.  For memory that is not zero; not while others use it. */
BROOD_API void brood_rlock_init(struct brood_rlock *rlock);

/* 0: acquired, or acquired once more.  -EOWNERDEAD: acquired, but the thread that held it has ended or its process has
 * died; -EAGAIN: another one has it, and the deadline was BROOD_NOW; -ETIMEDOUT; -EXDEV: a thread of
 * another PID namespace has it, see brood/lock.h; -EOVERFLOW: 2^32 - 1 times already. */
BROOD_API BROOD_MUST_USE int brood_rlock_acquire(struct brood_rlock *rlock, brood_deadline deadline);

/* 0; -EPERM: the calling thread does not hold it.  The last of as many releases as acquisitions gives it back. */
BROOD_API int brood_rlock_release(struct brood_rlock *rlock);

/* How many releases the calling thread owes; 0: it does not hold it. */
BROOD_API unsigned brood_rlock_depth(const struct brood_rlock *rlock);

/* Does some thread hold it, dead or alive?  True only of the moment. */
BROOD_API bool brood_rlock_held(const struct brood_rlock *rlock);

/* BROOD_WITH_RLOCK(rlock, ret_outcome) { ... }: as BROOD_WITH_LOCK() of brood/lock.h. */
#define BROOD_WITH_RLOCK(held, ret_outcome) BROOD_WITH_(rlock, held, ret_outcome, __LINE__)

struct brood_rlock_scope {
    struct brood_rlock *rlock;
    int rounds;
};

static inline struct brood_rlock_scope brood_rlock_scope_begin(struct brood_rlock *rlock, int *ret_outcome)
{
    int r = brood_rlock_acquire(rlock, BROOD_FOREVER);
    int acquired = r == 0 || r == -EOWNERDEAD;
    struct brood_rlock_scope scope = {acquired ? rlock : NULL, acquired};

    if (ret_outcome)
        *ret_outcome = r;
    return scope;
}

static inline void brood_rlock_scope_end(struct brood_rlock_scope *scope)
{
    if (scope->rlock)
        (void)brood_rlock_release(scope->rlock);
}

/* sizeof(struct brood_rlock), which lies at a multiple of 8: for bindings to languages that cannot read this header. */
BROOD_API size_t brood_rlock_bytes(void);

BROOD_END

#endif
