/* ring.h - how a brood_ring lies in memory.  What it is and how to use it: brood/ring.h.  Users do not see this; the tests
 * do.
 *
 * The word of a slot is the truth about it.  A position p counts the messages from the beginning, and p lives in slot p %
 * slots, which it shares with p - slots before it and p + slots after it:
 *
 *     FREE(p) ─► WRITING(p, w) ─► FULL(p) ─► READING(p, w) ─► FREE(p + slots)
 *                      │             ▲             │  ▲
 *                      ▼             .             ▼  │
 *                   TOMB(p) ─► FREE(p + slots)   AGAIN(p)
 *
 *     WRITING  a producer  claims FREE, by one CAS that names it;  then it alone leaves:  FULL, after the message is
 * written READING  a consumer  claims FULL or AGAIN in the same way;   then it alone leaves:  FREE, after the message is in
 * its hand TOMB     recovery    of the producer named in WRITING: no message is at p; whoever comes by frees the slot AGAIN
 * recovery    of the consumer named in READING, who had not been given the message
 *
 * Producers claim positions in order, and so do consumers: to claim p one must have seen that p - 1 was claimed.  Hints say
 * where to start looking: a hint p says that p - 1 was claimed.  Hints never run ahead of the truth and may lag behind it
 * by any amount.  Each owner remembers where it was last; and every RING_HINT_STEP positions, for those who were elsewhere,
 * whoever claims one writes it down for all.
 */
#ifndef BROOD_SHM_RING_H
#define BROOD_SHM_RING_H

#include <stdatomic.h>

#include <brood/ring.h>

enum ring_state { RING_FREE = 1, RING_WRITING, RING_FULL, RING_READING, RING_TOMB, RING_AGAIN };

/* A slot's word: state, owner, position, from the lowest bit up.  Shifting drops what a position has above 48 bits, so that
 * positions wrap by themselves: after 32 days of a message every 10 ns.  Only who sleeps that long between reading a word
 * and its CAS could take one lap for another. */
#define RING_STATE_BITS 4
#define RING_OWNER_BITS 12
#define RING_POSITION_SHIFT (RING_STATE_BITS + RING_OWNER_BITS)

_Static_assert(BROOD_RING_OWNERS_MAX < 1 << RING_OWNER_BITS, "an owner number fits into a word");

static inline uint64_t ring_word(enum ring_state state, unsigned owner, uint64_t position)
{
    return (uint64_t)state | (uint64_t)owner << RING_STATE_BITS | position << RING_POSITION_SHIFT;
}

static inline enum ring_state ring_word_state(uint64_t word)
{
    return (enum ring_state)(word & ((1u << RING_STATE_BITS) - 1));
}

static inline unsigned ring_word_owner(uint64_t word)
{
    return (unsigned)(word >> RING_STATE_BITS) & ((1u << RING_OWNER_BITS) - 1);
}

static inline uint64_t ring_word_position(uint64_t word)
{
    return word >> RING_POSITION_SHIFT;
}

/* Slots are packed, four to a cache line when messages have 8 bytes.  Measured (1024 slots, one producer and one consumer
 * in processes on two cores, AMD EPYC 9004; a slow and a fast spell of the machine): 7 to 15 ns a message.  One slot a
 * line: 42 to 113 ns, because then every message moves a line there and back.  Packed, with positions dealt out so that
 * neighbours lie in different lines: 15 to 33 ns.  Packed, with `prefetchw` of the next line: 17 ns, for it takes the line
 * away from the other side, which is still using it. */
struct ring_slot {
    /* Written as drawn above.  Every store is a release and every load an acquire: who sees FULL sees the message, and who
     * sees FREE may overwrite it, for its reader is done. */
    _Atomic uint64_t word;
    /* The message.  Written by the owner in WRITING, read by the owner in READING, touched by nobody else. */
    unsigned char message[];
};
_Static_assert(sizeof(struct ring_slot) == 8, "shared layout");

/* Measured: two producers, or two consumers, that get in each other's way on two cores take 20 ns a message; 40 ns if they
 * write down every position, for then the hint's line moves with every message as well as the slot's. */
#define RING_HINT_STEP 16

/* A hint for all.  Written by those who claimed, by plain stores, so it may also go back; read by all.  Release / acquire:
 * who starts at p must see what its predecessors saw, or it could find an old FREE at p and say "empty" although a later
 * message was put by someone it has heard from. */
struct ring_hint {
    _Alignas(64) _Atomic uint64_t position;
    unsigned char apart[120]; /* CPUs fetch lines in pairs */
};
_Static_assert(sizeof(struct ring_hint) == 128, "shared layout");

/* What one owner keeps, on a line of its own that nobody else touches while it lives. */
struct ring_owner {
    /* The word READING(p, w) of the message that this owner was given last, or 0.  Written by the owner after it has copied
     * the message and before it frees the slot, and cleared by it in the next get() or done(): a message in the hand of a
     * dead owner can be told from one that it was not given.  Read and cleared by recovery, after the owner's death. */
    _Alignas(64) _Atomic uint64_t hand;
    /* Its own hints, where it put and got last.  Written and read by the owner; its successor may find them old. */
    _Atomic uint64_t tail, head;
};
_Static_assert(sizeof(struct ring_owner) == 64, "shared layout");

#define RING_MAGIC UINT64_C(0x31676e6972646f62) /* "bodring1" */

struct brood_ring {
    /* Written by init alone.  The magic is written last. */
    uint64_t magic;
    uint32_t slots; /* a power of two */
    uint32_t slot_bytes;
    uint32_t message_bytes;
    uint32_t reserved;
    /* Where to look for messages in state AGAIN: {1:1, version:15, position:48} from the lowest bit up; the lowest bit is 0
     * when there are none.  Set by recovery, which counts the version up.  Consumers move the position on and clear the
     * lowest bit, by CAS, so that they cannot undo what a later recovery has set.  Read by every get(): it is in a line
     * that otherwise does not change.  Release / acquire: who sees the new version sees the words in state AGAIN. */
    _Atomic uint64_t again;
    unsigned char apart[96];

    struct ring_hint head;                           /* where consumers start */
    struct ring_hint tail;                           /* where producers start */
    struct ring_owner owners[BROOD_RING_OWNERS_MAX]; /* number w at w - 1 */
    /* the slots follow, slot_bytes each */
};
_Static_assert(offsetof(struct brood_ring, again) == 24, "shared layout");
_Static_assert(offsetof(struct brood_ring, head) == 128, "shared layout");
_Static_assert(offsetof(struct brood_ring, tail) == 256, "shared layout");
_Static_assert(offsetof(struct brood_ring, owners) == 384, "shared layout");
_Static_assert(sizeof(struct brood_ring) == 384 + 64 * BROOD_RING_OWNERS_MAX, "shared layout");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock that hides in an atomic would be private to one process");

/* brood_ring_init() with the first message at any position, so that a test can see positions wrap. */
int brood__ring_init_at(struct brood_ring *ring, size_t slots, size_t message_bytes, uint64_t position);

#endif
