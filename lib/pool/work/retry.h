/* retry.h - inside the library: tasks that the host runs again after their worker died.
 *
 * For a task that may be retried, the host keeps the request and a copy of a small argument in its own memory (a large one
 * stays in the segment, as the dead worker left it).  A lost task goes to the pool's heap and waits for its pause.  Then a
 * thread that waits for anything submits it again.
 */
#ifndef BROOD_POOL_WORK_RETRY_H
#define BROOD_POOL_WORK_RETRY_H

#include "pool/core/deferred.h"
#include "pool/core/dispatch.h"
#include "pool/future/future.h"

/* Before the first submission: allows so many retries.  Returns 0, or -ENOMEM with a message.  Locked. */
int brood__retry_prepare(struct brood_pool *pool, struct brood_future *future, const struct request *request, int retries);

/* The request of a prepared task; NULL if it was not prepared.  Locked. */
const struct request *brood__retry_request(const struct brood_future *future);

/* The task's node in a heap, or NULL if it was not prepared; and the future of a node.  Locked. */
struct binheap_node *brood__retry_node(const struct brood_future *future);
struct brood_future *brood__retry_future(const struct binheap_node *node);

/* The task was lost.  True if the host retries it.  Locked. */
bool brood__retry(struct brood_pool *pool, struct brood_future *future);

/* Has the task been lost so often that it is not retried?  Locked. */
bool brood__retry_is_used_up(const struct brood_future *future);

/* Ends the task with that outcome if it waits for a retry.  Locked. */
bool brood__retry_forget(struct brood_pool *pool, struct brood_future *future, int outcome);

/* The task is not retried, however it ends.  Locked. */
void brood__retry_never(struct brood_future *future);

extern const struct deferred brood__deferred_retries;

#endif
