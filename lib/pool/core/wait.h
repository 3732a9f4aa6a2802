/* wait.h - inside the library: how a host thread waits: it collects, runs deferred work, polls, and sleeps. */
#ifndef BROOD_POOL_CORE_WAIT_H
#define BROOD_POOL_CORE_WAIT_H

#include "os/clock.h"
#include "os/futex.h"
#include "pool/core/jobs.h"
#include "pool/core/kind.h"

/* What a thread waits for. */
struct wait_condition {
    /* Is the condition true?  Collects what it needs to know.  Locked. */
    bool (*is_ready)(struct brood_pool *pool, struct wait_condition *condition);
    /* The next of the jobs whose settling may make the condition true, after `previous` (NULL: the first), or NULL.
     * Locked. */
    next_job_fn *next_job;
    /* For a worker of the pool that waits without a deadline: it runs the jobs it waits for itself.  1: it ran
     * something; 0: nothing; -EDEADLK with a message.  NULL: there is nothing to run.  Locked on entry and return, not
     * in between. */
    int (*help)(struct brood_pool *pool, struct wait_condition *condition);
    /* Names the parker in every slot that needs it and does not have it yet.  For a waiter that sleeps many times until
     * each of many jobs is over, at the parker of its previous sleep if that is free.  NULL: next_job() gives the slots.
     * Locked. */
    void (*announce)(struct brood_pool *pool, struct wait_condition *condition, unsigned parker);
    void *subject;
    bool is_silent;        /* runs no callbacks meanwhile */
    unsigned parker;       /* the event thread's own parker; else 0 */
    unsigned named_parker; /* with announce(): the parker of the last sleep, or 0 */
    unsigned unclaimed;    /* used by brood__early_job(): unclaimed jobs in the lane of `previous` */
};

/* Waits until the condition is true.  Returns 0, -ETIMEDOUT, -EAGAIN for BROOD_NOW, or -EDEADLK with a message.  Locked
 * on entry and return, not in between. */
int brood__wait(struct brood_pool *pool, struct wait_condition *condition, brood_deadline deadline);

/* ---- the engine, for waiters of other kinds: for a thread that waits in several pools at once ---- */

/* What one kind of waiter does.  Each function that returns an int returns 1 if it has changed something, 0, or a negative
 * errno, which ends the wait. */
struct wait_ops {
    bool (*is_over)(void *waiter);
    int (*make_progress)(void *waiter);
    int (*help)(void *waiter, brood_deadline deadline);
    void (*spin)(void *waiter, brood_deadline deadline);       /* once, before the first sleep */
    void (*sleep_once)(void *waiter, brood_deadline deadline); /* until something may have happened */
};

/* Waits until `is_over`.  Returns 0, -ETIMEDOUT, -EAGAIN for BROOD_NOW, or the error of an operation.  Inline: a kind's
 * operations are constant, and so direct calls. */
static inline __attribute__((always_inline)) int wait_by(const struct wait_ops *ops, void *waiter, brood_deadline deadline)
{
    bool has_spun = false;

    while (!ops->is_over(waiter)) {
        int r = ops->make_progress(waiter);

        if (r == 0 && ops->is_over(waiter))
            break;
        if (r == 0 && brood__is_past(deadline))
            return brood__timeout(deadline);
        if (r == 0)
            r = ops->help(waiter, deadline);
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        if (has_spun)
            ops->sleep_once(waiter, deadline);
        else
            ops->spin(waiter, deadline);
        has_spun = true;
    }
    return 0;
}

/* Heeds deaths and interrupts, and runs deferred work.  While this returns true there may be more to do before the thread
 * sleeps.  Locked on entry and return, not in between. */
bool brood__make_progress(struct brood_pool *pool, struct wait_condition *condition);

/* With a deadline there is no deadlock to avoid, and what the worker ran might take longer. */
static inline bool wait_may_help(const struct brood_pool *pool, brood_deadline deadline)
{
    return deadline.ns == BROOD_FOREVER.ns && brood__is_worker_of(pool);
}

/* A pool in which a thread sleeps. */
struct sleep_place {
    struct brood_pool *pool;
    struct wait_condition *condition;
    struct sleep_place *next;
    bool is_inside; /* the thread sleeps there, or is about to.  Locked */
    /* for brood__sleep() */
    unsigned parker;
    uint32_t alive;         /* the value of the life word; 0: there is no supervisor to watch */
    uint64_t settled;       /* jobs that were settled when the sleep began */
    brood_deadline unasked; /* when the thread looks for what no process has reported */
};

/* What else the thread waits for: checked after the pools, when it has named its parker everywhere.  True: it must not
 * sleep; else *ret_word is the futex word that changes with it. */
struct sleep_extra {
    bool (*is_needless)(void *waiter, struct futex_word *ret_word);
    void *waiter;
};

/* Sleeps in each pool of the list until something may have happened in one of them.
 *
 * The waiter names its parker in every slot that concerns it.  Then it issues brood__fence_heavy(), which pairs with the
 * light fence of the worker that publishes a result, and checks again: is there something after all?  Only if not, it
 * sleeps, on the generations of its parkers and on the pool headers' life words.
 *
 * Meanwhile the thread is inside each pool, so that none is closed.  `words` has room for two words for each pool, and one
 * for `extra`, which may be NULL.  No pool is locked on entry and return. */
void brood__sleep(struct sleep_place *first, const struct sleep_extra *extra, struct futex_word *words,
                  brood_deadline deadline);

/* Names the parker, or WAITER_ALL, in the slot of a job that is in a lane; or in each slot that `next_job` gives.
 * Locked. */
void brood__announce_in(struct brood_pool *pool, const struct job *job, unsigned parker);
void brood__announce_each(struct brood_pool *pool, next_job_fn *next_job, unsigned parker);

#endif
