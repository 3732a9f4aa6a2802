/* header.h - the pool header, which host, supervisor and workers share: the first pages of the segment.
 *
 *     pool header | a worker state for each worker | certificates | a lane for each worker (slots, extensions) | heap
 *
 * A process addresses the segment by offsets from its base.  `struct shared` is its private view, with pointers.
 */
#ifndef BROOD_PROTO_HEADER_H
#define BROOD_PROTO_HEADER_H

#include <brood/pool.h>

#include "proto/certificate.h"
#include "proto/hold.h"
#include "proto/lane.h"
#include "proto/large_result.h"
#include "proto/membership.h"
#include "shm/parker.h"
#include "shm/segment.h"

#define HEADER_MAGIC 0x62726f6f64303034u /* "brood004": changes with the layout */
#define HEADER_PARKERS 64 /* for host threads; number 0 is for the thread that waits for the pool to start or stop */
#define HEADER_TASKS 256

/* A task by name, so that its index means the same in every executable. */
struct header_task {
    char name[BROOD_TASK_NAME_MAX + 1];
    uint64_t arg_size, result_size;
};
_Static_assert(sizeof(struct header_task) == 128, "shared layout");

enum header_state { HEADER_OPEN, HEADER_STOPPING, HEADER_BROKEN };

struct header {
    /* Written by the host before any other process exists; read by all. */
    uint64_t magic;
    uint32_t workers, lane_slots;
    uint32_t cpus;            /* CPUs that the pool may use */
    uint32_t fence_symmetric; /* the host cannot use membarrier, so no process of the pool may */
    uint32_t output_pipes;    /* pipes to the supervisor that each worker process has for its output */
    uint32_t unused;
    uint64_t heap_offset;
    /* address space of the segment: a process that attaches reserves as much, for memory that is committed later */
    uint64_t reserved;
    uint64_t worker_tasks, worker_memory_kib, worker_age_ms; /* a worker is recycled after this much; 0: never */
    /* a worker is scaled down after this long without work, if … */
    uint64_t idle_ns;
    uint32_t workers_min; /* … its number is not below this */
    uint32_t at_limit;    /* enum brood_at_limit */
    uint32_t depth;       /* how many workers of other pools the host is nested in */
    char name[16];

    /* The host stores STOPPING, the supervisor BROKEN after `reason`: release.  All processes load it, acquire. */
    _Alignas(64) _Atomic uint32_t state;
    /* The supervisor's thread id: stored by the supervisor, release.  When it dies the kernel sets FUTEX_OWNER_DIED.
     * Host threads sleep on it and load it, acquire. */
    _Atomic uint32_t life;
    /* why the pool is BROKEN: supervisor, relaxed, before the release of `state`; host, after acquiring that */
    _Atomic int32_t error;
    /* The supervisor stores 1, release, once it watches all of the first workers.  The host opens the pool only after it
     * has seen that, acquire. */
    _Atomic uint32_t watched;
    /* Workers from this number on are dismissed.  Host writes, workers read.  Relaxed: a hint. */
    _Atomic uint32_t wanted;
    /* Not 0: lanes from `wanted` on, whose workers are gone, may have tasks.  The host stores another number each time,
     * release; workers load it, acquire, and the one that finds no such task clears it, by CAS. */
    _Atomic uint32_t dismissed_work;
    /* How many workers there are.  The process that starts workers adds; all read it as a hint.  Relaxed. */
    _Atomic uint32_t present;
    /* A worker has answered a task since the supervisor last cleared this, which it does after a death.  Workers set it
     * only if it is 0, so the line rarely changes.  Relaxed. */
    _Atomic uint32_t has_answered;
    /* The pool accepts no more tasks, so a worker without work ends.  The host stores it before it reads `idle`; a
     * worker loads it after it has set its bit there.  Sequentially consistent: one of the two sees the other's store. */
    _Atomic uint32_t is_draining;
    char reason[424];

    /* A bit for each worker: it sleeps, or is about to.  The worker sets it before its heavy fence; the process that
     * wakes the worker clears it, or the supervisor after the worker's death.  The host reads it after each submission,
     * after its light fence.  It changes only when a worker sleeps or wakes. */
    _Alignas(128) _Atomic uint64_t idle[BROOD_WORKERS_MAX / 64];
    /* A bit for each worker: it runs a stolen task, or is dead and not yet replaced, so a task in its lane would wait
     * although no other task is before it.  Set by the worker before its heavy fence, or by the supervisor; cleared by
     * the worker, also when it begins.  The host reads it as it reads `idle`. */
    _Atomic uint64_t unavailable[BROOD_WORKERS_MAX / 64];
    /* The watcher's number + 1; 0: there is none.  An idle worker sets it by CAS before the heavy fence of `idle`; that
     * worker clears it, or the supervisor after its death.  The host reads it as it reads `idle`. */
    _Atomic uint32_t watcher;
    /* Help requests: how often a worker was woken for tasks in the lanes of others.  The process that wakes adds before
     * it clears the bit in `idle`; the worker that was woken reads it.  Relaxed: the bit in `idle` and the parker order
     * it. */
    _Atomic uint32_t help_requests;

    /* A bit for each lane: a task may wait there.  The host sets it after it has published a task, if it is not set: so
     * it does not change while a lane is busy.  A worker that is about to sleep clears it if it has seen no task there.
     * Acquire and release.  Idle workers look only into lanes with this bit; the owner always looks into its own. */
    _Alignas(128) _Atomic uint64_t waiting[BROOD_WORKERS_MAX / 64];

    /* A bit for each parker where a host thread sleeps, or is about to.  The host writes it; a worker reads it after it
     * has loaded WAITER_ALL, which the host stores later, from a slot; the supervisor reads it after it has reported a
     * death. */
    _Alignas(64) _Atomic uint64_t asleep;
    struct parker parkers[HEADER_PARKERS];

    _Atomic uint32_t task_count; /* stored by the host after the entry, release; loaded by workers, acquire */
    struct header_task tasks[HEADER_TASKS];
};

/* The view of one process.  Sizes and places were read once, when the segment was made or attached: a worker may have
 * overwritten the pool header since. */
struct shared {
    struct segment segment;
    struct large_results large;
    struct header *header;
    struct lane *lanes; /* one for each worker */
    unsigned workers;
    uint32_t cpus;  /* CPUs that the pool may use */
    uint32_t tasks; /* host: tasks that it has entered in the pool header */
    struct certificate *certificates;
    unsigned certificate_count;
    struct hold *hold;             /* in a worker process; else NULL */
    struct membership *membership; /* NULL in workers, and in pools whose worker is the caller */
};

/* Makes and lays out the segment of a pool.  Returns 0 or a negative errno with a message.  Lanes have memory, or, with
 * `is_sparse` and between processes, only address space: then no process may touch a lane before brood__lane_commit(). */
int brood__shared_open(struct shared *ret_shared, enum segment_kind kind, unsigned workers, uint32_t lane_slots,
                       size_t memory_bytes, bool is_sparse);

/* Host: commits memory for the first `depth` slots of a ring, at most all of them, its mailbox and their extensions.
 * Returns 0; -ENOSPC or -ENOMEM with a message: the lane's depth is unchanged. */
int brood__lane_commit(struct shared *shared, unsigned lane, uint32_t depth);

/* Supervisor, after the fork: the host commits more of the lanes from now on, without notice to this process. */
void brood__lanes_assume_committed(struct shared *shared);

/* Attaches to the pool whose segment the descriptor is.  Returns 0; -EPROTO with a message: it is no segment of this
 * version. */
int brood__shared_attach(struct shared *ret_shared, int fd);

void brood__shared_close(struct shared *shared);

/* The certificate of that number; NULL if there is none.  The number may come from a process that is not trusted. */
struct certificate *brood__certificate(const struct shared *shared, uint32_t number);

/* Takes a free certificate for that worker.  Returns its number, or CERTIFICATE_NONE. */
uint32_t brood__certificate_take(const struct shared *shared, unsigned worker);

/* A worker takes a certificate itself, also in a signal handler.  After its death the supervisor finds it by _of(), and
 * owns it then. */
uint32_t brood__certificate_take_for(const struct shared *shared, unsigned worker);
uint32_t brood__certificate_of(const struct shared *shared, unsigned worker);

/* Frees a certificate.  CERTIFICATE_NONE is valid. */
void brood__certificate_free(const struct shared *shared, uint32_t number);

/* ---- idle workers ---- */

/* Worker: marks itself as about to sleep, and issues the heavy fence, whose result it returns.  The other call removes
 * the mark; false: another process has removed it, and wakes this worker. */
bool brood__idle_enter(struct header *header, unsigned worker);
bool brood__idle_leave(struct header *header, unsigned worker);

/* Worker: marks itself as unavailable, with the heavy fence, or as back.  _mark() has no fence: for the host, while the
 * worker does not exist. */
void brood__unavailable_mark(struct header *header, unsigned worker);
void brood__unavailable_enter(struct header *header, unsigned worker);
void brood__unavailable_leave(struct header *header, unsigned worker);

/* Worker: becomes the watcher, or is it already; true on success.  The other call gives the post up. */
bool brood__watcher_enter(struct header *header, unsigned worker);
void brood__watcher_leave(struct header *header, unsigned worker);

/* Wakes that worker if it is idle.  A worker that wakes another passes its own worker state; if it dies between two
 * steps of this, the supervisor completes the wake-up by the second call.  Other callers pass NULL. */
bool brood__idle_wake(struct shared *shared, unsigned worker, struct worker_state *waker);
void brood__idle_wake_for(struct shared *shared, const struct worker_state *dead);

/* Wakes any idle worker to help; false if there is none.  Counts a help request before it clears that worker's bit.  The
 * last call tells whether there were requests since *seen, and updates it. */
bool brood__idle_wake_any(struct shared *shared, struct worker_state *waker);
void brood__help_request(struct header *header);
bool brood__help_was_requested(const struct header *header, uint32_t *seen);

/* Wakes an idle worker to help if a task waits and there is no watcher.  Called after a heavy fence: host and workers
 * may have woken no worker because of the caller, or of a dead worker. */
void brood__pass_wake(struct shared *shared, struct worker_state *waker);

/* Called by the process or thread that starts workers, when a worker has ended to scale down: records that in the
 * membership.  False: a task has come meanwhile, and the worker must be started again.  While the pool drains this wakes
 * one sleeping worker, which may end now; its own scaling down wakes the next. */
bool brood__scale_down(struct shared *shared, unsigned worker);

/* Wakes the host threads that wait for a slot, given its `waiter`.  Called by workers, and by the host itself. */
void brood__wake_waiter(struct header *header, unsigned waiter);

/* Wakes all workers from that number on; all host threads. */
void brood__wake_workers(struct shared *shared, unsigned from);
void brood__wake_host(struct header *header);

unsigned brood__idle_count(const struct shared *shared);

/* The number of workers that exist and are not idle. */
unsigned brood__awake_count(const struct shared *shared);

/* Adds to the number of workers: +1 or -1. */
void brood__present_add(struct header *header, int change);

/* ---- which lanes have work ---- */

/* Host: a task was published in that lane, with a light fence after it. */
void brood__waiting_set(struct header *header, unsigned lane);

/* The first lane from that number on where a task may wait; the number of workers if there is none. */
unsigned brood__waiting_from(const struct shared *shared, unsigned lane);

/* Does a task wait in any lane? */
bool brood__any_waiting(const struct shared *shared);

/* Worker: _clear() clears the bits of lanes without a waiting task.  _restore(), after a heavy fence, looks again and
 * sets the bits of those where a task has come meanwhile; true if there are any.  Other workers may have looked in
 * between and seen no bit, so the worker then passes the wake-up on. */
struct cleared {
    uint64_t bits[BROOD_WORKERS_MAX / 64];
    bool any;
};

void brood__waiting_clear(const struct shared *shared, struct worker_state *self, struct cleared *ret_cleared);
bool brood__waiting_restore(const struct shared *shared, struct worker_state *self, const struct cleared *cleared);

/* Supervisor: sets the bits that a dead worker may have cleared wrongly, in that many lanes. */
void brood__waiting_repair(const struct shared *shared, struct worker_state *dead, unsigned lanes);

/* Do more workers and host threads want to run than there are CPUs?  Would they, with one more idle worker awake? */
bool brood__is_crowded(const struct shared *shared);
bool brood__is_full(const struct shared *shared);

static inline bool brood__idle_any(const struct shared *shared)
{
    for (unsigned i = 0; i < (shared->workers + 63) / 64; i++)
        if (atomic_load_explicit(&shared->header->idle[i], memory_order_relaxed) != 0)
            return true;
    return false;
}

static inline bool brood__idle_is(const struct header *header, unsigned worker)
{
    return atomic_load_explicit(&header->idle[worker / 64], memory_order_relaxed) >> (worker % 64) & 1;
}

static inline bool brood__unavailable_is(const struct header *header, unsigned worker)
{
    return atomic_load_explicit(&header->unavailable[worker / 64], memory_order_relaxed) >> (worker % 64) & 1;
}

/* Is there a watcher, which looks into the lanes without being woken? */
static inline bool brood__watcher_any(const struct header *header)
{
    return atomic_load_explicit(&header->watcher, memory_order_relaxed) != 0;
}

/* Does the pool header still have the values that the host has written before other processes existed?  If not, a worker
 * has overwritten it. */
static inline bool brood__header_is_whole(const struct shared *shared)
{
    const struct header *header = shared->header;

    return read_once(header->magic) == HEADER_MAGIC && read_once(header->workers) == shared->workers &&
           read_once(header->cpus) == shared->cpus;
}

/* ---- state ---- */

static inline enum header_state brood__header_state(const struct header *header)
{
    return (enum header_state)atomic_load_explicit(&header->state, memory_order_acquire);
}

void brood__header_set_state(struct header *header, enum header_state state);

/* ---- tasks by name ---- */

/* Host: the index of that task, which is entered if it is new.  -ENOSPC after HEADER_TASKS tasks.  One thread at a time. */
int brood__header_task(struct shared *shared, const struct brood_task *task);

/* Any process: the entry of an index, or NULL. */
const struct header_task *brood__header_entry(const struct header *header, unsigned index);

#endif
