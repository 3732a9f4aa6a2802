/* brood/barrier.h - a place where a fixed number of threads or processes wait for each other, again and again.
 *
 *     r = brood_barrier_init(&barrier, 4);                     // once
 *     ...
 *     for (int step = 0; step < STEPS; step++) {               // each of the four
 *         compute_my_part(step);
 *         r = brood_barrier_wait(&barrier, brood_after_ms(60000));
 *         if (r < 0)
 *             break;                                           // a party does not come: it is broken for all
 *     }
 *
 * It lies wherever the user puts it: static, on a stack, in memory that processes map at different addresses.  No call
 * destroys it.  A thread that has passed may come again at once, and then waits for the next cycle.
 *
 * Broken.  When a party gives up, fails, or is killed while it waits, the others cannot all meet any more: present and
 * later waiters get -ENOTRECOVERABLE until a reset.  A death is noticed within some 20 ms, or
 * 100 where more than 16 processes wait, so a party that was killed just before the last one came may count as having come.
 *
 * Deadlines.  There is no internal lock: a participant that is stopped in the middle of a call delays nothing but its own
 * arrival, and every wait ends at its deadline.
 */
#ifndef BROOD_BARRIER_H
#define BROOD_BARRIER_H

#include <stdbool.h>

#include <brood/lock.h>

BROOD_BEGIN

#define BROOD_BARRIER_PROCESSES 64 /* processes, with any number of threads each, that can wait at a time */

struct brood_barrier { /* all of it is private */
    uint64_t word __attribute__((aligned(8)));
    int64_t looked_ns;  /* when a waiter last looked for the dead */
    uint32_t looked_at; /* the entry to look at next */
    uint32_t parties;
    int64_t timeout_ns;
    uint64_t namespaces; /* of its maker: see brood_lock */
    uint64_t reserved[3];
    uint64_t broken[8]; /* cycles that broke before a reset */
    struct {
        uint64_t process;
        uint64_t waiting;
    } waiters[BROOD_BARRIER_PROCESSES];
};

/* 0; -EINVAL: fewer than one party, or more than 2^30 - 1.  There may be more parties than BROOD_BARRIER_PROCESSES, since
 * they may be threads: a wait in one process too many fails.  Not while others use it. */
BROOD_API BROOD_MUST_USE int brood_barrier_init(struct brood_barrier *barrier, int parties);

/* From now on no wait lasts longer than that, whatever its deadline.  Zero or less: no such limit.  Before others use it.
 */
BROOD_API void brood_barrier_set_timeout(struct brood_barrier *barrier, int64_t timeout_ms);

/* Waits until all parties have come.  0 … parties-1: they have, and each has another number.  -ENOTRECOVERABLE: it is
 * broken.  -ETIMEDOUT: they have not, and now it is broken.  -EAGAIN: the deadline was BROOD_NOW and this was not the last
 * one to come, so it has not entered and nothing is broken.  -ENOSPC: parties of BROOD_BARRIER_PROCESSES other processes
 * wait; nothing is broken either.  -EINVAL: it is zeroed memory, for no party.  -EXDEV: it was made in another PID
 * namespace.
 */
BROOD_API BROOD_MUST_USE int brood_barrier_wait(struct brood_barrier *barrier, brood_deadline deadline);

/* The same; and the last one to come calls action(context) before any of them goes on.  When it returns a negative errno,
 * the call returns that, with the error text of brood_fail() or else that of the errno, and the barrier is broken.  All
 * parties name an action, since a pointer to one would mean nothing in another process: only that of the last one is
 * called.  NULL: none. */
BROOD_API BROOD_MUST_USE int brood_barrier_wait_with(struct brood_barrier *barrier, int (*action)(void *context),
                                                     void *context, brood_deadline deadline);

/* Breaks it: for a party that cannot come any more.  Never blocks. */
BROOD_API void brood_barrier_abort(struct brood_barrier *barrier);

/* Makes it usable again, and empty.  Present waiters get -ENOTRECOVERABLE.  Never blocks. */
BROOD_API void brood_barrier_reset(struct brood_barrier *barrier);

/* How many wait, which may change at any time; how many parties it has; whether it is broken. */
BROOD_API int brood_barrier_waiting(const struct brood_barrier *barrier);
BROOD_API int brood_barrier_parties(const struct brood_barrier *barrier);
BROOD_API bool brood_barrier_is_broken(const struct brood_barrier *barrier);

/* sizeof(struct brood_barrier), which lies at a multiple of 8: for bindings to languages that cannot read this header. */
BROOD_API size_t brood_barrier_bytes(void);

BROOD_END

#endif
