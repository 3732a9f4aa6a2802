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
 * The words of FULL and AGAIN have a tag where claims have an owner: what a reader has to know before it claims.  A
 * brood_ring, whose messages are all alike, has 0 there.  A brood_queue (sync/queue.h) has how long the message is.
 *
 * Producers claim positions in order, and so do consumers: to claim p one must have seen that p - 1 was claimed.  Hints say
 * where to start looking: a hint p says that p - 1 was claimed.  Hints never run ahead of the truth and may lag behind it
 * by any amount.  Each owner remembers where it was last; and every RING_HINT_STEP positions, for those who were elsewhere,
 * whoever claims one writes it down for all.
 */
#ifndef BROOD_SHM_RING_H
#define BROOD_SHM_RING_H

#include <stdatomic.h>
#include <stdbool.h>

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

#define RING_LINE_BYTES ((uint64_t)64) /* a slot that is longer begins with one */

/* The tag of a message that is longer than its slot: how long is what the slot begins with, as an _Atomic uint64_t, of
 * which RING_LONG_BITS count. */
#define RING_LONG ((1u << RING_OWNER_BITS) - 1)
#define RING_LONG_BITS 40

/* Is it that state and position, with whatever owner or tag? */
static inline bool ring_word_is(uint64_t word, enum ring_state state, uint64_t position)
{
    return (word & ~((uint64_t)RING_LONG << RING_STATE_BITS)) == ring_word(state, 0, position);
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
    /* The message.  Written by the owner in WRITING, read, and written as it is, by the owner in READING, touched by nobody
     * else. */
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
    /* Which message this owner was given last, and how many it was given and has not finished with: a ring_hand(), or 0.
     * Written by the owner after it has copied the message and before it frees the slot, and cleared by it in the next
     * get() or done(): a message in the hand of a dead owner can be told from one that it was not given.  Read and cleared
     * by recovery, after the owner's death. */
    _Alignas(64) _Atomic uint64_t hand;
    /* Its own hints, where it put and got last.  Written and read by the owner; its successor may find them old. */
    _Atomic uint64_t tail, head;
    /* The tag of the message that it claims, which the claim overwrites.  Written by the owner before each claim of a
     * reader; read by recovery, which puts it back. */
    _Atomic uint64_t tag;
    /* The queue's (sync/queue.h).  Of a ring that is none: 0. */
    _Atomic uint64_t account, tombs, tomb_at, lost;
};
_Static_assert(sizeof(struct ring_owner) == 64, "shared layout");

/* {count:15, is elsewhere:1, position:48}, from the lowest bit up.  Elsewhere: the position is none of the ring's, but of
 * what a queue keeps beside it. */
#define RING_HAND_COUNT 0x7fffu
#define RING_HAND_ELSEWHERE 0x8000u

static inline uint64_t ring_hand(unsigned count, uint64_t position)
{
    return count | position << RING_POSITION_SHIFT;
}

static inline unsigned ring_hand_count(uint64_t hand)
{
    return (unsigned)hand & RING_HAND_COUNT;
}

/* Was the message at that position given to whoever has this in hand? */
static inline bool ring_hand_has(uint64_t hand, uint64_t position, unsigned elsewhere)
{
    return ring_hand_count(hand) > 0 && (hand & RING_HAND_ELSEWHERE) == elsewhere &&
           (hand ^ position << RING_POSITION_SHIFT) >> RING_POSITION_SHIFT == 0;
}

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

/* ---- steps of a put and a get, for who does more between them ----
 *
 *     slot = ring_put_begin(ring, owner, 0, &position);            // NULL: full
 *     ...                                                          // write slot->message
 *     ring_put_end(ring, owner, slot, tag, position);
 *
 *     slot = ring_get_begin(ring, owner, room, &seen);             // NULL: seen.outcome says why
 *     ...                                                          // read slot->message
 *     ring_get_end(ring, owner, slot, hand, seen.position);
 *
 * The common case is inline; the search for a slot is not, because put() and get() most of the time need none.  Measured: 8
 * ns a message instead of 12, because the common case saves fewer registers just before its locked instruction. */

#define RING_NOWHERE UINT64_MAX

/* RING_BUSY: the next message is still being written.  RING_TOO_LONG: it is longer than the room. */
enum ring_outcome { RING_TAKEN, RING_EMPTY, RING_BUSY, RING_TOO_LONG };

struct ring_seen {
    enum ring_outcome outcome;
    uint64_t word, position;
    uint64_t length; /* of the message; of a brood_ring: 0 */
};

/* Claims the next position for a producer, wherever it is, and returns it.  RING_NOWHERE: the ring is full.  With `behind`,
 * it is full when the message so many positions before has not been consumed. */
uint64_t brood__ring_claim_free(const struct brood_ring *ring, unsigned owner, uint64_t position, uint64_t behind);

/* Claims the oldest message for a consumer, wherever it is, if it is no longer than the room. */
void brood__ring_claim_message(struct brood_ring *ring, unsigned owner, size_t room, struct ring_seen *ret_seen);

static inline uint64_t ring_load(const _Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_acquire);
}

static inline void ring_store(_Atomic uint64_t *at, uint64_t value)
{
    atomic_store_explicit(at, value, memory_order_release);
}

static inline bool ring_swap(_Atomic uint64_t *at, uint64_t old, uint64_t value)
{
    return atomic_compare_exchange_strong_explicit(at, &old, value, memory_order_acq_rel, memory_order_relaxed);
}

/* How far it is from one position to another, also where positions have wrapped. */
static inline int64_t ring_distance(uint64_t from, uint64_t to)
{
    return (int64_t)((to - from) << RING_POSITION_SHIFT) >> RING_POSITION_SHIFT;
}

static inline struct ring_slot *ring_slot_at(const struct brood_ring *ring, uint64_t position)
{
    char *slots = (char *)(uintptr_t)(ring + 1);

    return (struct ring_slot *)(void *)(slots + (position & (ring->slots - 1)) * ring->slot_bytes);
}

/* One's own hint, if it is the newer one and less than a lap ahead.  (An own hint that seems to be farther ahead is so old
 * that positions have wrapped halfway since.) */
static inline uint64_t ring_hinted(const struct brood_ring *ring, const _Atomic uint64_t *own, const struct ring_hint *hint)
{
    uint64_t mine = atomic_load_explicit(own, memory_order_relaxed);
    uint64_t position = ring_load(&hint->position);

    return (mine - position) << RING_POSITION_SHIFT < (uint64_t)ring->slots << RING_POSITION_SHIFT ? mine : position;
}

/* `position` - 1 was claimed.  The hint for all goes only forward, as far as one can see without a locked instruction.
 * Someone who is stopped between the load and the store sets it back, and the next who starts there walks, and sets it
 * right. */
static inline void ring_advance(_Atomic uint64_t *own, struct ring_hint *hint, uint64_t position)
{
    atomic_store_explicit(own, position, memory_order_relaxed);
    if (position % RING_HINT_STEP == 0 && ring_distance(ring_load(&hint->position), position) > 0)
        ring_store(&hint->position, position);
}

/* Has the line brought here, to be written to.  A compiler that is not told that the processor has PREFETCHW would use
 * another instruction, which brings it to be read; those that lack it take it for none. */
static inline void ring_send_for(const void *line)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* With every RING_HINT_STEP positions, while the other side is so many ahead: the lines of the next so many small slots are
 * sent for all at once.  Those of larger slots the processor fetches ahead by itself.  Measured (AMD EPYC 9004, two cores
 * far apart): messages of 8 bytes take 29 ns instead of 38, in batches 15 instead of 29.  The other side's
 * own line is never sent for; see struct ring_slot. */
static inline void ring_send_ahead(const struct brood_ring *ring, uint64_t position, enum ring_state state)
{
    uint64_t last = position + RING_HINT_STEP - 1;

    if (position % RING_HINT_STEP != 0 || ring->slot_bytes >= RING_LINE_BYTES ||
        !ring_word_is(ring_load(&ring_slot_at(ring, last)->word), state, last))
        return;
    for (uint64_t i = 1; i <= RING_HINT_STEP; i += RING_LINE_BYTES / ring->slot_bytes)
        ring_send_for(ring_slot_at(ring, last + i));
}

/* The hint was right: most of the time. */
static inline bool ring_claim_at(struct ring_slot *slot, uint64_t word, uint64_t claim)
{
    return ring_load(&slot->word) == word && ring_swap(&slot->word, word, claim);
}

static inline struct ring_slot *ring_put_begin(struct brood_ring *ring, unsigned owner, uint64_t behind,
                                               uint64_t *ret_position)
{
    uint64_t position = ring_hinted(ring, &ring->owners[owner - 1].tail, &ring->tail);
    struct ring_slot *slot = ring_slot_at(ring, position);

    if (behind != 0 || !ring_claim_at(slot, ring_word(RING_FREE, 0, position), ring_word(RING_WRITING, owner, position))) {
        position = brood__ring_claim_free(ring, owner, position, behind);
        if (position == RING_NOWHERE)
            return NULL;
        slot = ring_slot_at(ring, position);
    }
    *ret_position = position;
    return slot;
}

static inline void ring_put_end(struct brood_ring *ring, unsigned owner, struct ring_slot *slot, unsigned tag,
                                uint64_t position)
{
    ring_store(&slot->word, ring_word(RING_FULL, tag, position));
    ring_advance(&ring->owners[owner - 1].tail, &ring->tail, position + 1);
    ring_send_ahead(ring, position + 1, RING_FREE);
}

/* A consumer's claim of the message with this word. */
static inline bool ring_claim_for_reading(const struct brood_ring *ring, struct ring_slot *slot, unsigned owner,
                                          uint64_t word)
{
    _Atomic uint64_t *tag = (_Atomic uint64_t *)(uintptr_t)&ring->owners[owner - 1].tag;

    atomic_store_explicit(tag, ring_word_owner(word), memory_order_relaxed); /* the claim is a release */
    return ring_swap(&slot->word, word, ring_word(RING_READING, owner, ring_word_position(word)));
}

static inline struct ring_slot *ring_get_begin(struct brood_ring *ring, unsigned owner, size_t room,
                                               struct ring_seen *ret_seen)
{
    uint64_t position = ring_hinted(ring, &ring->owners[owner - 1].head, &ring->head);
    struct ring_slot *slot = ring_slot_at(ring, position);
    uint64_t word = ring_load(&slot->word);

    if (__builtin_expect(ring_load(&ring->again) & 1, 0) || !ring_word_is(word, RING_FULL, position) ||
        ring_word_owner(word) == RING_LONG || ring_word_owner(word) > room ||
        !ring_claim_for_reading(ring, slot, owner, word)) {
        brood__ring_claim_message(ring, owner, room, ret_seen);
        return ret_seen->outcome == RING_TAKEN ? ring_slot_at(ring, ret_seen->position) : NULL;
    }
    *ret_seen = (struct ring_seen){RING_TAKEN, word, position, ring_word_owner(word)};
    return slot;
}

/* The slot's lines beyond the first one belong to who has just read them, as the first one does, whose word it has claimed:
 * each is written with what it says already.  Measured (AMD EPYC 9004): a line that was only read costs the producer 36 to
 * 145 ns when it writes it one lap later, and none of that overlaps; one that was written comes for 2, ahead of time. */
static inline void ring_own_lines(struct ring_slot *slot, size_t bytes)
{
    for (size_t i = RING_LINE_BYTES - sizeof(*slot); i < bytes; i += RING_LINE_BYTES) {
        volatile unsigned char *at = &slot->message[i];

        *at = *at;
    }
}

/* In this order: a message whose slot is free and which is in no hand would be lost with its reader.  The slot is not kept
 * until the next get(): that took 11 ns a message instead of 7, and a consumer that takes its time over a message would
 * stop all producers one lap later. */
static inline void ring_get_end(struct brood_ring *ring, unsigned owner, struct ring_slot *slot, uint64_t hand,
                                uint64_t position)
{
    ring_store(&ring->owners[owner - 1].hand, hand);
    ring_store(&slot->word, ring_word(RING_FREE, 0, position + ring->slots));
    ring_advance(&ring->owners[owner - 1].head, &ring->head, position + 1);
    ring_send_ahead(ring, position + 1, RING_FULL);
}

/* The first position that no producer has claimed. */
uint64_t brood__ring_tail(const struct brood_ring *ring);

/* What brood_ring_recover() does, but that the hand stays. */
struct brood_ring_report brood__ring_repair(struct brood_ring *ring, unsigned owner);

/* The position that this owner is writing, or RING_NOWHERE. */
uint64_t brood__ring_written_by(const struct brood_ring *ring, unsigned owner);

/* There will be no message at the position, which the owner is writing or was when it died. */
static inline void ring_abandon(struct brood_ring *ring, uint64_t position)
{
    ring_store(&ring_slot_at(ring, position)->word, ring_word(RING_TOMB, 0, position));
}

/* brood_ring_init() with the first message at any position, so that a test can see positions wrap. */
int brood__ring_init_at(struct brood_ring *ring, size_t slots, size_t message_bytes, uint64_t position);

#endif
