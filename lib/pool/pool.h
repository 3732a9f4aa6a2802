/* pool.h - inside the library: a pool as its host sees it.
 *
 * The host keeps a private mirror of every lane: which job is in which slot.  The mirror, not the segment, is the authority
 * on what was submitted; what is read from the segment is checked against it.  One mutex guards all of this; it is private
 * to the process and never held while a task runs, while memory is copied or while anybody sleeps.
 */
#ifndef BROOD_POOL_POOL_H
#define BROOD_POOL_POOL_H

#include <string.h>

#include <brood/pool.h>

#include "os/fork.h"
#include "os/lock.h"
#include "pool/callback.h"
#include "shm/board.h"
#include "shm/heap.h"

/* How a slot was settled. */
struct answer {
    enum slot_state state; /* SLOT_DONE, SLOT_LOST, SLOT_CANCELLED; SLOT_FREE: the pool closed or broke */
    unsigned worker;       /* who ran it */
    struct slot *slot;
    struct note *note;
};

/* Something in a slot that somebody waits for. */
struct job {
    /* Called with the lock held, once, when the slot is settled; it may not block. */
    void (*settle)(struct brood_pool *pool, struct job *job, const struct answer *answer);
    uint64_t position; /* while `in_lane`: where it is */
    unsigned lane;
    bool in_lane;
};

/* The mirror of one lane. */
struct mirror {
    struct job **jobs;     /* by slot; NULL: the slot is free */
    uint8_t *waiters;      /* by slot: what the host wrote into its `waiter` */
    uint64_t oldest, tail; /* ring positions: everything before `oldest` is settled; `tail` is the next to be used */
    uint64_t mailbox;      /* the mailbox's next position, without MAILBOX */
    uint64_t fed;          /* the position of the last job that came from the backlog */
    uint64_t answered;     /* by the worker of this number, from whatever lane */
    unsigned outstanding;
    unsigned moved_from; /* the CPU off which the worker was moved, until it is seen elsewhere: placement.h */
    bool is_starved;     /* until all that is outstanding is settled, it waits for the CPU of a thread that submits */
};

/* What a task may take, and how often it may be tried again. */
struct terms {
    int64_t limit_ns, grace_ns; /* 0: no limit */
    int retries;
    int priority;
};

/* Tasks that wait in the host: backlog.h. */
struct backlog {
    struct waiting *heap;
    size_t count, room;
    uint64_t number; /* of the next */
};

struct attendant;
struct backend; /* a kind of worker: backend.h */
struct map_window;

struct brood_pool {
    struct lock lock;
    unsigned fork_generation; /* of the process that opened it */
    enum brood_kind kind;
    struct shared shared;
    struct heap heap;
    const struct backend *backend;
    void *backend_state;

    struct mirror *mirrors;
    unsigned workers;           /* lanes: as many as there may be */
    _Atomic unsigned wanted;    /* workers that there shall be: those below this number.  Changed under the lock; relaxed */
    unsigned workers_min;       /* those below this number never rest */
    uint32_t resizes;           /* that were so far */
    unsigned last_lane;         /* the one used last is the one most likely to be hot */
    size_t outstanding;         /* jobs in lanes, and maps */
    uint64_t settled;           /* jobs so far */
    uint64_t finished;          /* tasks and maps, … */
    uint64_t failed, cancelled; /* … and some of these: struct brood_pool_stats */
    uint64_t retried, stolen;
    uint64_t quarantined;         /* tasks, and items of maps */
    uint64_t losses;              /* that have been collected: roll.h */
    size_t queue;                 /* at most so many */
    struct map_window *turns;     /* windows of maps that nobody works on: map.h */
    struct map_window *stalled;   /* … and those that have found no room in a lane */
    unsigned yielding;            /* workers' parts in maps that make way for a task: brood__maps_yield() */
    struct brood_future *fetches; /* results that wait to be fetched: fetch.h */
    struct spill_regions regions;
    struct brood_future *again; /* tasks whose worker died, to be run again: retry.h */
    struct backlog backlog;
    struct terms terms; /* of a call that says nothing else */
    int64_t retry_pause_ns;

    uint64_t parkers_free; /* a bit for each of the board's parkers */
    uint64_t asleep;       /* what the host wrote into board->asleep */
    int64_t spin_ns;
    uint32_t alive;   /* what board->life says while the supervisor lives; 0: there is none */
    const char *torn; /* what is wrong with the pool, seen where nothing can be done about it yet; NULL: nothing */

    unsigned users;        /* threads inside a call */
    unsigned futures;      /* that exist */
    _Atomic uint32_t left; /* counts how often, since the pool is being closed, nobody but who closes it was left */
    bool closing, closed, broken;
    int16_t given_up; /* why nothing more is to start although the pool is not closed: -ECANCELED, -ESHUTDOWN, or 0 */
    bool heeds_interrupts, has_finalizer, may_rest;
    uint8_t usual_waiter;        /* who is named in every slot from the beginning: attendant.h */
    bool is_attended;            /* what is done is to be collected although nobody may wait */
    bool has_call_thread;        /* the attendant calls callbacks, nobody else */
    bool has_rung;               /* `bell` is readable */
    int bell;                    /* of brood_pool_fd(); -1: there is none */
    struct attendant *attendant; /* a thread, or NULL */
    struct calls calls;          /* callbacks that are due … */
    size_t calls_awaited;        /* … and how many will be */
    char why_broken[256];
    struct brood_future **spares; /* freed futures, the last one on top; room for all that were made */
    size_t spare_count, spare_room, made;

    struct {
        const struct brood_task *task;
        int index;
    } known[64]; /* the board's index of a task, by its address */
};

/* ---- using a pool ---- */

/* Is this the process that opened it? */
static inline bool brood__pool_is_ours(const struct brood_pool *pool)
{
    return pool && pool->fork_generation == atomic_load_explicit(&brood__fork_generation, memory_order_relaxed);
}

/* Why not, in words: -EINVAL or -EPERM. */
int brood__pool_not_ours(const struct brood_pool *pool);

/* Locks the pool for a call.  0; -EPERM in a process that did not open it.  Every use ends with brood__pool_leave(). */
static inline int brood__pool_enter(struct brood_pool *pool)
{
    if (!brood__pool_is_ours(pool))
        return brood__pool_not_ours(pool);
    brood__lock(&pool->lock);
    pool->users++;
    return 0;
}

void brood__pool_leave_closing(struct brood_pool *pool);

static inline void brood__pool_leave(struct brood_pool *pool)
{
    pool->users--;
    if (pool->closing)
        brood__pool_leave_closing(pool);
    else
        brood__unlock(&pool->lock);
}

/* Mirrors, heap and segment. */
void brood__pool_close_memory(struct brood_pool *pool);

/* Frees what is left of a closed pool when its last future is gone.  Locked on entry, not on return. */
void brood__pool_release(struct brood_pool *pool);

/* What a call says, with what the pool says for the rest.  In ms; 0: as the pool, negative: none. */
struct terms brood__terms(const struct brood_pool *pool, int limit_ms, int grace_ms, int retries);

/* ---- how many workers (resize.c) ---- */

/* There is more to do than those who are there have begun: one that rests is wanted, that of `lane` first.  Locked. */
void brood__call_rested(struct brood_pool *pool, unsigned lane);

/* ---- submission (submit.c) ---- */

/* The commonest size without a call. */
static inline void copy_small(void *to, const void *from, size_t bytes)
{
    if (bytes == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, bytes);
}

struct watch;

/* What goes into a slot. */
struct request {
    enum slot_kind kind;
    unsigned task;          /* the board's index */
    struct brood_bytes arg; /* small: copied into the slot */
    uint64_t arg_offset;    /* large: where it lies in the segment */
    uint64_t result_offset;
    size_t result_room;
    uint32_t region; /* where a result goes for which the room is too small, or SPILL_NONE */
    int64_t limit_ns, grace_ns;
};

/* Waits until the pool takes one more: 0, -EAGAIN, -ETIMEDOUT, -ESHUTDOWN.  Locked. */
int brood__wait_for_room(struct brood_pool *pool, brood_deadline deadline);

/* Puts the job into the lane that has the least to do, or into `lane` if that is not ANY_LANE.  False: no slot.  Locked. */
#define ANY_LANE UINT32_MAX
bool brood__submit(struct brood_pool *pool, struct job *job, const struct request *request, unsigned lane);

/* Has any lane a free slot?  Locked. */
bool brood__has_slot(const struct brood_pool *pool);

/* A lane with so little in it that its worker may soon want more: with less than LANE_SHALLOW jobs, of which one may be
 * running; or one where none waits that was given to it as such, since a map keeps a lane full for as long as it lasts.
 * ANY_LANE if there is none.  Locked. */
#define LANE_SHALLOW 2
unsigned brood__shallow_lane(const struct brood_pool *pool);

/* Some job of each lane, in turn, after `previous`: one in the middle of its backlog, so that its settling makes room for
 * many.  Locked. */
struct job *brood__middle_job(struct brood_pool *pool, struct watch *watch, struct job *previous);

/* Every job in every lane; and none.  Locked. */
struct job *brood__every_job(struct brood_pool *pool, struct watch *watch, struct job *previous);
struct job *brood__no_job(struct brood_pool *pool, struct watch *watch, struct job *previous);

/* Do the workers see this memory where the host does? */
bool brood__is_shared(const struct brood_pool *pool, const void *memory, size_t bytes);

/* Workers that are nobody but the caller run now.  Locked on entry and return, not in between. */
void brood__run_inline(struct brood_pool *pool);

/* The board's index of a task.  Locked. */
int brood__task_index(struct brood_pool *pool, const struct brood_task *task);

/* ---- settling and waiting (wait.c) ---- */

/* Settles the job if its slot says that it is over.  Locked. */
bool brood__collect(struct brood_pool *pool, struct job *job);

/* Settles what is over at the front of a lane, or of each.  Locked. */
void brood__collect_lane(struct brood_pool *pool, unsigned lane);
void brood__collect_all(struct brood_pool *pool);

/* Has a worker claimed it?  It is in a lane.  Locked. */
bool brood__is_claimed(struct brood_pool *pool, struct job *job);

/* Takes the job back if no worker has claimed it, and settles it as CANCELLED, or FREE.  Locked. */
bool brood__take_back(struct brood_pool *pool, struct job *job, enum slot_state state);

/* Finishes with that outcome what waits in the host: to be run again, or for its turn.  Locked. */
void brood__forget_waiting(struct brood_pool *pool, int outcome);

/* Settles everything in the lanes: what was published is delivered, the rest is told that the pool is gone.  Locked. */
void brood__settle_all(struct brood_pool *pool);

/* What a thread waits for. */
struct watch {
    /* Is it there?  Collects what it needs to know.  Locked. */
    bool (*is_ready)(struct brood_pool *pool, struct watch *watch);
    /* The next of the jobs whose settling may make it so, after `previous` (NULL: the first), or NULL.  Locked. */
    struct job *(*next_job)(struct brood_pool *pool, struct watch *watch, struct job *previous);
    void *subject;
    bool is_silent;  /* calls no callbacks meanwhile */
    unsigned parker; /* the attendant's own; else 0 */
};

/* Waits until it is there: 0 or -ETIMEDOUT.  Locked on entry and return, not in between. */
int brood__wait(struct brood_pool *pool, struct watch *watch, brood_deadline deadline);

/* Why the pool is broken, or will be: the first reason stays.  Locked. */
void brood__say_broken(struct brood_pool *pool, const char *reason);

/* Does something of what the host has to do for its maps and for what waits there; true if there was any.  Locked. */
bool brood__take_turn(struct brood_pool *pool);

/* brood__wait() in parts, for a thread that waits in several pools at once.  While it returns true there may be more to do
 * before anyone sleeps.  Locked on entry and return, not in between. */
bool brood__bring_on(struct brood_pool *pool, struct watch *watch);

/* Should more threads sleep than there are parkers, the rest look this often; and so does who cannot be sure to be woken.
 */
#define UNPARKED_NS 1000000

/* A sleep in one pool. */
struct nap {
    unsigned parker;
    uint32_t seen;    /* its generation */
    uint32_t alive;   /* what the life word says; 0: it says nothing */
    uint64_t settled; /* jobs when it began */
    brood_deadline until, unasked;
};

/* Names the calling thread's parker in every slot that concerns it.  Then comes brood__fence_heavy(), and then the second
 * look: is there something after all?  Then the thread sleeps on the generation of its parker and on the board's life, not
 * beyond `until`, or does not.  Locked. */
void brood__nap_begin(struct brood_pool *pool, struct watch *watch, struct nap *ret_nap);
bool brood__nap_is_needless(struct brood_pool *pool, struct watch *watch, const struct nap *nap);
void brood__nap_end(struct brood_pool *pool, const struct nap *nap, bool has_slept);

/* Names the parker, or WAITER_ALL, in the slot of a job that is in a lane; or in every slot that is in use.  Locked. */
void brood__announce_in(struct brood_pool *pool, const struct job *job, unsigned parker);
void brood__announce_all(struct brood_pool *pool, unsigned parker);

/* The supervisor is dead, or has given up, or a worker has written over what is not its own: everything fails.  Locked. */
void brood__check_life(struct brood_pool *pool);

#endif
