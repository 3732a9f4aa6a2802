/* queue.h - how a brood_queue lies in memory.  What it is and how to use it: brood/queue.h.
 *
 *     struct brood_queue │ ring: slots │ index of the store │ blocks
 *
 * Two places hold messages.  The **ring** (shm/ring.h) is lock-free, bounded, and first in first out; a slot's tag says how
 * long its message is, and what does not fit into the slot lies in a chain of blocks that the slot names.  The **store** is
 * under the queue's lock: each message is a chain of blocks, and the index, a heap of the first ones or a sorted list, says
 * what comes next.  A FIFO queue uses the ring, and the store for what the ring has no room for: once something is there
 * (QUEUE_SPILLED), whatever is put goes there, too, until it is empty again; so all in the ring is older than all in the
 * store.  The other kinds use the store alone.
 *
 * Nothing is ever given back but a message.  A block's word names the message that it belongs to, and the message's own
 * word, of its slot or of its first block, says whether that one is still there.  So one store frees a message with all its
 * blocks, and blocks of a message that was never finished are free without anyone's doing.
 *
 * What is true if somebody died is in the words of slots and blocks alone.  The index, the counts and the hints are made
 * anew from them.
 *
 * Files: queue.c makes and checks queues, queue_member.c deals out owner numbers, queue_block.c is about blocks,
 * queue_store.c about the store, queue_account.c about what is done and about the dead, queue_pass.c about putting,
 * getting and waiting.
 */
#ifndef BROOD_SYNC_QUEUE_H
#define BROOD_SYNC_QUEUE_H

#include <brood/lock.h>
#include <brood/queue.h>

#include "os/fence.h"
#include "shm/parker.h"
#include "shm/ring.h"

#define QUEUE_MAGIC UINT64_C(0x3175657571646f62) /* "bodqueu1" */

/* ---- blocks ---- */

/* A block's word: what it is, from the lowest bit up.
 *
 *     BLOCK_FREE                                     never used, or the first one of a message that was taken
 *     BLOCK_OWNED     | owner:12 << 4                part of a message that this owner is about to put into the ring
 *     BLOCK_SLOT      |            position:48 << 16 part of the message at that position of the ring
 *     BLOCK_PART      | head:24 << 4 | number:36 <<  28 part of the message whose first block is `head`
 *     BLOCK_BUILDING  |                number:36 <<  28 the first block of a message that is being put into the store
 *     BLOCK_STORED    |                number:36 <<  28 the same, now that it is there
 *
 * Claimed by CAS from a word whose message is gone, by whoever puts; OWNED → SLOT, or FREE, by the owner, or by who buries
 * it; BUILDING → STORED → FREE by who has the lock.  Every
 * store is a release and every load an acquire. */
enum block_state { BLOCK_FREE, BLOCK_OWNED, BLOCK_SLOT, BLOCK_PART, BLOCK_BUILDING, BLOCK_STORED };

#define BLOCK_STATE_BITS 4
#define BLOCK_HEAD_BITS 24
#define BLOCK_NUMBER_SHIFT (BLOCK_STATE_BITS + BLOCK_HEAD_BITS)
#define BLOCK_NONE UINT32_MAX
#define BLOCKS_MAX ((UINT64_C(1) << BLOCK_HEAD_BITS) - 1)

/* What the first block of a message in the store begins with.  Written before STORED, read while it is. */
struct stored {
    int64_t priority;
    uint64_t number; /* counts the messages that were put into the store, from 1 */
    uint64_t length;
};

struct block {
    _Atomic uint64_t word;
    _Atomic uint32_t next; /* the next one of the chain, or BLOCK_NONE.  Written by who puts, read by who gets. */
    uint32_t reserved;
    unsigned char bytes[];
};
_Static_assert(sizeof(struct block) == 16, "shared layout");

/* ---- the queue ---- */

/* Bits of `gate`, the one word that every put and get looks at. */
#define QUEUE_SHUT 1u      /* shut down: by shutdown(), for ever */
#define QUEUE_DISCARD 2u   /* ... and what is left is thrown away */
#define QUEUE_SPILLED 4u   /* FIFO: there is something in the store.  By who has the lock. */
#define QUEUE_GETTERS 8u   /* somebody may sleep until there is a message.  Set by sleepers, cleared by wakers. */
#define QUEUE_PUTTERS 16u  /* ... until there is room */
#define QUEUE_JOINERS 32u  /* ... until nothing is unfinished */
#define QUEUE_JOINABLE 64u /* hands fill until task_done(): since init, or the first task_done() or join() */
#define QUEUE_FIXED 128u   /* memory of the user's: what does not fit in is full.  Since init. */
#define QUEUE_CROWDED 256u /* somebody may sleep, among the joiners, until an owner number is given back */

struct brood_queue {
    /* Written by init alone; the magic last. */
    uint64_t magic;
    uint64_t serial;       /* no other queue that was ever at this address has it */
    uint64_t mapped_bytes; /* by open; 0: the user's memory */
    uint64_t index_at, blocks_at, blocks_max;
    uint32_t kind;
    uint32_t block_bytes;
    _Atomic uint64_t last_victim; /* whose messages were lost last; seldom written */

    /* What every call reads and few write. */
    _Alignas(64) _Atomic uint32_t gate; /* acquire / release, and see wait_for() in queue_pass.c */
    uint32_t reserved;
    _Atomic uint64_t bound;    /* 0: none.  Written by set_bound() */
    _Atomic uint64_t behind;   /* what of it the ring is told: 0 if its own size is the bound, or there is none */
    _Atomic uint32_t users_up; /* no owner number above was ever used */

    /* The store's, by who has the lock; `stored` and `number` also read without it. */
    _Alignas(64) struct brood_lock lock;
    _Atomic uint64_t stored;     /* how many messages: so much of the index counts */
    _Atomic uint64_t number;     /* the last one's */
    _Atomic uint64_t committed;  /* blocks that there is memory for; read by all who claim blocks */
    _Atomic uint64_t next_block; /* where to look for a free one; written by all, a hint */
    _Atomic int64_t looked_ns;   /* when somebody last looked for the dead.  By CAS: one looks for all. */
    _Atomic uint64_t told;       /* lost messages of which a join() told.  By CAS. */
    _Atomic uint64_t first;      /* of a FIFO queue: the place in the index of what comes next */

    struct parker getters, putters, joiners;

    /* Who has owner number i + 1: the identity of a process, or 0.  Claimed by CAS; given back by its thread, or by who
     * has buried it. */
    _Alignas(64) _Atomic uint64_t users[BROOD_QUEUE_USERS_MAX];
    /* the ring follows, then the index and the blocks */
};
_Static_assert(offsetof(struct brood_queue, gate) == 64, "shared layout");
_Static_assert(offsetof(struct brood_queue, lock) == 128, "shared layout");
_Static_assert(offsetof(struct brood_queue, getters) == 192, "shared layout");
_Static_assert(sizeof(struct brood_queue) == 384 + 8 * BROOD_QUEUE_USERS_MAX, "shared layout");
_Static_assert(BROOD_QUEUE_USERS_MAX == BROOD_RING_OWNERS_MAX, "an owner number is one of the ring's");

static inline struct brood_ring *queue_ring(const struct brood_queue *queue)
{
    return (struct brood_ring *)(uintptr_t)(queue + 1);
}

static inline struct ring_owner *queue_owner(const struct brood_queue *queue, unsigned owner)
{
    return &queue_ring(queue)->owners[owner - 1];
}

static inline _Atomic uint32_t *queue_index(const struct brood_queue *queue)
{
    return (_Atomic uint32_t *)(uintptr_t)((const char *)queue + queue->index_at);
}

static inline struct block *queue_block(const struct brood_queue *queue, uint64_t number)
{
    return (struct block *)(uintptr_t)((const char *)queue + queue->blocks_at + number * queue->block_bytes);
}

static inline uint32_t queue_gate(const struct brood_queue *queue)
{
    return atomic_load_explicit(&queue->gate, memory_order_acquire);
}

static inline void queue_gate_open(struct brood_queue *queue, uint32_t bits)
{
    if ((queue_gate(queue) & bits) != 0)
        (void)atomic_fetch_and_explicit(&queue->gate, ~bits, memory_order_acq_rel);
}

static inline void queue_gate_set(struct brood_queue *queue, uint32_t bits)
{
    if ((queue_gate(queue) & bits) != bits)
        (void)atomic_fetch_or_explicit(&queue->gate, bits, memory_order_acq_rel);
}

/* Is the message's length to be read in the slot's own 64 bits, as RING_LONG says, with the chain's first block above? */
static inline uint64_t queue_long(uint64_t length, uint32_t block)
{
    return length | (uint64_t)block << RING_LONG_BITS;
}
#define QUEUE_LENGTH_MAX ((UINT64_C(1) << RING_LONG_BITS) - 1)

/* ---- queue_member.c ---- */

/* The calling thread's owner number in this queue, and the queues it used last.  Written by the thread; `queue` also by who
 * closes the queue in another thread of this process. */
struct queue_member {
    const struct brood_queue *_Atomic queue;
    uint64_t serial;
    unsigned owner;
};

/* In the part of a thread's memory that is found without a call; it must be small for that. */
extern _Thread_local struct queue_member brood__queue_member __attribute__((tls_model("initial-exec")));

int brood__queue_join_in(struct brood_queue *queue, brood_deadline deadline);

/* The calling thread's owner number.  Or -EBADF, -ENOMEM; -EAGAIN, -ETIMEDOUT: others have had all of them. */
static inline int queue_me(struct brood_queue *queue, brood_deadline deadline)
{
    const struct queue_member *member = &brood__queue_member;

    if (__builtin_expect(queue && atomic_load_explicit(&member->queue, memory_order_relaxed) == queue &&
                             member->serial == queue->serial,
                         1))
        return (int)member->owner;
    return brood__queue_join_in(queue, deadline);
}

/* Gives back the numbers that threads of this process have in the queue. */
void brood__queue_leave(struct brood_queue *queue);

/* ---- queue_block.c ---- */

/* Copies a message into blocks that it claims with `word`, and the first one with `first_word` and `first`.  The chain's
 * first block; -EAGAIN: there is no room for it now; -ENOSPC, in words.  With the lock, if `has_lock`. */
int64_t brood__blocks_write(struct brood_queue *queue, struct brood_bytes message, uint64_t word,
                            const struct stored *first, bool has_lock);
/* From now on the chain is part of what the word says. */
void brood__blocks_name(struct brood_queue *queue, uint64_t block, uint64_t word);

/* Frees what a dead owner was about to put. */
void brood__blocks_free_owned(struct brood_queue *queue, unsigned owner);

static inline uint64_t block_owned(unsigned owner)
{
    return BLOCK_OWNED | (uint64_t)owner << BLOCK_STATE_BITS;
}

void brood__blocks_read(const struct brood_queue *queue, uint32_t block, bool is_stored, void *to, uint64_t length);

/* Makes sure that there is memory for the first `blocks` ones.  By who has the lock. */
int brood__blocks_commit(struct brood_queue *queue, uint64_t blocks);

/* ---- queue_store.c ---- */

/* Takes the lock, and mends what its last owner left if that one died.  Waits at least some time also for a deadline that
 * is past: the lock is held for no longer than a copy takes.  0; -EAGAIN, -ETIMEDOUT. */
int brood__queue_lock(struct brood_queue *queue, brood_deadline deadline);
void brood__queue_unlock(struct brood_queue *queue);

/* Both by who has the lock.  0; -EAGAIN: full, or empty; -ENOSPC; -EMSGSIZE. */
int brood__store_put(struct brood_queue *queue, struct brood_bytes message, int64_t priority);
int brood__store_get(struct brood_queue *queue, unsigned owner, struct brood_space *space);

/* Makes the index, the counts and the words of blocks what the truth says. */
void brood__store_mend(struct brood_queue *queue);

static inline struct stored *block_stored(struct block *block)
{
    return (struct stored *)(void *)block->bytes;
}

/* ---- queue_account.c ---- */

/* The owner has got messages before, and asks for the next one. */
static inline void queue_hand_begin(const struct brood_queue *queue, unsigned owner)
{
    _Atomic uint64_t *hand = &queue_owner(queue, owner)->hand;

    if (!(queue_gate(queue) & QUEUE_JOINABLE) && atomic_load_explicit(hand, memory_order_relaxed) != 0)
        ring_store(hand, 0);
}

/* The hand of an owner that is given one more message. */
static inline uint64_t queue_hand_with(const struct brood_queue *queue, unsigned owner, uint64_t position)
{
    unsigned count = ring_hand_count(atomic_load_explicit(&queue_owner(queue, owner)->hand, memory_order_relaxed));

    return ring_hand(count < RING_HAND_COUNT ? count + 1 : count, position);
}

/* One message that this owner was given is done. */
void brood__queue_done_by(struct brood_queue *queue, unsigned owner);

/* Looks for users that died, and mends what they left, if that was not done just now; `at_once`: anyway. */
void brood__queue_look_for_dead(struct brood_queue *queue, bool at_once);

/* Is nothing in it, nor in the middle of a get or a put? */
bool brood__queue_is_drained(const struct brood_queue *queue);

/* Mends what a dead user left.  By who has the lock. */
void brood__queue_bury(struct brood_queue *queue, unsigned owner);

/* ---- queue_pass.c ---- */

int brood__queue_try_get(struct brood_queue *queue, unsigned owner, struct brood_space *space);

/* Throws away what is left in a queue that was shut down so. */
void brood__queue_discard(struct brood_queue *queue, unsigned owner);

void brood__queue_wake(struct brood_queue *queue, struct parker *parker, uint32_t bit, int count);
void brood__queue_wake_all(struct brood_queue *queue);

#endif
