/* callback.h - inside the library: who is told that a future is done.
 *
 * A hook is in the list of its future until that is done; then it is told, under the lock, and may only take note.  One
 * kind of hook is a callback: it takes note by going to the list of those that are due, of its pool or of its promise.
 * They are called from there one after the other, without the lock, by one thread at a time: so they keep their order, and
 * one that is called may use the pool, and free its future.
 */
#ifndef BROOD_POOL_CALLBACK_H
#define BROOD_POOL_CALLBACK_H

#include <stdbool.h>
#include <stddef.h>

#include <brood/future.h>

struct brood_pool;
struct call;
struct lock;

struct hook {
    struct hook *next;
    /* Called with the future's lock held, once, when the hook is out of the list. */
    void (*tell)(struct hook *hook, struct brood_future *future);
    /* It is told of a promise that was cancelled only when the promise's maker knows of it, too. */
    bool is_patient;
};

/* Locked, as all that follows.  Behind the hooks that are there; of a future that is not done. */
void brood__hook_add(struct brood_future *future, struct hook *hook);

/* Out of the list, if it is there. */
void brood__hook_remove(struct brood_future *future, const struct hook *hook);

/* Tells them all, or those that are not patient. */
void brood__hooks_tell(struct brood_future *future, bool also_patient);

/* ---- callbacks that are due ---- */

struct calls {
    struct call *first, **end;
    size_t count;
    const void *caller; /* the thread that calls them now, or NULL */
};

/* Can the calling thread call one now? */
bool brood__calls_can(const struct calls *calls);

/* Is the calling thread inside one of them? */
bool brood__calls_inside(const struct calls *calls);

/* Calls those that are due now, or of them those of one future, and returns how many.  None, while another thread does it.
 * Locked by `lock` on entry and return, not in between. */
int brood__calls_run(struct calls *calls, struct lock *lock, const struct brood_future *only);

/* Those of a future that will never be done. */
void brood__calls_forget(struct brood_future *future);

#endif
