/* callback.h - inside the library: hooks, which are notified when a future is done.
 *
 * A hook is in the list of its future until the future is done.  Then the finishing thread notifies it with the lock held,
 * and the hook may only record that.  One kind of hook is a callback: when notified, it also enters the list of due
 * callbacks, of its pool or of its promise, and stays in its future's list, so that the first one of either list is found
 * at once.  One thread at a time calls the due callbacks, one after the other, without the lock: so they keep their order,
 * and a callback may use the pool, and free its future.
 *
 * A callback that is added to a finished future is called at once, and may add the next one to another finished future.  So
 * that a long chain does not use up the stack, a callback that is nested CALLS_NESTED_MAX deep becomes due instead: in its
 * pool, or in its promise, whose callbacks the thread calls when it has left the outermost callback.
 */
#ifndef BROOD_POOL_FUTURE_CALLBACK_H
#define BROOD_POOL_FUTURE_CALLBACK_H

#include <stdbool.h>
#include <stddef.h>

#include "pool/core/calls.h"

#include <brood/future.h>

struct brood_pool;
struct call;
struct lock;
struct promise;

#define CALLS_NESTED_MAX 16

struct hook {
    struct link link;
    /* Called once, with the future's lock held, when the hook is out of the list.  NULL: the hook is a callback that has
     * been notified and is due. */
    void (*notify)(struct hook *hook, struct brood_future *future);
    /* Called with the lock held when the future has a new job in a lane.  NULL: the hook does not need that. */
    void (*move)(struct hook *hook);
    /* If a promise is cancelled, the hook is notified only when the producer knows, too. */
    bool is_patient;
};

/* Appends a hook to a future that is not done.  Locked, as all that follows. */
void brood__hook_add(struct brood_future *future, struct hook *hook);

/* Removes the hook from the list, if it is there. */
void brood__hook_remove(struct brood_future *future, struct hook *hook);

/* Notifies all hooks, or only those that are not patient. */
void brood__hooks_notify(struct brood_future *future, bool also_patient);

/* The future, which waited in the host or is a map, has another job in a lane: a waiter that has named its parker in the
 * earlier jobs has to name it there, too. */
void brood__hooks_move_each(struct brood_future *future);

/* ---- due callbacks ---- */

/* Can the calling thread call a callback now? */
bool brood__calls_can(const struct calls *calls);

/* Calls the due callbacks, or those of one future, and returns their number.  Calls none while another thread calls
 * some.  Locked by `lock` on entry and return, not in between. */
int brood__calls_run(struct calls *calls, struct lock *lock, const struct brood_future *only);

/* Calls all due callbacks of a promise: now or, if callbacks are nested too deep, when this thread has left the
 * outermost one.  Inside the promise. */
void brood__calls_run_promise(struct promise *promise);

/* This thread calls the promise's callbacks when it has left the outermost one.  The promise stays allocated until then.
 * Inside the promise. */
void brood__calls_postpone(struct promise *promise);

/* Forgets the hooks of a future that will never be done. */
void brood__calls_forget(struct brood_future *future);

#endif
