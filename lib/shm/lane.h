/* lane.h - the way of a task to a worker and of its answer back: a ring of slots, one cache line each, answered in place.
 *
 * The word of a slot is the truth about it:
 *
 *     FREE ─► READY ─► RUN ─► DONE          READY      host       publishes the task that it wrote into the slot
 *               │       └───► LOST          RUN        a worker   claims it, by one CAS that names the worker
 *               └───► CANCELLED             DONE       that worker, after the answer is written
 *                                           LOST       supervisor, after the death of the worker named in RUN
 *                                           CANCELLED  host, by CAS from READY
 *
 * DONE, LOST and CANCELLED stay until the host publishes the next task there: that the slot is free stands in the host's
 * private mirror alone.  A position is used once: the ring's positions count up, and slot = position % slots.  One more
 * slot, the mailbox, takes the task when nothing else is in the lane, so that a caller who waits for each answer always
 * uses one hot line; its positions have MAILBOX set.
 *
 * A worker publishes in its station what it is about to claim, before it claims.  So when it dies, one look finds the only
 * slot that it can hold.
 *
 * Claims come from the worker of the lane and from idle workers of other lanes, who steal.  Model: tests/model/lane.pml.
 */
#ifndef BROOD_SHM_LANE_H
#define BROOD_SHM_LANE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/base.h>

#include "shm/parker.h"

enum slot_state { SLOT_FREE, SLOT_READY, SLOT_RUN, SLOT_DONE, SLOT_LOST, SLOT_CANCELLED };

/* A slot's word: state, worker, position, from the lowest bit up. */
#define WORD_STATE_BITS 4
#define WORD_WORKER_BITS 12
#define WORD_POSITION_BITS 48
#define MAILBOX ((uint64_t)1 << (WORD_POSITION_BITS - 1))

static inline uint64_t word_of(enum slot_state state, unsigned worker, uint64_t position)
{
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
#define WAITER_ALL 255 /* several: wake whoever sleeps */

enum slot_kind { SLOT_TASK, SLOT_MAP };
#define SLOT_LIMITED 0x80  /* or'ed to the kind: the note says how long it may take */
#define SLOT_ANY_SIZE 0x40 /* … and where a result goes that does not fit */

static inline enum slot_kind slot_kind(uint8_t kind)
{
    return (enum slot_kind)(kind & ~(SLOT_LIMITED | SLOT_ANY_SIZE));
}

struct slot {
    /* Written as drawn above; read by all.  READY, DONE and LOST are release stores and every load is an acquire: who sees
     * the state sees what was written before it. */
    _Alignas(64) _Atomic uint64_t word;

    /* Written by the host before READY. */
    uint16_t task; /* its index in the board's names */
    uint8_t kind;  /* enum slot_kind, SLOT_LIMITED, SLOT_ANY_SIZE */
    /* Host: who waits for this slot: the number of a parker, WAITER_NONE or WAITER_ALL; changed at any time, release.
     * Worker: reads it after DONE, to wake; acquire.  In the slot's own line, so it costs the worker nothing. */
    _Atomic uint8_t waiter;
    uint32_t arg_bytes; /* of a map: how many ranges its window has */
    union {
        uint64_t offset; /* of the argument in the segment, when it has more than SLOT_ARG_BYTES */
        unsigned char bytes[SLOT_ARG_BYTES];
    } arg;

    /* Host before READY: room for the result.  Worker before DONE: its length. */
    uint32_t result_bytes;
    int16_t status;     /* worker before DONE: 0 or a negative errno */
    uint16_t has_words; /* worker before DONE: the note holds the reason for a failure */
    union {
        uint64_t offset; /* host before READY: where in the segment, when there is room for more than SLOT_RESULT_BYTES */
        unsigned char bytes[SLOT_RESULT_BYTES];
        int64_t took_ns; /* worker before DONE, of a map: its part in it took so long; a hint */
    } result;
};
_Static_assert(sizeof(struct slot) == 64, "a slot is a cache line");
_Static_assert(offsetof(struct slot, arg) % 16 == 0 && offsetof(struct slot, result) % 16 == 0, "aligned for any type");

/* What there is to say about few tasks, beside the slot.  Written by the worker before DONE (the words), by the supervisor
 * before LOST (the ending of the worker), by the host before READY (the limit). */
struct note {
    int32_t pid;
    int32_t signal;
    int32_t exit_code;
    uint32_t cause;       /* enum brood_cause */
    uint32_t certificate; /* its number, or CERTIFICATE_NONE */
    uint32_t region;      /* host: where a result goes that does not fit, or SPILL_NONE */
    uint64_t item_lost;   /* supervisor; of a map: the item that the dead worker's range named, + 1 */
    int64_t limit_ns;     /* host: the task may take so long … */
    int64_t grace_ns;     /* … and so much more after it was told; then it is killed */
    /* Host: the position of a task that has been asked to stop; the worker looks when the task asks.  Relaxed. */
    _Atomic uint64_t stopped;
    uint64_t item; /* worker; of a map: the one that the words are about */
    char words[128];
};
_Static_assert(sizeof(struct note) == 192, "two notes share no cache line");

#define OUTPUT_TAKING 1

/* What a worker shows of itself.  `current` and `head` are written by the worker alone. */
struct station {
    /* When the task that it runs will have had its time; 0: no limit.  Worker writes; the supervisor reads it behind the
     * death fence. */
    _Alignas(128) _Atomic int64_t limit_end_ns;
    /* The slot that it is about to claim, or holds, or held last: a slot_ref.  Relaxed store before the claim's CAS, which
     * releases it; read by the supervisor behind the death fence, and by thieves as a sign of progress. */
    _Atomic uint64_t current;
    /* Everything before this position of its ring has been claimed by somebody or taken back.  Stored after a task, so it
     * may be behind, which only costs a look; where thieves begin to look, and the worker's successor after its death. */
    _Atomic uint64_t head;
    /* Worker: it has answered something since the supervisor, which asks after a death, cleared this.  Relaxed. */
    _Atomic uint32_t has_answered;
    /* Host: the worker is to end after the task that it runs.  In this line because it looks after each.  Relaxed. */
    _Atomic uint32_t is_dismissed;

    _Alignas(64) _Atomic uint32_t state; /* enum station_state; worker and supervisor; acquire / release */
    _Atomic uint32_t is_refused;         /* worker: the program's initializer has failed, and it is no use to try again */
    _Atomic int32_t error;               /* a worker that could not start: its errno */
    _Atomic uint32_t certificate;        /* supervisor, before it starts the worker: the one put aside for it */
    /* About how long its last tasks took, in ns; 0: not known.  The worker writes it when it has changed much; the host
     * reads it to tell whether a task would wait longer behind others than for a sleeper to be woken.  A hint. */
    _Atomic uint32_t pace_ns;
    _Atomic uint32_t cpu; /* on which it was when it last looked at the clock: by the worker, for the host.  A hint */

    /* Supervisor: how many bytes it has taken from each of the worker's pipes, times 2; + OUTPUT_TAKING while it is about
     * that.  The worker looks between tasks.  Release / acquire. */
    _Atomic uint64_t output_taken[2];

    struct parker parker; /* where the worker sleeps when it is idle */
};
_Static_assert(sizeof(struct station) == 256, "shared layout");

enum station_state { STATION_EMPTY, STATION_STARTING, STATION_READY, STATION_FAILED, STATION_RESTING };

static inline enum station_state brood__station_state(const struct station *station)
{
    return (enum station_state)atomic_load_explicit(&station->state, memory_order_acquire);
}

static inline void brood__station_set_state(struct station *station, enum station_state state)
{
    atomic_store_explicit(&station->state, (uint32_t)state, memory_order_release);
}

/* Lane and position in a word: enough of a 48-bit position for the length of a lane, since a slot is checked in full. */
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

/* One lane, as seen by one process. */
struct lane {
    struct slot *slots; /* the ring, and behind it the mailbox */
    struct note *notes; /* one a slot */
    struct station *station;
    uint32_t mask; /* slots of the ring - 1 */
};

static inline uint32_t lane_index(const struct lane *lane, uint64_t position)
{
    return position & MAILBOX ? lane->mask + 1 : (uint32_t)position & lane->mask;
}

/* The first position of a ring: a lap ahead of the zeroed words, so that these read as not yet used. */
static inline uint64_t lane_first_position(const struct lane *lane)
{
    return (uint64_t)lane->mask + 1;
}

/* Asks for the line of a slot that will be written some tasks later.  A store to a line that another CPU has holds up all
 * stores behind it, so it had better be here by then.  (`__builtin_prefetch(, 1)` asks for it to be read, unless the
 * compiler may use prefetchw; where a CPU does not know that instruction, it does nothing.) */
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

/* Host: what was written into the slot is a task. */
static inline void slot_publish(struct slot *slot, uint64_t position)
{
    atomic_store_explicit(&slot->word, word_of(SLOT_READY, 0, position), memory_order_release);
}

/* Host: one more who waits, at that parker, or another one than before.  The caller fences before it looks at the word. */
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

/* Host: takes back what nobody has claimed. */
static inline bool slot_cancel(struct slot *slot, uint64_t position)
{
    uint64_t ready = word_of(SLOT_READY, 0, position);

    return atomic_compare_exchange_strong_explicit(&slot->word, &ready, word_of(SLOT_CANCELLED, 0, position),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* Worker: claims a slot of any lane.  `station` is the worker's own. */
static inline bool slot_claim(struct slot *slot, struct station *station, unsigned lane, uint64_t position, unsigned worker)
{
    uint64_t ready = word_of(SLOT_READY, 0, position);

    atomic_store_explicit(&station->current, slot_ref(lane, position), memory_order_relaxed);
    return atomic_compare_exchange_strong_explicit(&slot->word, &ready, word_of(SLOT_RUN, worker, position),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* Worker: the answer stands in the slot.  A plain store: nobody else leaves RUN while the worker lives. */
static inline void slot_answer(struct slot *slot, uint64_t position, unsigned worker)
{
    atomic_store_explicit(&slot->word, word_of(SLOT_DONE, worker, position), memory_order_release);
}

/* Supervisor, behind the death fence of `worker`: the slot that it held, or NULL. */
struct slot *brood__lane_held_by(const struct lane *lanes, unsigned lane_count, unsigned worker, unsigned *ret_lane,
                                 uint64_t *ret_position);

/* Supervisor: after the note is written. */
static inline void slot_lose(struct slot *slot, uint64_t position, unsigned worker)
{
    atomic_store_explicit(&slot->word, word_of(SLOT_LOST, worker, position), memory_order_release);
}

/* Worker: the next position of its own lane that is READY, from `*head` on, which moves past what is settled.  False: none.
 */
bool brood__lane_next(const struct lane *lane, uint64_t *head, uint64_t *ret_position);

/* Worker: is there a task in the mailbox of its own lane? */
bool brood__lane_mailbox(const struct lane *lane, uint64_t *ret_position);

/* Is any task waiting in the lane?  For a worker that is about to sleep, and for thieves: from its worker's head on. */
bool brood__lane_waiting(const struct lane *lane, uint64_t *ret_position);

#endif
