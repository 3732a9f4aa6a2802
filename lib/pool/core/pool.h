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
#include "os/lock.h"
#include "pool/core/binheap.h"
#include "pool/core/calls.h"
#include "pool/core/life.h"
#include "proto/header.h"
#include "shm/heap.h"

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

struct brood_pool {
    struct lock lock;
    unsigned fork_generation; /* of the process that opened the pool */
    enum brood_kind kind;
    struct shared shared;
    struct heap heap;
    const struct kind *ops;
    void *kind_state;

    struct lane_shadow *shadows;
    unsigned workers;           /* lanes: the largest number of workers … */
    unsigned lanes;             /* … and the lanes that have memory and a lane shadow: the largest number ever wanted */
    _Atomic unsigned wanted;    /* workers below this number shall exist.  Host threads write it with the lock held;
                                   brood_pool_workers() reads it without.  A count: relaxed would do */
    unsigned workers_min;       /* workers below this number never scale down */
    uint32_t resizes;           /* calls that resized the pool so far */
    unsigned last_lane;         /* the lane used last, which is the most likely to be hot */
    size_t outstanding;         /* jobs in lanes, and maps */
    uint64_t settled;           /* jobs so far */
    uint64_t finished;          /* tasks and maps that are finished, … */
    uint64_t failed, cancelled; /* … and some of these: struct brood_pool_stats */
    uint64_t retried, stolen;
    uint64_t quarantined;         /* quarantined tasks, and quarantined items of maps */
    uint64_t lost_tasks;          /* the count of lost tasks that the host has collected: membership.h */
    uint64_t deaths_told;         /* deaths of idle workers: those that brood_pool_deaths() has reported … */
    uint64_t deaths_rung;         /* … and those that the descriptor of brood_pool_fd() has signalled */
    size_t queue;                 /* the capacity: the host accepts at most so many */
    struct map_window *turns;     /* idle windows of maps, which no worker works on: map.h */
    struct map_window *stalled;   /* … and those that found no room in a lane */
    size_t preempted;             /* workers' parts in maps that are preempted for a task: brood__maps_preempt() */
    struct brood_future *fetches; /* large results to be fetched: fetch.h */
    struct large_regions regions;
    struct binheap again;   /* tasks to be retried because their worker died, by time: retry.h */
    struct binheap backlog; /* tasks that wait in the host, by priority: backlog.h */
    struct terms terms;     /* of a call that sets no others */
    int64_t retry_pause_ns;

    uint64_t parkers_free; /* a bit for each parker of the pool header */
    unsigned parkers_kept; /* cycles through the parkers of waiters that return to their own */
    uint64_t asleep;       /* what the host wrote into header->asleep */
    uint32_t alive;        /* the value of header->life while the supervisor lives; 0: there is none */
    const char *torn;      /* why the pool is broken, found where the host cannot handle that yet; NULL: it is not */

    unsigned users;        /* threads inside a call */
    unsigned helpers;      /* workers of this pool that run a job for which they wait, from any place in a lane: help.h */
    unsigned futures;      /* futures that exist */
    _Atomic uint32_t left; /* during close: how often only the closing thread was left inside a call.  A thread that leaves
                              adds; the closing thread reads it and sleeps on it.  Relaxed: the lock orders it */
    unsigned references;   /* brood_pool_ref() */
    enum pool_life life;
    bool has_closer; /* a thread is in brood_pool_close() */
    bool heeds_interrupts, interrupts_cancel, has_finalizer, may_rest;
    uint8_t usual_waiter;               /* the waiter that every slot names from the beginning: event_thread.h */
    bool is_attended;                   /* the host collects finished jobs although no thread may wait */
    bool has_callback_thread;           /* only the event thread calls callbacks */
    bool is_signalled;                  /* `ready_fd` is readable */
    int ready_fd;                       /* of brood_pool_fd(); -1: there is none */
    struct event_thread *event_thread;  /* a thread, or NULL */
    struct calls calls;                 /* callbacks that are due … */
    struct death_report *death_reports; /* the first death report that is not logged yet */
    size_t calls_awaited;               /* … and the number that will become due */
    char broken_reason[448];
    struct brood_future **free_futures; /* freed futures, the last one on top; room for all that were allocated */
    size_t free_count, free_room, made;

    struct {
        const struct brood_task *task;
        int index;
    } known[64];         /* the pool header's index of a task, by the task's address … */
    uint32_t tasks_gone; /* … valid while no more tasks than these have gone */
};

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
    pool->users++;
    return 0;
}

int brood__pool_is_closed(struct brood_pool *pool) __attribute__((cold));

/* The same for a call on the pool itself, which needs the pool's memory; a future may be asked later.  -ESHUTDOWN with a
 * message after the pool is closed, since brood_pool_ref() keeps the handle. */
static inline int brood__pool_enter_open(struct brood_pool *pool)
{
    int r = brood__pool_enter(pool);

    return r == 0 && life_is_closed(pool->life) ? brood__pool_is_closed(pool) : r;
}

void brood__pool_leave_closing(struct brood_pool *pool);

static inline void brood__pool_leave(struct brood_pool *pool)
{
    pool->users--;
    if (life_is_ending(pool->life))
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
    if (life_is_closed(pool->life))
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
