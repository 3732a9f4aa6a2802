/* brood/worker.h - being a worker: the other side of `.worker = "path"`.
 *
 *     #include <brood.h>
 *
 *     BROOD_TASK(integrate, struct span, double) { ... }
 *
 *     int main(int argc, char **argv)
 *     {
 *         return brood_worker_main(argc, argv);
 *     }
 *
 * The executable runs the tasks that it and its libraries register.  Host and worker must agree on a task's name and sizes;
 * a task that the worker does not know ends in -ENOENT, with the name.
 */
#ifndef BROOD_WORKER_H
#define BROOD_WORKER_H

#include <stdbool.h>

#include <brood/base.h>

BROOD_BEGIN

/* Serves the pool that started this process until the pool tells it to stop, and returns the status for main() to return.
 * Started by anyone else it explains itself on stderr and returns 2.  `argv` is the program's own and is not changed.
 * Callers: one thread, once. */
BROOD_API int brood_worker_main(int argc, char **argv);

/* Inside a task: the number of the worker that runs it, 0 … workers-1.  Elsewhere -1. */
BROOD_API int brood_worker_id(void);

/* Inside a task: should it give up?  True when it has had its time (see `.limit_ms` in brood/pool.h), when somebody has
 * asked it to stop (brood_future_kill) or when the pool is being closed and no longer waits.  A task that asks now and
 * then, cleans up and returns an error is spared the SIGKILL that comes after the grace.  Costs a few nanoseconds without a
 * limit, a look at the clock with one.  False outside a task. */
BROOD_API bool brood_cancelled(void);

BROOD_END

#endif
