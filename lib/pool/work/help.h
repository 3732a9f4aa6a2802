/* help.h - inside the library: a worker that waits inside its own pool.
 *
 * A task of a pool of threads, or of a BROOD_INLINE pool, may use the pool that runs it.  While it waits it occupies a
 * worker, and when all workers wait, none is left to run what they wait for.  So a worker that waits without a deadline
 * first runs the awaited job itself, if no worker has begun it (work helping); the job may be in a lane or still in the
 * host.  It runs nothing else: any other task may need what this one holds, and the stack would grow without a bound.  If
 * the worker already runs the awaited job, in an outer call, that is a deadlock.
 */
#ifndef BROOD_POOL_WORK_HELP_H
#define BROOD_POOL_WORK_HELP_H

#include "pool/future/future.h"

/* Called by such a worker, which waits for the future.  1: it has run something; 0: there is nothing for it to run;
 * -EDEADLK with a message: it would wait for itself.  Locked on entry and return, not in between. */
int brood__help_task(struct brood_pool *pool, struct brood_future *future);
int brood__help_map(struct brood_pool *pool, struct map *map);

#endif
