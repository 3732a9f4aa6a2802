/* backlog.h - inside the library: tasks that wait in the host for their turn, the most urgent first.
 *
 * A lane is first in, first out, and what is in it is out of the host's hands.  So, once a task is submitted with a
 * priority, it and all that come after it wait here, until there are none left, and go to the lanes while those are
 * shallow: by whoever submits, or waits for anything in the pool.
 */
#ifndef BROOD_POOL_BACKLOG_H
#define BROOD_POOL_BACKLOG_H

#include "pool/future.h"

/* Must a task with that priority wait here? */
static inline bool brood__backlog_has(const struct brood_pool *pool, int priority)
{
    return __builtin_expect(priority != 0 || pool->backlog.count > 0, false);
}

/* Takes it in, and submits what there is room for.  1, or -ENOMEM, in words.  Locked. */
int brood__backlog_add(struct brood_pool *pool, struct brood_future *future, const struct request *request, int priority);

/* Submits what there is room for.  True if that was anything.  Locked. */
bool brood__backlog_feed(struct brood_pool *pool);

/* Is there room for one?  Who has settled something since it fed has to ask, before sleeping.  Locked. */
bool brood__backlog_is_due(const struct brood_pool *pool);

/* The jobs whose settling may make room, in turn: for struct watch.  Locked. */
struct job *brood__backlog_job(struct brood_pool *pool, struct watch *watch, struct job *previous);

/* It ends with that outcome if it is there.  Locked. */
bool brood__backlog_forget(struct brood_pool *pool, const struct brood_future *future, int outcome);
void brood__backlog_forget_all(struct brood_pool *pool, int outcome);

#endif
