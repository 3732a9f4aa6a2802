/* backlog.h - inside the library: tasks that wait in the host by priority, the most urgent first.
 *
 * A lane is first in, first out, and the host cannot reorder it.  So, once the program submits a task with a priority, that
 * task and all later ones wait here, until none is left.  They go to the lanes while those are shallow: a thread that
 * submits, or that waits for anything in the pool, moves them.
 */
#ifndef BROOD_POOL_WORK_BACKLOG_H
#define BROOD_POOL_WORK_BACKLOG_H

#include "pool/core/deferred.h"
#include "pool/core/dispatch.h"
#include "pool/future/future.h"

/* Must a task with that priority wait here? */
static inline bool brood__backlog_has(const struct brood_pool *pool, int priority)
{
    return __builtin_expect(priority != 0 || pool->backlog.count > 0, false);
}

/* Adds the task, and submits tasks while there is room.  Returns 1, or -ENOMEM with a message.  Locked. */
int brood__backlog_add(struct brood_pool *pool, struct brood_future *future, const struct request *request, int priority);

/* Submits tasks while there is room.  True if there was any.  Locked. */
bool brood__backlog_feed(struct brood_pool *pool);

/* A worker of the pool, which waits for the task, runs it itself.  False: the task is not here.  Locked on entry and
 * return, not in between. */
bool brood__backlog_run(struct brood_pool *pool, struct brood_future *future);

/* Ends the task with that outcome if it is here.  Locked. */
bool brood__backlog_forget(struct brood_pool *pool, struct brood_future *future, int outcome);

extern const struct deferred brood__deferred_backlog;

#endif
