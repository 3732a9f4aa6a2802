/* board.h - what host, supervisor and workers of one pool share: the first pages of its segment.
 *
 *     board | a station for each worker | certificates | a lane for each worker (slots, then notes) | heap
 *
 * A process finds its way by offsets from the segment's base.  `struct shared` is its private view, with pointers.
 */
#ifndef BROOD_SHM_BOARD_H
#define BROOD_SHM_BOARD_H

#include <brood/pool.h>

#include "shm/certificate.h"
#include "shm/lane.h"
#include "shm/parker.h"
#include "shm/roll.h"
#include "shm/segment.h"
#include "shm/spill.h"

#define BOARD_MAGIC 0x62726f6f64303033u /* "brood003": changes with the layout */
#define BOARD_PARKERS 64                /* for host threads; number 0 is the one that waits for the pool to start or stop */
#define BOARD_TASKS 256

/* A task by name, so that it means the same in every executable. */
struct board_task {
    char name[BROOD_TASK_NAME_MAX + 1];
    uint64_t arg_size, result_size;
};
_Static_assert(sizeof(struct board_task) == 128, "shared layout");

enum board_state { BOARD_OPEN, BOARD_STOPPING, BOARD_BROKEN };

struct board {
    /* Written by the host before anyone else is there; read by all. */
    uint64_t magic;
    uint32_t workers, lane_slots;
    uint32_t cpus;            /* that the pool may use */
    uint32_t fence_symmetric; /* the host cannot membarrier: nobody shall */
    uint32_t output_pipes;    /* how many pipes to the supervisor a worker process has for what it prints */
    uint32_t reserved;
    uint64_t heap_offset;
    uint64_t worker_tasks, worker_memory_kib, worker_age_ms; /* a worker retires after so much; 0: never */
    uint64_t idle_ns;                                        /* a worker rests after so long without work, if … */
    uint32_t workers_min;                                    /* … its number is not below this; 0: nobody rests */
    uint32_t depth;                                          /* in how many workers of other pools the host is */
    char name[16];

    /* STOPPING by the host, BROKEN by the supervisor (after `reason`); read by all.  Release / acquire. */
    _Alignas(64) _Atomic uint32_t state;
    /* The supervisor's thread id and, when it has died, FUTEX_OWNER_DIED: by the kernel.  Host threads sleep on it. */
    _Atomic uint32_t life;
    _Atomic int32_t error; /* supervisor, before BROKEN: why */
    /* Supervisor: 1 once it watches all of the first workers; the host does not open the pool before. */
    _Atomic uint32_t watched;
    /* Workers from this number on have been dismissed.  Host writes, workers read.  Relaxed. */
    _Atomic uint32_t wanted;
    /* There may be tasks in lanes from `wanted` on, whose workers are gone: another number each time.  Host, release; the
     * worker that has found nothing there clears it, by CAS.  Acquire. */
    _Atomic uint32_t orphans;
    /* How many workers there are.  Who starts them adds; all read, as a hint.  Relaxed. */
    _Atomic uint32_t present;
    char reason[176];

    /* A bit a worker: it sleeps, or is about to.  Set by the worker before its heavy fence; cleared by the one who will
     * wake it, or by the supervisor after its death.  Read by the host after each submission: it changes only when someone
     * parks. */
    _Alignas(128) _Atomic uint64_t idle[BROOD_WORKERS_MAX / 64];
    /* A bit a worker: it is busy with something that it stole, or dead and not yet replaced, so that a task in its lane
     * would wait although nothing is ahead of it.  Set by the worker before its heavy fence, or by the supervisor; cleared
     * by the worker, also when it begins.  Read by the host as `idle` is. */
    _Atomic uint64_t away[BROOD_WORKERS_MAX / 64];
    /* The number, plus one, of the idle worker who looks after the others' lanes by itself now and then; 0: nobody.  Set by
     * the worker before the heavy fence of `idle`; cleared by it, or by the supervisor after its death.  Read by the host
     * as `idle` is, and by idle workers, by CAS. */
    _Atomic uint32_t lookout;
    /* How often somebody was woken for whatever waits in the others' lanes.  Who wakes adds, before it clears the bit in
     * `idle`; who was woken reads it.  Relaxed: the word in `idle` and the parker order it. */
    _Atomic uint32_t calls;

    /* A bit for each parker that a host thread sleeps at, or is about to.  Host writes; a worker reads it after it has seen
     * WAITER_ALL in a slot, which the host wrote later; the supervisor after it has told of a death. */
    _Alignas(64) _Atomic uint64_t asleep;
    struct parker parkers[BOARD_PARKERS];

    _Atomic uint32_t task_count; /* host, release, after the entry; workers acquire */
    struct board_task tasks[BOARD_TASKS];
};

/* One process's view.  What says where things lie was read once, when the segment was made or joined: what stands on the
 * board a worker may have overwritten since. */
struct shared {
    struct segment segment;
    struct spill spill;
    struct board *board;
    struct lane *lanes; /* one a worker */
    unsigned workers;
    uint32_t cpus;  /* that the pool may use */
    uint32_t tasks; /* host: how many it has entered on the board */
    struct certificate *certificates;
    unsigned certificate_count;
    struct roll *roll; /* NULL in workers and in pools that are nobody but the caller */
};

/* Makes the segment of a pool and lays it out.  0 or a negative errno, in words. */
int brood__shared_open(struct shared *ret_shared, enum segment_kind kind, unsigned workers, uint32_t lane_slots,
                       size_t memory_bytes);

/* Joins the pool behind a descriptor.  0; -EPROTO: that is no segment of this version, in words. */
int brood__shared_attach(struct shared *ret_shared, int fd);

void brood__shared_close(struct shared *shared);

/* The certificate of that number; NULL if there is none.  The number may come from anybody. */
struct certificate *brood__certificate(const struct shared *shared, uint32_t number);

/* Takes a free one: its number, or CERTIFICATE_NONE. */
uint32_t brood__certificate_take(const struct shared *shared);

/* A worker takes one itself, also in a signal handler; when it is dead the supervisor asks for it, and has it then. */
uint32_t brood__certificate_take_for(const struct shared *shared, unsigned worker);
uint32_t brood__certificate_of(const struct shared *shared, unsigned worker);

/* Gives it back.  CERTIFICATE_NONE is fine. */
void brood__certificate_free(const struct shared *shared, uint32_t number);

/* ---- the idle workers ---- */

/* Worker: says that it is about to sleep, with the heavy fence, whose result it returns; or that it is not: false if
 * somebody has said so already, and wakes it. */
bool brood__idle_enter(struct board *board, unsigned worker);
bool brood__idle_leave(struct board *board, unsigned worker);

/* Worker: says that it will be busy elsewhere, with the heavy fence, or that it is back. */
void brood__away_enter(struct board *board, unsigned worker);
void brood__away_leave(struct board *board, unsigned worker);

/* Worker: is it, or does it become, the one who looks after the others' lanes?  Or it no longer is. */
bool brood__lookout_enter(struct board *board, unsigned worker);
void brood__lookout_leave(struct board *board, unsigned worker);

/* Wakes that worker if it is idle. */
bool brood__idle_wake(struct shared *shared, unsigned worker);

/* Calls any idle worker to help; false if there is none.  Has anybody been called since *seen, which is brought up to date?
 */
bool brood__idle_wake_any(struct shared *shared);
bool brood__idle_has_called(const struct board *board, uint32_t *seen);

/* Wakes those host threads that wait for a slot, given its `waiter`.  By workers, and by the host itself. */
void brood__wake_waiter(struct board *board, unsigned waiter);

/* Wakes everybody: workers and host threads. */
void brood__wake_workers(struct shared *shared);
void brood__wake_host(struct board *board);

unsigned brood__idle_count(const struct shared *shared);

/* How many workers are there and not idle. */
unsigned brood__awake_count(const struct shared *shared);

/* A worker more or less: +1 or -1. */
void brood__present_add(struct board *board, int change);

/* Is a task waiting in any lane? */
bool brood__any_waiting(const struct shared *shared);

/* Do more workers and host threads want to run than there are CPUs?  Or would they, if an idle worker did, too? */
bool brood__is_crowded(const struct shared *shared);
bool brood__is_full(const struct shared *shared);

static inline bool brood__idle_any(const struct shared *shared)
{
    for (unsigned i = 0; i < (shared->workers + 63) / 64; i++)
        if (atomic_load_explicit(&shared->board->idle[i], memory_order_relaxed) != 0)
            return true;
    return false;
}

static inline bool brood__idle_is(const struct board *board, unsigned worker)
{
    return atomic_load_explicit(&board->idle[worker / 64], memory_order_relaxed) >> (worker % 64) & 1;
}

static inline bool brood__away_is(const struct board *board, unsigned worker)
{
    return atomic_load_explicit(&board->away[worker / 64], memory_order_relaxed) >> (worker % 64) & 1;
}

/* Does somebody look after the lanes without being woken for it? */
static inline bool brood__lookout_any(const struct board *board)
{
    return atomic_load_explicit(&board->lookout, memory_order_relaxed) != 0;
}

/* Does the board still say what the host wrote there before anyone else came?  If not, somebody has written over it. */
static inline bool brood__board_is_whole(const struct shared *shared)
{
    const struct board *board = shared->board;

    return read_once(board->magic) == BOARD_MAGIC && read_once(board->workers) == shared->workers &&
           read_once(board->cpus) == shared->cpus;
}

/* ---- state ---- */

static inline enum board_state brood__board_state(const struct board *board)
{
    return (enum board_state)atomic_load_explicit(&board->state, memory_order_acquire);
}

void brood__board_set_state(struct board *board, enum board_state state);

/* ---- tasks by name ---- */

/* Host: the index of that task, entered if it is new.  -ENOSPC after BOARD_TASKS tasks.  Callers: one thread at a time. */
int brood__board_task(struct shared *shared, const struct brood_task *task);

/* Any process: the entry of an index, or NULL. */
const struct board_task *brood__board_entry(const struct board *board, unsigned index);

#endif
