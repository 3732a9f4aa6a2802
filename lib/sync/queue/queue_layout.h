/* queue_layout.h - the memory layout of a brood_queue.  What a queue is and how to use it: brood/queue.h.
 *
 *     struct brood_queue │ ring: slots │ index of the store │ blocks
 *
 * Two places hold messages.  The **ring** (shm/ring.h) is lock-free, bounded, and first in first out; a slot's tag is the
 * length of its message, and a message that does not fit into the slot lies in a chain of blocks that the slot names.  The
 * **store** is under the queue's lock: each message is a chain of blocks, and the index, a heap of the chains' first blocks
 * or a sorted list of them, gives the order.  A FIFO queue uses the ring, and the store for what the ring has no room for:
 * once a message is there (QUEUE_HAS_STORED), every put goes there until the store is empty again; so all messages in the ring
 * are older than all in the store.  The other kinds use the store alone.
 *
 * Only messages are ever given back, not blocks.  A block's word names the message that the block belongs to, and the
 * message's own word, of its slot or of its first block, says whether that message still exists.  So one store frees a
 * message with all its blocks, and the blocks of a message that was never finished are free without a further step.
 *
 * After a death only the words of slots and blocks count.  The index, the counts and the hints are rebuilt from them.
 *
 * Files, each above those before it:
 *
 *     queue_layout     the memory
 *     queue_lock       the lock around the store
 *     queue_block      claims, writes and reads chains of blocks
 *     queue_store      the messages under the lock, and their repair
 *     queue_wake       wakes sleepers; how full the queue is
 *     queue_account    which messages are unfinished
 *     queue_reap       recovers what dead users left
 *     queue_member     the owner numbers of threads
 *     queue_transfer   tries to put and to get, without waiting
 *     queue_wait       waits until a put or a get succeeds
 *     queue_calls      the public calls that put and get; shutdown
 *     queue_join       task_done and join
 *     queue            makes, checks and closes queues
 */
#ifndef BROOD_SYNC_QUEUE_LAYOUT_H
#define BROOD_SYNC_QUEUE_LAYOUT_H

#include <brood/lock.h>
#include <brood/queue.h>

#include "shm/parker.h"
#include "shm/ring.h"
#include "sync/sleep.h"

#define QUEUE_MAGIC UINT64_C(0x3275657571646f62) /* "bodqueu2" */

/* ---- blocks ---- */

/* A block's word: what it is, from the lowest bit up.
 *
 *     BLOCK_FREE                                     never used, or the first one of a message that was consumed
 *     BLOCK_OWNED     | owner:12 << 4                part of a message that this owner is about to put into the ring
 *     BLOCK_SLOT      |            position:48 << 16 part of the message at that position of the ring
 *     BLOCK_PART      | head:24 << 4 | number:36 << 28  part of the message whose first block is `head`
 *     BLOCK_BUILDING  |                number:36 << 28  the first block of a message that is being put into the store
 *     BLOCK_STORED    |                number:36 << 28  the same, once the message is there
 *
 * A producer claims a block by CAS, from a word whose message no longer exists.  The owner stores OWNED → SLOT, or FREE;
 * after its death the reaper stores FREE.  The holder of the queue's lock stores BUILDING → STORED → FREE.  Every store is
 * a release and every load an acquire: the release that ends a message pairs with the load of the producer that claims its
 * blocks. */
enum block_state { BLOCK_FREE, BLOCK_OWNED, BLOCK_SLOT, BLOCK_PART, BLOCK_BUILDING, BLOCK_STORED };

#define BLOCK_STATE_BITS 4
#define BLOCK_HEAD_BITS 24
#define BLOCK_NUMBER_SHIFT (BLOCK_STATE_BITS + BLOCK_HEAD_BITS)
#define BLOCK_NONE UINT32_MAX
#define BLOCKS_MAX ((UINT64_C(1) << BLOCK_HEAD_BITS) - 1)

/* The first block of a message in the store begins with this.  The producer writes it before STORED; consumers read it
 * while the word is STORED. */
struct stored {
    int64_t priority;
    uint64_t number; /* counts the messages that were put into the store, from 1 */
    uint64_t length;
};

struct block {
    _Atomic uint64_t word;
    /* The next block of the chain, or BLOCK_NONE.  The producer stores it and the consumer loads it, both relaxed: the
     * release of the message's word pairs with the consumer's acquire of that word. */
    _Atomic uint32_t next;
    uint32_t reserved;
    unsigned char bytes[];
};
_Static_assert(sizeof(struct block) == 16, "shared layout");

/* ---- the queue ---- */

/* Bits of `gate`, the one word that every put and get reads. */
#define QUEUE_SHUT 1u       /* shut down, for ever.  shutdown() sets it. */
#define QUEUE_DISCARD 2u    /* ... and the remaining messages are discarded */
#define QUEUE_HAS_STORED 4u /* FIFO: the store has messages.  The holder of the lock sets and clears it. */
#define QUEUE_GETTERS 8u    /* consumers may sleep until there is a message.  Sleepers set it, notifiers clear it. */
#define QUEUE_PUTTERS 16u   /* producers may sleep until there is room */
#define QUEUE_JOINERS 32u   /* joiners may sleep until nothing is unfinished */
#define QUEUE_JOINABLE 64u  /* messages stay in flight until task_done().  Set by init, task_done() and join(). */
#define QUEUE_FIXED 128u    /* the user's memory: the queue is full when a message does not fit.  Set by init. */
#define QUEUE_CROWDED 256u  /* threads may sleep, among the joiners, until an owner number is given back */

struct brood_queue {
    /* Only init writes these, before the queue is shared, and the magic last. */
    uint64_t magic;
    uint64_t serial;       /* no other queue that was ever at this address has it */
    uint64_t mapped_bytes; /* by open; 0: the user's memory */
    uint64_t index_at, blocks_at, blocks_max;
    uint32_t kind;
    uint32_t block_bytes;
    /* The process whose messages were lost last.  Reapers store it, with release; brood_queue_lost() and join load it, with
     * acquire.  For error texts: no other data depends on it. */
    _Atomic uint64_t last_victim;

    /* Read by every call and seldom written. */
    /* The bits above.  All participants set and clear them by acq_rel read-modify-writes and load them with acquire.  A
     * sleeper sets its bit, issues a heavy fence, and tries again; that fence pairs with the light fence of the notifier in
     * queue_wake.h, which comes between its put or get and its load of the gate. */
    _Alignas(64) _Atomic uint32_t gate;
    /* The index of the user to check next.  Written and read, relaxed, by waiters that look for the dead: a hint. */
    _Atomic uint32_t next_look;
    /* The most messages the queue may have; 0: unbounded.  Init and set_bound() store it with release; producers load it
     * with acquire.  One word, so a death in set_bound() leaves either bound. */
    _Atomic uint64_t bound;
    uint64_t reserved;
    /* No owner number above was ever used.  Threads raise it by CAS with release before they claim a number; pairs with the
     * acquire of reapers and of the sums over all users. */
    _Atomic uint32_t users_up;
    uint64_t namespaces; /* of the process that made the queue; written by init */

    /* The store.  Only the holder of the lock writes what does not say otherwise; stores are releases and loads acquires,
     * since some are read without the lock, and a repair reads what a dead holder left. */
    _Alignas(64) struct brood_lock lock;
    _Atomic uint64_t stored;    /* the number of messages, and of entries in the index; also read without the lock */
    _Atomic uint64_t number;    /* of the last message that was put; also read without the lock */
    _Atomic uint64_t committed; /* blocks that have memory; producers read it before they claim blocks */
    /* Where to look for a free block.  Each producer that claims blocks stores and loads it: a hint. */
    _Atomic uint64_t next_block;
    /* When a waiter last looked for the dead.  Waiters exchange it by CAS, so one looks for all; relaxed, as no other data
     * depends on it. */
    _Atomic int64_t last_look_ns;
    /* The lost messages that joins have reported.  Joiners raise it by CAS, so one of them reports each loss. */
    _Atomic uint64_t reported;
    _Atomic uint64_t first; /* FIFO: the place in the index of the next message */

    /* Where each kind of sleeper waits (shm/parker.h). */
    struct parker getters, putters, joiners;

    /* The user of owner number i + 1: the identity of its process, or 0.  A thread claims a number by CAS with acq_rel;
     * that thread, or the reaper after its death, stores 0 with release, which pairs with the next claim: the new user sees
     * an empty account.  The thread adds USER_IDLE while it sleeps with nothing begun. */
    _Alignas(64) _Atomic uint64_t users[BROOD_QUEUE_USERS_MAX];
    /* the ring follows, then the index and the blocks */
};
_Static_assert(offsetof(struct brood_queue, gate) == 64, "shared layout");
_Static_assert(offsetof(struct brood_queue, lock) == 128, "shared layout");
_Static_assert(offsetof(struct brood_queue, getters) == 192, "shared layout");
_Static_assert(sizeof(struct brood_queue) == 384 + 8 * BROOD_QUEUE_USERS_MAX, "shared layout");
_Static_assert(BROOD_QUEUE_USERS_MAX == BROOD_RING_OWNERS_MAX, "an owner number is one of the ring's");

/* In `users`, a bit that identities leave free: the death of this user would leave its number, and the messages that it has
 * in flight, which only joiners wait for. */
#define USER_IDLE UINT64_C(0x80000000)

/* How long a call with BROOD_NOW waits for another participant that runs, but is in the middle of a call: a preempted one
 * runs again within a few time slices.  Long enough to find out that a participant is dead. */
#define QUEUE_PROGRESS_NS (2 * (int64_t)LOOK_AGAIN_NS)

static inline uint64_t queue_smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline struct brood_ring *queue_ring(const struct brood_queue *queue)
{
    return (struct brood_ring *)(uintptr_t)(queue + 1);
}

/* The bound that the ring itself enforces: 0 if its size is the bound, or there is none. */
static inline uint64_t queue_ring_bound(const struct brood_queue *queue)
{
    uint64_t bound = atomic_load_explicit(&queue->bound, memory_order_acquire);

    return bound < queue_ring(queue)->slots ? bound : 0;
}

static inline struct ring_owner *queue_owner(const struct brood_queue *queue, unsigned owner)
{
    return &queue_ring(queue)->owners[owner - 1];
}

/* The entries are the first blocks of chains.  The holder of the lock stores and loads them, relaxed: the lock orders
 * them. */
static inline _Atomic uint32_t *queue_index(const struct brood_queue *queue)
{
    return (_Atomic uint32_t *)(uintptr_t)((const char *)queue + queue->index_at);
}

static inline struct block *queue_block(const struct brood_queue *queue, uint64_t number)
{
    return (struct block *)(uintptr_t)((const char *)queue + queue->blocks_at + number * queue->block_bytes);
}

static inline struct stored *block_stored(struct block *block)
{
    return (struct stored *)(void *)block->bytes;
}

static inline uint32_t queue_users_up(const struct brood_queue *queue)
{
    return atomic_load_explicit(&queue->users_up, memory_order_acquire);
}

static inline uint32_t queue_gate(const struct brood_queue *queue)
{
    return atomic_load_explicit(&queue->gate, memory_order_acquire);
}

static inline void queue_gate_clear(struct brood_queue *queue, uint32_t bits)
{
    if ((queue_gate(queue) & bits) != 0)
        (void)atomic_fetch_and_explicit(&queue->gate, ~bits, memory_order_acq_rel);
}

static inline void queue_gate_set(struct brood_queue *queue, uint32_t bits)
{
    if ((queue_gate(queue) & bits) != bits)
        (void)atomic_fetch_or_explicit(&queue->gate, bits, memory_order_acq_rel);
}

/* The first word of a slot whose tag is RING_LONG: the message's length, and above it the chain's first block. */
static inline uint64_t queue_long(uint64_t length, uint32_t block)
{
    return length | (uint64_t)block << RING_LONG_BITS;
}
#define QUEUE_LENGTH_MAX ((UINT64_C(1) << RING_LONG_BITS) - 1)

#endif
