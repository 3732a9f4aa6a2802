/* brood/sched.h - calls at points in time, in order, in the thread that runs the scheduler.
 *
 *     struct brood_sched *sched;
 *     uint64_t event;
 *     int r = brood_sched_open(&sched, NULL);
 *     if (r == 0)
 *         r = brood_sched_enter(sched, 2000000000, 0, remind, NULL, &event);  // two seconds from now
 *     if (r == 0)
 *         r = brood_sched_run(sched, NULL, BROOD_FOREVER);                    // until there is nothing left to do
 *     brood_sched_close(sched);
 *
 * Times are nanoseconds on the scheduler's clock, which is CLOCK_MONOTONIC unless another one is given.  Of events for the
 * same time, the one with the lower priority number comes first; of these, the one that was entered first.
 *
 * Callers: any thread may enter, cancel and look while others run the scheduler, and actions may, too; a thread that waits
 * in brood_sched_run() then waits for what is next.  Several threads may run it: each event is run once.  Nothing is locked
 * while an action runs.  A fork copies the scheduler with its events; the child may go on with it.
 */
#ifndef BROOD_SCHED_H
#define BROOD_SCHED_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

struct brood_sched;

/* Every zero means the default.  BROOD_SCHED(...) fills in `size`. */
struct brood_sched_options {
    size_t size;                     /* sizeof(struct brood_sched_options): lets the struct grow */
    int64_t (*clock)(void *context); /* what time is it?  NULL: CLOCK_MONOTONIC */
    /* Waits so long, or shorter, and is called with 0 after each action, to let others run.  What is negative ends the run.
     * NULL: sleeps, and is woken when an event is entered or cancelled; a function is not. */
    int (*delay)(int64_t ns, void *context);
    void *context; /* for these two */
};

#ifndef __cplusplus
#define BROOD_SCHED(...) (&(struct brood_sched_options){.size = sizeof(struct brood_sched_options), __VA_ARGS__})
#endif

/* `options` is copied; NULL means all defaults.  0, -EINVAL or -ENOMEM. */
BROOD_API BROOD_MUST_USE int brood_sched_open(struct brood_sched **ret_sched, const struct brood_sched_options *options);

/* Drops the events that have not been run.  The last call.  NULL is fine. */
BROOD_API void brood_sched_close(struct brood_sched *sched);

/* Calls action(context) so long from now (what is negative is overdue), or at that time.  `ret_event`, if not NULL, names
 * the event for brood_sched_cancel(); it is never 0.  0; -EINVAL: no action; -ENOMEM. */
BROOD_API int brood_sched_enter(struct brood_sched *sched, int64_t delay_ns, int priority, int (*action)(void *context),
                                void *context, uint64_t *ret_event);
BROOD_API int brood_sched_enterabs(struct brood_sched *sched, int64_t time_ns, int priority, int (*action)(void *context),
                                   void *context, uint64_t *ret_event);

/* The event is not run.  0; -ESTALE: it has been run, or is running, or was cancelled. */
BROOD_API int brood_sched_cancel(struct brood_sched *sched, uint64_t event);

/* Runs what is due, waits for what is next, and so on, until nothing is left or the deadline has passed: BROOD_NOW runs
 * what is due.  0: nothing is left; 1: there is more, and `ret_next_ns`, if not NULL, is how long from now, at least 0;
 * negative: what an action or the delay function returned, with its error text of brood_fail() or else that of the errno:
 * that event is done with, the others are as they were, and it may be called again. */
BROOD_API BROOD_MUST_USE int brood_sched_run(struct brood_sched *sched, int64_t *ret_next_ns, brood_deadline deadline);

/* What time it is on the scheduler's clock. */
BROOD_API int64_t brood_sched_now(struct brood_sched *sched);

/* How many events wait; and are there none? */
BROOD_API size_t brood_sched_count(struct brood_sched *sched);
BROOD_API bool brood_sched_is_empty(struct brood_sched *sched);

/* An event that waits. */
struct brood_sched_entry {
    uint64_t event;
    int64_t time_ns;
    int priority;
    int (*action)(void *context);
    void *context;
};

/* Fills in the events that wait, in the order in which they will be run, at most `room` of them.  Returns how many there
 * are, which may be more; or -ENOMEM; or -EINVAL: `ret_entries` is NULL and `room` is not 0. */
BROOD_API BROOD_MUST_USE int64_t brood_sched_queue(struct brood_sched *sched, struct brood_sched_entry *ret_entries,
                                                   size_t room);

/* For brood_auto(sched). */
static inline void brood_sched_closep(struct brood_sched **sched)
{
    brood_sched_close(*sched);
}

BROOD_END

#endif
