/* pool.h - inside the library: a pool as its host sees it.
 *
 * The host keeps a private lane shadow of every lane: which job is in which slot.  The lane shadow, not the segment, is the
 * authority on what was submitted; the host checks what it reads from the segment against it.  One mutex guards all of
 * this.  It is private to the process, and no thread holds it while a task runs, while memory is copied or while it sleeps.
 */
#ifndef BROOD_POOL_CORE_POOL_H
#define BROOD_POOL_CORE_POOL_H

#include <string.h>

#include <brood/pool.h>

#include "os/fork.h"
#include "os/mutex.h"
#include "pool/core/binheap.h"
#include "pool/core/calls.h"
#include "pool/core/life.h"
#include "proto/header.h"
#include "shm/segment_heap.h"

/* How a slot was settled. */
struct answer {
    enum slot_state state; /* SLOT_DONE, SLOT_LOST, SLOT_CANCELLED; SLOT_FREE: the pool closed or broke */
    unsigned worker;       /* the worker that ran it */
    struct slot *slot;
    struct slot_extension *extension;
};

struct brood_pool;
struct job;

/* The operations of a kind of job.  Called with the pool locked. */
struct job_ops {
    /* Called once, when the slot is settled; it must not block. */
    void (*settle)(struct brood_pool *pool, struct job *job, const struct answer *answer);
    /* Makes the job start nothing more; it finishes what it has begun.  NULL: the job has only one part. */
    void (*stop)(struct job *job);
};

/* The contents of a slot, for which a thread waits. */
struct job {
    const struct job_ops *ops;
    uint64_t position; /* while `in_lane`: its ring position */
    unsigned lane;
    bool in_lane;
};

/* The lane shadow of one lane. */
struct lane_shadow {
    struct job **jobs;     /* by slot; NULL: the slot is free.  No array until the worker is first wanted */
    uint8_t *waiters;      /* by slot: what the host wrote into its `waiter` */
    uint64_t *beyond;      /* by settled slot: a later position before which all are settled, or a lower one */
    uint64_t oldest, tail; /* ring positions: everything before `oldest` is settled; `tail` is the next to use */
    uint64_t mailbox;      /* the mailbox's next position, without MAILBOX */
    uint64_t fed;          /* the position of the last job that came from the backlog */
    uint64_t answered;     /* tasks that the worker of this number has answered, from any lane */
    unsigned outstanding;
    unsigned moved_from; /* the CPU from which the host moved the worker, until it is seen elsewhere: placement.h */
    bool is_starved;     /* until all outstanding jobs are settled: the worker waits for the CPU of a submitting thread */
};

/* The limits of a task, and how often the host may retry it. */
struct terms {
    struct limits limits;
    int retries;
    int priority;
};

/* The event thread's parker, which every slot names if there is an event thread: future/event_thread.h. */
#define EVENT_THREAD_PARKER (HEADER_PARKERS - 1)

struct event_thread;
struct death_report; /* a death to be logged: death.h */
struct kind;         /* a kind of worker: kind.h */
struct map_window;

/* ---- the parts of a pool: the file named is the one that writes it ---- */

/* open.c and resize.c */
struct pool_size {
    unsigned max;            /* the largest number of workers … */
    unsigned lanes;          /* … and the lanes that have memory and a lane shadow: the largest number ever wanted */
    unsigned min;            /* workers below this number never scale down */
    _Atomic unsigned wanted; /* workers below this number shall exist.  Host threads write it with the lock held;
                                brood_pool_workers() reads it without.  A count: relaxed would do */
    uint32_t resizes;        /* calls that resized the pool so far */
    bool may_scale_down;
};

/* Jobs, tasks and maps so far, for struct brood_pool_stats; the file that causes one counts it. */
struct pool_counts {
    size_t outstanding;         /* tasks and maps that are not finished */
    uint64_t settled;           /* jobs: slots.c */
    uint64_t finished;          /* tasks and maps, … */
    uint64_t failed, cancelled; /* … and some of these: pool_future.c */
    uint64_t retried, stolen;
    uint64_t quarantined; /* tasks, and items of maps */
    uint64_t lost_tasks;  /* the count of lost tasks that the host has collected: membership.h */
};

/* wait.c */
struct sleepers {
    uint64_t free_parkers; /* a bit for each parker of the pool header */
    unsigned last_kept;    /* cycles through the parkers of waiters that return to their own */
    uint64_t asleep;       /* what the host wrote into header->asleep */
};

/* teardown.c and close.c */
struct pool_life {
    enum life_state state;
    uint32_t word;    /* the value of header->life while the supervisor lives; 0: there is none */
    const char *torn; /* why the pool is broken, found where the host cannot handle that yet; NULL: it is not */
    char reason[448]; /* why it is broken, as a message; empty: it is not */
};

/* map_window.c */
struct map_windows {
    struct map_window *idle;    /* no worker works on these … */
    struct map_window *stalled; /* … and these have found no room in a lane */
    size_t preempted;           /* workers' parts in maps that are preempted for a task: brood__maps_preempt() */
};

/* fetch.c */
struct fetches {
    struct brood_future *due; /* whose large results are to be fetched */
    struct large_regions regions;
};

/* retry.c */
struct retries {
    struct binheap heap; /* tasks to be retried because their worker died, by time */
    int64_t pause_ns;
};

/* callback.c and event_thread.c */
struct callbacks {
    struct calls due;
    size_t awaited;   /* the number that will become due */
    bool have_thread; /* only the event thread calls them */
};

/* event_thread.c */
struct events {
    struct event_thread *thread; /* or NULL */
    int ready_fd;                /* of brood_pool_fd(); -1: there is none */
    bool is_signalled;           /* `ready_fd` is readable */
    bool is_attended;            /* the host collects finished jobs although no thread may wait */
    uint8_t usual_waiter;        /* the waiter that every slot names from the beginning */
};

/* stats.c and death_report.c */
struct pool_deaths {
    struct death_report *reports; /* the first one that is not logged yet */
    uint64_t reported;            /* deaths of idle workers that brood_pool_deaths() has reported … */
    uint64_t signalled;           /* … and that the descriptor of brood_pool_fd() has signalled */
};

struct pool_users {
    unsigned inside;       /* threads inside a call */
    unsigned helpers;      /* workers of this pool that run a job for which they wait, from any place in a lane: help.h */
    unsigned futures;      /* futures that exist */
    unsigned references;   /* brood_pool_ref() */
    _Atomic uint32_t left; /* during close: how often only the closing thread was left inside a call.  A thread that leaves
                              adds; the closing thread reads it and sleeps on it.  Relaxed: the lock orders it */
    bool has_closer;       /* a thread is in brood_pool_close() */
};

/* pool_future.c */
struct future_cache {
    struct brood_future **futures; /* freed futures, the last one on top; room for all that were allocated */
    size_t count, room, made;
};

/* interrupt.c */
struct interrupts {
    bool are_heeded;
    bool cancel; /* the first one cancels what has not started */
};

/* dispatch.c */
struct task_cache {
    struct {
        const struct brood_task *task;
        int index;
    } known[64];   /* the pool header's index of a task, by the task's address … */
    uint32_t gone; /* … valid while no more tasks than these have gone */
};

struct brood_pool {
    struct lock lock;
    unsigned fork_generation; /* of the process that opened the pool */
    enum brood_kind kind;
    const struct kind *ops;
    void *kind_state;
    struct shared shared;
    struct heap heap;
    struct lane_shadow *shadows; /* by lane: slots.c and dispatch.c */
    unsigned last_lane;          /* the lane used last, which is the most likely to be hot */
    size_t queue;                /* the capacity: the host accepts at most so many */
    struct terms terms;          /* of a call that sets no others */
    bool has_finalizer;

    struct pool_size size;
    struct pool_users users;
    struct pool_counts counts;
    struct sleepers sleepers;
    struct events events;
    struct map_windows windows;
    struct fetches fetches;
    struct retries retries;
    struct binheap backlog; /* tasks that wait in the host, by priority: backlog.c */
    struct callbacks callbacks;
    struct pool_deaths deaths;
    struct future_cache cache;
    struct interrupts interrupts;
    struct pool_life life;
    struct task_cache tasks;
};

/* In a function that requires the lock. */
#define brood__assert_locked(pool) brood__assert(brood__lock_is_held(&(pool)->lock))

/* ---- using a pool ---- */

/* Is this the process that opened the pool? */
static inline bool brood__pool_is_ours(const struct brood_pool *pool)
{
    return pool && pool->fork_generation == atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
}

/* Returns the error with a message: -EINVAL or -EPERM. */
int brood__pool_not_ours(const struct brood_pool *pool);

/* Locks the pool for a call.  Returns 0, or -EPERM in a process that did not open it.  brood__pool_leave() ends each use. */
static inline int brood__pool_enter(struct brood_pool *pool)
{
    if (!brood__pool_is_ours(pool))
        return brood__pool_not_ours(pool);
    brood__lock(&pool->lock);
    pool->users.inside++;
    return 0;
}

int brood__pool_is_closed(struct brood_pool *pool) __attribute__((cold));

/* The same for a call on the pool itself, which needs the pool's memory; a future may be asked later.  -ESHUTDOWN with a
 * message after the pool is closed, since brood_pool_ref() keeps the handle. */
static inline int brood__pool_enter_open(struct brood_pool *pool)
{
    int r = brood__pool_enter(pool);

    return r == 0 && life_is_closed(pool->life.state) ? brood__pool_is_closed(pool) : r;
}

void brood__pool_leave_closing(struct brood_pool *pool);

static inline void brood__pool_leave(struct brood_pool *pool)
{
    pool->users.inside--;
    if (life_is_ending(pool->life.state))
        brood__pool_leave_closing(pool);
    else
        brood__unlock(&pool->lock);
}

/* 0 while the worker does not exist or is not ready.  Locked. */
pid_t brood__worker_pid(const struct brood_pool *pool, unsigned worker);

/* Frees what is left of a closed pool after its last future and the last reference are gone.  Locked on entry, not on
 * return. */
void brood__pool_release_closed(struct brood_pool *pool);

static inline void brood__pool_release(struct brood_pool *pool)
{
    if (life_is_closed(pool->life.state))
        brood__pool_release_closed(pool);
    else
        brood__unlock(&pool->lock);
}

/* There is more work than the present workers have begun: starts a worker that is scaled down, that of `lane` first.
 * Locked. */
void brood__scale_up(struct brood_pool *pool, unsigned lane);

/* In an inline pool, where the caller is the worker, runs what is in the lanes.  Locked on entry and return, not in
 * between. */
void brood__run_inline_now(struct brood_pool *pool);

static inline void brood__run_inline(struct brood_pool *pool)
{
    if (pool->kind == BROOD_INLINE)
        brood__run_inline_now(pool);
}

/* The offset of that memory in the segment; 0: it is not in the heap. */
static inline uint64_t brood__offset_in_heap(const struct brood_pool *pool, const void *memory, size_t bytes)
{
    uintptr_t at = (uintptr_t)memory - (uintptr_t)pool->shared.segment.base;

    return at >= pool->heap.start && at < pool->shared.segment.committed && bytes <= pool->shared.segment.committed - at
               ? at
               : 0;
}

#endif
