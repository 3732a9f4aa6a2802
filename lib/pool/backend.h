/* backend.h - all that a pool asks of a kind of worker. */
#ifndef BROOD_POOL_BACKEND_H
#define BROOD_POOL_BACKEND_H

#include "pool/pool.h"

struct backend {
    const char *name;
    bool between_processes; /* the segment is shared with other processes */

    /* Starts the workers and waits until each is ready to serve its lane.  On failure nothing of them remains.
     * 0 or a negative errno, in words. */
    int (*start)(struct brood_pool *pool, const struct brood_pool_options *options);

    /* Who is wanted by the roll, and is not there, is started.  Does not wait.  NULL: there is nobody to start.  Locked. */
    void (*recruit)(struct brood_pool *pool);

    /* Ends them, and returns when none can run any more.  Until the deadline they may end what they run; what has not
     * started by then has been taken back. */
    void (*stop)(struct brood_pool *pool, brood_deadline deadline);

    /* Ends them while the pool is open, by SIGTERM and at the deadline by SIGKILL, and returns when they are dead.  What
     * has not started has been taken back.  NULL where nobody can be killed. */
    void (*end)(struct brood_pool *pool, brood_deadline deadline);

    /* Kills whoever runs the task at that position, without waiting; NULL where nobody can be killed. 0, or -EAGAIN: too
     * many such orders at once. */
    int (*kill_task)(struct brood_pool *pool, unsigned lane, uint64_t position);

    /* The pidfd of who watches over the workers; NULL: there is nobody. */
    int (*watched)(const struct brood_pool *pool);

    /* Does who watches over the workers live?  NULL: nobody has to. */
    bool (*is_alive)(const struct brood_pool *pool);

    /* The id of the thread that is that worker, as the scheduler knows it; 0: there is none now.  NULL: there never is. */
    pid_t (*thread_id)(const struct brood_pool *pool, unsigned worker);

    /* Runs what is in the lanes, if that is the caller's business; else NULL. */
    void (*run)(struct brood_pool *pool);
};

extern const struct backend brood__backend_processes;
extern const struct backend brood__backend_threads;
extern const struct backend brood__backend_inline;

#endif
