/* brood/semaphore.h - a number of permits, for threads and for processes alike.
 *
 *     r = brood_semaphore_init(&permits, 4, 4);            // four, and never more
 *     ...
 *     r = brood_semaphore_acquire(&permits, BROOD_FOREVER);
 *     use_one_of_four();
 *     brood_semaphore_release(&permits, 1);
 *
 * It lies wherever the user puts it: static, on a stack, in memory that processes map at different addresses.  Zeroed
 * memory is a semaphore without permits and without a bound, and no call destroys it.
 *
 * Death.  A permit has no owner, so one that a process held when it was killed is gone, as in every semaphore: use
 * brood/lock.h where the next owner must know.  A process that is killed while it waits does no harm, and takes no permit
 * with it.
 */
#ifndef BROOD_SEMAPHORE_H
#define BROOD_SEMAPHORE_H

#include <brood/base.h>

BROOD_BEGIN

#define BROOD_SEMAPHORE_MAX INT32_MAX

struct brood_semaphore {
    uint64_t word __attribute__((aligned(8))); /* private: permits, and how many may sleep */
    uint32_t bound_plus_1;                     /* private; 0: no bound */
    uint32_t looked_ms;                        /* private: when one that waits looked last */
};

/* `value` permits, and never more than `bound`: with BROOD_SEMAPHORE_MAX there is no bound, with 0 there never is a permit.
 * 0; -EINVAL: negative, or value over bound.  Not while others use it. */
BROOD_API BROOD_MUST_USE int brood_semaphore_init(struct brood_semaphore *semaphore, int value, int bound);

/* Takes a permit.  0; -EAGAIN: there is none, and the deadline was BROOD_NOW; -ETIMEDOUT.  Callers: any number. */
BROOD_API BROOD_MUST_USE int brood_semaphore_acquire(struct brood_semaphore *semaphore, brood_deadline deadline);

/* Adds n permits and wakes as many waiters.  0; -EOVERFLOW: that would be over the bound, and nothing has
 * changed; -EINVAL: n is less than 1.  Never blocks.  Callers: any number, also without a permit. */
BROOD_API int brood_semaphore_release(struct brood_semaphore *semaphore, int n);

/* How many permits there are: true only of the moment.  The bound, or BROOD_SEMAPHORE_MAX. */
BROOD_API int brood_semaphore_value(const struct brood_semaphore *semaphore);
BROOD_API int brood_semaphore_bound(const struct brood_semaphore *semaphore);

/* sizeof(struct brood_semaphore), which lies at a multiple of 8: for bindings to languages that cannot read this header. */
BROOD_API size_t brood_semaphore_bytes(void);

BROOD_END

#endif
