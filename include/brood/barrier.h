/* brood/barrier.h - a place where a fixed number of threads or processes wait for each other, again and again.
 *
 *     r = brood_barrier_init(&barrier, 4);                     // once
 *     ...
 *     for (int step = 0; step < STEPS; step++) {               // each of the four
 *         compute_my_part(step);
 *         r = brood_barrier_wait(&barrier, brood_after_ms(60000));
 *         if (r < 0)
 *             break;                                           // somebody does not come: it is broken for all
 *     }
 *
 * It lies wherever the user puts it: static, on a stack, in memory that processes map at different addresses.  It needs no
 * goodbye.  Who has come through may come again at once, and waits for the next cycle then.
 *
 * Broken.  When a party gives up, fails, or is killed while it waits, the others cannot all meet any more: all who wait,
 * and all who come later, hear -ENOTRECOVERABLE, until somebody resets it.  A death is noticed within 20 ms, so a party
 * that was killed just before the last one came may count as having come.
 */
#ifndef BROOD_BARRIER_H
#define BROOD_BARRIER_H

#include <stdbool.h>

#include <brood/lock.h>

BROOD_BEGIN

#define BROOD_BARRIER_PROCESSES 64 /* so many, with any number of threads each, can wait at a time */

struct brood_barrier { /* all of it is private */
    struct brood_lock lock;
    uint32_t parties;
    uint32_t generation; /* counts the cycles that have ended */
    uint32_t arrived;
    uint32_t state;
    uint64_t history; /* a bit for each of the last 64 cycles: was it broken? */
    int64_t timeout_ns;
    int64_t looked_ns; /* when somebody has last looked for the dead */
    uint32_t entries;
    uint32_t reserved;
    uint64_t reserved2;
    struct {
        uint64_t process;
        uint64_t waiting;
    } roster[BROOD_BARRIER_PROCESSES];
};

/* 0; -EINVAL: fewer than one party.  There may be more parties than BROOD_BARRIER_PROCESSES, since they may be threads: who
 * comes from one process too many is told then.  Not while others use it. */
BROOD_API BROOD_MUST_USE int brood_barrier_init(struct brood_barrier *barrier, int parties);

/* From now on no wait lasts longer than that, whatever its deadline.  Zero or less: no such limit.  Before others use it.
 */
BROOD_API void brood_barrier_set_timeout(struct brood_barrier *barrier, int64_t timeout_ms);

/* Waits until all parties have come.  0 … parties-1: they have, and each has another number.  -ENOTRECOVERABLE: it is
 * broken.  -ETIMEDOUT: they have not, and now it is broken.  -EAGAIN: the deadline was BROOD_NOW and this was not the last
 * one to come, so it has not entered and nothing is broken.  -ENOSPC: parties of BROOD_BARRIER_PROCESSES other processes
 * wait; nothing is broken either.  -EINVAL: it is zeroed memory, for nobody. */
BROOD_API BROOD_MUST_USE int brood_barrier_wait(struct brood_barrier *barrier, brood_deadline deadline);

/* The same; and the last one to come calls action(context) before any of them goes on.  When it returns a negative errno,
 * its caller returns that, in the words of brood_fail() or else those of the errno, and the barrier is broken.  All parties
 * name an action, since a pointer to one would mean nothing in another process: only that of the last one is called.  NULL:
 * none. */
BROOD_API BROOD_MUST_USE int brood_barrier_wait_with(struct brood_barrier *barrier, int (*action)(void *context),
                                                     void *context, brood_deadline deadline);

/* Breaks it: for who cannot come any more. */
BROOD_API void brood_barrier_abort(struct brood_barrier *barrier);

/* Makes it whole and empty.  Those who wait hear -ENOTRECOVERABLE. */
BROOD_API void brood_barrier_reset(struct brood_barrier *barrier);

/* How many wait: true only of the moment.  How many it is for.  Is it broken? */
BROOD_API int brood_barrier_waiting(const struct brood_barrier *barrier);
BROOD_API int brood_barrier_parties(const struct brood_barrier *barrier);
BROOD_API bool brood_barrier_is_broken(const struct brood_barrier *barrier);

BROOD_END

#endif
