/* wait.h - inside the library: how a host thread waits: it collects, runs deferred work, polls, and sleeps. */
#ifndef BROOD_POOL_CORE_WAIT_H
#define BROOD_POOL_CORE_WAIT_H

#include "pool/core/jobs.h"

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

/* The parts of brood__wait(), for a thread that waits in several pools at once.  While this returns true there may be
 * more to do before the thread sleeps.  Locked on entry and return, not in between. */
bool brood__make_progress(struct brood_pool *pool, struct wait_condition *condition);

/* A thread re-checks at this interval if there is no free parker for it, or if it cannot be sure to be woken. */
#define UNPARKED_NS 1000000

/* A sleep in one pool. */
struct sleep_ticket {
    unsigned parker;
    uint32_t seen;    /* the parker's generation */
    uint32_t alive;   /* the value of the life word; 0: there is no supervisor to watch */
    uint64_t settled; /* jobs that were settled when the sleep began */
    brood_deadline until, unasked;
};

/* The waiter names its parker in every slot that concerns it.  Then it issues brood__fence_heavy(), which pairs with the
 * light fence of the worker that publishes a result, and checks again: is there something after all?  Only if not, it
 * sleeps on the generation of its parker and on the pool header's life word, until `until` at the latest.  Locked. */
void brood__sleep_begin(struct brood_pool *pool, struct wait_condition *condition, struct sleep_ticket *ret_ticket);
bool brood__sleep_is_needless(struct brood_pool *pool, struct wait_condition *condition, const struct sleep_ticket *ticket);
void brood__sleep_end(struct brood_pool *pool, const struct sleep_ticket *ticket, bool has_slept);

/* Names the parker, or WAITER_ALL, in the slot of a job that is in a lane; or in each slot that `next_job` gives.
 * Locked. */
void brood__announce_in(struct brood_pool *pool, const struct job *job, unsigned parker);
void brood__announce_each(struct brood_pool *pool, next_job_fn *next_job, unsigned parker);

#endif
