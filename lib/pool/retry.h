/* retry.h - inside the library: tasks that are run again after their worker died.
 *
 * A task that may be retried keeps its request and a copy of a small argument in the host's memory (a large one stays in
 * the segment, as the dead worker left it).  When it is lost it goes to the pool's list, waits its pause and is submitted
 * again, by whichever thread waits for anything.
 */
#ifndef BROOD_POOL_RETRY_H
#define BROOD_POOL_RETRY_H

#include "pool/future.h"

/* Before the first submission: it may be run again so often.  0 or -ENOMEM, in words.  Locked. */
int brood__retry_prepare(struct brood_pool *pool, struct brood_future *future, const struct request *request, int retries);

/* What is submitted of one that was prepared; NULL if it was not.  Locked. */
const struct request *brood__retry_request(const struct brood_future *future);

/* It was lost.  True if it will be run again.  Locked. */
bool brood__retry(struct brood_pool *pool, struct brood_future *future);

/* Has it been lost as often as it may be, and is that why it will not be run again?  Locked. */
bool brood__retry_is_used_up(const struct brood_future *future);

/* Submits those whose pause is over, as far as there is room.  True if there was one.  Locked. */
bool brood__retry_due(struct brood_pool *pool);

/* Is there one?  When will be the next?  Locked. */
bool brood__retry_is_due(const struct brood_pool *pool);
brood_deadline brood__retry_next(const struct brood_pool *pool);

/* It ends with that outcome if it waits to be run again.  Locked. */
bool brood__retry_forget(struct brood_pool *pool, struct brood_future *future, int outcome);
void brood__retry_forget_all(struct brood_pool *pool, int outcome);

/* However it ends, it will not be run again.  Locked. */
void brood__retry_never(struct brood_future *future);

#endif
