/* promise.h - inside the library: a future that no pool keeps.
 *
 * It has a lock of its own, which guards all of it as a pool's guards the pool's futures.  Whoever is inside a call keeps
 * it: one thread may free it while the one that keeps the promise is still about to return.
 */
#ifndef BROOD_POOL_PROMISE_H
#define BROOD_POOL_PROMISE_H

#include <brood/promise.h>

#include "os/lock.h"
#include "pool/callback.h"
#include "pool/future.h"

enum promise_state { PROMISE_PENDING, PROMISE_RUNNING, PROMISE_CANCELLED, PROMISE_OVER };

struct promise {
    struct brood_future future; /* whose pool is NULL */
    struct lock lock;
    enum promise_state state; /* OVER: there is an outcome, and whoever made the promise knows it */
    unsigned users;           /* threads inside a call */
    unsigned fork_generation; /* of the process that made it */
    struct calls calls;
};

static inline struct promise *brood__promise(struct brood_future *future)
{
    return (struct promise *)(void *)future; /* its first member */
}

/* What brood_future_…() do for a promise. */
int brood__promise_enter(struct promise *promise);
void brood__promise_leave(struct promise *promise);
int brood__promise_wait(struct promise *promise, brood_deadline deadline);
int brood__promise_cancel(struct promise *promise);
void brood__promise_free(struct promise *promise);
enum brood_future_state brood__promise_state(struct promise *promise);

/* Locked.  Is it cancelled, and does its maker not know yet? */
static inline bool brood__promise_is_untold(const struct promise *promise)
{
    return promise->state == PROMISE_CANCELLED;
}

#endif
