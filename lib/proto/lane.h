/* lane.h - how a task gets to a worker and its answer back: a ring of slots, one cache line each, answered in place.
 *
 * The word of a slot defines its state:
 *
 *     FREE ─► READY ─► RUN ─► DONE          READY      host       publishes the task that it has written into the slot
 *               │       └───► LOST          RUN        a worker   claims it, by one CAS that names the worker
 *               └───► CANCELLED             DONE       that worker, after it has written the answer
 *                                           LOST       supervisor, after the death of the worker named in RUN
 *                                           CANCELLED  host, by CAS from READY
 *
 * DONE, LOST and CANCELLED stay until the host publishes the next task there: only the host's private lane shadow says
 * that the slot is free.  A position is used once: the ring's positions count up, and slot = position % slots.  One more
 * slot, the mailbox, takes the task when no other task is in the lane, so that a caller that waits for each answer
 * always uses one hot line; its positions have MAILBOX set.
 *
 * A worker stores in its worker state what it is about to claim, before it claims.  So after its death one look finds
 * the only slot that it can hold.
 *
 * Claims come from the worker of the lane and from thieves, idle workers of other lanes.  Model: tests/model/lane.pml.
 */
#ifndef BROOD_PROTO_LANE_H
#define BROOD_PROTO_LANE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/base.h>

#include "os/assert.h"
#include "proto/limits.h"
#include "shm/parker.h"

enum slot_state { SLOT_FREE, SLOT_READY, SLOT_RUN, SLOT_DONE, SLOT_LOST, SLOT_CANCELLED };

/* A slot's word: state, worker, position, from the lowest bit up. */
#define WORD_STATE_BITS 4
#define WORD_WORKER_BITS 12
#define WORD_POSITION_BITS 48
#define MAILBOX ((uint64_t)1 << (WORD_POSITION_BITS - 1))

static inline uint64_t word_of(enum slot_state state, unsigned worker, uint64_t position)
{
    brood__assert(worker < 1u << WORD_WORKER_BITS && position >> WORD_POSITION_BITS == 0);
    return (uint64_t)state | (uint64_t)worker << WORD_STATE_BITS | position << (WORD_STATE_BITS + WORD_WORKER_BITS);
}

static inline enum slot_state word_state(uint64_t word)
{
    return (enum slot_state)(word & ((1u << WORD_STATE_BITS) - 1));
}

static inline unsigned word_worker(uint64_t word)
{
    return (unsigned)(word >> WORD_STATE_BITS) & ((1u << WORD_WORKER_BITS) - 1);
}

static inline uint64_t word_position(uint64_t word)
{
    return word >> (WORD_STATE_BITS + WORD_WORKER_BITS);
}

#define SLOT_ARG_BYTES 24
#define SLOT_RESULT_BYTES 16

#define WAITER_NONE 0
#define WAITER_ALL 255 /* several threads wait: wake all that sleep */

enum slot_kind { SLOT_TASK, SLOT_MAP };
#define SLOT_LIMITED 0x80  /* or'ed to the kind: the slot extension has the task's limits */
#define SLOT_ANY_SIZE 0x40 /* or'ed to the kind: the slot extension has a region for a large result */

static inline enum slot_kind slot_kind(uint8_t kind)
{
    return (enum slot_kind)(kind & ~(SLOT_LIMITED | SLOT_ANY_SIZE));
}

struct slot {
    /* Written as drawn above; read by all.  READY, DONE and LOST are release stores, CAS are acquire and release, and
     * every load is an acquire: a process that sees the state sees what was written before it. */
    _Alignas(64) _Atomic uint64_t word;

    /* Written by the host before READY. */
    uint16_t task; /* its index in the pool header */
    uint8_t kind;  /* enum slot_kind, SLOT_LIMITED, SLOT_ANY_SIZE */
    /* Which host thread waits for this slot: the number of a parker, WAITER_NONE or WAITER_ALL.  The host stores it at
     * any time, release, and issues a heavy fence; the worker loads it after DONE and a light fence, acquire, and wakes
     * the thread.  It is in the slot's own line, so reading it costs the worker nothing. */
    _Atomic uint8_t waiter;
    uint32_t arg_bytes; /* of a map: the number of ranges of its window */
    union {
        uint64_t offset; /* of the argument in the segment, when it has more than SLOT_ARG_BYTES */
        unsigned char bytes[SLOT_ARG_BYTES];
    } arg;

    /* Host before READY: room for the result.  Worker before DONE: its length. */
    uint32_t result_bytes;
    int16_t status;      /* worker before DONE: 0 or a negative errno */
    uint8_t has_message; /* worker before DONE: the slot extension has the message of a failure */
    uint8_t is_late;     /* worker before DONE: the task had exceeded its limit when it returned; not of a map */
    union {
        uint64_t offset; /* host before READY: where in the segment, if there is room for more than SLOT_RESULT_BYTES */
        unsigned char bytes[SLOT_RESULT_BYTES];
        int64_t took_ns; /* worker before DONE, of a map: how long its part took; a hint */
    } result;
};
_Static_assert(sizeof(struct slot) == 64, "a slot is a cache line");
_Static_assert(offsetof(struct slot, arg) % 16 == 0 && offsetof(struct slot, result) % 16 == 0, "aligned for any type");

/* The slot extension: what few tasks need beside the slot.  The worker writes the message before DONE, the supervisor
 * how the worker has died before LOST, the host the limits before READY. */
struct slot_extension {
    int32_t pid;
    uint8_t signal, exit_code;
    uint16_t cause;       /* enum brood_cause */
    uint32_t certificate; /* its number, or CERTIFICATE_NONE */
    uint32_t region;      /* host: where a large result goes, or LARGE_NONE */
    uint64_t item_lost;   /* supervisor; of a map: the item that the dead worker's range named, + 1 */
    struct limits limits; /* host: the task's limits */
    /* The position of a task that was asked to stop.  The host stores it; the worker loads it when the task asks.
     * Relaxed: no other memory depends on it. */
    _Atomic uint64_t stopped;
    uint64_t item; /* worker; of a map: the item of the message */
    char words[128];
};
_Static_assert(sizeof(struct slot_extension) == 192, "two extensions share no cache line");

#define OUTPUT_TAKING 1

/* What a worker publishes about itself.  `current` and `head` are written by the worker alone. */
struct worker_state {
    /* Which limits its task has (enum limit_kind), and which of them its handler has seen exceeded (enum brood_cause, or
     * 0).  The worker stores them; the supervisor loads them after the worker's death.  Relaxed. */
    _Alignas(128) _Atomic uint32_t is_limited;
    _Atomic uint32_t has_overrun;
    /* The slot that it is about to claim, holds, or held last: a slot_ref.  A relaxed store before the claim's CAS,
     * which releases it.  The supervisor reads it after the worker's death, thieves read it as a sign of progress. */
    _Atomic uint64_t current;
    /* Every position of its ring before this one has been claimed or cancelled.  The worker stores it after a task, so
     * it may be old, which only costs a look.  Thieves begin their search here, and so does the worker's successor.
     * Relaxed: slots are checked in full. */
    _Atomic uint64_t head;
    /* The number + 1 of the worker that it is about to wake, stored before it clears that worker's bit in `idle`; 0:
     * none.  Worker, relaxed; the supervisor reads it after the worker's death and wakes that one. */
    _Atomic uint32_t waking;
    /* Set between brood__waiting_clear() and brood__waiting_restore() of header.h: a bit may be missing.  Worker,
     * relaxed; the supervisor reads it after the worker's death and sets the missing bits. */
    _Atomic uint32_t is_clearing;
    /* The worker is to end after the task that it runs.  The host stores it; the worker loads it after each task, which
     * is why it is in this line.  Relaxed. */
    _Atomic uint32_t is_dismissed;

    /* enum worker_phase; stored by worker and supervisor, release; loaded by all, acquire */
    _Alignas(64) _Atomic uint32_t state;
    /* worker: the program's initializer has failed, so starting another worker is useless; supervisor, after its death */
    _Atomic uint32_t is_refused;
    /* the errno of a worker that could not start: worker before PHASE_FAILED, relaxed; supervisor after its death */
    _Atomic int32_t error;
    /* the certificate put aside: supervisor, relaxed, before it forks or assigns the worker, and after its death */
    _Atomic uint32_t certificate;
    /* The pace: about how long its last tasks took, in ns; 0: unknown.  The worker stores it when it has changed much;
     * the host compares it with the time that waking a worker takes.  Relaxed: a hint. */
    _Atomic uint32_t pace_ns;
    _Atomic uint32_t cpu; /* CPU on which it last read the clock: worker for the host, relaxed, a hint */

    /* The number of bytes that the supervisor has read from each of the worker's pipes, times 2; + OUTPUT_TAKING while
     * it reads.  The supervisor stores it, release; the worker loads it between tasks, acquire. */
    _Atomic uint64_t output_taken[2];

    struct parker parker; /* where the worker sleeps when it is idle */
};
_Static_assert(sizeof(struct worker_state) == 256, "shared layout");

/* The worker stores SCALED_DOWN or LEFT when it ends in good order.  Any other end is a death, whatever the exit status. */
enum worker_phase { PHASE_EMPTY, PHASE_STARTING, PHASE_READY, PHASE_FAILED, PHASE_SCALED_DOWN, PHASE_LEFT };

static inline enum worker_phase brood__worker_phase(const struct worker_state *worker_state)
{
    return (enum worker_phase)atomic_load_explicit(&worker_state->state, memory_order_acquire);
}

static inline void brood__worker_set_phase(struct worker_state *worker_state, enum worker_phase state)
{
    atomic_store_explicit(&worker_state->state, (uint32_t)state, memory_order_release);
}

/* Lane and position in a word.  Only part of a 48-bit position fits, which is enough: the slot itself is checked in
 * full. */
static inline uint64_t slot_ref(unsigned lane, uint64_t position)
{
    return (uint64_t)lane << WORD_POSITION_BITS | position;
}

static inline unsigned ref_lane(uint64_t ref)
{
    return (unsigned)(ref >> WORD_POSITION_BITS);
}

static inline uint64_t ref_position(uint64_t ref)
{
    return ref & (((uint64_t)1 << WORD_POSITION_BITS) - 1);
}

/* One lane, as one process sees it. */
struct lane {
    struct slot *slots;                /* the ring, and after it the mailbox */
    struct slot_extension *extensions; /* one for each slot */
    struct worker_state *worker_state;
    uint32_t mask; /* slots of the ring - 1 */
    /* The number of the ring's slots that have memory.  The host commits more before it uses more; other processes,
     * which never get beyond what the host has published, assume the whole ring. */
    uint32_t depth;
};

/* The process's own view of the lane, which no other process can write. */
static inline bool lane_is_valid(const struct lane *lane)
{
    return lane->slots && (lane->mask & (lane->mask + 1)) == 0 && lane->depth <= lane->mask + 1;
}

/* The host commits this many slots of a ring at first, and more during the first lap. */
#define LANE_DEPTH_MIN 64

static inline uint32_t lane_depth_at_first(const struct lane *lane)
{
    return lane->mask < LANE_DEPTH_MIN ? lane->mask + 1 : LANE_DEPTH_MIN;
}

/* May the host use the position?  Not the last slot that has memory, unless it is the ring's last: a worker that has run
 * that task looks at the next slot. */
static inline bool lane_is_deep_enough(const struct lane *lane, uint64_t position)
{
    return lane->depth > lane->mask || ((uint32_t)position & lane->mask) + 1 < lane->depth;
}

static inline uint32_t lane_index(const struct lane *lane, uint64_t position)
{
    return position & MAILBOX ? lane->mask + 1 : (uint32_t)position & lane->mask;
}

/* The first position of a ring: one lap after 0, so that zeroed words read as not yet used. */
static inline uint64_t lane_first_position(const struct lane *lane)
{
    return (uint64_t)lane->mask + 1;
}

/* Requests the line of a slot that will be written some tasks later.  A store to a line that another CPU owns delays all
 * later stores, so the line should be here by then.  (`__builtin_prefetch(, 1)` requests it for reading, unless the
 * compiler may use prefetchw; a CPU that does not know that instruction ignores it.) */
static inline void slot_prefetch_write(const struct slot *slot)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*slot));
#else
    __builtin_prefetch(slot, 1);
#endif
}

static inline uint64_t slot_look(const struct slot *slot)
{
    return atomic_load_explicit(&slot->word, memory_order_acquire);
}

/* Host: publishes the task in the slot.  Release: pairs with the acquire of the claim. */
static inline void slot_publish(struct slot *slot, uint64_t position)
{
    atomic_store_explicit(&slot->word, word_of(SLOT_READY, 0, position), memory_order_release);
}

/* Host: adds a waiting thread, at that parker; it may be the same as before.  The caller issues a fence before it looks
 * at the word. */
static inline unsigned slot_add_waiter(struct slot *slot, unsigned before, unsigned parker)
{
    unsigned waiter = before == WAITER_NONE || before == parker ? parker : WAITER_ALL;

    atomic_store_explicit(&slot->waiter, (uint8_t)waiter, memory_order_release);
    return waiter;
}

static inline unsigned slot_waiter(const struct slot *slot)
{
    return atomic_load_explicit(&slot->waiter, memory_order_acquire);
}

/* Host: cancels a task that no worker has claimed. */
static inline bool slot_cancel(struct slot *slot, uint64_t position)
{
    uint64_t ready = word_of(SLOT_READY, 0, position);

    return atomic_compare_exchange_strong_explicit(&slot->word, &ready, word_of(SLOT_CANCELLED, 0, position),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* Worker: claims a slot of any lane.  `worker_state` is the worker's own. */
static inline bool slot_claim(struct slot *slot, struct worker_state *worker_state, unsigned lane, uint64_t position,
                              unsigned worker)
{
    uint64_t ready = word_of(SLOT_READY, 0, position);

    atomic_store_explicit(&worker_state->current, slot_ref(lane, position), memory_order_relaxed);
    return atomic_compare_exchange_strong_explicit(&slot->word, &ready, word_of(SLOT_RUN, worker, position),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* Worker: publishes the answer in the slot.  A plain store: while the worker lives no other process changes RUN. */
static inline void slot_answer(struct slot *slot, uint64_t position, unsigned worker)
{
    atomic_store_explicit(&slot->word, word_of(SLOT_DONE, worker, position), memory_order_release);
}

/* Supervisor, after the death of `worker`: the slot that it held, or NULL. */
struct slot *brood__lane_held_by(const struct lane *lanes, unsigned lane_count, unsigned worker, unsigned *ret_lane,
                                 uint64_t *ret_position);

/* Supervisor: after it has written the slot extension. */
static inline void slot_mark_lost(struct slot *slot, uint64_t position, unsigned worker)
{
    atomic_store_explicit(&slot->word, word_of(SLOT_LOST, worker, position), memory_order_release);
}

/* Worker: the next position of its own lane that is READY, from `*head` on, which moves past settled ones.  False: none. */
bool brood__lane_next(const struct lane *lane, uint64_t *head, uint64_t *ret_position);

/* Worker: is there a task in the mailbox of its own lane? */
bool brood__lane_mailbox(const struct lane *lane, uint64_t *ret_position);

/* Does any task wait in the lane, from its worker's head on?  For thieves, and for a worker that is about to sleep. */
bool brood__lane_waiting(const struct lane *lane, uint64_t *ret_position);

#endif
