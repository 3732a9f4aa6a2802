/* promise.h - inside the library: a future of no pool, which the program completes.
 *
 * Its own lock guards all of it, as a pool's lock guards the pool's futures.  Each thread inside a call holds a reference:
 * one thread may free the promise while the producer is still about to return.
 */
#ifndef BROOD_POOL_FUTURE_PROMISE_H
#define BROOD_POOL_FUTURE_PROMISE_H

#include <brood/promise.h>

#include "os/mutex.h"
#include "pool/future/callback.h"
#include "pool/future/future.h"

enum promise_state { PROMISE_PENDING, PROMISE_RUNNING, PROMISE_CANCELLED, PROMISE_OVER };

struct promise {
    struct brood_future future; /* whose pool is NULL */
    struct lock lock;
    enum promise_state state; /* OVER: there is an outcome, and the producer knows it */
    unsigned users;           /* threads inside a call */
    unsigned fork_generation; /* of the process that made the promise */
    struct calls calls;
    struct promise *next_postponed; /* the next promise whose callbacks the same thread calls later */
    bool is_postponed;
};

static inline struct promise *brood__promise(struct brood_future *future)
{
    return (struct promise *)(void *)future; /* its first member */
}

int brood__promise_enter(struct promise *promise);
void brood__promise_leave(struct promise *promise);

/* Its operations as a kind of future. */
extern const struct future_ops brood__promise_future;

#endif
