/* ring.h - the memory layout of a brood_ring, and its steps inline.  What a ring is and how to use it: brood/ring.h.  This
 * header is internal: the library and the tests include it, programs do not.
 *
 * The word of a slot is the truth about it.  A position p counts the messages from the beginning, and p lives in slot p %
 * slots, which it shares with p - slots before it and p + slots after it:
 *
 *     FREE(p) ──► WRITING(p, w) ──► FULL(p) ──► READING(p, w) ──► FREE(p + slots)
 *                      │               ▲            │  ▲
 *                      ▼               .            ▼  │
 *                   TOMB(p) ──► FREE(p + slots)    AGAIN(p)
 *
 *     WRITING  A producer claims FREE by one CAS that names the producer.  Only that producer leaves the state: it stores
 *              FULL after it has written the message.
 *     READING  A consumer claims FULL or AGAIN by one CAS that names the consumer.  Only that consumer leaves the state: it
 *              stores FREE after it has noted the message as in flight.
 *     TOMB     Recovery of the producer that WRITING names stores it: there is no message at p.  The next producer or
 *              consumer that meets it frees the slot.
 *     AGAIN    Recovery of the consumer that READING names stores it, if the message is not in flight there: it is
 *              delivered again.
 *
 * The words of FULL and AGAIN have a tag where claims have an owner: what a reader has to know before it claims.  A
 * brood_ring, whose messages are all alike, has 0 there.  A brood_queue (sync/queue/) has the length of the message.
 *
 * Producers claim positions in order, and so do consumers: to claim p one must have seen that p - 1 was claimed.  Hints say
 * where to start looking: a hint p says that p - 1 was claimed.  Hints never run ahead of the truth and may lag behind it
 * by any amount.  Each owner remembers the position it reached; and every RING_HINT_STEP positions the owner that claims
 * one also writes it to the hint that all owners share.
 */
#ifndef BROOD_SHM_RING_H
#define BROOD_SHM_RING_H

#include <stdatomic.h>
#include <stdbool.h>

#include <brood/ring.h>

enum ring_state { RING_FREE = 1, RING_WRITING, RING_FULL, RING_READING, RING_TOMB, RING_AGAIN };

/* A slot's word: state, owner, position, from the lowest bit up.  Shifting drops what a position has above 48 bits, so that
 * positions wrap by themselves: after 32 days of a message every 10 ns.  Only a thread that sleeps that long between its
 * load of a word and its CAS could mistake one lap for another. */
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

/* The tag of a message that is longer than its slot.  The slot then begins with an _Atomic uint64_t whose lowest
 * RING_LONG_BITS are the length. */
#define RING_LONG ((1u << RING_OWNER_BITS) - 1)
#define RING_LONG_BITS 40

/* True for that state and position, with any owner or tag. */
static inline bool ring_word_is(uint64_t word, enum ring_state state, uint64_t position)
{
    return (word & ~((uint64_t)RING_LONG << RING_STATE_BITS)) == ring_word(state, 0, position);
}

/* Slots are packed, four to a cache line when messages have 8 bytes.  Measured (1024 slots, one producer and one consumer
 * in processes on two cores, AMD EPYC 9004; the slowest and the fastest run): 7 to 15 ns a message.  One slot a line: 42 to
 * 113 ns, because every message then moves a line there and back.  Packed, with neighbouring positions in different lines:
 * 15 to 33 ns.  Packed, with `prefetchw` of the next line: 17 ns, because the prefetch takes the line from the other side
 * while that still uses it. */
struct ring_slot {
    /* Producers, consumers and recovery write it, as drawn above; all read it.  Every store and CAS is a release and every
     * load an acquire: the store of FULL pairs with the consumer's load, which then sees the message; the store of FREE
     * pairs with the producer's load, which then may overwrite the message, since its reader has copied it. */
    _Atomic uint64_t word;
    /* The message.  The owner in WRITING writes it.  The owner in READING reads it, and writes it back unchanged.  No other
     * thread touches it. */
    unsigned char message[];
};
_Static_assert(sizeof(struct ring_slot) == 8, "shared layout");

/* Measured: two producers, or two consumers, that contend on two cores take 20 ns a message; 40 ns if they write every
 * position to the shared hint, because its line then moves with every message, beside the slot's. */
#define RING_HINT_STEP 16

/* A hint that all owners share.  The owner that has claimed a position writes it, without a CAS, so the hint may also go
 * back; all read it.  The store is a release and pairs with the acquire of ring_hinted(): a reader that starts at p must
 * see what the writer saw, or it could load an old FREE at p and report "empty" although it has heard of a later message.
 */
struct ring_hint {
    _Alignas(64) _Atomic uint64_t position;
    unsigned char apart[120]; /* CPUs fetch lines in pairs */
};
_Static_assert(sizeof(struct ring_hint) == 128, "shared layout");

/* What one owner keeps, on a cache line of its own.  No other thread writes to it while the owner lives. */
struct ring_owner {
    /* The messages in flight: which one this owner got last, and how many it got and has not finished: a ring_in_flight(),
     * or 0.  The owner stores it after it has copied the message and before it frees the slot, and clears it in its next
     * get() or done().  So recovery can tell a message that a dead owner got from one that it did not get.  Release; pairs
     * with the acquire of recovery, which reads and clears it after the owner's death. */
    _Alignas(64) _Atomic uint64_t in_flight;
    /* The owner's own hints: where it put and got last.  Only the owner writes and reads them, relaxed: they are checked
     * against the slot's word.  The next owner of the number may find them old. */
    _Atomic uint64_t tail, head;
    /* The tag of the message that the owner claims, since the claim overwrites it.  The owner stores it, relaxed, before
     * each claim, whose CAS is the release; pairs with the acquire of recovery, which puts the tag back. */
    _Atomic uint64_t tag;
    /* A queue keeps its account here (sync/queue/queue_account.c).  0 in a ring that is no queue's. */
    _Atomic uint64_t account, tombs, target, lost;
};
_Static_assert(sizeof(struct ring_owner) == 64, "shared layout");

/* {count:15, is in the store:1, position:48}, from the lowest bit up.  In the store: the position is none of the ring's,
 * but the number of a message in the store that a queue keeps beside its ring. */
#define RING_IN_FLIGHT_COUNT 0x7fffu
#define RING_IN_FLIGHT_STORED 0x8000u

static inline uint64_t ring_in_flight(unsigned count, uint64_t position)
{
    return count | position << RING_POSITION_SHIFT;
}

static inline unsigned ring_in_flight_count(uint64_t in_flight)
{
    return (unsigned)in_flight & RING_IN_FLIGHT_COUNT;
}

/* True if the owner with this word got the message at that position.  `stored`: RING_IN_FLIGHT_STORED, or 0. */
static inline bool ring_in_flight_has(uint64_t in_flight, uint64_t position, unsigned stored)
{
    return ring_in_flight_count(in_flight) > 0 && (in_flight & RING_IN_FLIGHT_STORED) == stored &&
           (in_flight ^ position << RING_POSITION_SHIFT) >> RING_POSITION_SHIFT == 0;
}

#define RING_MAGIC UINT64_C(0x31676e6972646f62) /* "bodring1" */

struct brood_ring {
    /* Only init writes these, before the ring is shared, and the magic last. */
    uint64_t magic;
    uint32_t slots; /* a power of two */
    uint32_t slot_bytes;
    uint32_t message_bytes;
    uint32_t reserved;
    /* Where to look for messages in state AGAIN: {1:1, version:15, position:48} from the lowest bit up; the lowest bit is 0
     * when there are none.  Recovery stores it and increments the version.  Consumers move the position on and clear the
     * lowest bit, by CAS, so that they cannot undo what a later recovery has stored.  Every get() reads it: it is in a line
     * that otherwise does not change.  The store is a release and pairs with the consumers' acquire: a consumer that sees
     * the new version sees the words in state AGAIN. */
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

/* ---- steps of a put and a get, for a caller that does more between them ----
 *
 *     slot = ring_put_begin(ring, owner, 0, &position);            // NULL: full
 *     ...                                                          // write slot->message
 *     ring_put_end(ring, owner, slot, tag, position);
 *
 *     slot = ring_get_begin(ring, owner, below, &seen);            // NULL: seen.outcome says why
 *     ...                                                          // read slot->message
 *     ring_get_end(ring, owner, slot, in_flight, seen.position);
 *
 * The common case is inline; the search for a slot is not, because put() and get() most of the time need none.  Measured: 8
 * ns a message instead of 12, because the common case saves fewer registers just before its locked instruction. */

#define RING_NOWHERE UINT64_MAX

/* RING_BUSY: a producer still writes the next message.  RING_TOO_LONG: it is not shorter than `below`. */
enum ring_outcome { RING_TAKEN, RING_EMPTY, RING_BUSY, RING_TOO_LONG };

struct ring_seen {
    enum ring_outcome outcome;
    uint64_t word, position;
    uint64_t length; /* of the message; of a brood_ring: 0 */
};

/* Claims the next free position for a producer, at or after `position`, and returns it.  RING_NOWHERE: the ring is full.
 * With a `bound` other than 0 it is also full while the message `bound` positions earlier has not been consumed. */
uint64_t brood__ring_claim_free(const struct brood_ring *ring, unsigned owner, uint64_t position, uint64_t bound);

/* Claims the oldest message for a consumer if it has less than `below` bytes.  With 0 it claims none. */
void brood__ring_claim_message(struct brood_ring *ring, unsigned owner, size_t below, struct ring_seen *ret_seen);

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

/* The distance from one position to another, also where positions have wrapped. */
static inline int64_t ring_distance(uint64_t from, uint64_t to)
{
    return (int64_t)((to - from) << RING_POSITION_SHIFT) >> RING_POSITION_SHIFT;
}

static inline struct ring_slot *ring_slot_at(const struct brood_ring *ring, uint64_t position)
{
    char *slots = (char *)(uintptr_t)(ring + 1);

    return (struct ring_slot *)(void *)(slots + (position & (ring->slots - 1)) * ring->slot_bytes);
}

/* The owner's own hint, if it is the newer one and less than a lap ahead; else the shared one.  (An own hint that seems to
 * be farther ahead is so old that positions have wrapped halfway since.) */
static inline uint64_t ring_hinted(const struct brood_ring *ring, const _Atomic uint64_t *own, const struct ring_hint *hint)
{
    uint64_t mine = atomic_load_explicit(own, memory_order_relaxed);
    uint64_t position = ring_load(&hint->position);

    return (mine - position) << RING_POSITION_SHIFT < (uint64_t)ring->slots << RING_POSITION_SHIFT ? mine : position;
}

/* Notes that `position` - 1 was claimed.  The shared hint goes forward only, as far as that is possible without a locked
 * instruction: an owner that is stopped between its load and its store sets the hint back, and the next owner that starts
 * there walks forward and corrects it. */
static inline void ring_advance(_Atomic uint64_t *own, struct ring_hint *hint, uint64_t position)
{
    atomic_store_explicit(own, position, memory_order_relaxed);
    if (position % RING_HINT_STEP == 0 && ring_distance(ring_load(&hint->position), position) > 0)
        ring_store(&hint->position, position);
}

/* Prefetches the line for writing.  Without the assembly a compiler that does not assume PREFETCHW would emit a prefetch
 * for reading; processors that lack the instruction ignore it. */
static inline void ring_prefetch_line(const void *line)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* Once every RING_HINT_STEP positions, while the other side is at least that many ahead: prefetches the lines of the next
 * RING_HINT_STEP small slots at once.  Lines of larger slots the processor prefetches by itself.  Measured (AMD EPYC 9004,
 * two cores far apart): messages of 8 bytes take 29 ns instead of 38, in batches 15 instead of 29.  Never prefetches the
 * line that the other side is using; see struct ring_slot. */
static inline void ring_prefetch_next(const struct brood_ring *ring, uint64_t position, enum ring_state state)
{
    uint64_t last = position + RING_HINT_STEP - 1;

    if (position % RING_HINT_STEP != 0 || ring->slot_bytes >= RING_LINE_BYTES ||
        !ring_word_is(ring_load(&ring_slot_at(ring, last)->word), state, last))
        return;
    for (uint64_t i = 1; i <= RING_HINT_STEP; i += RING_LINE_BYTES / ring->slot_bytes)
        ring_prefetch_line(ring_slot_at(ring, last + i));
}

/* Claims the slot if the hint was right, as it is most of the time. */
static inline bool ring_claim_at(struct ring_slot *slot, uint64_t word, uint64_t claim)
{
    return ring_load(&slot->word) == word && ring_swap(&slot->word, word, claim);
}

static inline struct ring_slot *ring_put_begin(struct brood_ring *ring, unsigned owner, uint64_t bound,
                                               uint64_t *ret_position)
{
    uint64_t position = ring_hinted(ring, &ring->owners[owner - 1].tail, &ring->tail);
    struct ring_slot *slot = ring_slot_at(ring, position);

    if (bound != 0 || !ring_claim_at(slot, ring_word(RING_FREE, 0, position), ring_word(RING_WRITING, owner, position))) {
        position = brood__ring_claim_free(ring, owner, position, bound);
        if (position == RING_NOWHERE)
            return NULL;
        slot = ring_slot_at(ring, position);
    }
    *ret_position = position;
    return slot;
}

/* The producer stores the length of a message whose tag is RING_LONG, with what else is in that word.  Relaxed: the store
 * of FULL publishes it.  A consumer may load the length of a later message there; it finds that out by a compare-and-swap
 * of the slot's word (ring.c). */
static inline void ring_set_length(struct ring_slot *slot, uint64_t word)
{
    atomic_store_explicit((_Atomic uint64_t *)(void *)slot->message, word, memory_order_relaxed);
}

static inline void ring_put_end(struct brood_ring *ring, unsigned owner, struct ring_slot *slot, unsigned tag,
                                uint64_t position)
{
    ring_store(&slot->word, ring_word(RING_FULL, tag, position));
    ring_advance(&ring->owners[owner - 1].tail, &ring->tail, position + 1);
    ring_prefetch_next(ring, position + 1, RING_FREE);
}

/* Claims the message with this word for a consumer. */
static inline bool ring_claim_for_reading(const struct brood_ring *ring, struct ring_slot *slot, unsigned owner,
                                          uint64_t word)
{
    _Atomic uint64_t *tag = (_Atomic uint64_t *)(uintptr_t)&ring->owners[owner - 1].tag;

    atomic_store_explicit(tag, ring_word_owner(word), memory_order_relaxed); /* the CAS below is the release */
    return ring_swap(&slot->word, word, ring_word(RING_READING, owner, ring_word_position(word)));
}

static inline struct ring_slot *ring_get_begin(struct brood_ring *ring, unsigned owner, size_t below,
                                               struct ring_seen *ret_seen)
{
    uint64_t position = ring_hinted(ring, &ring->owners[owner - 1].head, &ring->head);
    struct ring_slot *slot = ring_slot_at(ring, position);
    uint64_t word = ring_load(&slot->word);

    if (__builtin_expect(ring_load(&ring->again) & 1, 0) || !ring_word_is(word, RING_FULL, position) ||
        ring_word_owner(word) == RING_LONG || ring_word_owner(word) >= below ||
        !ring_claim_for_reading(ring, slot, owner, word)) {
        brood__ring_claim_message(ring, owner, below, ret_seen);
        return ret_seen->outcome == RING_TAKEN ? ring_slot_at(ring, ret_seen->position) : NULL;
    }
    *ret_seen = (struct ring_seen){RING_TAKEN, word, position, ring_word_owner(word)};
    return slot;
}

/* The consumer takes ownership of the slot's further cache lines, as its claim has taken that of the first one: it writes
 * each back unchanged.  Measured (AMD EPYC 9004): a line that was only read costs the producer 36 to 145 ns when it writes
 * it one lap later, and none of that overlaps; one that was written costs 2 ns, since the processor prefetches it. */
static inline void ring_own_lines(struct ring_slot *slot, size_t bytes)
{
    for (size_t i = RING_LINE_BYTES - sizeof(*slot); i < bytes; i += RING_LINE_BYTES) {
        volatile unsigned char *at = &slot->message[i];

        *at = *at;
    }
}

/* The consumer first notes the message as in flight, then frees the slot: in the other order the death of the consumer
 * between the two stores would lose the message without a trace.  The slot is not kept until the next get(): that took 11
 * ns a message instead of 7, and a slow consumer would stop all producers one lap later. */
static inline void ring_get_end(struct brood_ring *ring, unsigned owner, struct ring_slot *slot, uint64_t in_flight,
                                uint64_t position)
{
    ring_store(&ring->owners[owner - 1].in_flight, in_flight);
    ring_store(&slot->word, ring_word(RING_FREE, 0, position + ring->slots));
    ring_advance(&ring->owners[owner - 1].head, &ring->head, position + 1);
    ring_prefetch_next(ring, position + 1, RING_FULL);
}

/* The first position that no producer has claimed. */
uint64_t brood__ring_tail(const struct brood_ring *ring);

/* As brood_ring_recover(), but what the owner had in flight stays noted. */
struct brood_ring_report brood__ring_repair(struct brood_ring *ring, unsigned owner);

/* A position that this owner is writing, or RING_NOWHERE. */
uint64_t brood__ring_written_by(const struct brood_ring *ring, unsigned owner);

/* Marks a position that the dead owner was writing: there will be no message at it. */
static inline void ring_abandon(struct brood_ring *ring, uint64_t position)
{
    ring_store(&ring_slot_at(ring, position)->word, ring_word(RING_TOMB, 0, position));
}

/* brood_ring_init() with the first message at any position, so that a test can see positions wrap. */
int brood__ring_init_at(struct brood_ring *ring, size_t slots, size_t message_bytes, uint64_t position);

#endif
