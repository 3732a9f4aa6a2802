/* kind.h - all that a pool needs from a kind of worker. */
#ifndef BROOD_POOL_CORE_KIND_H
#define BROOD_POOL_CORE_KIND_H

#include "pool/core/pool.h"

/* For workers that are threads of the host, and that wait inside a task of their own pool: worker/server.h describes the
 * functions. */
struct inside_ops {
    bool (*is_worker)(const struct shared *shared);
    void (*run)(const struct shared *shared, unsigned lane, uint64_t position);
    bool (*runs_word)(const struct shared *shared, uint64_t word);
    unsigned (*run_aside)(const struct shared *shared, struct slot *slot, struct slot_extension *extension,
                          const struct job *job);
    bool (*runs_aside)(const struct shared *shared, const struct job *job);
};

extern const struct inside_ops brood__inside_ops;

struct kind {
    bool between_processes; /* the segment is shared with other processes */

    /* Starts the workers and waits until each is ready to serve its lane.  On failure nothing of them remains.  Returns
     * 0 or a negative errno with a message. */
    int (*start)(struct brood_pool *pool, const struct brood_pool_options *options);

    /* Starts each worker that the membership wants and that does not exist.  Does not wait.  NULL: there is none to
     * start.  Locked. */
    void (*start_missing)(struct brood_pool *pool);

    /* Ends the workers, and returns when none can run any more.  Until the deadline they may finish what they run; the
     * host has taken back what has not started. */
    void (*stop)(struct brood_pool *pool, brood_deadline deadline);

    /* Ends the workers while the pool is open, by SIGTERM and at the deadline by SIGKILL, and returns when they are
     * dead.  The host has taken back what has not started.  NULL: workers of this kind cannot be killed. */
    void (*end)(struct brood_pool *pool, brood_deadline deadline);

    /* Kills the worker that runs the task at that position, without waiting.  NULL: workers of this kind cannot be
     * killed.  Returns 0, or -EAGAIN: too many such requests at once. */
    int (*kill_task)(struct brood_pool *pool, unsigned lane, uint64_t position);

    /* The pidfd of the supervisor; NULL: there is none. */
    int (*watched)(const struct brood_pool *pool);

    /* Does the supervisor live?  NULL: there is none. */
    bool (*is_alive)(const struct brood_pool *pool);

    /* The kernel's id of that worker's thread; 0: it does not exist now.  NULL: it never does. */
    pid_t (*thread_id)(const struct brood_pool *pool, unsigned worker);

    /* How many workers have a control group that bounds their memory.  NULL: none ever has. */
    int (*memory_groups)(const struct brood_pool *pool);

    /* Runs what is in the lanes, if the caller is the worker; else NULL. */
    void (*run)(struct brood_pool *pool);

    /* NULL: the workers are processes. */
    const struct inside_ops *inside;
};

extern const struct kind brood__kind_processes;
extern const struct kind brood__kind_threads;
extern const struct kind brood__kind_inline;

/* Do the workers see this memory at the host's address? */
static inline bool brood__is_shared(const struct brood_pool *pool, const void *memory, size_t bytes)
{
    return !pool->ops->between_processes || brood__offset_in_heap(pool, memory, bytes) != 0;
}

/* Is the calling thread a worker of this pool, inside a task of it? */
static inline bool brood__is_worker_of(const struct brood_pool *pool)
{
    return pool->ops->inside && pool->ops->inside->is_worker(&pool->shared);
}

#endif
