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

/* The same with what it does before its first task and after its last, as `.initializer` and `.finalizer` do for forked
 * workers: see brood/pool.h. */
struct brood_worker_options {
    size_t size; /* sizeof(struct brood_worker_options): BROOD_WORKER(...) fills it in */
    int (*initializer)(void *context, void **ret_state);
    void (*finalizer)(void *context, void *state);
    void *context;
};

#ifndef __cplusplus
#define BROOD_WORKER(...) (&(struct brood_worker_options){.size = sizeof(struct brood_worker_options), __VA_ARGS__})
#endif

/* NULL means no options. */
BROOD_API int brood_worker_main_with(int argc, char **argv, const struct brood_worker_options *options);

/* Inside a task or a finalizer: what the worker's initializer has made.  Elsewhere, and without one, NULL. */
BROOD_API void *brood_worker_state(void);

/* Inside a task, an initializer or a finalizer: the number of the worker that runs it, 0 … workers-1.  Elsewhere -1, and
 * where the initializer of a spare asks, which has none yet (see `.spares` in brood/pool.h). */
BROOD_API int brood_worker_id(void);

/* Inside a task: should it give up?  True when it has had its time (see `.limit_ms` in brood/pool.h), when it has been
 * asked to stop (brood_future_kill) or when the pool is being closed and no longer waits.  A task that asks now and
 * then, cleans up and returns an error is spared the SIGKILL that comes after the grace.  Costs a few nanoseconds without a
 * limit, a look at the clock with one.  False outside a task. */
BROOD_API bool brood_cancelled(void);

BROOD_END

#endif
